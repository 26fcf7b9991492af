package gotvm_test

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// use makes and uses one of everything, and closes nothing.
func use(t *testing.T, i int) {
	x := newArray(t, []int64{4}, []float32{1, 2, 3, 4})
	m := load(t, library)
	invoke(t, function(t, m, "myadd"), x, x, x)
	f := convert(t, func(args ...*gotvm.Value) (any, error) {
		if args[0].AsInt64()%3 == 0 {
			return nil, errors.New("no")
		}
		return []any{args[1], "a text of some length", gotvm.Callback(echo), args[2]}[args[0].AsInt64()%4], nil
	})
	if v, err := f.Invoke(i, x, m); err == nil && v.Kind() == gotvm.KindArray {
		if d := must(gotvm.DataOf[float32](v.AsArray())); d[3] != 8 {
			t.Error(d)
		}
	}
}

// What is dropped must be collected, down to the last reference in C.
func TestNothingLeaks(t *testing.T) {
	runtime.GC()
	before := gotvm.Live()
	for i := 0; i < 300; i++ {
		use(t, i)
	}
	eventually(t, "all is collected", func() bool {
		now := gotvm.Live()
		return now.Functions <= before.Functions && now.Modules <= before.Modules && now.Arrays <= before.Arrays &&
			now.Closures <= before.Closures && now.Errors <= before.Errors && now.Blocks <= before.Blocks
	})
}

