package gotvm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// Arrays that outputs are bound to are written by operators while others are read: none may be of the same memory.
func TestBoundArraysThatShareMemory(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "input_output") // outputs 1 and 2 are of the input's type and shape
	reference := readReference(t, c.path("reference.params"))
	s := newTestSession(t, openCase(t, c))
	x, y, z := reference["in:x"].array(t), must(gotvm.Empty([]int64{3, 4})), must(gotvm.Empty([]int64{3, 4}))
	run := func() error { return second(s.Run(context.Background(), nil)) }
	must(0, errors.Join(s.BindInput("x", x), s.BindOutput(1, x)))
	expectError(t, run(), gotvm.ErrInvalidArgument, `gotvm: Run: output 1 and input "x" are bound to the same memory`)
	expectError(t, run(), gotvm.ErrInvalidArgument, `output 1 and input "x"`)
	expectError(t, second(s.Profile(context.Background())), gotvm.ErrInvalidArgument, `output 1 and input "x"`)
	must(0, errors.Join(s.BindOutput(1, y), s.BindOutput(2, y)))
	expectError(t, run(), gotvm.ErrInvalidArgument, "outputs 1 and 2 are bound to the same memory")
	must(0, errors.Join(y.Close(), s.BindOutput(2, z)))
	must(0, run())

	// In turn: both are bound to the same memory only between two runs.
	a, b := reference["in:x"].array(t), must(gotvm.Empty([]int64{3, 4}))
	must(0, errors.Join(s.BindInput("x", a), s.BindOutput(1, b)))
	must(0, run())
	must(0, errors.Join(s.BindInput("x", b), s.BindOutput(1, a)))
	must(0, run())
	// An input that a run is given is copied, and no longer bound.
	must(0, s.BindInput("x", a))
	outputs := runSession(t, s, gotvm.Inputs{"x": reference["in:x"].array(t)})
	if outputs[1] != a {
		t.Errorf("output 1 is %v, want the bound array", outputs[1])
	}
	compareOutputs(t, outputs, reference, c)

	must(0, errors.Join(s.BindInput("x", a), s.BindInput("x", nil))) // nor is this one
	must(0, run())

	// A run that fails ends no binding.
	d := reference["in:x"].array(t)
	must(0, errors.Join(s.BindInput("x", d), s.BindOutput(1, d)))
	wrong := gotvm.Inputs{"x": reference["in:x"].array(t), "none": d}
	expectError(t, second(s.Run(context.Background(), wrong)), gotvm.ErrNotFound, `"none"`)
	done, cancel := context.WithCancel(context.Background())
	cancel()
	expectError(t, second(s.Run(done, gotvm.Inputs{"x": reference["in:x"].array(t)})), gotvm.ErrCancelled, "")
	expectError(t, run(), gotvm.ErrInvalidArgument, `output 1 and input "x"`)
}

// A run without a value for an input changes nothing, and one that fails later has set what it was given.
func TestFailedRuns(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "scatter")
	reference := readReference(t, c.path("reference.params"))
	given := c.Inputs[0].Name
	good := inputsOf(t, reference)
	other := must(gotvm.Empty(good[given].GetShape(), good[given].GetDType()))
	for _, bind := range []bool{true, false} {
		s := newTestSession(t, openCase(t, c))
		if bind {
			must(0, s.BindInput(given, good[given]))
		}
		expectError(t, second(s.Run(context.Background(), gotvm.Inputs{given: other})), gotvm.ErrInvalidArgument,
			"never set: ", c.Inputs[1].Name)
		rest := inputsOf(t, reference)
		delete(rest, given)
		if bind {
			compareOutputs(t, runSession(t, s, rest), reference, c)
		} else {
			expectError(t, second(s.Run(context.Background(), rest)), gotvm.ErrInvalidArgument, "1 input was never set: "+given)
		}
	}

	fail := true
	s := newTestSession(t, stepModel(t, func() (int64, error) {
		if fail {
			return 0, errRelax
		}
		return 7, nil
	}))
	a, b := must(gotvm.Empty([]int64{1}, "int64")), newArray(t, []int64{1}, []int64{5})
	must(0, errors.Join(s.BindInput("x", a), s.BindOutput(0, a)))
	expectError(t, second(s.Run(context.Background(), gotvm.Inputs{"x": b})), errRelax)
	fail = false
	if outputs := runSession(t, s, nil); must(gotvm.DataOf[int64](outputs[0]))[0] != 7 || must(gotvm.DataOf[int64](outputs[1]))[0] != 5 {
		t.Errorf("outputs %v, %v: want 7, 5", must(outputs[0].AsSlice()), must(outputs[1].AsSlice()))
	}
}

