package gotvm_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

func TestVersions(t *testing.T) {
	if gotvm.TVMVersion != "0.19.0" || gotvm.DLPackVersion <= 0 {
		t.Error(gotvm.TVMVersion, gotvm.DLPackVersion)
	}
}

// Every kind of argument must arrive as what it is, and come back the same.
func TestArgumentKinds(t *testing.T) {
	type myInt int16
	type myFloat float32
	type myText string
	type myBytes []byte
	type myFunc func(args ...*gotvm.Value) (any, error)
	long := strings.Repeat("long text ", 100)
	bytesArgument := gotvm.ByteArray("byte array")
	f := convert(t, echo)
	for _, c := range []struct {
		arg  any
		kind gotvm.Kind
		want any
	}{
		{nil, gotvm.KindNil, nil},
		{true, gotvm.KindBool, true},
		{false, gotvm.KindBool, false},
		{int(-7), gotvm.KindInt, int64(-7)},
		{int8(-128), gotvm.KindInt, int64(-128)},
		{int16(-32768), gotvm.KindInt, int64(-32768)},
		{int32(math.MinInt32), gotvm.KindInt, int64(math.MinInt32)},
		{int64(math.MinInt64), gotvm.KindInt, int64(math.MinInt64)},
		{uint(7), gotvm.KindInt, int64(7)},
		{uint8(255), gotvm.KindInt, int64(255)},
		{uint16(65535), gotvm.KindInt, int64(65535)},
		{uint32(math.MaxUint32), gotvm.KindInt, int64(math.MaxUint32)},
		{uint64(math.MaxInt64), gotvm.KindInt, int64(math.MaxInt64)},
		{uintptr(5), gotvm.KindInt, int64(5)},
		{myInt(3), gotvm.KindInt, int64(3)},
		{time.Second, gotvm.KindInt, int64(1e9)},
		{float32(1.5), gotvm.KindFloat, 1.5},
		{math.Pi, gotvm.KindFloat, math.Pi},
		{myFloat(2.5), gotvm.KindFloat, 2.5},
		{"", gotvm.KindStr, ""},
		{"seven b", gotvm.KindStr, "seven b"},
		{"eight by", gotvm.KindStr, "eight by"},
		{long, gotvm.KindStr, long},
		{"a\x00b", gotvm.KindStr, "a\x00b"},
		{"a longer\x00one\x00", gotvm.KindStr, "a longer\x00one\x00"},
		{"\xff\xfe not UTF-8", gotvm.KindStr, "\xff\xfe not UTF-8"},
		{myText("defined type"), gotvm.KindStr, "defined type"},
		{[]byte(nil), gotvm.KindBytes, []byte{}},
		{[]byte{0, 1, 2}, gotvm.KindBytes, []byte{0, 1, 2}},
		{[]byte(long), gotvm.KindBytes, []byte(long)},
		{myBytes("defined bytes"), gotvm.KindBytes, []byte("defined bytes")},
		{bytesArgument, gotvm.KindBytes, []byte("byte array")},
		{&bytesArgument, gotvm.KindBytes, []byte("byte array")},
		{gotvm.CPU(3), gotvm.KindDevice, gotvm.CPU(3)},
		{gotvm.OpenCL(-1), gotvm.KindDevice, gotvm.OpenCL(-1)},
		{must(gotvm.Empty([]int64{5})), gotvm.KindArray, nil},
		{load(t, library), gotvm.KindModule, nil},
		{f, gotvm.KindFunction, nil},
		{gotvm.Callback(echo), gotvm.KindFunction, nil},
		{myFunc(echo), gotvm.KindFunction, nil},
	} {
		for _, arg := range []any{c.arg, invoke(t, f, c.arg), *invoke(t, f, c.arg), []*gotvm.Value{invoke(t, f, c.arg)}} {
			v := invoke(t, f, arg)
			if v.Kind() != c.kind {
				t.Errorf("%T %v came back as %s", c.arg, c.arg, v.Kind())
			}
			var got any
			switch c.want.(type) {
			case bool:
				got = must(v.Bool())
			case int64:
				got = must(v.Int64())
			case float64:
				got = must(v.Float64())
			case string:
				got = must(v.Str())
			case []byte:
				got = must(v.Bytes())
				if bytes.Equal(got.([]byte), c.want.([]byte)) {
					got = c.want
				}
			case gotvm.Device:
				got = must(v.Device())
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%T: put %v, got %v", c.arg, c.want, got)
			}
		}
	}
	if got := invoke(t, f, gotvm.Callback(echo)); invoke(t, got.AsFunction(), 9).AsInt64() != 9 {
		t.Error("a closure that came back does not work")
	}
}