// What is closed must be given back at once.
func TestCloseGivesBack(t *testing.T) {
	eventually(t, "no garbage of other tests", func() bool {
		a := gotvm.Live()
		runtime.GC()
		return a == gotvm.Live()
	})
	debug.SetGCPercent(-1)
	defer debug.SetGCPercent(100)
	before := gotvm.Live()
	f := convert(t, echo)
	for i := 0; i < 50; i++ {
		x := newArray(t, []int64{4}, make([]int8, 4))
		v, y := invoke(t, f, x), must(gotvm.Empty([]int64{4}, "int8"))
		must(0, x.CopyTo(y))
		for _, close := range []func() error{v.AsArray().Close, v.Close, x.Close, y.Close} {
			if err := close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	name := unique(t)
	must(0, errors.Join(f.Close(), gotvm.RegisterFunction(gotvm.Callback(echo), name), gotvm.RemoveFunction(name)))
	now := gotvm.Live()
	// The callback's own handles, which it did not close, remain.
	if now.Arrays > before.Arrays+50 || now.Closures > before.Closures || now.Functions > before.Functions {
		t.Errorf("before: %s; after: %s", before, now)
	}
}

// Memory of the runtime that unreachable handles keep makes the collector run.
func TestForeignMemoryIsCollected(t *testing.T) {
	needModels(t)
	executor := invoke(t, must(gotvm.GetGlobalFunction("tvm.graph_executor.create")), identityGraph(1<<20), load(t, library), int64(gotvm.KDLCPU), 0).AsModule()
	output := function(t, executor, "get_output")
	debug.SetGCPercent(-1)
	defer debug.SetGCPercent(100)
	const view, views = 4 << 20, 1000
	before := gotvm.ForeignBytes()
	for range views {
		invoke(t, output, 0)
		time.Sleep(10 * time.Microsecond) // for the cleanups, which another goroutine runs
	}
	for range 1000 {
		if gotvm.ForeignBytes()-before <= view*views/4 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d MiB more are held after views of %d MiB", (gotvm.ForeignBytes()-before)>>20, view*views>>20)
}

// A program that closes what it gets causes no collections, however large that is.
func TestClosedMemoryIsNotCollected(t *testing.T) {
	copied := must(gotvm.GetGlobalFunction("vm.builtin.to_device"))
	x := must(gotvm.Empty([]int64{70 << 20}, "uint8")) // more than what is not worth a collection
	debug.SetGCPercent(-1)
	defer debug.SetGCPercent(100)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		_ = invoke(t, copied, x, 1, 0).Close()
	}
	if runtime.ReadMemStats(&after); after.NumGC > before.NumGC+1 {
		t.Errorf("%d collections in 20 calls", after.NumGC-before.NumGC)
	}
}

// What a session keeps of Go's memory is pinned for as long as it does.
func TestBoundArraysArePinned(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	s := newTestSession(t, openCase(t, c))
	x, y := must(gotvm.Empty(c.Inputs[0].Shape)), must(gotvm.Empty(c.Outputs[0].Shape))
	before := settledHandles(t).Blocks
	must(0, errors.Join(s.BindInput(c.Inputs[0].Name, x), s.BindOutput(0, y), x.Close(), y.Close()))
	if n := gotvm.Live().Blocks - before; n != 2 {
		t.Errorf("%d arrays are pinned, want 2", n)
	}
	must(0, s.Close())
	if n := gotvm.Live().Blocks - before; n != 0 {
		t.Errorf("%d arrays are pinned after Close", n)
	}
}

// What runs and bindings replace is given back, and what there is at the end by Close, without the collector.
func TestSessionsGiveBack(t *testing.T) {
	var failure error
	given := must(gotvm.Empty([]int64{2, 3}))
	register(t, "gotvm.test.add_one", func(args ...*gotvm.Value) (any, error) {
		must(0, args[0].Close())
		return given, failure
	})
	use := func(m *gotvm.Model) {
		s := must(m.NewSession())
		info := m.Inputs()[0]
		x, y, z := must(gotvm.Empty(info.Shape, info.DType)), must(gotvm.Empty(info.Shape, info.DType)), must(gotvm.Empty(info.Shape, info.DType))
		run := func(inputs gotvm.Inputs, err error) {
			failure = err
			outputs, _ := s.Run(context.Background(), inputs)
			for _, output := range outputs {
				if output != z {
					must(0, output.Close())
				}
			}
		}
		for range 2 {
			run(gotvm.Inputs{"x": x}, nil)
		}
		run(nil, errRelax)
		must(0, errors.Join(s.BindInput("x", x), s.BindInput("x", y)))
		run(nil, nil)
		run(gotvm.Inputs{"x": x}, nil) // ends the binding
		must(0, errors.Join(s.BindInput("x", y), s.BindInput("x", nil), s.BindOutput(0, y), s.BindOutput(0, z)))
		run(gotvm.Inputs{"x": x}, nil)
		run(nil, errRelax)
		must(0, s.BindInput("x", y))
		if v, err := s.Call(context.Background(), "main", x); err == nil {
			must(0, v.Close())
		}
		must(0, errors.Join(s.Close(), x.Close(), y.Close(), z.Close()))
	}
	for what, m := range map[string]*gotvm.Model{
		"a graph":        stepModel(t, func() (int64, error) { return 7, failure }),
		"one result":     relaxCaseNamed(t, "tvm0.27", "handed").open(t, "bytecode"),
		"several, fixed": relaxCaseNamed(t, "tvm0.27", "same_memory").open(t, "bytecode"),
	} {
		use(m) // links functions
		before := settledHandles(t)
		percent := debug.SetGCPercent(-1)
		use(m)
		if now := gotvm.Live(); now != before {
			t.Errorf("%s: before: %s; after: %s", what, before, now)
		}
		debug.SetGCPercent(percent)
	}

	// A session at rest holds no outputs.
	s := newTestSession(t, relaxCaseNamed(t, "tvm0.27", "same_memory").open(t, "bytecode"))
	before := settledHandles(t).Arrays
	for range 2 {
		runSession(t, s, gotvm.Inputs{"x": given})
	}
	eventually(t, "only its copy of the input is left", func() bool { return gotvm.Live().Arrays == before+1 })
}

// Tuples and shapes that Call makes of its arguments hold nothing afterwards.
func TestCallGivesBack(t *testing.T) {
	c := relaxCaseNamed(t, "tvm0.27", "nested")
	s := newTestSession(t, c.open(t, "bytecode"))
	call := func(more ...any) error {
		x, y, z := newArray(t, []int64{2}, []float32{1, 2}), newArray(t, []int64{3}, []float32{3, 4, 5}), newArray(t, nil, []int64{6})
		defer func() { must(0, errors.Join(x.Close(), y.Close(), z.Close())) }()
		result, err := s.Call(context.Background(), "swap", append([]any{x, []any{y, z}}, more...))
		if err != nil {
			return err
		}
		for _, a := range must(result.Arrays()) {
			must(0, a.Close())
		}
		return result.Close()
	}
	must(0, call())
	debug.SetGCPercent(-1)
	defer debug.SetGCPercent(100)
	before := gotvm.Live()
	for range 20 {
		must(0, call())
		expectError(t, call([]int64{1, 2}), gotvm.ErrInvalidArgument, "swap")
		expectError(t, call(struct{}{}), gotvm.ErrInvalidArgument, "argument 0")
	}
	if now := gotvm.Live(); now != before {
		t.Errorf("before: %s; after: %s", before, now)
	}
}

// What fails gives back all that it had made.
func TestFailuresGiveBack(t *testing.T) {
	c, relax := zooCaseNamed(t, "tvm0.19", "dense"), relaxCaseNamed(t, "tvm0.27", "mlp_params")
	factory, files := c.path(c.Packages[0]), c.files()
	wrong := append(paramsHead("x", []int64{1}, 4), 0, 0, 0, 0)
	tuple, f := must(gotvm.GetGlobalFunction("ffi.Array")), convert(t, echo)
	before := settledHandles(t)
	debug.SetGCPercent(-1)
	defer debug.SetGCPercent(100)
	for what, fail := range map[string]func() error{
		"a factory with parameters": func() error { return second(gotvm.OpenFiles(gotvm.Files{Lib: factory, Params: files.Params})) },
		"an executable with text as parameters": func() error {
			return second(gotvm.OpenBytes(gotvm.Blobs{Lib: readFile(t, relax.path("model.so")), Params: []byte("text")}))
		},
		"a library without a graph": func() error { return second(gotvm.Open(library)) },
		"text as a graph":           func() error { return second(gotvm.OpenBytes(gotvm.Blobs{Lib: []byte("x"), Graph: []byte("text")})) },
		"no library": func() error {
			return second(gotvm.OpenFiles(gotvm.Files{Lib: "nowhere.so", Graph: files.Graph, Params: files.Params}))
		},
		"parameters for another graph": func() error {
			return second(gotvm.OpenBytes(gotvm.Blobs{Lib: []byte("x"), Graph: readFile(t, files.Graph), Params: append(paramsHead("p0", []int64{1}, 4), 0, 0, 0, 0)}))
		},
		"a session with wrong parameters": func() error {
			m := must(gotvm.OpenBytes(gotvm.Blobs{Lib: readFile(t, relax.path("model.so")), Params: wrong}))
			defer m.Close()
			return second(m.NewSession())
		},
		"an array of too little data": func() error { return second(gotvm.NewArray([]int64{2}, []int8{1})) },
		"arguments":                   func() error { return second(f.Invoke(gotvm.Callback(echo), "a long text", struct{}{})) },
		"a callback's result": func() error {
			g := convert(t, func(...*gotvm.Value) (any, error) { return []*gotvm.Value{nil, nil}, nil })
			defer g.Close()
			return second(g.Invoke(slices.Repeat([]any{[]byte("some long bytes")}, 9)...)) // of which one is copied
		},
		"a name in use": func() error { return gotvm.RegisterFunction(gotvm.Callback(echo), "ffi.Array") },
		"a tuple of more than arrays": func() error {
			x := must(gotvm.Empty([]int64{1}))
			v := invoke(t, tuple, x, f, x)
			defer func() { must(0, errors.Join(v.Close(), x.Close())) }()
			return second(v.Arrays())
		},
	} {
		if fail() == nil {
			t.Errorf("%s: no error", what)
		}
		now := gotvm.Live()
		if now != before {
			t.Errorf("%s: before: %s; after: %s", what, before, now)
		}
		before = now
	}
}

func TestGCStress(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	var wait sync.WaitGroup
	for g := 0; g < 4; g++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := 0; i < 100; i++ {
				use(t, i)
				if i%10 == g {
					runtime.GC()
				}
			}
		}()
	}
	wait.Wait()
}

