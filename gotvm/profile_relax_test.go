package gotvm_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// All calls of all Relax executables: operators that exist, with sizes that their tensors have; compiled mode is
// refused, and both run afterwards.
func TestProfileRelax(t *testing.T) {
	registerRelaxFunctions(t)
	for _, c := range relaxCases(t) {
		for mode := range c.Libs {
			t.Run(c.Dir+"/"+mode, func(t *testing.T) {
				m := c.open(t, mode)
				references := c.references(t)
				s := newTestSession(t, m)
				for i, call := range c.Calls {
					what := fmt.Sprintf("call %d, %s", i, call.Function)
					var args []any
					for _, arg := range call.Args {
						args = append(args, arg.argument(t, references))
					}
					start := time.Now()
					p, err := s.ProfileCall(context.Background(), call.Function, args...)
					wall := time.Since(start)
					if mode == "compiled" {
						wantError(t, err, gotvm.ErrUnsupported, call.Function, `exec_mode="bytecode"`)
					} else if err != nil {
						t.Fatalf("%s: %v", what, err)
					} else {
						checkTimes(t, p, wall)
						checkRelaxOperators(t, m, p)
					}
					v, err := s.Call(context.Background(), call.Function, args...)
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					call.Result.expect(t, what, v, references, c)
				}
			})
		}
	}
}

func checkRelaxOperators(t *testing.T, m *gotvm.Model, p *gotvm.Profile) {
	t.Helper()
	for _, o := range p.Operators {
		_, err := m.Module().GetFunction(o.Function, true)
		if err != nil {
			_, err = gotvm.GetGlobalFunction(o.Function)
		}
		if err != nil || o.Name != o.Function {
			t.Errorf("operator %s, %s: %v", o.Name, o.Function, err)
		}
		var bytes int64
		for _, tensor := range append(o.Inputs[:len(o.Inputs):len(o.Inputs)], o.Outputs...) {
			size := int64(len(must(must(gotvm.Empty([]int64{1}, tensor.DType)).Bytes())))
			for _, n := range tensor.Shape {
				size *= n
			}
			bytes += size
		}
		if o.Bytes != bytes {
			t.Errorf("%s: %d bytes, but %v and %v have %d", o.Name, o.Bytes, o.Inputs, o.Outputs, bytes)
		}
		if o.DeviceTime != 0 {
			t.Errorf("%s: %v on a device that is the CPU", o.Name, o.DeviceTime)
		}
	}
}

