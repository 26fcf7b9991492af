package gotvm_test

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// Run: main by names, values that are kept, bound inputs and outputs.
func TestRelaxRun(t *testing.T) {
	registerRelaxFunctions(t)
	runs := 0
	for _, c := range relaxCases(t) {
		var main []relaxCall
		for _, call := range c.Calls {
			if _, ok := call.Result.arrays(); call.Function == "main" && ok {
				main = append(main, call)
			}
		}
		if len(main) == 0 {
			continue
		}
		t.Run(c.Dir, func(t *testing.T) {
			references := c.references(t)
			m := c.open(t, "bytecode")
			s := newTestSession(t, m)
			for _, call := range main {
				inputs := gotvm.Inputs{}
				for _, info := range m.Inputs() {
					at := slices.IndexFunc(m.Functions(), func(f gotvm.FunctionInfo) bool { return f.Name == "main" })
					k := slices.IndexFunc(m.Functions()[at].Params, func(p gotvm.TensorInfo) bool { return p.Name == info.Name })
					x, ok := call.Args[k].argument(t, references).(*gotvm.Array)
					if !ok {
						t.Fatal("main has a parameter that is no tensor")
					}
					inputs[info.Name] = x
				}
				compare := func(outputs []*gotvm.Array) {
					t.Helper()
					names, _ := call.Result.arrays()
					if len(outputs) != len(names) {
						t.Fatalf("%d outputs, want %d", len(outputs), len(names))
					}
					for i, name := range names {
						compareOutput(t, name, outputs[i], references[name], c.RTol, c.ATol)
					}
				}
				first := runSession(t, s, inputs)
				compare(first)
				for _, x := range inputs { // the session has copies
					must(0, x.CopyFromBytes(make([]byte, len(must(x.Bytes())))))
				}
				second := runSession(t, s, nil)
				compare(second)
				compare(first)
				runs++
			}
		})
	}
	if runs == 0 {
		t.Error("no model was run")
	}
}

func TestRelaxBinding(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "mlp")
	references := c.references(t)
	m := c.open(t, "bytecode")
	s := newTestSession(t, m)
	x, y := references["in:0.0"].array(t), newArray(t, []int64{1, 5}, make([]float32, 5))
	must(0, s.BindInput("x", x))
	must(0, s.BindOutput(0, y))
	if got := runSession(t, s, nil); !slices.Equal(got, []*gotvm.Array{y}) {
		t.Errorf("Run returned %v, want the bound array", got)
	}
	compareOutput(t, "out:0", y, references["out:0"], c.RTol, c.ATol)
	must(0, x.CopyFromBytes(references["in:1.0"].data))
	_ = x.Close() // the session keeps its memory
	runtime.GC()
	runSession(t, s, nil)
	compareOutput(t, "out:1", y, references["out:1"], c.RTol, c.ATol)

	must(0, s.BindInput("x", nil))
	_, err := s.Run(context.Background(), nil)
	expectError(t, err, gotvm.ErrInvalidArgument, `input "x" was never set`)
	s = newTestSession(t, c.open(t, "compiled"))
	must(0, s.BindOutput(1, y)) // how many outputs there are is known after a run
	_, err = s.Run(context.Background(), gotvm.Inputs{"x": references["in:0.0"].array(t)})
	expectError(t, err, gotvm.ErrInvalidArgument, "output 1 is bound", "1 output")
	expectError(t, s.BindOutput(-1, y), gotvm.ErrInvalidArgument, "output -1")
	expectError(t, s.BindInput("nobody", y), gotvm.ErrNotFound, `"nobody"`, `"x"`)
}

// Shapes that change from run to run, with and without a bound output.
func TestRelaxRunShapes(t *testing.T) {
	ctx := context.Background()
	c := relaxCaseNamed(t, "tvm0.27", "mlp_dynamic")
	references := c.references(t)
	s := newTestSession(t, c.open(t, "bytecode"))
	run := func(i int) *gotvm.Array {
		t.Helper()
		outputs := runSession(t, s, gotvm.Inputs{"x": references[fmt.Sprintf("in:%d.0", i)].array(t)})
		compareOutput(t, "output", outputs[0], references[fmt.Sprintf("out:%d", i)], c.RTol, c.ATol)
		return outputs[0]
	}
	for _, i := range []int{0, 0, 1, 1, 0, 2, 2} { // 1, 7 and 3 rows
		run(i)
	}
	y := newArray(t, []int64{7, 5}, make([]float32, 35))
	must(0, s.BindOutput(0, y))
	for range 3 {
		if run(1) != y {
			t.Error("the output is not the bound array")
		}
	}
	before := must(y.Bytes())
	_, err := s.Run(ctx, gotvm.Inputs{"x": references["in:2.0"].array(t)})
	expectError(t, err, gotvm.ErrInvalidArgument, "output 0", "float32 [7, 5]", "float32 [3, 5]")
	if !slices.Equal(must(y.Bytes()), before) {
		t.Error("a run that failed has changed the bound output")
	}
	run(1)
	must(0, s.BindOutput(0, nil))
	if run(1) == y || run(2) == y {
		t.Error("the output is still bound")
	}
}

