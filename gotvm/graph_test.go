package gotvm_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// The ways of TVM's own API: everything is a function of a module.

// graphModule makes a graph executor, without parameters yet.
func graphModule(t *testing.T, c zooCase, create string) *gotvm.Module {
	t.Helper()
	f, err := gotvm.GetGlobalFunction(create)
	if err != nil {
		t.Fatal(err)
	}
	v := invoke(t, f, string(readFile(t, c.path("deploy.json"))), load(t, c.path("deploy.so")), int64(gotvm.KDLCPU), int64(0))
	m, err := v.Module()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func call(t *testing.T, m *gotvm.Module, name string, args ...any) *gotvm.Value {
	t.Helper()
	return invoke(t, function(t, m, name), args...)
}

func TestGraphModule(t *testing.T) {
	for _, c := range zooCases(t) {
		t.Run(c.Gen+"/"+c.Case, func(t *testing.T) {
			reference := readReference(t, c.path("reference.params"))
			for _, create := range []string{"tvm.graph_executor.create", "tvm.graph_runtime.create"} {
				m := graphModule(t, c, create)
				call(t, m, "load_params", readFile(t, c.path("deploy.params")))
				for name, input := range inputsOf(t, reference) {
					call(t, m, "set_input", name, input)
				}
				call(t, m, "run")
				if n := call(t, m, "get_num_outputs").AsInt64(); n != int64(len(c.Outputs)) {
					t.Fatalf("%d outputs, want %d", n, len(c.Outputs))
				}
				for i := range c.Outputs {
					want := reference[fmt.Sprintf("out:%d", i)]
					output := call(t, m, "get_output", i).AsArray()
					compareOutput(t, fmt.Sprintf("get_output(%d)", i), output, want, c.RTol, c.ATol)
					own := want.array(t)
					if err := own.CopyFromBytes(make([]byte, len(want.data))); err != nil {
						t.Fatal(err)
					}
					call(t, m, "get_output", i, own)
					compareOutput(t, fmt.Sprintf("get_output(%d, array)", i), own, want, c.RTol, c.ATol)
				}
			}
		})
	}
}

func TestGraphModuleErrors(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	m := graphModule(t, c, "tvm.graph_executor.create")
	input := c.Inputs[0]
	x := must(gotvm.Empty(input.Shape, input.DType))
	set := function(t, m, "set_input")
	_, err := set.Invoke("no_such_input", x)
	wantError(t, err, nil, `call "set_input"`, "no_such_input")
	_, err = set.Invoke(input.Name, must(gotvm.Empty([]int64{1, 1}, input.DType)))
	wantError(t, err, gotvm.ErrInvalidArgument, input.Name, fmt.Sprint(input.Shape[len(input.Shape)-1]), "[1, 1]")
	_, err = set.Invoke(input.Name, must(gotvm.Empty(input.Shape, "int8")))
	wantError(t, err, gotvm.ErrInvalidArgument, input.Name, "int8", input.DType)
	_, err = function(t, m, "get_output").Invoke(99)
	wantError(t, err, gotvm.ErrInvalidArgument, "99")
	_, err = function(t, m, "load_params").Invoke([]byte("no parameters at all"))
	wantError(t, err, gotvm.ErrFormat)
	_, err = m.GetFunction("no_such_method")
	wantError(t, err, gotvm.ErrNotFound, "no_such_method")
	create := must(gotvm.GetGlobalFunction("tvm.graph_executor.create"))
	_, err = create.Invoke("{", load(t, c.path("deploy.so")), 1, 0)
	wantError(t, err, gotvm.ErrFormat)
	_, err = create.Invoke(string(readFile(t, c.path("deploy.json"))), load(t, c.path("deploy.so")), int64(gotvm.KDLCUDA), 0)
	wantError(t, err, nil, "cuda(0)")
}

// One module for each goroutine, all of one library.
func TestGraphModulesConcurrently(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "conv")
	reference := readReference(t, c.path("reference.params"))
	params := readFile(t, c.path("deploy.params"))
	var wait sync.WaitGroup
	for g := 0; g < 4; g++ {
		m := graphModule(t, c, "tvm.graph_executor.create")
		wait.Add(1)
		go func() {
			defer wait.Done()
			defer m.Close()
			call(t, m, "load_params", params)
			for i := 0; i < 20; i++ {
				for name, input := range inputsOf(t, reference) {
					call(t, m, "set_input", name, input)
				}
				call(t, m, "run")
				compareOutput(t, "output", call(t, m, "get_output", 0).AsArray(), reference["out:0"], c.RTol, c.ATol)
			}
		}()
	}
	wait.Wait()
}