func TestArgumentsRefused(t *testing.T) {
	f := convert(t, echo)
	var array *gotvm.Array
	var function *gotvm.Function
	var module *gotvm.Module
	var closure gotvm.Callback
	var data *gotvm.ByteArray
	for _, c := range []struct {
		arg  any
		says string
	}{
		{uint64(math.MaxInt64 + 1), "9223372036854775808"},
		{uint(math.MaxUint), "18446744073709551615"},
		{array, "array is nil"},
		{function, "function is nil"},
		{module, "module is nil"},
		{closure, "closure is nil"},
		{data, "byte array is nil"},
		{struct{ A int }{1}, "struct { A int }"},
		{[]int{1}, "[]int"},
		{map[string]int{}, "map[string]int"},
		{complex(1, 2), "complex128"},
		{func() {}, "func()"},
		{new(int), "*int"},
	} {
		_, err := f.Invoke(0, c.arg)
		wantError(t, err, gotvm.ErrInvalidArgument, "argument 1", c.says, "call ")
		// The same as a callback's result.
		_, err = convert(t, func(...*gotvm.Value) (any, error) { return c.arg, nil }).Invoke()
		wantError(t, err, gotvm.ErrInvalidArgument, c.says, "result")
	}
	_, err := convert(t, func(args ...*gotvm.Value) (any, error) { return args, nil }).Invoke(1, 2)
	wantError(t, err, gotvm.ErrInvalidArgument, "2 values")
}

// More arguments, and more text, than any fixed buffer holds.
func TestManyArguments(t *testing.T) {
	f := convert(t, func(args ...*gotvm.Value) (any, error) {
		var all []string
		for _, a := range args {
			all = append(all, a.String())
		}
		return strings.Join(all, ","), nil
	})
	for n := 0; n < 40; n++ {
		var args []any
		var want []string
		for i := 0; i < n; i++ {
			s := fmt.Sprintf("text number %d", i)
			args, want = append(args, s, i), append(want, s, fmt.Sprint(i))
		}
		if got := invoke(t, f, args...).AsStr(); got != strings.Join(want, ",") {
			t.Fatalf("%d: %s", n, got)
		}
	}
	values := []*gotvm.Value{invoke(t, f, 1), nil, invoke(t, f, "x")}
	if got := invoke(t, f, 0, values, "end", values[2:], []*gotvm.Value{}).AsStr(); got != "0,1,nil,x,end,x" {
		t.Error(got)
	}
}

