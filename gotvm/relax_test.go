package gotvm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// The Relax executables of testdata/relax, with calls and what the compiler's own machine gave for them
// (scripts/make_relax_testdata.py).

type relaxCase struct {
	Gen, Case, Dir string
	Libs           map[string]string // by mode
	Params         string
	Functions      []struct {
		Name   string
		Params []struct {
			Name, Kind, DType string
			Shape             []int64
		}
	}
	Needs []string
	Runs  bool
	Calls []relaxCall
	RTol  float64
	ATol  float64
}

type relaxCall struct {
	Function string
	Args     []relaxValue
	Result   relaxValue
}

// relaxValue is one of: a tensor of the references or of the params file, a tuple, a shape, a number, a string.
type relaxValue struct {
	Tensor, Param string
	Tuple         *[]relaxValue
	Shape         []int64
	Int           *int64
	Float         *float64
	Bool          *bool
	String        *string
}

func (c relaxCase) path(file string) string {
	return filepath.Join(testdata(), "relax", c.Dir, file)
}

// relaxCases are those that run on this machine.
func relaxCases(tb testing.TB) []relaxCase {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(testdata(), "relax", "manifest.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var all, cases []relaxCase
	if err := json.Unmarshal(data, &all); err != nil {
		tb.Fatal(err)
	}
	fit := modelsFit(tb)
	for _, c := range all {
		if c.Runs && c.Gen != "linked" && (c.Gen == "arm64") != fit {
			cases = append(cases, c)
		}
	}
	if len(cases) == 0 {
		tb.Fatal("the manifest lists no model for this machine")
	}
	return cases
}

func relaxCaseNamed(tb testing.TB, gen, name string) relaxCase {
	tb.Helper()
	needModels(tb)
	for _, c := range relaxCases(tb) {
		if c.Gen == gen && c.Case == name {
			return c
		}
	}
	tb.Fatalf("there is no model %s of %s", name, gen)
	return relaxCase{}
}

func (c relaxCase) open(tb testing.TB, mode string) *gotvm.Model {
	tb.Helper()
	files := gotvm.Files{Lib: c.path(c.Libs[mode])}
	if c.Params != "" {
		files.Params = c.path(c.Params)
	}
	m, err := gotvm.OpenFiles(files)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = m.Close() })
	return m
}

// references reads the tensors that calls name, those of the params file as "param:" and their name.
func (c relaxCase) references(tb testing.TB) map[string]referenceTensor {
	tb.Helper()
	all := readReference(tb, c.path("reference.params"))
	if c.Params != "" {
		for name, tensor := range readReference(tb, c.path(c.Params)) {
			all["param:"+name] = tensor
		}
	}
	return all
}

// argument makes what Call takes.
func (v relaxValue) argument(tb testing.TB, references map[string]referenceTensor) any {
	tb.Helper()
	switch {
	case v.Tensor != "":
		return references[v.Tensor].array(tb)
	case v.Param != "":
		return references["param:"+v.Param].array(tb)
	case v.Tuple != nil:
		items := []any{}
		for _, item := range *v.Tuple {
			items = append(items, item.argument(tb, references))
		}
		return items
	case v.Int != nil:
		return *v.Int
	case v.Float != nil:
		return *v.Float
	case v.Bool != nil:
		return *v.Bool
	case v.String != nil:
		return *v.String
	default:
		return v.Shape
	}
}

// expect compares a result with what it should be.
func (v relaxValue) expect(tb testing.TB, what string, got *gotvm.Value, references map[string]referenceTensor, c relaxCase) {
	tb.Helper()
	switch {
	case v.Tensor != "":
		a, err := got.Array()
		if err != nil {
			tb.Errorf("%s: %v", what, err)
			return
		}
		compareOutput(tb, what, a, references[v.Tensor], c.RTol, c.ATol)
	case v.Tuple != nil:
		items, err := got.Items()
		if err != nil || len(items) != len(*v.Tuple) {
			tb.Errorf("%s: %d items, error %v, want %d", what, len(items), err, len(*v.Tuple))
			return
		}
		for i, item := range *v.Tuple {
			item.expect(tb, fmt.Sprintf("%s.%d", what, i), items[i], references, c)
		}
	case v.Int != nil:
		if i, err := got.Int64(); err != nil || i != *v.Int {
			tb.Errorf("%s: %d, error %v, want %d", what, i, err, *v.Int)
		}
	case v.Float != nil:
		if f, err := got.Float64(); err != nil || f != *v.Float {
			tb.Errorf("%s: %g, error %v, want %g", what, f, err, *v.Float)
		}
	case v.Bool != nil:
		if b, err := got.Bool(); err != nil || b != *v.Bool {
			tb.Errorf("%s: %t, error %v, want %t", what, b, err, *v.Bool)
		}
	case v.String != nil:
		if s, err := got.Str(); err != nil || s != *v.String {
			tb.Errorf("%s: %q, error %v, want %q", what, s, err, *v.String)
		}
	default:
		if dims, err := got.Shape(); err != nil || !slices.Equal(dims, v.Shape) {
			tb.Errorf("%s: shape %v, error %v, want %v", what, dims, err, v.Shape)
		}
	}
}