// What Run makes of what main gives: one that returns the callback's own result, whatever that is.
func TestRelaxRunOfOtherResults(t *testing.T) {
	var result any
	register(t, "gotvm.test.add_one", func(...*gotvm.Value) (any, error) { return result, nil })
	s := newTestSession(t, relaxCaseNamed(t, "tvm0.27", "handed").open(t, "bytecode"))
	x := newArray(t, []int64{2, 3}, []float32{1, 2, 3, 4, 5, 6})
	inputs := gotvm.Inputs{"x": x}
	run := func() error { return second(s.Run(context.Background(), inputs)) }
	expectError(t, run(), gotvm.ErrInvalidArgument, "Run cannot return", "nil")
	for _, y := range []*gotvm.Array{nil, must(gotvm.Empty([]int64{2, 3}))} {
		must(0, s.BindOutput(0, y))
		result = x
		if got := must(runSession(t, s, inputs)[0].AsSlice()); !reflect.DeepEqual(got, []float32{1, 2, 3, 4, 5, 6}) {
			t.Errorf("an array: %v", got)
		}
		result = nil
		expectError(t, run(), gotvm.ErrInvalidArgument, "Run cannot return", "nil")
		result = 7
		expectError(t, run(), gotvm.ErrInvalidArgument, "Run cannot return", "int")
	}

	// Other types, shapes and numbers of arrays than the run before gave.
	must(0, s.BindOutput(0, nil))
	tuple, y := must(gotvm.GetGlobalFunction("ffi.Array")), newArray(t, []int64{2, 3, 1}, []float32{1, 2, 3, 4, 5, 6})
	for _, want := range [][]any{{y}, {x}, {newArray(t, []int64{2, 3}, make([]int32, 6))}, {x}, {x, y}, {x}, {x, y, x}} {
		result = invoke(t, tuple, want...)
		outputs := runSession(t, s, inputs)
		if len(outputs) != len(want) {
			t.Fatalf("%d outputs, want %d", len(outputs), len(want))
		}
		for i, output := range outputs {
			if output.String() != want[i].(*gotvm.Array).String() {
				t.Errorf("output %d of %d is %s, want %s", i, len(want), output, want[i])
			}
		}
	}

	// One that lies in part where another is copied to.
	view, shape := must(gotvm.GetGlobalFunction("runtime.TVMTensorCreateView")), invoke(t, must(gotvm.GetGlobalFunction("ffi.Shape")), 2, 3)
	z := must(gotvm.Empty([]int64{12}))
	at := func(first int) *gotvm.Array { return invoke(t, view, z, shape, "float32", 4*first).AsArray() }
	must(0, s.BindOutput(0, at(3)))
	for _, first := range []int{0, 6} { // one before, one behind
		result = invoke(t, tuple, x, x)
		runSession(t, s, inputs)
		result = invoke(t, tuple, x, at(first))
		expectError(t, run(), gotvm.ErrInvalidArgument, "output 0 is bound to memory that output 1 lies in before it is copied")
	}
	must(0, s.BindOutput(0, at(0)))
	runSession(t, s, inputs) // next to each other
}

// A main that gives nothing, which is an empty tuple.
func TestRelaxRunWithoutResult(t *testing.T) {
	calls := 0
	register(t, "gotvm.test.add_one", func(...*gotvm.Value) (any, error) { calls++; return nil, nil })
	s := newTestSession(t, relaxCaseNamed(t, "tvm0.27", "silent").open(t, "bytecode"))
	for range 2 {
		if outputs := runSession(t, s, gotvm.Inputs{"x": must(gotvm.Empty([]int64{2, 3}))}); len(outputs) != 0 {
			t.Errorf("outputs %v", outputs)
		}
	}
	if calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
}
