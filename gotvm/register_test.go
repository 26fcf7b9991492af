package gotvm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// typed registers fn and gives it back as a packed function.
func typed(tb testing.TB, fn any) *gotvm.Function {
	tb.Helper()
	name := unique(tb)
	if err := gotvm.Register(name, fn); err != nil {
		tb.Fatal(err)
	}
	f := must(gotvm.GetGlobalFunction(name))
	if err := gotvm.RemoveFunction(name); err != nil {
		tb.Fatal(err)
	}
	return f
}

type (
	myBool    bool
	myInt8    int8
	myFloat   float32
	myText    string
	myBytes   []byte
	myVector  []float64
	myAny     any
	myClosure func(args ...*gotvm.Value) (any, error)
)

// same is a function that keeps its argument in got, which it also returns.
func same[T any](got *any) func(T) T {
	return func(x T) T {
		*got = x
		return x
	}
}

// What arrives for each type of parameter, and what a result of that type becomes.
func TestRegisterTypes(t *testing.T) {
	array := newArray(t, []int64{2, 3}, []float32{1, 2, 3, 4, 5, 6})
	half := []gotvm.Float16{gotvm.NewFloat16(0.5), gotvm.NewFloat16(-2)}
	bools := must(gotvm.Empty([]int64{3}, "bool"))
	if err := bools.CopyFromBytes([]byte{0, 1, 2}); err != nil {
		t.Fatal(err)
	}
	var got any
	for _, c := range []struct {
		fn   any
		arg  any
		want any
	}{
		{same[bool](&got), true, true},
		{same[bool](&got), 0, false},
		{same[bool](&got), -1, true},
		{same[myBool](&got), true, myBool(true)},
		{same[int](&got), -7, -7},
		{same[int](&got), true, 1},
		{same[int8](&got), -128, int8(-128)},
		{same[myInt8](&got), 127, myInt8(127)},
		{same[int16](&got), 32767, int16(32767)},
		{same[int32](&got), math.MinInt32, int32(math.MinInt32)},
		{same[int64](&got), math.MinInt64, int64(math.MinInt64)},
		{same[uint](&got), math.MaxInt64, uint(math.MaxInt64)},
		{same[uint8](&got), 255, uint8(255)},
		{same[uint16](&got), 65535, uint16(65535)},
		{same[uint32](&got), math.MaxUint32, uint32(math.MaxUint32)},
		{same[uint64](&got), 0, uint64(0)},
		{same[uintptr](&got), 9, uintptr(9)},
		{same[time.Duration](&got), time.Second, time.Second},
		{same[float32](&got), 1.5, float32(1.5)},
		{same[float32](&got), math.Inf(-1), float32(math.Inf(-1))},
		{same[float64](&got), math.Pi, math.Pi},
		{same[float64](&got), 3, 3.0},
		{same[myFloat](&got), 2.5, myFloat(2.5)},
		{same[string](&got), "a\x00b", "a\x00b"},
		{same[string](&got), []byte("bytes"), "bytes"},
		{same[myText](&got), "text", myText("text")},
		{same[[]byte](&got), []byte{0, 255}, []byte{0, 255}},
		{same[[]byte](&got), "text", []byte("text")},
		{same[myBytes](&got), "text", myBytes("text")},
		{same[[]byte](&got), newArray(t, []int64{2, 1}, []uint8{4, 5}), []byte{4, 5}},
		{same[[]float32](&got), array, []float32{1, 2, 3, 4, 5, 6}},
		{same[myVector](&got), newArray(t, []int64{2}, []float64{7, 8}), myVector{7, 8}},
		{same[[]myInt8](&got), newArray(t, []int64{1}, []int8{-1}), []myInt8{-1}},
		{same[[]int64](&got), newArray(t, []int64{}, []int64{11}), []int64{11}},
		{same[[]uint16](&got), newArray(t, []int64{0}, []uint16{}), []uint16{}},
		{same[[]gotvm.Float16](&got), newArray(t, []int64{2}, half), half},
		{same[[]gotvm.BFloat16](&got), newArray(t, []int64{1}, []gotvm.BFloat16{3}), []gotvm.BFloat16{3}},
		{same[[]bool](&got), bools, []bool{false, true, true}},
		{same[gotvm.Device](&got), gotvm.OpenCL(3), gotvm.OpenCL(3)},
		{same[any](&got), nil, nil},
		{same[any](&got), true, true},
		{same[any](&got), int8(4), int64(4)},
		{same[any](&got), float32(0.5), 0.5},
		{same[any](&got), "text", "text"},
		{same[any](&got), []byte("bytes"), []byte("bytes")},
		{same[any](&got), gotvm.CPU(1), gotvm.CPU(1)},
		{same[myAny](&got), 7, int64(7)},
	} {
		f := typed(t, c.fn)
		v := invoke(t, f, c.arg)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%T of %T %v got %T %v, want %T %v", c.fn, c.arg, c.arg, got, got, c.want, c.want)
		}
		// What it returned, as an argument of itself, is the same again: slices have become arrays.
		got = "nothing"
		invoke(t, f, v)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%T of its result, %s, got %T %v, want %T %v", c.fn, v, got, got, c.want, c.want)
		}
	}
	// Objects.
	module := load(t, library)
	for _, c := range []struct{ fn, arg any }{
		{same[*gotvm.Array](&got), array}, {same[*gotvm.Function](&got), convert(t, echo)}, {same[*gotvm.Module](&got), module},
		{same[any](&got), array}, {same[any](&got), convert(t, echo)}, {same[any](&got), module},
		{same[*gotvm.Value](&got), array}, {same[*gotvm.Value](&got), nil},
	} {
		v := invoke(t, typed(t, c.fn), c.arg)
		switch x := got.(type) {
		case *gotvm.Array:
			if elements := must(x.AsSlice()); !reflect.DeepEqual(elements, []float32{1, 2, 3, 4, 5, 6}) || v.Kind() != gotvm.KindArray {
				t.Errorf("%T got %v and returned %v", c.fn, elements, v)
			}
		case *gotvm.Function:
			if invoke(t, x, 5).AsInt64() != 5 || v.Kind() != gotvm.KindFunction {
				t.Errorf("%T got a function that does not work and returned %v", c.fn, v)
			}
		case *gotvm.Module:
			checkAdd(t, x)
			checkAdd(t, v.AsModule())
		case *gotvm.Value:
			if x.Kind() != v.Kind() {
				t.Errorf("%T got %s and returned %s", c.fn, x, v)
			}
		default:
			t.Errorf("%T got %T", c.fn, got)
		}
	}
}