// What a graph module gave stays readable when the module is gone.
func TestOutputOutlivesModule(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	reference := readReference(t, c.path("reference.params"))
	m := graphModule(t, c, "tvm.graph_executor.create")
	call(t, m, "load_params", readFile(t, c.path("deploy.params")))
	for name, input := range inputsOf(t, reference) {
		call(t, m, "set_input", name, input)
	}
	call(t, m, "run")
	output := call(t, m, "get_output", 0).AsArray()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	compareOutput(t, "output", output, reference["out:0"], c.RTol, c.ATol)
}

// Bound arrays belong to the graph module as long as they are bound, whatever the program does.
func TestZeroCopyKeepsArrays(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	reference := readReference(t, c.path("reference.params"))
	m := graphModule(t, c, "tvm.graph_executor.create")
	call(t, m, "load_params", readFile(t, c.path("deploy.params")))
	func() {
		for name, input := range inputsOf(t, reference) {
			call(t, m, "set_input_zero_copy", name, input)
		}
	}()
	for i := 0; i < 5; i++ {
		eventually(t, "a collection", func() bool { return true })
		must(gotvm.NewArray([]int64{1 << 16}, make([]float32, 1<<16)))
		call(t, m, "run")
		compareOutput(t, "output", call(t, m, "get_output", 0).AsArray(), reference["out:0"], c.RTol, c.ATol)
	}
}

// Bool elements have other codes in classic compiled code than in arrays.
func TestBoolThroughBothABIs(t *testing.T) {
	for _, gen := range []string{"tvm0.19", "tvm0.9"} {
		c := zooCaseNamed(t, gen, "bool")
		reference := readReference(t, c.path("reference.params"))
		m := graphModule(t, c, "tvm.graph_executor.create")
		for name, input := range inputsOf(t, reference) {
			if input.GetDType() == "bool" {
				values, ok := must(input.AsSlice()).([]bool)
				if !ok {
					t.Fatalf("%s holds %T", name, values)
				}
				input = newArray(t, input.GetShape(), values)
				input = invoke(t, convert(t, echo), input).AsArray() // by way of a packed function
			}
			call(t, m, "set_input", name, input)
		}
		call(t, m, "run")
		found := false
		for i := range c.Outputs {
			output := call(t, m, "get_output", i).AsArray()
			compareOutput(t, fmt.Sprint(i), output, reference[fmt.Sprintf("out:%d", i)], 0, 0)
			if output.GetDType() == "bool" {
				found = true
				if !reflect.DeepEqual(must(output.AsSlice()), must(gotvm.DataOf[bool](output))) {
					t.Error("the view and the copy differ")
				}
			}
		}
		if !found {
			t.Error("no output is bool")
		}
	}
}

// A callback may run another model.
func TestModelInsideCallback(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	reference := readReference(t, c.path("reference.params"))
	m := graphModule(t, c, "tvm.graph_executor.create")
	call(t, m, "load_params", readFile(t, c.path("deploy.params")))
	f := callpacked(t, "call_ints", "test.ints", func(...*gotvm.Value) (any, error) {
		for name, input := range inputsOf(t, reference) {
			if _, err := must(m.GetFunction("set_input")).Invoke(name, input); err != nil {
				return nil, err
			}
		}
		if _, err := must(m.GetFunction("run")).Invoke(); err != nil {
			return nil, err
		}
		return 7, nil
	})
	out := must(gotvm.Empty([]int64{1}, "int64"))
	invoke(t, f, out)
	if v := must(gotvm.DataOf[int64](out)); v[0] != 7 {
		t.Error(v)
	}
	compareOutput(t, "output", call(t, m, "get_output", 0).AsArray(), reference["out:0"], c.RTol, c.ATol)
}