// stepModel makes a graph whose outputs are what step gives, and its input x.
func stepModel(t *testing.T, step func() (int64, error)) *gotvm.Model {
	t.Helper()
	needModels(t)
	register(t, "test.ints", func(...*gotvm.Value) (any, error) { return step() })
	m, err := gotvm.OpenBytes(gotvm.Blobs{Lib: readFile(t, libraryFile("callpacked.so")), Graph: []byte(`{
		"nodes": [{"op": "null", "name": "x", "inputs": []}, {"op": "tvm_op", "name": "step", "inputs": [],
			"attrs": {"func_name": "call_ints", "num_inputs": "0", "num_outputs": "1", "flatten_data": "0"}}],
		"arg_nodes": [0], "heads": [[1, 0, 0], [0, 0, 0]], "node_row_ptr": [0, 1, 2],
		"attrs": {"shape": ["list_shape", [[1], [1]]], "dltype": ["list_str", ["int64", "int64"]], "storage_id": ["list_int", [0, 1]]}}`)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// The same of Relax, where a done context comes before the inputs, too.
func TestFailedRelaxRuns(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "closure")
	references := c.references(t)
	x, y, other := references["in:0.0"].array(t), references["in:0.1"].array(t), must(gotvm.Empty([]int64{2, 3}))
	s := newTestSession(t, c.open(t, "bytecode"))
	must(0, s.BindInput("x", x))
	expectError(t, second(s.Run(context.Background(), gotvm.Inputs{"x": other})), gotvm.ErrInvalidArgument, `input "y" was never set`)
	compareOutput(t, "out:0", runSession(t, s, gotvm.Inputs{"y": y})[0], references["out:0"], c.RTol, c.ATol)
	done, cancel := context.WithCancel(context.Background())
	cancel()
	expectError(t, second(s.Run(done, gotvm.Inputs{"x": other, "y": other})), gotvm.ErrCancelled)
	compareOutput(t, "out:0", runSession(t, s, nil)[0], references["out:0"], c.RTol, c.ATol)

	// Dimensions that main itself refuses: they are the same for h and u.
	c = relaxCaseNamed(t, "tvm0.27", "mixed_types")
	references = c.references(t)
	m := c.open(t, "compiled")
	s = newTestSession(t, m)
	inputs := gotvm.Inputs{}
	for i, info := range m.Inputs() {
		inputs[info.Name] = references[fmt.Sprintf("in:0.%d", i)].array(t)
	}
	want := runSession(t, s, inputs)
	wrong := gotvm.Inputs{"h": must(gotvm.Empty([]int64{5, 3}, "float16")), "u": must(gotvm.Empty([]int64{4}, "uint8"))}
	expectError(t, second(s.Run(context.Background(), wrong)), gotvm.ErrInvalidArgument, "u")
	for i, got := range runSession(t, s, nil) {
		if !bytes.Equal(must(got.Bytes()), must(want[i].Bytes())) {
			t.Errorf("output %d changed with a run that was refused", i)
		}
	}

	// A run that fails later has set what it was given.
	fail := errRelax
	registerAddOne(t, func(args ...*gotvm.Value) (any, error) { return args[0], fail })
	s = newTestSession(t, relaxCaseNamed(t, "tvm0.27", "callback").open(t, "bytecode")) // x + what the callback gives
	expectError(t, second(s.Run(context.Background(), gotvm.Inputs{"x": newArray(t, []int64{2, 3}, []float32{1, 2, 3, 4, 5, 6})})), errRelax)
	fail = nil
	if got := must(gotvm.DataOf[float32](runSession(t, s, nil)[0])); !slices.Equal(got, []float32{2, 4, 6, 8, 10, 12}) {
		t.Errorf("got %v, want twice x", got)
	}
}

// What an input held before it was bound comes back with the end of the binding.
func TestRelaxUnbind(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "mlp_params")
	references := c.references(t)
	s := newTestSession(t, must(gotvm.OpenFiles(gotvm.Files{Lib: c.path("model.so"), Params: c.path("model.params")})))
	expect := func(same bool) {
		t.Helper()
		got := runSession(t, s, nil)[0]
		if same {
			compareOutput(t, "out:0", got, references["out:0"], c.RTol, c.ATol)
		} else if bytes.Equal(must(got.Bytes()), references["out:0"].data) {
			t.Error("a bound weight does not count")
		}
	}
	x, bias := references["in:0.0"].array(t), newArray(t, []int64{5}, []float32{1, 2, 3, 4, 5})
	must(0, s.BindInput("x", nil))
	runSession(t, s, gotvm.Inputs{"x": x})
	must(0, s.BindInput("x", nil)) // nothing is bound
	expect(true)
	must(0, errors.Join(s.BindInput("bias3", bias), s.BindInput("bias3", bias)))
	expect(false)
	must(0, s.BindInput("bias3", nil))
	expect(true)
	must(0, s.BindInput("x", must(gotvm.Empty([]int64{1, 16}))))
	runSession(t, s, gotvm.Inputs{"x": x}) // ends that binding
	must(0, s.BindInput("x", nil))
	expect(true)
}

// An array that a callback keeps, or a view of it, is not written over by the next run.
func TestRelaxKeptArgument(t *testing.T) {
	create, shape := must(gotvm.GetGlobalFunction("runtime.TVMTensorCreateView")), invoke(t, must(gotvm.GetGlobalFunction("ffi.Shape")), 2, 3)
	var kept []*gotvm.Array
	registerAddOne(t, func(args ...*gotvm.Value) (any, error) {
		v := args[0]
		if len(kept)%2 == 1 {
			v = invoke(t, create, v, shape, "float32", 0)
			must(0, args[0].Close())
		}
		kept = append(kept, v.AsArray())
		return v, nil
	})
	s := newTestSession(t, relaxCaseNamed(t, "tvm0.27", "callback").open(t, "bytecode"))
	for i := range 4 {
		runSession(t, s, gotvm.Inputs{"x": newArray(t, []int64{2, 3}, slices.Repeat([]float32{float32(i)}, 6))})
	}
	for i, x := range kept {
		if got := must(gotvm.DataOf[float32](x)); got[0] != float32(i) || got[5] != float32(i) {
			t.Errorf("the argument of run %d is %v now", i, got)
		}
	}
	if len(kept) != 4 {
		t.Errorf("%d calls", len(kept))
	}

	// Nor is one that was bound and is closed: the program may still look at its memory.
	s = newTestSession(t, relaxCaseNamed(t, "tvm0.27", "same_memory").open(t, "bytecode"))
	x := newArray(t, []int64{2, 3}, []float32{1, 2, 3, 4, 5, 6})
	view := must(gotvm.DataOf[float32](x))
	must(0, errors.Join(s.BindInput("x", x), x.Close()))
	runSession(t, s, nil)
	runSession(t, s, gotvm.Inputs{"x": must(gotvm.Empty([]int64{2, 3}))})
	if !slices.Equal(view, []float32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("the bound array is %v now", view)
	}
}

// Any processor's number will do.
func TestRelaxOtherCPU(t *testing.T) {
	for _, name := range []string{"mlp", "transformer"} {
		c := relaxCaseNamed(t, "tvm0.27", name)
		references := c.references(t)
		m := c.open(t, "bytecode")
		s := must(m.NewSession(gotvm.WithDevice(gotvm.Device{DeviceType: gotvm.KDLCPU, DeviceID: 1})))
		outputs := runSession(t, s, gotvm.Inputs{m.Inputs()[0].Name: references["in:0.0"].array(t)})
		compareOutput(t, name, outputs[0], references["out:0"], c.RTol, c.ATol)
		must(0, s.Close())
	}
}

// Results are copied one after the other: none may lie where an earlier one goes.
func TestRelaxResultInBoundMemory(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "same_memory") // gives x, two constants, x + x twice, and x
	for _, mode := range []string{"bytecode", "compiled"} {
		s := newTestSession(t, c.open(t, mode))
		x := newArray(t, []int64{2, 3}, []float32{1, 2, 3, 4, 5, 6})
		must(0, s.BindInput("x", x))
		runSession(t, s, nil)
		must(0, s.BindOutput(3, x))
		for range 2 {
			expectError(t, second(s.Run(context.Background(), nil)), gotvm.ErrInvalidArgument,
				"gotvm: Run: output 3 is bound to memory that output 5 lies in before it is copied")
		}
		must(0, s.BindInput("x", must(gotvm.Empty([]int64{2, 3}))))
		runSession(t, s, nil)
		must(0, errors.Join(x.CopyFrom([]float32{1, 2, 3, 4, 5, 6}), s.BindInput("x", x))) // of the same shapes as that run
		expectError(t, second(s.Run(context.Background(), nil)), gotvm.ErrInvalidArgument, "output 3 is bound to memory that output 5 lies in")
		if got := must(gotvm.DataOf[float32](x)); !slices.Equal(got, []float32{1, 2, 3, 4, 5, 6}) {
			t.Errorf("%s: the refused runs wrote %v", mode, got)
		}
		must(0, errors.Join(s.BindOutput(3, nil), s.BindOutput(5, x)))
		outputs := runSession(t, s, nil)
		if got := must(gotvm.DataOf[float32](outputs[3])); !slices.Equal(got, []float32{2, 4, 6, 8, 10, 12}) {
			t.Errorf("%s: x + x is %v", mode, got)
		}
	}
}