// What takes part in no table: several parameters, none, variadic ones, and all forms of results.
func TestRegisterForms(t *testing.T) {
	failure := &customError{3}
	for _, c := range []struct {
		fn   any
		args []any
		want string // of the result
	}{
		{func() {}, nil, "nil"},
		{func() int { return 3 }, nil, "3"},
		{func() error { return nil }, nil, "nil"},
		{func() (string, error) { return "text", nil }, nil, "text"},
		{func() []byte { return []byte("four") }, nil, "4 bytes"},
		{func() []float32 { return []float32{1, 2} }, nil, "array [2] of float32 on cpu(0)"},
		{func() []int8 { return nil }, nil, "array [0] of int8 on cpu(0)"},
		{func() any { return []int16{1, 2, 3} }, nil, "array [3] of int16 on cpu(0)"},
		{func() any { return nil }, nil, "nil"},
		{func() *gotvm.Value { return nil }, nil, "nil"},
		{func() gotvm.Callback { return echo }, nil, "function"},
		{func(a int8, b float32, c string, d bool) string { return fmt.Sprint(a, b, c, d) }, []any{1, 2.5, "x", true}, "1 2.5xtrue"},
		{func(a ...int) int { return len(a) }, nil, "0"},
		{func(a ...int) string { return fmt.Sprint(a) }, []any{1, 2, 3}, "[1 2 3]"},
		{func(x string, a ...float64) string { return fmt.Sprint(x, a) }, []any{"x", 1, 2.5}, "x[1 2.5]"},
		{func(x string, a ...any) string { return fmt.Sprint(x, a) }, []any{"x", 1, nil, "y"}, "x[1 <nil> y]"},
		{func(a ...[]int32) string { return fmt.Sprint(a) }, []any{newArray(t, []int64{2}, []int32{1, 2})}, "[[1 2]]"},
		{func(a int64) int64 { return -a }, []any{5}, "-5"},
		{func(a, b int64) int64 { return a - b }, []any{5, 7}, "-2"},
		{func(a float64) float64 { return a / 2 }, []any{5}, "2.5"},
		{func(a, b float64) float64 { return a / b }, []any{1, 4}, "0.25"},
		{strings.ToUpper, []any{"text"}, "TEXT"},
		{math.Pow, []any{2, 10}, "1024"},
		{strings.Repeat, []any{"ab", 3}, "ababab"},
	} {
		if v := invoke(t, typed(t, c.fn), c.args...); v.String() != c.want {
			t.Errorf("%T of %v returned %s, want %s", c.fn, c.args, v, c.want)
		}
	}
	for _, fn := range []any{
		func() error { return failure },
		func() (int, error) { return 7, failure },
		func(...int) ([]int8, error) { return nil, fmt.Errorf("wrapped: %w", failure) },
	} {
		_, err := typed(t, fn).Invoke()
		wantError(t, err, failure, "custom error 3")
	}
	_, err := typed(t, func(x []int32) int32 { return x[9] }).Invoke(newArray(t, []int64{1}, []int32{1}))
	var p *gotvm.PanicError
	if !errors.As(err, &p) || !strings.Contains(string(p.Stack), "register_test.go") {
		t.Error(err)
	}
}