var errRelax = errors.New("the callback's own error")

// registerRelaxFunctions registers the functions that the model "callback" calls.
func registerRelaxFunctions(tb testing.TB) {
	tb.Helper()
	register(tb, "gotvm.test.add_one", func(args ...*gotvm.Value) (any, error) {
		x := args[0].AsArray()
		y := must(gotvm.Empty(x.GetShape(), "float32"))
		for i, v := range must(gotvm.DataOf[float32](x)) {
			must(gotvm.DataOf[float32](y))[i] = v + 1
		}
		return y, nil
	})
	register(tb, "gotvm.test.add_one_into", func(args ...*gotvm.Value) (any, error) {
		out := must(gotvm.DataOf[float32](args[1].AsArray()))
		for i, v := range must(gotvm.DataOf[float32](args[0].AsArray())) {
			out[i] = v + 1
		}
		return nil, nil
	})
	register(tb, "gotvm.test.describe", func(args ...*gotvm.Value) (any, error) {
		item := must(gotvm.GetGlobalFunction("runtime.GetShapeTupleElem"))
		dims := []int64{must(item.Invoke(args[1], 0)).AsInt64(), must(item.Invoke(args[1], 1)).AsInt64()}
		pair := must(args[5].Arrays())
		if args[2].AsInt64() != 7 || args[3].AsStr() != "text" || must(args[4].DType()) != "float16" || len(pair) != 2 || args[6].AsFloat64() != 2.5 {
			return nil, fmt.Errorf("unexpected arguments %v", args)
		}
		return gotvm.NewArray([]int64{2}, dims)
	})
	register(tb, "gotvm.test.turn", func(args ...*gotvm.Value) (any, error) {
		items, err := args[0].Items()
		if err != nil {
			return nil, err
		}
		tuple := must(gotvm.GetGlobalFunction("ffi.Array"))
		return tuple.Invoke(items[1], items[0])
	})
	register(tb, "gotvm.test.fail", func(args ...*gotvm.Value) (any, error) { return nil, errRelax })
}

// registerAddOne registers what main of the model "callback" calls, and what the model only names.
func registerAddOne(tb testing.TB, addOne gotvm.Callback) {
	tb.Helper()
	register(tb, "gotvm.test.add_one", addOne)
	for _, name := range []string{"gotvm.test.add_one_into", "gotvm.test.describe", "gotvm.test.fail"} {
		register(tb, name, func(...*gotvm.Value) (any, error) { return nil, nil })
	}
}

func TestRelaxModels(t *testing.T) {
	registerRelaxFunctions(t)
	for _, c := range relaxCases(t) {
		for mode := range c.Libs {
			t.Run(c.Dir+"/"+mode, func(t *testing.T) {
				m := c.open(t, mode)
				references := c.references(t)
				s := newTestSession(t, m)
				for range 2 {
					for i, call := range c.Calls {
						var args []any
						for _, arg := range call.Args {
							args = append(args, arg.argument(t, references))
						}
						v, err := s.Call(context.Background(), call.Function, args...)
						if err != nil {
							t.Fatalf("%s: %v", call.Function, err)
						}
						call.Result.expect(t, fmt.Sprintf("call %d", i), v, references, c)
						checkRelaxResults(t, m, c, mode, call, references)
					}
				}
				checkRelaxFunctions(t, m, c)
			})
		}
	}
}

