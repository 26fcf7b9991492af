package gotvm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

type customError struct{ code int }

func (e *customError) Error() string { return fmt.Sprintf("custom error %d", e.code) }

// nilPanics is an error whose Error method needs more than a nil pointer.
type nilPanics struct{ text string }

func (e *nilPanics) Error() string { return e.text }

// Compiled code calls global functions by name. Each of these holds for one test at a time.
func callpacked(t *testing.T, name, global string, fn gotvm.Callback) *gotvm.Function {
	t.Helper()
	needModels(t)
	register(t, global, fn)
	return function(t, must(gotvm.LoadModuleFromBytes("callpacked", readFile(t, libraryFile("callpacked.so")))), name)
}

func TestCompiledCodeCallsGo(t *testing.T) {
	var got []string
	f := callpacked(t, "call_ints", "test.ints", func(args ...*gotvm.Value) (any, error) {
		for _, a := range args {
			got = append(got, a.Kind().String()+" "+a.String())
		}
		return 41 + args[0].AsInt64(), nil
	})
	out := must(gotvm.Empty([]int64{1}, "int64"))
	invoke(t, f, out)
	if !reflect.DeepEqual(got, []string{"int 1", "float 2.5", "str text"}) {
		t.Errorf("%q", got)
	}
	if v := must(gotvm.DataOf[int64](out)); v[0] != 42 {
		t.Error(v)
	}
}

// An error must be the same at the caller, with compiled code in between.
func TestErrorThroughCompiledCode(t *testing.T) {
	failure := &customError{7}
	f := callpacked(t, "call_ints", "test.ints", func(...*gotvm.Value) (any, error) {
		return nil, fmt.Errorf("wrapped: %w", failure)
	})
	_, err := f.Invoke(must(gotvm.Empty([]int64{1}, "int64")))
	wantError(t, err, failure, `call "call_ints"`, "wrapped: custom error 7")
	var custom *customError
	if !errors.As(err, &custom) || custom != failure {
		t.Errorf("%#v", custom)
	}
	var e *gotvm.Error
	if !errors.As(err, &e) || e.Code != gotvm.CodeRuntime {
		t.Errorf("%#v", e)
	}
}

func TestErrorThroughManyCalls(t *testing.T) {
	failure := errors.New("at the bottom")
	f := convert(t, func(...*gotvm.Value) (any, error) { return nil, failure })
	for i := 0; i < 10; i++ {
		below := f
		f = convert(t, func(...*gotvm.Value) (any, error) { return below.Invoke() })
	}
	_, err := f.Invoke()
	wantError(t, err, failure, "at the bottom")
	if n := strings.Count(err.Error(), "gotvm: "); n != 1 {
		t.Errorf("%d prefixes in %q", n, err)
	}
	// Kinds travel too.
	_, err = convert(t, func(...*gotvm.Value) (any, error) { return gotvm.GetGlobalFunction("there.is.none") }).Invoke()
	wantError(t, err, gotvm.ErrNotFound)
	var e *gotvm.Error
	if !errors.As(err, &e) || e.Kind != "NotFoundError" {
		t.Errorf("%#v", e)
	}
	_, err = convert(t, func(...*gotvm.Value) (any, error) { return nil, &gotvm.Error{Kind: "MyError", Message: "mine"} }).Invoke()
	if !errors.As(err, &e) || e.Kind != "MyError" {
		t.Errorf("%#v", e)
	}
}

func TestPanic(t *testing.T) {
	failure := errors.New("the reason")
	for _, value := range []any{"text", failure, 7} {
		f := convert(t, func(...*gotvm.Value) (any, error) { panic(value) })
		_, err := f.Invoke()
		wantError(t, err, nil, "panic in callback", fmt.Sprint(value))
		var p *gotvm.PanicError
		if !errors.As(err, &p) || p.Value != value || !strings.Contains(string(p.Stack), "callback_test.go") {
			t.Errorf("%#v", p)
		}
		if errors.Is(err, failure) != (value == any(failure)) {
			t.Error(err)
		}
	}
	var index []int
	f := callpacked(t, "call_ints", "test.ints", func(args ...*gotvm.Value) (any, error) { return index[len(args)], nil })
	_, err := f.Invoke(must(gotvm.Empty([]int64{1}, "int64")))
	var p *gotvm.PanicError
	var bounds runtime.Error
	if !errors.As(err, &p) || !errors.As(err, &bounds) {
		t.Error(err)
	}
	// An error that cannot be printed must not end the program either.
	var none *nilPanics
	_, err = convert(t, func(...*gotvm.Value) (any, error) { return nil, none }).Invoke()
	wantError(t, err, none, "nilPanics")
}