func TestRegisterRefusesTypes(t *testing.T) {
	var nothing func(int) int
	for _, c := range []struct {
		fn   any
		says string
	}{
		{nil, `expected a function, got <nil>`},
		{7, `expected a function, got int`},
		{nothing, `the function is nil`},
		{gotvm.Callback(nil), `the closure is nil`},
		{(*gotvm.Function)(nil), `the function is nil`},
		{func(a int, b map[string]int) {}, `parameter 1 of func(int, map[string]int) is of type map[string]int, which no value of TVM becomes`},
		{func(complex128) {}, `parameter 0 of func(complex128) is of type complex128, which no value of TVM becomes`},
		{func(context.Context) {}, `parameter 0 of func(context.Context) is of type context.Context, which no value of TVM becomes`},
		{func(io.Reader) {}, `parameter 0 of func(io.Reader) is of type io.Reader, which no value of TVM becomes`},
		{func(error) {}, `parameter 0 of func(error) is of type error, which no value of TVM becomes`},
		{func([]string) {}, `parameter 0 of func([]string) is of type []string, which no value of TVM becomes`},
		{func([]int) {}, `parameter 0 of func([]int) is of type []int, which no value of TVM becomes`},
		{func([][]float32) {}, `parameter 0 of func([][]float32) is of type [][]float32, which no value of TVM becomes`},
		{func([3]int8) {}, `parameter 0 of func([3]int8) is of type [3]int8, which no value of TVM becomes`},
		{func(*int) {}, `parameter 0 of func(*int) is of type *int, which no value of TVM becomes`},
		{func(gotvm.Value) {}, `parameter 0 of func(gotvm.Value) is of type gotvm.Value, which no value of TVM becomes`},
		{func(chan int) {}, `parameter 0 of func(chan int) is of type chan int, which no value of TVM becomes`},
		{func(func()) {}, `parameter 0 of func(func()) is of type func(), which no value of TVM becomes`},
		{func(int, ...chan int) {}, `parameter 1 of func(int, ...chan int) is of type chan int, which no value of TVM becomes`},
		{func() (int, int) { return 0, 0 }, `func() (int, int) returns 2 values: expected at most one, and an error after it`},
		{func() (int, int, error) { return 0, 0, nil }, `func() (int, int, error) returns 3 values: expected at most one, and an error after it`},
		{func() (error, error) { return nil, nil }, `result 0 of func() (error, error) is of type error, which becomes no value of TVM`},
		{func() map[string]int { return nil }, `result 0 of func() map[string]int is of type map[string]int, which becomes no value of TVM`},
		{func() (struct{}, error) { return struct{}{}, nil }, `result 0 of func() (struct {}, error) is of type struct {}, which becomes no value of TVM`},
		{func() *customError { return nil }, `result 0 of func() *gotvm_test.customError is of type *gotvm_test.customError, which becomes no value of TVM`},
	} {
		err := gotvm.Register("refused", c.fn)
		if want := `gotvm: register "refused": ` + c.says; err == nil || err.Error() != want {
			t.Errorf("%T: %v, want %s", c.fn, err, want)
		} else if !errors.Is(err, gotvm.ErrInvalidArgument) {
			t.Errorf("%T: %v is no ErrInvalidArgument", c.fn, err)
		}
	}
	_, err := gotvm.GetGlobalFunction("refused")
	wantError(t, err, gotvm.ErrNotFound)
}