func TestAccessorMismatch(t *testing.T) {
	f := convert(t, echo)
	values := map[string]*gotvm.Value{
		"int": invoke(t, f, 7), "float": invoke(t, f, 7.5), "str": invoke(t, f, "text"), "bytes": invoke(t, f, []byte("12345678")),
		"bool": invoke(t, f, true), "nil": invoke(t, f, nil), "array": invoke(t, f, must(gotvm.Empty([]int64{1}))),
		"function": invoke(t, f, f), "device": invoke(t, f, gotvm.CPU(1)), "module": invoke(t, f, load(t, library)),
	}
	accepts := map[string][]string{
		"Int64": {"int", "bool"}, "Float64": {"float", "int", "bool"}, "Bool": {"bool", "int"}, "Str": {"str", "bytes"},
		"Bytes": {"str", "bytes"}, "Array": {"array"}, "Function": {"function"}, "Module": {"module"}, "Device": {"device"}, "DType": {},
	}
	for kind, v := range values {
		if v.Kind().String() != kind {
			t.Errorf("%s is of kind %s", kind, v.Kind())
		}
		check := func(name string, isZero bool, err error) {
			ok := slices.Contains(accepts[name], kind)
			if ok != (err == nil) {
				t.Errorf("%s of %s: %v", name, kind, err)
			}
			if err != nil && !isZero {
				t.Errorf("%s of %s is not zero", name, kind)
			}
			if err != nil && (!errors.Is(err, gotvm.ErrInvalidArgument) || !strings.Contains(err.Error(), kind)) {
				t.Errorf("%s of %s: %v", name, kind, err)
			}
		}
		i, err := v.Int64()
		check("Int64", v.AsInt64() == 0 && i == 0, err)
		fl, err := v.Float64()
		check("Float64", v.AsFloat64() == 0 && fl == 0, err)
		b, err := v.Bool()
		check("Bool", !v.AsBool() && !b, err)
		s, err := v.Str()
		check("Str", v.AsStr() == "" && s == "", err)
		bs, err := v.Bytes()
		check("Bytes", v.AsBytes() == nil && bs == nil, err)
		a, err := v.Array()
		check("Array", v.AsArray() == nil && a == nil, err)
		fn, err := v.Function()
		check("Function", v.AsFunction() == nil && fn == nil, err)
		m, err := v.Module()
		check("Module", v.AsModule() == nil && m == nil, err)
		d, err := v.Device()
		check("Device", d == gotvm.Device{}, err)
		dt, err := v.DType()
		check("DType", dt == "", err)
		if v.IsNil() != (kind == "nil") || v.String() == "" {
			t.Error(kind, v)
		}
	}
	var none *gotvm.Value
	if !none.IsNil() || none.AsInt64() != 0 || none.AsStr() != "" || none.AsArray() != nil || none.String() != "nil" {
		t.Error("a nil *Value is not nil")
	}
	wantError(t, none.Close(), gotvm.ErrInvalidArgument)
	if s := gotvm.Kind(99).String(); s != "Kind(99)" {
		t.Error(s)
	}
}