// C must be able to keep an array that the program has long forgotten.
func TestRuntimeKeepsArray(t *testing.T) {
	name := unique(t)
	func() {
		var kept *gotvm.Value
		register(t, name, func(args ...*gotvm.Value) (any, error) {
			if len(args) > 0 {
				kept = args[0]
				return nil, nil
			}
			return kept, nil
		})
	}()
	f := must(gotvm.GetGlobalFunction(name))
	func() {
		data := make([]int64, 4096)
		for i := range data {
			data[i] = int64(i)
		}
		x := newArray(t, []int64{4096}, data)
		invoke(t, f, x)
		_ = x.Close()
	}()
	for i := 0; i < 10; i++ {
		runtime.GC()
		must(gotvm.NewArray([]int64{4096}, make([]int64, 4096)))
	}
	for i, v := range must(gotvm.DataOf[int64](invoke(t, f).AsArray())) {
		if v != int64(i) {
			t.Fatalf("element %d is %d", i, v)
		}
	}
}

// The same where no value of Go's stands for it: C keeps the array itself, a view of its memory, one behind as many
// arguments in Go's memory as a call looks at, and one that a callback returned.
func TestRuntimeKeepsArrayAlone(t *testing.T) {
	needModels(t)
	tuple, view := must(gotvm.GetGlobalFunction("ffi.Array")), must(gotvm.GetGlobalFunction("runtime.TVMTensorCreateView"))
	shape := invoke(t, must(gotvm.GetGlobalFunction("ffi.Shape")), 8192)
	create := must(gotvm.GetGlobalFunction("tvm.graph_executor.create"))
	lib := must(gotvm.LoadModuleFromBytes("callpacked", readFile(t, libraryFile("callpacked.so"))))
	sevens := func() *gotvm.Array { return newArray(t, []int64{8192}, slices.Repeat([]float32{7}, 8192)) }
	inTuple := func(args ...any) func() *gotvm.Array {
		v := invoke(t, tuple, args...)
		return func() *gotvm.Array { items := must(v.Items()); return items[len(items)-1].AsArray() }
	}
	for what, keep := range map[string]func() func() *gotvm.Array{
		"the array": func() func() *gotvm.Array { return inTuple(sevens()) },
		"a view":    func() func() *gotvm.Array { return inTuple(invoke(t, view, sevens(), shape, "float32", 0)) },
		"behind": func() func() *gotvm.Array {
			return inTuple(append(slices.Repeat([]any{"a long text"}, 8), sevens())...)
		},
		"returned": func() func() *gotvm.Array {
			lookup := convert(t, func(...*gotvm.Value) (any, error) { return sevens(), nil })
			m := invoke(t, create, identityGraph(8192), lib, lookup, int64(gotvm.KDLCPU), 0).AsModule()
			return func() *gotvm.Array { return invoke(t, function(t, m, "get_output"), 0).AsArray() }
		},
	} {
		kept := keep()
		for range 10 {
			runtime.GC()
			must(gotvm.NewArray([]int64{8192}, make([]float32, 8192)))
		}
		for i, v := range must(gotvm.DataOf[float32](kept())) {
			if v != 7 {
				t.Fatalf("%s: element %d is %v", what, i, v)
			}
		}
	}
}