func TestRegisterRefusesArguments(t *testing.T) {
	device := gotvm.CPU(0)
	array := newArray(t, []int64{2, 3}, make([]int32, 6))
	long := strings.Repeat("x", 300)
	called := func() { t.Error("a function was called with wrong arguments") }
	for _, c := range []struct {
		fn   any
		args []any
		says string
	}{
		{func() { called() }, []any{1}, `expected 0 arguments, got 1`},
		{func(int) { called() }, nil, `expected 1 argument, got 0`},
		{func(a, b int64) int64 { called(); return 0 }, []any{1}, `expected 2 arguments, got 1`},
		{func(a, b int64) int64 { called(); return 0 }, []any{1, 2, 3}, `expected 2 arguments, got 3`},
		{func(a int64) int64 { called(); return 0 }, nil, `expected 1 argument, got 0`},
		{func(int, string, ...int) { called() }, []any{1}, `expected at least 2 arguments, got 1`},
		{func(int, string) { called() }, []any{1, 2}, `argument 1: expected string, got int 2`},
		{func(a, b int64) int64 { called(); return 0 }, []any{"x", 2}, `argument 0: expected int64, got str "x"`},
		{func(a, b int64) int64 { called(); return 0 }, []any{1, 2.5}, `argument 1: expected int64, got float 2.5`},
		{func(a int64) int64 { called(); return 0 }, []any{nil}, `argument 0: expected int64, got nil`},
		{func(a float64) float64 { called(); return 0 }, []any{"1.5"}, `argument 0: expected float64, got str "1.5"`},
		{func(a string) string { called(); return "" }, []any{1}, `argument 0: expected string, got int 1`},
		{func(...string) { called() }, []any{"x", "y", device}, `argument 2: expected string, got device cpu(0)`},
		{func(int8) { called() }, []any{128}, `argument 0: int 128 is out of the range of int8`},
		{func(int8) { called() }, []any{-129}, `argument 0: int -129 is out of the range of int8`},
		{func(myInt8) { called() }, []any{1000}, `argument 0: int 1000 is out of the range of gotvm_test.myInt8`},
		{func(int16) { called() }, []any{1 << 15}, `argument 0: int 32768 is out of the range of int16`},
		{func(int32) { called() }, []any{1 << 31}, `argument 0: int 2147483648 is out of the range of int32`},
		{func(uint8) { called() }, []any{256}, `argument 0: int 256 is out of the range of uint8`},
		{func(uint16) { called() }, []any{1 << 16}, `argument 0: int 65536 is out of the range of uint16`},
		{func(uint32) { called() }, []any{1 << 32}, `argument 0: int 4294967296 is out of the range of uint32`},
		{func(uint64) { called() }, []any{-1}, `argument 0: int -1 is out of the range of uint64`},
		{func(float32) { called() }, []any{1e300}, `argument 0: float 1e+300 is out of the range of float32`},
		{func(bool) { called() }, []any{1.0}, `argument 0: expected bool, got float 1`},
		{func(bool) { called() }, []any{"true"}, `argument 0: expected bool, got str "true"`},
		{func(int) { called() }, []any{long}, `argument 0: expected int, got str "` + long[:200] + `"…`},
		{func([]byte) { called() }, []any{1}, `argument 0: expected []uint8, got int 1`},
		{func([]byte) { called() }, []any{array}, `argument 0: expected []uint8, got array [2, 3] of int32 on cpu(0)`},
		{func([]float32) { called() }, []any{array}, `argument 0: expected []float32, got array [2, 3] of int32 on cpu(0)`},
		{func([]float32) { called() }, []any{[]byte("raw data")}, `argument 0: expected []float32, got 8 bytes`},
		{func([]bool) { called() }, []any{nil}, `argument 0: expected []bool, got nil`},
		{func(*gotvm.Array) { called() }, []any{nil}, `argument 0: expected *gotvm.Array, got nil`},
		{func(*gotvm.Array) { called() }, []any{1}, `argument 0: expected *gotvm.Array, got int 1`},
		{func(*gotvm.Function) { called() }, []any{array}, `argument 0: expected *gotvm.Function, got array [2, 3] of int32 on cpu(0)`},
		{func(*gotvm.Module) { called() }, []any{convert(t, echo)}, `argument 0: expected *gotvm.Module, got function`},
		{func(gotvm.Device) { called() }, []any{1}, `argument 0: expected gotvm.Device, got int 1`},
		{func() uint64 { return math.MaxUint64 }, nil, `the callback's result: 18446744073709551615 is beyond the largest int64`},
		{func() *gotvm.Array { return nil }, nil, `the callback's result: the array is nil`},
		{func() any { return struct{}{} }, nil, `the callback's result: struct {} cannot be passed to a packed function`},
	} {
		f := typed(t, c.fn)
		name := strings.TrimPrefix(f.String(), "function ")
		_, err := f.Invoke(c.args...)
		if want := fmt.Sprintf("gotvm: call %q: %s", name, c.says); err == nil || err.Error() != want {
			t.Errorf("%T of %v: %v, want %s", c.fn, c.args, err, want)
		} else if !errors.Is(err, gotvm.ErrInvalidArgument) {
			t.Errorf("%T: %v is no ErrInvalidArgument", c.fn, err)
		}
	}
}