func TestLibraryThatIsMissing(t *testing.T) {
	_, err := gotvm.LoadModuleFromFile(t.TempDir() + "/none.so")
	wantError(t, err, gotvm.ErrNotFound, "none.so")
	if errors.Is(err, os.ErrInvalid) {
		t.Error(err)
	}
}

// get_input_info and get_output_info give maps, which TVM's runtime.Map… functions read.
func TestGraphInfo(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "conv")
	m := must(gotvm.LoadModuleFromFile(c.path("deploy.so")))
	blobs := readBlobs(t, c.files())
	executor := invoke(t, must(gotvm.GetGlobalFunction("tvm.graph_executor.create")), string(blobs.Graph), m, gotvm.KDLCPU, 0).AsModule()
	invoke(t, function(t, executor, "load_params"), blobs.Params)
	call := func(name string, args ...any) *gotvm.Value {
		return invoke(t, must(gotvm.GetGlobalFunction(name)), args...)
	}
	for name, want := range map[string][]zooTensor{"get_input_info": c.Inputs, "get_output_info": c.Outputs} {
		info := invoke(t, function(t, executor, name))
		shapes, dtypes := call("runtime.MapGetItem", info, "shape"), call("runtime.MapGetItem", info, "dtype")
		if n := call("runtime.MapSize", shapes).AsInt64(); n != int64(len(want)) {
			t.Fatalf("%s has %d shapes, want %d", name, n, len(want))
		}
		if name == "get_output_info" {
			continue // names of nodes, which the manifest does not have
		}
		for _, input := range want {
			if dtype := call("runtime.MapGetItem", dtypes, input.Name).AsStr(); dtype != input.DType {
				t.Errorf("%s: %s is %s, want %s", name, input.Name, dtype, input.DType)
			}
			shape := call("runtime.MapGetItem", shapes, input.Name)
			if n := call("runtime.GetShapeTupleSize", shape).AsInt64(); n != int64(len(input.Shape)) {
				t.Fatalf("%s has %d dimensions, want %d", input.Name, n, len(input.Shape))
			}
			for i, dim := range input.Shape {
				if got := call("runtime.GetShapeTupleElem", shape, i).AsInt64(); got != dim {
					t.Errorf("%s: dimension %d is %d, want %d", input.Name, i, got, dim)
				}
			}
		}
		if call("runtime.MapCount", shapes, "nobody").AsInt64() != 0 {
			t.Error("the map counts a key that it has not")
		}
		_, err := must(gotvm.GetGlobalFunction("runtime.MapGetItem")).Invoke(shapes, "nobody")
		wantError(t, err, gotvm.ErrNotFound, "nobody")
	}
	outputs := invoke(t, function(t, executor, "run_from_inputs"), 1, 0, c.Inputs[0].Name,
		readReference(t, c.path("reference.params"))["in:"+c.Inputs[0].Name].array(t))
	if n := call("runtime.ArraySize", outputs).AsInt64(); n != int64(len(c.Outputs)) {
		t.Fatalf("%d outputs, want %d", n, len(c.Outputs))
	}
	compareOutput(t, "output 0", call("runtime.ArrayGetItem", outputs, 0).AsArray(), readReference(t, c.path("reference.params"))["out:0"], c.RTol, c.ATol)
	_, err := must(gotvm.GetGlobalFunction("runtime.ArrayGetItem")).Invoke(outputs, len(c.Outputs))
	wantError(t, err, gotvm.ErrInvalidArgument, "index")
}