// Closing while others call must neither crash nor block: calls succeed, or say that it is closed.
func TestCloseDuringCalls(t *testing.T) {
	for round := 0; round < 50; round++ {
		f := convert(t, echo)
		x := newArray(t, []int64{64}, make([]float32, 64))
		var wait sync.WaitGroup
		start := make(chan struct{})
		for g := 0; g < 4; g++ {
			wait.Add(1)
			go func() {
				defer wait.Done()
				<-start
				for i := 0; i < 20; i++ {
					if v, err := f.Invoke(x); err != nil && !errors.Is(err, gotvm.ErrClosed) {
						t.Error(err)
					} else if err == nil && v.AsArray().GetShape()[0] != 64 {
						t.Error(v)
					}
					if _, err := x.Bytes(); err != nil && !errors.Is(err, gotvm.ErrClosed) {
						t.Error(err)
					}
				}
			}()
		}
		close(start)
		runtime.Gosched()
		for _, close := range []func() error{x.Close, f.Close} {
			if err := close(); err != nil {
				t.Error(err)
			}
		}
		wait.Wait()
	}
}

// A function may be closed by the callback that it is, and an input by the run that reads it.
func TestCloseInsideCall(t *testing.T) {
	var f *gotvm.Function
	f = convert(t, func(...*gotvm.Value) (any, error) { return nil, f.Close() })
	x := newArray(t, []int64{1}, []int64{1})
	s := newTestSession(t, stepModel(t, func() (int64, error) { return 7, x.Close() }))
	debug.SetGCPercent(-1)
	defer debug.SetGCPercent(100)
	before := gotvm.Live()
	invoke(t, f)
	outputs := runSession(t, s, gotvm.Inputs{"x": x})
	if after := gotvm.Live(); after.Functions >= before.Functions || after.Arrays >= before.Arrays+int64(len(outputs)) {
		t.Errorf("before: %s; after: %s", before, after)
	}
	_, err := f.Invoke()
	wantError(t, err, gotvm.ErrClosed)
}