func TestValueOwnership(t *testing.T) {
	f := convert(t, echo)
	// Closing a value closes what nobody took …
	v := invoke(t, f, must(gotvm.Empty([]int64{1})))
	for i := 0; i < 2; i++ {
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := v.AsArray().Bytes()
	wantError(t, err, gotvm.ErrClosed)
	// … and nothing else.
	v = invoke(t, f, f)
	g := v.AsFunction()
	if v.AsFunction() != g {
		t.Error("AsFunction gave two handles")
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if invoke(t, g, 3).AsInt64() != 3 {
		t.Error("the function does not work")
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = f.Invoke(v)
	wantError(t, err, gotvm.ErrClosed, "argument 0", "function")
}

func TestNilHandles(t *testing.T) {
	var f *gotvm.Function
	_, err := f.Invoke(1)
	wantError(t, err, gotvm.ErrInvalidArgument, "nil")
	wantError(t, f.Close(), gotvm.ErrInvalidArgument, "nil")
	var m *gotvm.Module
	_, err = m.GetFunction("f")
	wantError(t, err, gotvm.ErrInvalidArgument, "nil")
	wantError(t, m.Close(), gotvm.ErrInvalidArgument, "nil")
	// The zero values are no good either, but must not crash.
	_, err = invoke(t, convert(t, echo), 1).AsFunction().Invoke()
	wantError(t, err, gotvm.ErrInvalidArgument, "nil")
	_, err = (&gotvm.Function{}).Invoke()
	wantError(t, err, gotvm.ErrClosed)
	_, err = (&gotvm.Module{}).GetFunction("f")
	wantError(t, err, gotvm.ErrClosed)
	_, err = (&gotvm.Array{}).AsSlice()
	wantError(t, err, gotvm.ErrClosed)
	for _, close := range []func() error{(&gotvm.Function{}).Close, (&gotvm.Module{}).Close, (&gotvm.Array{}).Close} {
		if err := close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRegister(t *testing.T) {
	name := unique(t)
	register(t, name, echo)
	wantError(t, gotvm.RegisterFunction(gotvm.Callback(echo), name), gotvm.ErrInvalidArgument, name, "already", "register")
	names := must(gotvm.FuncListGlobalNames())
	if !slices.IsSorted(names) || !slices.Contains(names, name) || !slices.Contains(names, "tvm.graph_executor.create") {
		t.Errorf("%q", names)
	}
	f := must(gotvm.GetGlobalFunction(name))
	if invoke(t, f, "x").AsStr() != "x" {
		t.Error("it does not work")
	}
	second := unique(t)
	if err := gotvm.RegisterFunction(f, second); err != nil {
		t.Fatal(err)
	}
	if err := gotvm.RemoveFunction(second); err != nil {
		t.Fatal(err)
	}
	_, err := gotvm.GetGlobalFunction(second)
	wantError(t, err, gotvm.ErrNotFound, second)
	wantError(t, gotvm.RemoveFunction(second), gotvm.ErrNotFound, second)
	if invoke(t, f, "x").AsStr() != "x" {
		t.Error("it does not work any more")
	}
}

func sampleCallback(args ...*gotvm.Value) (any, error) { return int64(len(args)), nil }

func TestRegisterDefaultName(t *testing.T) {
	const name = "github.com/gotvm/gotvm/gotvm_test.sampleCallback"
	if err := gotvm.RegisterFunction(sampleCallback); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := gotvm.RemoveFunction(name); err != nil {
			t.Error(err)
		}
	}()
	if invoke(t, must(gotvm.GetGlobalFunction(name)), 1, 2).AsInt64() != 2 {
		t.Error("it does not work")
	}
}

func TestRegisterRefuses(t *testing.T) {
	for _, args := range [][]any{
		{}, {nil}, {1}, {gotvm.Callback(nil), "x"}, {gotvm.Callback(echo), 1}, {gotvm.Callback(echo), ""},
		{gotvm.Callback(echo), "a\x00b"}, {func() {}}, {(*gotvm.Function)(nil), "x"},
	} {
		wantError(t, gotvm.RegisterFunction(args...), gotvm.ErrInvalidArgument, "register")
		if len(args) < 2 {
			_, err := gotvm.ConvertFunction(args...)
			wantError(t, err, gotvm.ErrInvalidArgument, "convert")
		}
	}
	closed := convert(t, echo)
	_ = closed.Close()
	wantError(t, gotvm.RegisterFunction(closed, unique(t)), gotvm.ErrClosed)
	_, err := closed.Invoke()
	wantError(t, err, gotvm.ErrClosed, "function")
	_, err = gotvm.GetGlobalFunction("a\x00b")
	wantError(t, err, gotvm.ErrInvalidArgument, "NUL")
	wantError(t, gotvm.RemoveFunction("a\x00b"), gotvm.ErrInvalidArgument, "NUL")
}

// Each goroutine must see its own error.
func TestErrorsStayWithTheirGoroutine(t *testing.T) {
	f := convert(t, func(args ...*gotvm.Value) (any, error) {
		return nil, fmt.Errorf("error of %d", args[0].AsInt64())
	})
	var wait sync.WaitGroup
	for g := 0; g < 16; g++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := 0; i < 300; i++ {
				if _, err := f.Invoke(g); !strings.HasSuffix(err.Error(), fmt.Sprintf("error of %d", g)) {
					t.Errorf("goroutine %d got %v", g, err)
				}
			}
		}()
	}
	wait.Wait()
}

func TestErrorFields(t *testing.T) {
	_, err := gotvm.GetGlobalFunction("there.is.none")
	var e *gotvm.Error
	if !errors.As(err, &e) || e.Code != gotvm.CodeNotFound || e.Kind != "NotFoundError" || e.Op != `get function "there.is.none"` || e.Err != nil {
		t.Errorf("%#v", e)
	}
	if errors.Is(err, gotvm.ErrClosed) || errors.Is(err, nil) {
		t.Error("an error is found to be what it is not")
	}
	for code := gotvm.CodeRuntime; code <= gotvm.CodeClosed; code++ {
		if code.String() == "" {
			t.Errorf("code %d has no name", code)
		}
	}
	if s := (&gotvm.Error{Message: "m"}).Error(); s != "gotvm: m" {
		t.Error(s)
	}
}

// What is called many times a second makes no garbage.
func TestAllocationsOfCallsAndViews(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates too")
	}
	add := function(t, load(t, library), "myadd")
	x := must(gotvm.Empty([]int64{4}))
	if n := testing.AllocsPerRun(200, func() { invoke(t, add, x, x, x) }); n > 1 {
		t.Errorf("a call with 3 arrays: %v allocations", n)
	}
	if n := testing.AllocsPerRun(200, func() { must(gotvm.DataOf[float32](x)) }); n > 0 {
		t.Errorf("a typed view: %v allocations", n)
	}
}
