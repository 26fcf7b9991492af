// Command gotvm is gotvm's side of the benchmarks, with its own interface.
package main

// #include "empty.h"
// #cgo noescape bench_empty
// #cgo nocallback bench_empty
import "C"

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"

	"github.com/gotvm/gotvm/gotvm"
	"github.com/gotvm/gotvm/scripts/bench/harness"
)

func main() {
	mode, args := os.Args[1], os.Args[2:]
	switch mode {
	case "first": // PREFIX INPUT SHAPE OUTPUT OUTSHAPE
		first(args)
	case "run": // … THREADS: requests "REPEAT NUMBER"
		run := open(args).bound(threads(args[5])).Run
		harness.Serve(func(words []string) any { return harness.Times(words, run) })
	case "fresh": // … THREADS: likewise, with new outputs
		run := open(args).fresh(threads(args[5]))
		harness.Serve(func(words []string) any { return harness.Times(words, run) })
	case "many": // … THREADS: requests "SESSIONS SECONDS"
		m := open(args)
		harness.Serve(func(words []string) any {
			return harness.Many(words, func() harness.Runner { return m.bound(threads(args[5])) })
		})
	case "idle": // … THREADS
		run := open(args).bound(threads(args[5])).Run
		harness.Serve(func([]string) any { return harness.Idle(run) })
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

// threads is 0, the default, for "-".
func threads(arg string) int {
	if arg == "-" {
		return 0
	}
	return harness.Must(strconv.Atoi(arg))
}

type model struct {
	*harness.Model
	opened *gotvm.Model
}

// open opens the one file of a Relax executable, or the three of a graph.
func open(args []string) model {
	m := harness.Must(harness.ParseModel(args))
	if _, err := os.Stat(m.Graph); errors.Is(err, fs.ErrNotExist) {
		return model{m, harness.Must(gotvm.Open(m.Lib))}
	}
	return model{m, harness.Must(gotvm.OpenFiles(gotvm.Files{Lib: m.Lib, Graph: m.Graph, Params: m.Params}))}
}

// first prints the first result, by the shortest way.
func first(args []string) {
	m := open(args)
	session := harness.Must(m.opened.NewSession())
	input := harness.Must(gotvm.NewArray(m.Shape, m.Data))
	outputs := harness.Must(session.Run(context.Background(), gotvm.Inputs{m.Input: input}))
	harness.First(harness.Must(gotvm.DataOf[float32](outputs[0])))
}

// bound makes a session with bound input and output.
func (m model) bound(threads int) harness.Runner {
	session := harness.Must(m.opened.NewSession(gotvm.WithThreads(threads)))
	harness.Check(session.BindInput(m.Input, harness.Must(gotvm.NewArray(m.Shape, m.Data))))
	harness.Check(session.BindOutput(0, harness.Must(gotvm.Empty(m.OutShape, "float32"))))
	ctx := context.Background()
	return harness.Runner{
		Run: func() {
			if _, err := session.Run(ctx, nil); err != nil {
				harness.Check(err)
			}
		},
		Close: func() { harness.Check(session.Close()) },
	}
}

// fresh makes a session with a bound input, whose runs give new outputs.
func (m model) fresh(threads int) func() {
	session := harness.Must(m.opened.NewSession(gotvm.WithThreads(threads)))
	harness.Check(session.BindInput(m.Input, harness.Must(gotvm.NewArray(m.Shape, m.Data))))
	ctx := context.Background()
	return func() {
		outputs, err := session.Run(ctx, nil)
		if err != nil {
			harness.Check(err)
		}
		if err := outputs[0].Close(); err != nil {
			harness.Check(err)
		}
	}
}

// calls are the operations that published/calls.go has, and what is new here.
func calls(library string) []harness.Operation {
	l := harness.Must(gotvm.LoadModuleFromFile(library))
	call := func(name string, args ...any) harness.Operation {
		f := harness.Must(l.GetFunction(name))
		return harness.Operation{Name: name, Call: func() {
			if _, err := f.Invoke(args...); err != nil {
				harness.Check(err)
			}
		}}
	}
	x := harness.Must(gotvm.NewArray([]int64{4}, []float32{1, 2, 3, 4}))
	picture := harness.Must(gotvm.Empty([]int64{1, 3, 224, 224}))
	add := harness.Must(gotvm.ConvertFunction(func(args ...*gotvm.Value) (any, error) {
		return args[0].AsInt64() + args[1].AsInt64(), nil
	}))
	failure := errors.New("failed")
	fail := harness.Must(gotvm.ConvertFunction(func(...*gotvm.Value) (any, error) { return nil, failure }))
	return []harness.Operation{
		{Name: "crossing", Call: func() { C.bench_empty() }},
		call("no_arguments"),
		call("three_ints", 1, 2, 3),
		call("three_arrays", x, x, x),
		{Name: "callback", Call: func() { harness.Must(add.Invoke(10, 20)) }},
		{Name: "error", Call: func() {
			if _, err := fail.Invoke(); !errors.Is(err, failure) {
				harness.Check(err)
			}
		}},
		{Name: "empty", Call: func() { harness.Check(harness.Must(gotvm.Empty([]int64{4})).Close()) }},
		{Name: "copy", Call: func() { harness.Must(picture.AsSlice()) }},
		{Name: "view", Call: func() { harness.Must(gotvm.DataOf[float32](picture)) }},
	}
}