// A callback in the usual form is called without anything in between.
func TestRegisterCallbackDirectly(t *testing.T) {
	caller := ""
	plain := func(args ...*gotvm.Value) (any, error) {
		pc, _, _, _ := runtime.Caller(1)
		caller = runtime.FuncForPC(pc).Name()
		return len(args), nil
	}
	for _, fn := range []any{plain, myClosure(plain)} {
		caller = ""
		if invoke(t, typed(t, fn), 1, "two").AsInt64() != 2 {
			t.Error("wrong arguments")
		}
		if !strings.HasSuffix(caller, "gotvm.callSafely") {
			t.Errorf("%T was called by %s", fn, caller)
		}
	}
	// A function that is one already is registered as it is.
	if invoke(t, typed(t, convert(t, echo)), 4).AsInt64() != 4 {
		t.Error("a *Function does not work")
	}
}

func TestRegisterNames(t *testing.T) {
	name := unique(t)
	one := func() int { return 1 }
	if err := gotvm.Register(name, one); err != nil {
		t.Fatal(err)
	}
	wantError(t, gotvm.Register(name, func() int { return 2 }), gotvm.ErrInvalidArgument, name, "already")
	wantError(t, gotvm.Register("tvm.graph_executor.create", one), gotvm.ErrInvalidArgument, "already")
	wantError(t, gotvm.Register("", one), gotvm.ErrInvalidArgument, "the name is empty")
	wantError(t, gotvm.Register("a\x00b", one), gotvm.ErrInvalidArgument, "NUL")
	f := must(gotvm.GetGlobalFunction(name))
	if err := gotvm.RemoveFunction(name); err != nil {
		t.Fatal(err)
	}
	if err := gotvm.Register(name, func() int { return 2 }); err != nil {
		t.Fatal(err)
	}
	if invoke(t, f).AsInt64() != 1 || invoke(t, must(gotvm.GetGlobalFunction(name))).AsInt64() != 2 {
		t.Error("the functions of one name are mixed up")
	}
	wantError(t, gotvm.RemoveFunction(""), gotvm.ErrNotFound)
	if err := gotvm.RemoveFunction(name); err != nil {
		t.Fatal(err)
	}
}

