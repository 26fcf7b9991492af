// Command published is a program written for the Go binding that TVM published until 2025. The benchmarks build it
// twice: here, with gotvm in that binding's place, and with the binding itself.
package main

import (
	"errors"
	"os"

	"github.com/gotvm/gotvm/gotvm"
	"github.com/gotvm/gotvm/scripts/bench/harness"
)

func main() {
	mode, args := os.Args[1], os.Args[2:]
	switch mode {
	case "first": // PREFIX INPUT SHAPE OUTPUT OUTSHAPE
		m := open(args)
		m.run()
		out := harness.Must(gotvm.Empty(m.OutShape))
		invoke(m.function("get_output"), int64(0), out)
		harness.First(harness.Must(out.AsSlice()).([]float32))
	case "run": // …: requests "REPEAT NUMBER"
		m := open(args)
		harness.Serve(func(words []string) any { return harness.Times(words, m.run) })
	case "many": // …: requests "SESSIONS SECONDS"
		harness.Serve(func(words []string) any {
			return harness.Many(words, func() harness.Runner {
				return harness.Runner{Run: open(args).run, Close: func() {}}
			})
		})
	case "idle":
		m := open(args)
		harness.Serve(func([]string) any { return harness.Idle(m.run) })
	case "arrays":
		harness.Serve(func([]string) any {
			return harness.Arrays(func(shape []int64, data []float32) {
				harness.Check(harness.Must(gotvm.Empty(shape, "float32")).CopyFrom(data))
			})
		})
	case "calls": // LIBRARY: requests "NAME REPEAT NUMBER"
		harness.Serve(harness.Operations(calls(args[0])))
	default:
		harness.Check(errors.New("there is no mode " + mode))
	}
}

func invoke(f *gotvm.Function, args ...interface{}) *gotvm.Value {
	return harness.Must(f.Invoke(args...))
}

type model struct {
	*harness.Model
	graph *gotvm.Module
	run   func()
}

// open makes a graph module with its input set.
func open(args []string) model {
	m := model{Model: harness.Must(harness.ParseModel(args))}
	library := harness.Must(gotvm.LoadModuleFromFile(m.Lib))
	graph := harness.Must(os.ReadFile(m.Graph))
	create := harness.Must(gotvm.GetGlobalFunction("tvm.graph_executor.create"))
	m.graph = invoke(create, string(graph), library, int64(gotvm.KDLCPU), int64(0)).AsModule()
	invoke(m.function("load_params"), harness.Must(os.ReadFile(m.Params)))
	input := harness.Must(gotvm.Empty(m.Shape, "float32", gotvm.CPU(0)))
	harness.Check(input.CopyFrom(m.Data))
	invoke(m.function("set_input"), m.Input, input)
	run := m.function("run")
	m.run = func() { invoke(run) }
	return m
}

func (m model) function(name string) *gotvm.Function {
	return harness.Must(m.graph.GetFunction(name))
}

// Callbacks that capture nothing: those of the published binding cannot.

func add(args ...*gotvm.Value) (interface{}, error) {
	return args[0].AsInt64() + args[1].AsInt64(), nil
}

var failure = errors.New("failed")

func fail(...*gotvm.Value) (interface{}, error) {
	return nil, failure
}

func calls(library string) []harness.Operation {
	l := harness.Must(gotvm.LoadModuleFromFile(library))
	call := func(name string, args ...interface{}) harness.Operation {
		f := harness.Must(l.GetFunction(name))
		return harness.Operation{Name: name, Call: func() { invoke(f, args...) }}
	}
	x := harness.Must(gotvm.Empty([]int64{4}))
	picture := harness.Must(gotvm.Empty([]int64{1, 3, 224, 224}))
	addFunction := harness.Must(gotvm.ConvertFunction(add))
	failFunction := harness.Must(gotvm.ConvertFunction(fail))
	return []harness.Operation{
		call("no_arguments"),
		call("three_ints", 1, 2, 3),
		call("three_arrays", x, x, x),
		{Name: "callback", Call: func() { invoke(addFunction, 10, 20) }},
		{Name: "error", Call: func() {
			if _, err := failFunction.Invoke(); err == nil {
				harness.Check(errors.New("no error"))
			}
		}},
		{Name: "empty", Call: func() { harness.Must(gotvm.Empty([]int64{4})) }},
		{Name: "copy", Call: func() { harness.Must(picture.AsSlice()) }},
	}
}