// An output's memory is the session's as long as it is bound, whatever becomes of the array.
func TestRelaxBoundOutputIsClosed(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "mlp")
	references := c.references(t)
	s := newTestSession(t, c.open(t, "bytecode"))
	runtime.LockOSThread() // so that an array made after a Close lies where the closed one was
	defer runtime.UnlockOSThread()
	y := newArray(t, []int64{1, 5}, make([]float32, 5))
	view := must(gotvm.DataOf[float32](y))
	must(0, errors.Join(s.BindOutput(0, y), y.Close()))
	var others []*gotvm.Array
	for range 16 {
		others = append(others, newArray(t, []int64{1, 5}, []float32{7, 7, 7, 7, 7}))
	}
	if got := runSession(t, s, gotvm.Inputs{"x": references["in:0.0"].array(t)}); !slices.Equal(got, []*gotvm.Array{y}) {
		t.Errorf("Run returned %v, want the bound array", got)
	}
	compareOutput(t, "out:0", newArray(t, []int64{1, 5}, view), references["out:0"], c.RTol, c.ATol)
	for _, other := range others {
		if data := must(gotvm.DataOf[float32](other)); !slices.Equal(data, []float32{7, 7, 7, 7, 7}) {
			t.Fatalf("the run wrote to another array: %v", data)
		}
	}
	before := gotvm.Live().Arrays
	must(0, s.BindOutput(0, nil))
	if after := gotvm.Live().Arrays; after > before-1 { // less, where the collector was at work
		t.Errorf("%d arrays before the binding ended, %d after it", before, after)
	}
	must(0, s.BindOutput(0, others[0]))
	must(0, s.Close()) // ends it as well
	if after := gotvm.Live().Arrays; after > before-1 {
		t.Errorf("%d arrays while one was bound, %d when the session was closed", before, after)
	}
}