// Compiled code calls typed functions: it passes scalars, and lends tensors.
func TestCompiledCodeCallsTypedFunctions(t *testing.T) {
	needModels(t)
	m := must(gotvm.LoadModuleFromBytes("callpacked", readFile(t, libraryFile("callpacked.so"))))
	with := func(name string, fn any, call func()) {
		t.Helper()
		if err := gotvm.Register(name, fn); err != nil {
			t.Fatal(err)
		}
		call()
		if err := gotvm.RemoveFunction(name); err != nil {
			t.Fatal(err)
		}
	}
	ints, out := function(t, m, "call_ints"), must(gotvm.Empty([]int64{1}, "int64"))
	with("test.ints", func(a int8, b float32, c string) (int64, error) {
		if b != 2.5 || c != "text" {
			return 0, fmt.Errorf("got %v %v", b, c)
		}
		return int64(a) + 41, nil
	}, func() {
		invoke(t, ints, out)
		if v := must(gotvm.DataOf[int64](out)); v[0] != 42 {
			t.Error(v)
		}
	})
	x := newArray(t, []int64{4}, []float32{1, 2, 3, 4})
	// Each library links the function that it finds first, once: hence a new one.
	lend := func() *gotvm.Function {
		return function(t, must(gotvm.LoadModuleFromBytes("callpacked", readFile(t, libraryFile("callpacked.so")))), "call_tensor")
	}
	var kept []float32
	with("test.tensor", func(x []float32) { kept = x }, func() {
		f := lend()
		invoke(t, f, x)
		must(gotvm.DataOf[float32](x))[0] = 9
		if !reflect.DeepEqual(kept, []float32{1, 2, 3, 4}) {
			t.Error("the slice is no copy:", kept)
		}
	})
	with("test.tensor", func(x *gotvm.Array) error {
		defer x.Close()
		return x.CopyFrom([]float32{5, 6, 7, 8})
	}, func() {
		invoke(t, lend(), x)
		if v := must(gotvm.DataOf[float32](x)); v[3] != 8 {
			t.Error("a function could not write to a tensor that was lent to it:", v)
		}
	})
	with("test.tensor", func(x []int32) {}, func() {
		_, err := lend().Invoke(x)
		wantError(t, err, gotvm.ErrInvalidArgument,
			`gotvm: call "call_tensor": call "test.tensor": argument 0: expected []int32, got array [4] of float32 on cpu(0)`)
	})
}

func TestRegisteredFunctionsFromManyGoroutines(t *testing.T) {
	f := typed(t, func(g, i int, x []float64) (string, error) {
		if i%3 == 0 {
			return "", fmt.Errorf("no %d", g)
		}
		return fmt.Sprint(g, i, x), nil
	})
	x := newArray(t, []int64{1}, []float64{0.5})
	var wait sync.WaitGroup
	for g := range 8 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := range 200 {
				v, err := f.Invoke(g, i, x)
				if i%3 == 0 {
					if err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf("no %d", g)) {
						t.Error(err)
					}
				} else if err != nil || v.AsStr() != fmt.Sprintf("%d %d [0.5]", g, i) {
					t.Error(v, err)
				}
			}
		}()
	}
	wait.Wait()
}