// The tasks of a parallel loop call Go from threads that Go has not made.
func TestCallbackOnWorkers(t *testing.T) {
	t.Setenv("TVM_NUM_THREADS", "4")
	var mu sync.Mutex
	seen := map[int64]int{}
	f := callpacked(t, "call_parallel", "test.item", func(args ...*gotvm.Value) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		seen[args[0].AsInt64()]++
		return nil, nil
	})
	x := must(gotvm.Empty([]int64{4}))
	var wait sync.WaitGroup
	for g := 0; g < 4; g++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := 0; i < 25; i++ {
				if _, err := f.Invoke(x); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wait.Wait()
	for i := int64(0); i < 16; i++ {
		if seen[i] != 100 {
			t.Errorf("item %d came %d times", i, seen[i])
		}
	}
}

func TestErrorOnWorkers(t *testing.T) {
	failure := &customError{9}
	f := callpacked(t, "call_parallel", "test.item", func(args ...*gotvm.Value) (any, error) {
		if args[0].AsInt64()%4 == 3 {
			return nil, failure
		}
		return nil, nil
	})
	x := must(gotvm.Empty([]int64{4}))
	for i := 0; i < 50; i++ {
		_, err := f.Invoke(x)
		wantError(t, err, failure, "custom error 9")
	}
	eventually(t, "the errors are gone", func() bool { return gotvm.Live().Errors == 0 })
}

// Compiled code lends its tensor to the callback.
//
// (Returning one to compiled code is not tested here: it drops what such calls return, and leaks it.)
func TestBorrowedTensor(t *testing.T) {
	before := gotvm.Live().Blocks
	var kept, alias *gotvm.Array
	var value, missed *gotvm.Value
	var view []float32
	mode := "look"
	f := callpacked(t, "call_tensor", "test.tensor", func(args ...*gotvm.Value) (any, error) {
		switch mode {
		case "look":
			x := must(args[0].Array())
			defer x.Close()
			view = must(gotvm.DataOf[float32](x))
			view[0] *= 2 // the caller's memory
		case "keep":
			value = args[0]
			kept = args[0].AsArray()
			alias = invoke(t, convert(t, echo), kept).AsArray()
		case "tuple":
			value = invoke(t, must(gotvm.GetGlobalFunction("ffi.Array")), args[0])
		case "keep alone":
			kept = args[0].AsArray()
		case "miss":
			missed = args[0]
		case "pass on":
			return convert(t, func(args ...*gotvm.Value) (any, error) {
				missed = args[0]
				return args[0].AsArray().GetNdim(), nil
			}).Invoke(args[0], "behind")
		}
		return nil, nil
	})
	x := newArray(t, []int64{4}, []float32{1, 2, 3, 4})
	invoke(t, f, x)
	if v := must(gotvm.DataOf[float32](x)); v[0] != 2 {
		t.Error("a callback could not write to the tensor")
	}
	mode = "keep"
	invoke(t, f, x)
	must(gotvm.DataOf[float32](x))[1] = 99
	_ = x.Close()
	runtime.GC()
	if got := must(kept.AsSlice()); !reflect.DeepEqual(got, []float32{2, 2, 3, 4}) {
		t.Error("a kept array changed with the caller's:", got)
	}
	if got := must(alias.AsSlice()); !reflect.DeepEqual(got, []float32{2, 2, 3, 4}) {
		t.Error("another array of the same tensor changed with the caller's:", got)
	}
	if got := must(gotvm.DataOf[float32](invoke(t, convert(t, echo), kept).AsArray())); got[3] != 4 {
		t.Error("a kept array cannot be passed on")
	}
	if value.AsArray() != kept {
		t.Error("AsArray gave two arrays")
	}
	x = newArray(t, []int64{4}, []float32{1, 2, 3, 4})
	mode = "tuple"
	invoke(t, f, x)
	must(gotvm.DataOf[float32](x))[0] = 99
	if got := must(must(value.Arrays())[0].AsSlice()); !reflect.DeepEqual(got, []float32{1, 2, 3, 4}) {
		t.Error("a tensor in a tuple changed with the caller's:", got)
	}
	x = newArray(t, []int64{4}, []float32{1, 2, 3, 4})
	mode = "keep alone"
	percent := debug.SetGCPercent(-1)
	arrays := gotvm.Live().Arrays
	invoke(t, f, x)
	if n := gotvm.Live().Arrays - arrays; n > 1 {
		t.Errorf("%d arrays for one that is kept", n)
	}
	debug.SetGCPercent(percent)
	for _, mode = range []string{"miss", "pass on"} {
		missed = nil
		invoke(t, f, x)
		if mode == "miss" {
			_, err := missed.Array()
			wantError(t, err, gotvm.ErrClosed, "over")
			_, err = convert(t, echo).Invoke(missed)
			wantError(t, err, gotvm.ErrClosed, "argument 0", "over")
		} else if must(gotvm.DataOf[float32](x))[0] = 99; must(gotvm.DataOf[float32](missed.AsArray()))[0] != 1 {
			t.Error("an array asked for in time was lost, or changed with the caller's")
		}
	}
	eventually(t, "borrowed arrays are given back", func() bool {
		kept, alias, value, missed, view = nil, nil, nil, nil, nil
		return gotvm.Live().Blocks <= before
	})
}