func checkRelaxFunctions(t *testing.T, m *gotvm.Model, c relaxCase) {
	functions := make(map[string]gotvm.FunctionInfo)
	for _, f := range m.Functions() {
		functions[f.Name] = f
	}
	for _, want := range c.Functions {
		got, ok := functions[want.Name]
		if !ok || len(got.Params) != len(want.Params) {
			t.Errorf("function %s: got %v, want %v", want.Name, got, want)
			continue
		}
		for i, param := range want.Params {
			if got.Params[i].Name != param.Name {
				t.Errorf("parameter %d of %s is called %q, want %q", i, want.Name, got.Params[i].Name, param.Name)
			}
			known := slices.ContainsFunc(got.Params[i].Shape, func(dim int64) bool { return dim >= 0 })
			if got.Params[i].DType != "" && got.Params[i].DType != param.DType || known && !slices.Equal(got.Params[i].Shape, param.Shape) {
				t.Errorf("parameter %d of %s is %v, want %v", i, want.Name, got.Params[i], param)
			}
		}
	}
}

// checkRelaxResults compares what a model says of a function's results with what a call of it gave.
func checkRelaxResults(t *testing.T, m *gotvm.Model, c relaxCase, mode string, call relaxCall, references map[string]referenceTensor) {
	t.Helper()
	functions := m.Functions()
	results := functions[slices.IndexFunc(functions, func(f gotvm.FunctionInfo) bool { return f.Name == call.Function })].Results
	names, ok := call.Result.arrays()
	told := strings.HasPrefix(c.Case, "ops_") || slices.Contains([]string{"mlp", "cnn", "transformer", "same_memory", "mixed_types"}, c.Case)
	if results == nil && (mode == "compiled" || !told) {
		return
	}
	if !ok || len(results) != len(names) {
		t.Errorf("%s gives %v, want tensors like %v", call.Function, results, names)
		return
	}
	for i, name := range names {
		want, got := references[name], results[i]
		fits := func(dim, want int64) bool { return dim < 0 || dim == want }
		if got.DType != want.dtype || !slices.EqualFunc(got.Shape, want.shape, fits) {
			t.Errorf("result %d of %s is said to be %v, is %s %v", i, call.Function, got, want.dtype, want.shape)
		}
	}
}

// arrays flattens a description into names of reference tensors; false when there is more than tensors in it.
func (v relaxValue) arrays() ([]string, bool) {
	if v.Tensor != "" {
		return []string{v.Tensor}, true
	}
	if v.Tuple == nil {
		return nil, false
	}
	var names []string
	for _, item := range *v.Tuple {
		inner, ok := item.arrays()
		if !ok {
			return nil, false
		}
		names = append(names, inner...)
	}
	return names, true
}

func TestRelaxBytes(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "mlp_params")
	references := c.references(t)
	for mode, lib := range c.Libs {
		m, err := gotvm.OpenBytes(gotvm.Blobs{Lib: readFile(t, c.path(lib)), Params: readFile(t, c.path(c.Params))})
		if err != nil {
			t.Fatalf("%s: %v", mode, err)
		}
		outputs := runSession(t, newTestSession(t, m), gotvm.Inputs{"x": references["in:0.0"].array(t)})
		compareOutput(t, mode, outputs[0], references["out:0"], c.RTol, c.ATol)
		must(0, m.Close())
	}
}

func TestRelaxMistakes(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "mlp")
	s := newTestSession(t, c.open(t, "compiled"))
	ctx := context.Background()
	good := newArray(t, []int64{1, 16}, make([]float32, 16))
	endless := []any{nil}
	endless[0] = endless
	for what, test := range map[string]struct {
		err   error
		want  error
		texts []string
	}{
		"unknown input":    {second(s.Run(ctx, gotvm.Inputs{"y": good})), gotvm.ErrNotFound, []string{`"y"`, `"x"`}},
		"dtype":            {second(s.Run(ctx, gotvm.Inputs{"x": newArray(t, []int64{1, 16}, make([]int32, 16))})), gotvm.ErrInvalidArgument, []string{`"x"`, "expected float32, got int32"}},
		"shape":            {second(s.Run(ctx, gotvm.Inputs{"x": newArray(t, []int64{2, 16}, make([]float32, 32))})), gotvm.ErrInvalidArgument, []string{`"x"`, "[1, 16]", "[2, 16]"}},
		"nil":              {second(s.Run(ctx, gotvm.Inputs{"x": nil})), gotvm.ErrInvalidArgument, []string{`"x"`, "nil"}},
		"unknown function": {second(s.Call(ctx, "nobody")), gotvm.ErrNotFound, []string{`"nobody"`, `"main"`}},
		"too few":          {second(s.Call(ctx, "main")), gotvm.ErrInvalidArgument, []string{"main", "1", "0"}},
		"wrong type":       {second(s.Call(ctx, "main", "text")), gotvm.ErrInvalidArgument, []string{"main", "x"}},
		"wrong rank":       {second(s.Call(ctx, "main", newArray(t, []int64{16}, make([]float32, 16)))), gotvm.ErrInvalidArgument, []string{"main", "x"}},
		"endless tuple":    {second(s.Call(ctx, "main", endless)), gotvm.ErrInvalidArgument, []string{"argument 0", "more than 1000"}},
		"not for graphs":   {second(newTestSession(t, openCase(t, zooCaseNamed(t, "tvm0.19", "dense"))).Call(ctx, "main")), gotvm.ErrUnsupported, []string{"graph"}},
	} {
		t.Run(what, func(t *testing.T) { expectError(t, test.err, test.want, test.texts...) })
	}
	if _, err := s.Run(ctx, gotvm.Inputs{"x": good}); err != nil {
		t.Error(err)
	}
	m := c.open(t, "bytecode")
	if got := fmt.Sprint(m.Outputs()); got != "[float32 [1, 5]]" {
		t.Errorf("outputs %s", got)
	}
	s = newTestSession(t, m)
	expectError(t, s.BindOutput(1, good), gotvm.ErrInvalidArgument, "no output 1", "1 output")
	expectError(t, s.BindOutput(0, good), gotvm.ErrInvalidArgument, "output 0", "[1, 5]", "[1, 16]")
	if _, err := gotvm.Open(relaxPath("tvm0.27/python_only/model.so")); err == nil || !strings.Contains(err.Error(), "relax.run") {
		t.Errorf("a model that needs Python: %v", err)
	}
}