func TestCloseOvertakesRun(t *testing.T) {
	graph := zooCaseNamed(t, "tvm0.19", "dense")
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, m := range []*gotvm.Model{openCase(t, graph), relaxCaseNamed(t, "tvm0.27", "mlp").open(t, "bytecode")} {
		for _, run := range []func(*gotvm.Session) error{gotvm.RunOvertakenByClose, gotvm.BusyRunOvertakenByClose} {
			before := gotvm.Live()
			s := newTestSession(t, m)
			x := must(gotvm.Empty(m.Inputs()[0].Shape))
			outputs := runSession(t, s, gotvm.Inputs{m.Inputs()[0].Name: x})
			must(0, errors.Join(x.Close(), outputs[0].Close()))
			expectError(t, run(s), gotvm.ErrClosed, "the session is closed")
			if after := gotvm.Live(); after.Arrays > before.Arrays || after.Functions > before.Functions {
				t.Errorf("before: %s; after: %s", before, after)
			}
		}
	}
}

// No method panics on a nil pointer or a zero value, whatever its arguments are.
func TestNilAndZeroReceivers(t *testing.T) {
	for _, receiver := range []any{
		(*gotvm.Array)(nil), (*gotvm.Function)(nil), (*gotvm.Module)(nil), (*gotvm.Model)(nil), (*gotvm.Session)(nil),
		(*gotvm.Value)(nil), (*gotvm.Error)(nil), (*gotvm.PanicError)(nil), (*gotvm.Profile)(nil),
		&gotvm.Array{}, &gotvm.Function{}, &gotvm.Module{}, &gotvm.Model{}, &gotvm.Session{}, &gotvm.Value{}, &gotvm.Error{},
		&gotvm.PanicError{}, gotvm.Build{}, gotvm.Device{}, gotvm.TensorInfo{}, gotvm.OperatorProfile{}, gotvm.Code(-1), gotvm.Kind(99),
	} {
		v := reflect.ValueOf(receiver)
		for i := range v.NumMethod() {
			method := v.Method(i)
			var args []reflect.Value
			for k := range method.Type().NumIn() {
				if !method.Type().IsVariadic() || k < method.Type().NumIn()-1 {
					args = append(args, reflect.Zero(method.Type().In(k)))
				}
			}
			name := v.Type().Method(i).Name
			if name == "WriteTable" || name == "WriteTrace" {
				continue // of an io.Writer, which must not be nil
			}
			func() {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("%T %v: %s: %v", receiver, v, name, p)
					}
				}()
				method.Call(args)
			}()
		}
	}
	if functions := (&gotvm.Model{}).Functions(); functions != nil {
		t.Errorf("a model that is none has functions %v", functions)
	}
	if err := (&gotvm.Session{}).Close(); err != nil {
		t.Error(err)
	}
}