// A session would use the memory after the call: it takes a copy, or nothing.
func TestBorrowedTensorIsNotBound(t *testing.T) {
	needModels(t)
	graph := identityGraph(4)
	lib := must(gotvm.LoadModuleFromBytes("callpacked", readFile(t, libraryFile("callpacked.so"))))
	s := newTestSession(t, must(gotvm.OpenBytes(gotvm.Blobs{Lib: readFile(t, libraryFile("callpacked.so")), Graph: []byte(graph)})))
	create := must(gotvm.GetGlobalFunction("tvm.graph_executor.create"))
	executor := invoke(t, create, graph, lib, int64(gotvm.KDLCPU), 0).AsModule()
	var linked *gotvm.Module // its parameter is the lent tensor
	f := callpacked(t, "call_tensor", "test.tensor", func(args ...*gotvm.Value) (any, error) {
		x := args[0].AsArray()
		expectError(t, s.BindInput("x", x), gotvm.ErrInvalidArgument, "input 0 (x): the tensor's memory is lent for the time of a call")
		expectError(t, s.BindOutput(0, x), gotvm.ErrInvalidArgument, "output 0 (x): the tensor's memory is lent")
		_, err := function(t, executor, "set_input_zero_copy").Invoke("x", x)
		expectError(t, err, gotvm.ErrInvalidArgument, "set_input_zero_copy", "lent")
		lookup := convert(t, func(...*gotvm.Value) (any, error) { return x, nil })
		linked = invoke(t, create, graph, lib, lookup, int64(gotvm.KDLCPU), 0).AsModule()
		return nil, second(s.Run(context.Background(), gotvm.Inputs{"x": x}))
	})
	x := newArray(t, []int64{4}, []float32{1, 2, 3, 4})
	invoke(t, f, x)
	must(gotvm.DataOf[float32](x))[0] = 99
	if got := must(runSession(t, s, nil)[0].AsSlice()); !reflect.DeepEqual(got, []float32{1, 2, 3, 4}) {
		t.Error("the input changed with the caller's memory:", got)
	}
	if got := must(invoke(t, function(t, linked, "get_output"), 0).AsArray().AsSlice()); !reflect.DeepEqual(got, []float32{1, 2, 3, 4}) {
		t.Error("the linked parameter changed with the caller's memory:", got)
	}
}

// Arguments must stay what they are after the callback.
func TestArgumentsOutliveCallback(t *testing.T) {
	var kept []*gotvm.Value
	f := convert(t, func(args ...*gotvm.Value) (any, error) {
		kept = append(kept, args...)
		return nil, nil
	})
	func() {
		x := newArray(t, []int64{2}, []int32{5, 6})
		invoke(t, f, 1, "a long string of text", []byte("some long bytes"), x, gotvm.Callback(echo), load(t, library))
		_ = x.Close()
	}()
	_ = f.Close()
	for i := 0; i < 5; i++ {
		runtime.GC()
	}
	if kept[0].AsInt64() != 1 || kept[1].AsStr() != "a long string of text" || string(kept[2].AsBytes()) != "some long bytes" {
		t.Error(kept)
	}
	if v := must(gotvm.DataOf[int32](kept[3].AsArray())); v[1] != 6 {
		t.Error(v)
	}
	if invoke(t, kept[4].AsFunction(), 8).AsInt64() != 8 {
		t.Error("the closure is gone")
	}
	checkAdd(t, kept[5].AsModule())
}

func TestClosures(t *testing.T) {
	// Captured variables, closures that return closures, and calls of one that is running.
	base := int64(100)
	add := func(args ...*gotvm.Value) (any, error) {
		by := args[0].AsInt64()
		return func(args ...*gotvm.Value) (any, error) { return base + by + args[0].AsInt64(), nil }, nil
	}
	add5 := invoke(t, convert(t, add), 5).AsFunction()
	if got := invoke(t, add5, 1).AsInt64(); got != 106 {
		t.Error(got)
	}
	var factorial *gotvm.Function
	factorial = convert(t, func(args ...*gotvm.Value) (any, error) {
		n := args[0].AsInt64()
		if n <= 1 {
			return int64(1), nil
		}
		below, err := factorial.Invoke(n - 1)
		if err != nil {
			return nil, err
		}
		return n * below.AsInt64(), nil
	})
	if got := invoke(t, factorial, 20).AsInt64(); got != 2432902008176640000 {
		t.Error(got)
	}
	// Passed on as it came, more than once.
	twice := convert(t, func(args ...*gotvm.Value) (any, error) {
		f := args[0].AsFunction()
		first, err := f.Invoke(args[1:])
		if err != nil {
			return nil, err
		}
		return f.Invoke(first, args[2])
	})
	sum := func(args ...*gotvm.Value) (any, error) { return args[0].AsInt64() + args[1].AsInt64(), nil }
	if got := invoke(t, twice, sum, 1, 10).AsInt64(); got != 21 {
		t.Error(got)
	}
}