func relaxPath(file string) string {
	return filepath.Join(testdata(), "relax", filepath.FromSlash(file))
}

func second[T any](_ T, err error) error { return err }

// An error of a Go function that a model calls is the one that the caller gets.
func TestRelaxCallbackError(t *testing.T) {
	registerRelaxFunctions(t)
	c := relaxCaseNamed(t, "tvm0.27", "callback")
	for mode := range c.Libs {
		s := newTestSession(t, c.open(t, mode))
		_, err := s.Call(context.Background(), "fails", newArray(t, []int64{2, 3}, make([]float32, 6)))
		if !errors.Is(err, errRelax) {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// Functions as arguments: closures that a model gave, and functions of this program.
func TestRelaxFunctionValues(t *testing.T) {
	ctx := context.Background()
	c := relaxCaseNamed(t, "tvm0.27", "closure_values")
	references := c.references(t)
	x, scale := references["in:0.0"].array(t), references["in:0.1"].array(t)
	functions := relaxCaseNamed(t, "tvm0.27", "functions")
	negate := must(gotvm.ConvertFunction(func(args ...*gotvm.Value) (any, error) {
		y := must(gotvm.Empty(args[0].AsArray().GetShape(), "float32"))
		for i, v := range must(gotvm.DataOf[float32](args[0].AsArray())) {
			must(gotvm.DataOf[float32](y))[i] = -v
		}
		return y, nil
	}))
	failing := must(gotvm.ConvertFunction(func(...*gotvm.Value) (any, error) { return nil, errRelax }))
	for mode := range c.Libs {
		m := c.open(t, mode)
		s, other := newTestSession(t, m), newTestSession(t, m)
		closure, err := s.Call(ctx, "make", scale, x)
		if err != nil {
			t.Fatalf("%s: make: %v", mode, err)
		}
		for _, user := range []*gotvm.Session{s, other} { // closures belong to the model
			v, err := user.Call(ctx, "use", closure, x)
			if err != nil {
				t.Fatalf("%s: use: %v", mode, err)
			}
			items := must(v.Items())
			compareOutput(t, mode, must(items[0].Array()), references["out:0.0"], c.RTol, c.ATol)
			closure = items[1]
		}

		apply := newTestSession(t, functions.open(t, mode))
		v, err := apply.Call(ctx, "apply", negate, newArray(t, []int64{2, 3}, []float32{1, -2, 3, -4, 5, -6}))
		if err != nil {
			t.Fatalf("%s: apply: %v", mode, err)
		}
		if got := must(gotvm.DataOf[float32](must(v.Array()))); !slices.Equal(got, []float32{-1, 2, -3, 4, -5, 6}) {
			t.Errorf("%s: apply gave %v", mode, got)
		}
		if _, err := apply.Call(ctx, "apply", failing, x); !errors.Is(err, errRelax) {
			t.Errorf("%s: apply of a function that fails: %v", mode, err)
		}
		_, err = apply.Call(ctx, "apply", closure, x)
		expectError(t, err, gotvm.ErrInvalidArgument, "the closure belongs to another model")
		_, err = apply.Call(ctx, "apply", x, x)
		expectError(t, err, gotvm.ErrInvalidArgument, "apply", "argument 0 (f)", "float32 [2, 3]")
	}
}

func TestRelaxSessionsAtOnce(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "transformer_dynamic")
	references := c.references(t)
	m := c.open(t, "compiled")
	var group sync.WaitGroup
	for range 16 {
		group.Add(1)
		go func() {
			defer group.Done()
			s := newTestSession(t, m)
			for i := range 40 {
				call := c.Calls[i%len(c.Calls)]
				outputs, err := s.Run(context.Background(), gotvm.Inputs{"x": references[call.Args[0].Tensor].array(t)})
				if err != nil {
					t.Error(err)
					return
				}
				compareOutput(t, "output", outputs[0], references[call.Result.Tensor], c.RTol, c.ATol)
			}
		}()
	}
	group.Wait()
}

func TestRelaxCancel(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "mlp")
	references := c.references(t)
	s := newTestSession(t, c.open(t, "bytecode"))
	cause := errors.New("no longer wanted")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	inputs := gotvm.Inputs{"x": references["in:0.0"].array(t)}
	if _, err := s.Run(ctx, inputs); !errors.Is(err, cause) || !errors.Is(err, gotvm.ErrCancelled) {
		t.Error(err)
	}
	compareOutput(t, "out:0", runSession(t, s, inputs)[0], references["out:0"], c.RTol, c.ATol)
}

// Deadlines that pass while the model "callback" is in its first function, in many sessions at once.
func TestRelaxDeadlines(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "callback")
	references := c.references(t)
	var contexts sync.Map // by the input's first element: what the callback waits for
	registerAddOne(t, func(args ...*gotvm.Value) (any, error) {
		x := must(gotvm.DataOf[float32](args[0].AsArray()))
		if ctx, ok := contexts.Load(x[0]); ok {
			<-ctx.(context.Context).Done()
			time.Sleep(20 * time.Millisecond) // the flag is set by another goroutine
		}
		y := make([]float32, len(x))
		for i := range x {
			y[i] = x[i] + 1
		}
		return gotvm.NewArray([]int64{2, 3}, y)
	})
	m := c.open(t, "bytecode")
	cause := errors.New("too late")
	var group sync.WaitGroup
	for g := range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			s := newTestSession(t, m)
			x := must(gotvm.NewArray([]int64{2, 3}, []float32{float32(100 + g), 1, 2, 3, 4, 5}))
			runSession(t, s, gotvm.Inputs{"x": x}) // a deadline may pass before its run has set anything
			for range 3 {
				ctx, cancel := context.WithTimeoutCause(context.Background(), 5*time.Millisecond, cause)
				contexts.Store(float32(100+g), ctx)
				outputs, err := s.Run(ctx, gotvm.Inputs{"x": x})
				contexts.Delete(float32(100 + g))
				cancel()
				if outputs != nil || !errors.Is(err, cause) || !errors.Is(err, gotvm.ErrCancelled) {
					t.Errorf("%v, error %v", outputs, err)
				}
				outputs, err = s.Run(context.Background(), nil)
				if err != nil {
					t.Error(err)
					return
				}
				want := []float32{float32(201 + 2*g), 3, 5, 7, 9, 11} // x + 1 + x
				if got := must(gotvm.DataOf[float32](outputs[0])); !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
			}
		}()
	}
	group.Wait()
	compareOutput(t, "main", runSession(t, newTestSession(t, m), gotvm.Inputs{"x": references["in:0.0"].array(t)})[0], references["out:0"], c.RTol, c.ATol)
}

// The way of TVM's own clients.
func TestRelaxModule(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "mlp")
	references := c.references(t)
	lib := must(gotvm.LoadModuleFromFile(c.path("model.so")))
	defer lib.Close()
	vm := invoke(t, must(lib.GetFunction("vm_load_executable"))).AsModule()
	invoke(t, must(vm.GetFunction("vm_initialization")), gotvm.KDLCPU, 0, 2)
	y := invoke(t, must(vm.GetFunction("main")), references["in:0.0"].array(t)).AsArray()
	compareOutput(t, "main", y, references["out:0"], c.RTol, c.ATol)
	invoke(t, must(vm.GetFunction("set_input")), "main", references["in:1.0"].array(t))
	invoke(t, must(vm.GetFunction("invoke_stateful")), "main")
	z := invoke(t, must(vm.GetFunction("get_output")), "main").AsArray()
	compareOutput(t, "get_output", z, references["out:1"], c.RTol, c.ATol)
}