// The layers of scripts/relax_cases.py, of each compiler and for a batch of any size.
func TestProfileRelaxOperators(t *testing.T) {
	for _, gen := range []string{"tvm0.25", "tvm0.26", "tvm0.27"} {
		for name, batch := range map[string]int64{"mlp": 1, "mlp_dynamic": 6} {
			c := relaxCaseNamed(t, gen, name)
			m := c.open(t, "bytecode")
			s := newTestSession(t, m)
			x := newArray(t, []int64{batch, 16}, make([]float32, batch*16))
			if _, err := s.Run(context.Background(), gotvm.Inputs{m.Inputs()[0].Name: x}); err != nil {
				t.Fatal(err)
			}
			var have []string
			for _, o := range must(s.Profile(context.Background())).Operators {
				if o.Name != "shape_func" { // of the shape of an intermediate result
					have = append(have, strings.Join([]string{o.Name, fmt.Sprint(o.Inputs), fmt.Sprint(o.Outputs)}, " "))
				}
			}
			want := []string{
				"matmul [float32 [N, 16] float32 [16, 12]] [float32 [N, 12]]",
				"add [float32 [N, 12] float32 [12]] [float32 [N, 12]]",
				"relu [float32 [N, 12]] [float32 [N, 12]]",
				"matmul1 [float32 [N, 12] float32 [12, 12]] [float32 [N, 12]]",
				"add [float32 [N, 12] float32 [12]] [float32 [N, 12]]",
				"relu [float32 [N, 12]] [float32 [N, 12]]",
				"matmul2 [float32 [N, 12] float32 [12, 5]] [float32 [N, 5]]",
				"add1 [float32 [N, 5] float32 [5]] [float32 [N, 5]]",
				"softmax [float32 [N, 5]] [float32 [N, 5]]",
			}
			for i := range want {
				want[i] = strings.ReplaceAll(want[i], "N", fmt.Sprint(batch))
			}
			if !reflect.DeepEqual(have, want) {
				t.Errorf("%s/%s: the operators are\n%s\nwant\n%s", gen, name, strings.Join(have, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// A profile runs main: its inputs must be set, and what is bound as an output is computed.
func TestProfileRelaxComputes(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "mlp")
	references := c.references(t)
	m := c.open(t, "bytecode")
	s := newTestSession(t, m)
	_, err := s.Profile(context.Background())
	wantError(t, err, gotvm.ErrInvalidArgument, "Profile", `input "x" was never set`)
	if err := s.BindInput("x", references["in:0.0"].array(t)); err != nil {
		t.Fatal(err)
	}
	y := must(gotvm.Empty([]int64{1, 5}))
	if err := s.BindOutput(0, y); err != nil {
		t.Fatal(err)
	}
	must(s.Profile(context.Background()))
	compareOutput(t, "bound", y, references["out:0"], c.RTol, c.ATol)
}

func TestProfileRelaxErrors(t *testing.T) {
	registerRelaxFunctions(t)
	c := relaxCaseNamed(t, "tvm0.27", "callback")
	s := newTestSession(t, c.open(t, "bytecode"))
	x := newArray(t, []int64{2, 3}, make([]float32, 6))
	_, err := s.ProfileCall(context.Background(), "fails", x)
	if !errors.Is(err, errRelax) {
		t.Errorf("a function of the program that fails: %v", err)
	}
	_, err = s.ProfileCall(context.Background(), "nobody", x)
	wantError(t, err, gotvm.ErrNotFound, "ProfileCall", `there is no function "nobody"`)
	done, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("the user went away")
	cancel(cause)
	if _, err = s.ProfileCall(done, "dps", x); !errors.Is(err, cause) || !errors.Is(err, gotvm.ErrCancelled) {
		t.Errorf("a context that is done gives %v", err)
	}
	if p := must(s.ProfileCall(context.Background(), "dps", x)); len(p.Operators) != 1 || p.Operators[0].Name != "gotvm.test.add_one_into" {
		t.Errorf("after errors: %+v", p)
	}

	nested := relaxCaseNamed(t, "tvm0.27", "recursion")
	_, err = newTestSession(t, nested.open(t, "bytecode")).Profile(context.Background())
	wantError(t, err, gotvm.ErrNotFound, "Profile", `no function "main"`, "ProfileCall")
}

// A function of the program sleeps, finds the session busy, and is cancelled.
func TestProfileRelaxBusyAndCancelled(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "callback")
	var work func()
	for _, name := range c.Needs {
		register(t, name, func(args ...*gotvm.Value) (any, error) {
			work()
			return args[0].AsArray(), nil
		})
	}
	s := newTestSession(t, c.open(t, "bytecode"))
	x := newArray(t, []int64{2, 3}, make([]float32, 6))
	const rest = 20 * time.Millisecond
	var busy error
	work = func() {
		time.Sleep(rest)
		_, busy = s.Profile(context.Background())
	}
	p := must(s.ProfileCall(context.Background(), "main", x))
	if !errors.Is(busy, gotvm.ErrBusy) {
		t.Errorf("a profile within a profile: %v", busy)
	}
	if o := p.Operators[0]; o.Name != "gotvm.test.add_one" || o.Duration < rest || p.Total < rest {
		t.Errorf("a function that sleeps for %v: %+v", rest, p)
	}

	for range 1000 { // until the run learns of it before the function returns
		ctx, cancel := context.WithCancel(context.Background())
		work = func() {
			cancel()
			time.Sleep(rest)
		}
		p, err := s.ProfileCall(ctx, "main", x)
		cancel()
		if err != nil {
			if !errors.Is(err, gotvm.ErrCancelled) || p != nil {
				t.Errorf("cancelled in between: %v, %v", p, err)
			}
			return
		}
	}
	t.Error("a profile that is cancelled goes on to the end")
}