// Many closures at a time, from many goroutines: each must reach its own.
func TestClosuresAreNotMixedUp(t *testing.T) {
	var calls atomic.Int64
	apply := convert(t, func(args ...*gotvm.Value) (any, error) { return args[0].AsFunction().Invoke() })
	var wait sync.WaitGroup
	for g := 0; g < 8; g++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := 0; i < 150; i++ {
				want := int64(g*1000 + i)
				v, err := apply.Invoke(func(...*gotvm.Value) (any, error) {
					calls.Add(1)
					return want, nil
				})
				if err != nil || v.AsInt64() != want {
					t.Errorf("got %v %v, want %d", v, err, want)
				}
			}
		}()
	}
	wait.Wait()
	if calls.Load() != 8*150 {
		t.Error(calls.Load())
	}
}

// Errors that are nil inside of an interface, or whose methods panic, end the call and not the program.
func TestCallbackErrorsThatPanic(t *testing.T) {
	for name, fn := range map[string]gotvm.Callback{
		"nil Error":      func(...*gotvm.Value) (any, error) { var e *gotvm.Error; return nil, e },
		"nil PanicError": func(...*gotvm.Value) (any, error) { var e *gotvm.PanicError; return nil, e },
		"joined nil":     func(...*gotvm.Value) (any, error) { var e *gotvm.Error; return nil, errors.Join(e) },
		"bad Unwrap":     func(...*gotvm.Value) (any, error) { return nil, badUnwrap{} },
		"panic with one": func(...*gotvm.Value) (any, error) { panic(badUnwrap{}) },
	} {
		if _, err := convert(t, fn).Invoke(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

type badUnwrap struct{}

func (badUnwrap) Error() string { return "bad" }
func (badUnwrap) Unwrap() error { panic("in Unwrap") }

// Callbacks that call each other without end give an error before the C stack is full.
func TestEndlessRecursion(t *testing.T) {
	var f *gotvm.Function
	f = convert(t, func(...*gotvm.Value) (any, error) { return f.Invoke() })
	_, err := f.Invoke()
	wantError(t, err, nil, "nested")
}

// All ways to return a tensor that is lent for the call. The operator, as compiled code does, drops
// what a packed function returned without releasing it.
func TestBorrowedTensorIsReturned(t *testing.T) {
	var back func(args []*gotvm.Value) any
	f := callpacked(t, "call_tensor", "test.tensor", func(args ...*gotvm.Value) (any, error) { return back(args), nil })
	for what, fn := range map[string]func(args []*gotvm.Value) any{
		"pointer": func(args []*gotvm.Value) any { return args[0] },
		"value":   func(args []*gotvm.Value) any { return *args[0] },
		"slice":   func(args []*gotvm.Value) any { return args[:1] },
		"array":   func(args []*gotvm.Value) any { return args[0].AsArray() },
	} {
		back = fn
		if _, err := f.Invoke(newArray(t, []int64{4}, []float32{1, 2, 3, 4})); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A nil pointer of a type of error, returned as an error: its methods panic, but nothing else does.
func TestTypedNilErrorOfCallback(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	fail := func() error { var err *fs.PathError; return err }
	registerAddOne(t, func(...*gotvm.Value) (any, error) { return nil, fail() })
	relax := newTestSession(t, relaxCaseNamed(t, "tvm0.27", "callback").open(t, "bytecode"))
	graph := newTestSession(t, stepModel(t, func() (int64, error) { return 0, fail() }))
	x, y := must(gotvm.Empty([]int64{2, 3})), newArray(t, []int64{1}, []int64{1})
	for what, err := range map[string]error{
		"Invoke":      second(convert(t, func(...*gotvm.Value) (any, error) { return nil, fail() }).Invoke()),
		"Call":        second(relax.Call(ctx, "main", x)),
		"Run (Relax)": second(relax.Run(ctx, gotvm.Inputs{"x": x})),
		"Run":         second(graph.Run(ctx, gotvm.Inputs{"x": y})),
		"Profile":     second(graph.Profile(ctx)),
	} {
		if err == nil || !strings.Contains(err.Error(), "*fs.PathError, whose Error method panics") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
