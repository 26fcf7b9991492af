package gotvm_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/gotvm/gotvm/gotvm"
)

// wantError checks that err is of a kind and that its text tells all that a reader needs.
func wantError(t *testing.T, err error, kind error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if kind != nil && !errors.Is(err, kind) {
		t.Errorf("%q is no %q", err, kind)
	}
	for _, part := range append(parts, "gotvm: ") {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestEmptyArguments(t *testing.T) {
	for _, c := range []struct {
		args   []any
		dtype  string
		device gotvm.Device
	}{
		{nil, "float32", gotvm.CPU(0)},
		{[]any{"int8"}, "int8", gotvm.CPU(0)},
		{[]any{gotvm.CPU(2)}, "float32", gotvm.CPU(2)},
		{[]any{"float16", gotvm.CPU(1)}, "float16", gotvm.CPU(1)},
		{[]any{gotvm.CPU(1), "bool"}, "bool", gotvm.CPU(1)},
		{[]any{gotvm.Context{DeviceType: gotvm.KDLCPU, DeviceID: 7}}, "float32", gotvm.CPU(7)},
		{[]any{"int8x4"}, "int8x4", gotvm.CPU(0)},
		{[]any{"float8_e4m3fn"}, "float8_e4m3fn", gotvm.CPU(0)},
	} {
		x, err := gotvm.Empty([]int64{2, 3}, c.args...)
		if err != nil {
			t.Errorf("%v: %v", c.args, err)
			continue
		}
		if x.GetDType() != c.dtype || x.GetDevice() != c.device || x.GetCtx() != c.device {
			t.Errorf("%v: got %s", c.args, x)
		}
		if x.GetNdim() != 2 || !reflect.DeepEqual(x.GetShape(), []int64{2, 3}) {
			t.Errorf("%v: got %s", c.args, x)
		}
	}
}

func TestEmptyRefuses(t *testing.T) {
	for _, c := range []struct {
		shape []int64
		args  []any
		says  string
	}{
		{[]int64{}, nil, "no dimensions"},
		{nil, nil, "no dimensions"},
		{[]int64{2, -1}, nil, "[2, -1]"},
		{[]int64{1 << 32, 1 << 32}, nil, "larger than memory"},
		{[]int64{math.MaxInt64, 4}, nil, "larger than memory"},
		{[]int64{math.MaxInt64}, nil, "larger than memory"},
		{make([]int64, 65), nil, "65 dimensions"},
		{[]int64{1}, []any{"flaot32"}, "flaot32"},
		{[]int64{1}, []any{""}, "dtype"},
		{[]int64{1}, []any{3}, "argument 0: expected a dtype"},
		{[]int64{1}, []any{gotvm.CPU(-1)}, "cpu(-1)"},
		{[]int64{1}, []any{gotvm.CUDA(0)}, "cuda(0)"},
		{[]int64{1}, []any{gotvm.Device{DeviceType: 77, DeviceID: 1}}, "77(1)"},
		{[]int64{1}, []any{gotvm.Device{}}, "0(0)"},
	} {
		x, err := gotvm.Empty(c.shape, c.args...)
		if x != nil {
			t.Errorf("%v %v: got %s", c.shape, c.args, x)
		}
		wantError(t, err, gotvm.ErrInvalidArgument, c.says, "Empty")
	}
	_, err := gotvm.Empty([]int64{1 << 46}, "int8")
	wantError(t, err, gotvm.ErrMemory, "70368744177664")
}

// roundTrip takes data through an array by every way there is.
func roundTrip[T gotvm.Element](t *testing.T, dtype string, data []T) {
	t.Helper()
	x := must(gotvm.Empty([]int64{int64(len(data))}, dtype))
	if err := x.CopyFrom(data); err != nil {
		t.Fatal(err)
	}
	if got := must(x.AsSlice()); !reflect.DeepEqual(got, data) {
		t.Errorf("%s: put %T %v, got %T %v", dtype, data, data, got, got)
	}
	if got := must(gotvm.DataOf[T](x)); !reflect.DeepEqual(got, data) {
		t.Errorf("%s: put %v, the view shows %v", dtype, data, got)
	}
	y := newArray(t, []int64{int64(len(data)), 1}, data)
	if y.GetDType() != dtype {
		t.Errorf("an array of %T is of %s", data, y.GetDType())
	}
	raw := must(y.Bytes())
	if len(raw) != len(data)*int(unsafe.Sizeof(data[0])) {
		t.Errorf("%s: %d bytes", dtype, len(raw))
	}
	z := must(gotvm.Empty([]int64{1, int64(len(data))}, dtype))
	if err := z.CopyFromBytes(raw); err != nil {
		t.Fatal(err)
	}
	if err := z.CopyTo(x); err != nil {
		t.Fatal(err)
	}
	if got := must(x.AsSlice()); !reflect.DeepEqual(got, data) {
		t.Errorf("%s: put %v, got %v", dtype, data, got)
	}
}

func TestArrayRoundTrip(t *testing.T) {
	roundTrip(t, "int8", []int8{-128, 0, 127})
	roundTrip(t, "int16", []int16{math.MinInt16, 1})
	roundTrip(t, "int32", []int32{math.MinInt32, 1})
	roundTrip(t, "int64", []int64{math.MinInt64, 1})
	roundTrip(t, "uint8", []uint8{255, 1})
	roundTrip(t, "uint16", []uint16{65535, 1})
	roundTrip(t, "uint32", []uint32{math.MaxUint32, 1})
	roundTrip(t, "uint64", []uint64{math.MaxUint64, 1})
	roundTrip(t, "float32", []float32{1.5, float32(math.Inf(-1))})
	roundTrip(t, "float64", []float64{math.Pi, 0})
	roundTrip(t, "float16", []gotvm.Float16{gotvm.NewFloat16(0.5), gotvm.NewFloat16(-3)})
	roundTrip(t, "bfloat16", []gotvm.BFloat16{gotvm.NewBFloat16(0.5), gotvm.NewBFloat16(-3)})
	roundTrip(t, "bool", []bool{true, false, true})
}

func TestCopyFromRefuses(t *testing.T) {
	x := must(gotvm.Empty([]int64{1, 224, 224, 3}))
	wantError(t, x.CopyFrom([]float64{1}), gotvm.ErrInvalidArgument, "float32", "float64", "CopyFrom")
	wantError(t, x.CopyFrom([]int32{1}), gotvm.ErrInvalidArgument, "float32", "int32")
	wantError(t, x.CopyFrom("text"), gotvm.ErrInvalidArgument, "string")
	wantError(t, x.CopyFrom(nil), gotvm.ErrInvalidArgument)
	wantError(t, x.CopyFrom([]string{"a"}), gotvm.ErrInvalidArgument, "string")
	wantError(t, x.CopyFrom([]int{1}), gotvm.ErrInvalidArgument, "int")
	wantError(t, x.CopyFrom(make([]float32, 244*244*3)), gotvm.ErrInvalidArgument,
		"150528 elements", "602112 bytes", "178608 elements", "714432 bytes", "[1, 224, 224, 3]")
	wantError(t, x.CopyFrom([]float32{}), gotvm.ErrInvalidArgument, "0 elements")
	wantError(t, x.CopyFromBytes(make([]byte, 5)), gotvm.ErrInvalidArgument, "602112 bytes", "5 bytes")
	_, err := gotvm.NewArray([]int64{2, 2}, []int32{1})
	wantError(t, err, gotvm.ErrInvalidArgument, "4 elements (16 bytes)", "1 element (4 bytes)")
	_, err = gotvm.DataOf[int32](x)
	wantError(t, err, gotvm.ErrInvalidArgument, "float32", "int32")
	y := must(gotvm.Empty([]int64{2}))
	wantError(t, x.CopyTo(y), gotvm.ErrInvalidArgument, "602112", "8 bytes")
	wantError(t, y.CopyTo(must(gotvm.Empty([]int64{2}, "int32"))), gotvm.ErrInvalidArgument, "float32", "int32")
	half := must(gotvm.Empty([]int64{1}, "float16"))
	wantError(t, half.CopyFrom([]uint16{1}), gotvm.ErrInvalidArgument, "float16", "uint16")
	pair := must(gotvm.Empty([]int64{1}, "float32x2"))
	_, err = pair.AsSlice()
	wantError(t, err, gotvm.ErrUnsupported, "float32x2")
	if b := must(pair.Bytes()); len(b) != 8 {
		t.Error(len(b))
	}
}

func TestNamedSliceTypes(t *testing.T) {
	type pixel uint8
	x := must(gotvm.Empty([]int64{2}, "uint8"))
	if err := x.CopyFrom([]pixel{7, 8}); err != nil {
		t.Fatal(err)
	}
	if got := must(x.AsSlice()); !reflect.DeepEqual(got, []uint8{7, 8}) {
		t.Error(got)
	}
	type halves []gotvm.Float16
	h := must(gotvm.Empty([]int64{1}, "float16"))
	if err := h.CopyFrom(halves{gotvm.NewFloat16(1)}); err != nil {
		t.Error(err)
	}
}

func TestZeroSizeAndScalar(t *testing.T) {
	x := must(gotvm.Empty([]int64{0, 3}))
	if err := x.CopyFrom([]float32{}); err != nil {
		t.Error(err)
	}
	if s, ok := must(x.AsSlice()).([]float32); !ok || len(s) != 0 {
		t.Error(s)
	}
	if v := must(gotvm.DataOf[float32](x)); len(v) != 0 {
		t.Error(v)
	}
	if b := must(x.Bytes()); len(b) != 0 {
		t.Error(b)
	}
	if err := x.CopyTo(must(gotvm.Empty([]int64{7, 0}))); err != nil {
		t.Error(err)
	}
	huge, err := gotvm.Empty([]int64{1 << 40, 0})
	if err != nil || huge.GetShape()[0] != 1<<40 {
		t.Error(err)
	}
	s := newArray(t, []int64{}, []int64{42})
	if s.GetNdim() != 0 || len(s.GetShape()) != 0 {
		t.Error(s)
	}
	if v := must(gotvm.DataOf[int64](s)); len(v) != 1 || v[0] != 42 {
		t.Error(v)
	}
	f := convert(t, echo)
	if v := invoke(t, f, s); must(gotvm.DataOf[int64](v.AsArray()))[0] != 42 {
		t.Error("a scalar array did not come back")
	}
	if v := invoke(t, f, x); v.AsArray().GetShape()[1] != 3 {
		t.Error("an array without elements did not come back")
	}
}

func TestArrayAlignment(t *testing.T) {
	for n := int64(1); n < 70_000; n += n/3 + 1 {
		x := must(gotvm.Empty([]int64{n}, "uint8"))
		v := must(gotvm.DataOf[uint8](x))
		if address := uintptr(unsafe.Pointer(&v[0])); address%128 != 0 {
			t.Errorf("%d bytes lie at %#x", n, address)
		}
		for i, b := range v {
			if b != 0 {
				t.Fatalf("byte %d of %d is %d", i, n, b)
			}
		}
	}
}

// GetShape must give a copy, and an array must copy its shape.
func TestShapeIsCopied(t *testing.T) {
	shape := []int64{2, 3}
	x := must(gotvm.Empty(shape))
	shape[0] = 9
	x.GetShape()[1] = 9
	if !reflect.DeepEqual(x.GetShape(), []int64{2, 3}) {
		t.Error(x)
	}
}

func TestNilArray(t *testing.T) {
	var x *gotvm.Array
	if x.GetNdim() != 0 || x.GetShape() != nil || x.GetDType() != "" || x.GetDevice() != (gotvm.Device{}) || x.String() == "" {
		t.Error(x)
	}
	wantError(t, x.CopyFrom([]float32{}), gotvm.ErrInvalidArgument, "nil")
	wantError(t, x.CopyFromBytes(nil), gotvm.ErrInvalidArgument, "nil")
	wantError(t, x.CopyTo(must(gotvm.Empty([]int64{1}))), gotvm.ErrInvalidArgument, "nil")
	wantError(t, must(gotvm.Empty([]int64{1})).CopyTo(x), gotvm.ErrInvalidArgument, "nil")
	wantError(t, x.Close(), gotvm.ErrInvalidArgument, "nil")
	_, err := x.AsSlice()
	wantError(t, err, gotvm.ErrInvalidArgument, "nil")
	_, err = x.Bytes()
	wantError(t, err, gotvm.ErrInvalidArgument, "nil")
	_, err = gotvm.DataOf[float32](x)
	wantError(t, err, gotvm.ErrInvalidArgument, "nil")
}

func TestClosedArray(t *testing.T) {
	x := newArray(t, []int64{2}, []int32{1, 2})
	view := must(gotvm.DataOf[int32](x))
	for i := 0; i < 3; i++ {
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, x.CopyFrom([]int32{1, 2}), gotvm.ErrClosed)
	_, err := x.AsSlice()
	wantError(t, err, gotvm.ErrClosed)
	_, err = gotvm.DataOf[int32](x)
	wantError(t, err, gotvm.ErrClosed)
	_, err = convert(t, echo).Invoke(1, x)
	wantError(t, err, gotvm.ErrClosed, "argument 1", "array")
	if x.GetNdim() != 1 || x.GetDType() != "int32" {
		t.Error(x)
	}
	runtime.GC()
	if view[1] != 2 {
		t.Error("the view of an array of Go's ended with the array")
	}
}

// A view must keep the memory of an array that nobody else knows any more.
func TestViewOutlivesArray(t *testing.T) {
	f := convert(t, echo)
	for i := 0; i < 200; i++ {
		v := must(gotvm.DataOf[int64](invoke(t, f, newArray(t, []int64{512}, make([]int64, 512))).AsArray()))
		runtime.GC()
		for j := range v {
			v[j] = int64(i)
		}
		runtime.Gosched()
		for j := range v {
			if v[j] != int64(i) {
				t.Fatalf("element %d changed to %d", j, v[j])
			}
		}
	}
}

// The array that comes back is made of the memory that went in.
func TestArrayIsShared(t *testing.T) {
	x := newArray(t, []int64{2}, []int32{1, 2})
	y := invoke(t, convert(t, echo), x).AsArray()
	must(gotvm.DataOf[int32](y))[0] = 9
	if v := must(gotvm.DataOf[int32](x)); v[0] != 9 {
		t.Error(v)
	}
}

// The collector must see arrays: 3,000 of 0.57 MiB, never closed, in a process of their own.
func TestArrayMemoryIsCollected(t *testing.T) {
	const name = "GOTVM_TEST_ARRAYS"
	if os.Getenv(name) == "" {
		command := thisTest("-test.run=^TestArrayMemoryIsCollected$", "-test.v")
		command.Env = append(os.Environ(), name+"=1", "GOGC=100")
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		} else {
			t.Logf("%s", out)
		}
		return
	}
	data := make([]float32, 3*224*224)
	f := convert(t, func(args ...*gotvm.Value) (any, error) { return nil, nil })
	for i := 0; i < 3000; i++ {
		invoke(t, f, newArray(t, []int64{1, 3, 224, 224}, data))
	}
	status := string(must(os.ReadFile("/proc/self/status")))
	_, rest, _ := strings.Cut(status, "VmHWM:")
	peak := must(strconv.Atoi(strings.Fields(rest)[0]))
	t.Logf("peak %d MiB", peak>>10)
	if limit := 160 << 10; peak > limit && !raceEnabled {
		t.Errorf("peak of %d KiB, more than %d", peak, limit)
	}
}

func TestArrayConcurrency(t *testing.T) {
	f := convert(t, echo)
	x := newArray(t, []int64{64}, make([]float32, 64))
	var wait sync.WaitGroup
	for g := 0; g < 8; g++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := 0; i < 200; i++ {
				y, err := gotvm.NewArray([]int64{16}, make([]int32, 16))
				if err != nil {
					t.Error(err)
					return
				}
				v, err := f.Invoke(y)
				if err != nil || v.AsArray().GetShape()[0] != 16 {
					t.Error(err)
				}
				_ = v.Close()
				_ = y.Close()
				if _, err := x.AsSlice(); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wait.Wait()
}

func TestArrayString(t *testing.T) {
	x := must(gotvm.Empty([]int64{1, 3}, "int8", gotvm.CPU(1)))
	if s := fmt.Sprint(x); s != "array [1, 3] of int8 on cpu(1)" {
		t.Error(s)
	}
}

// Parameters that a look-up gives, which begin where operators could not read them.
func TestLinkedParameterAtOffset(t *testing.T) {
	needModels(t)
	x := newArray(t, []int64{64}, make([]float32, 64))
	for i, v := 0, must(gotvm.DataOf[float32](x)); i < len(v); i++ {
		v[i] = float32(i)
	}
	view := must(gotvm.GetGlobalFunction("runtime.TVMTensorCreateView"))
	shape := invoke(t, must(gotvm.GetGlobalFunction("ffi.Shape")), 4)
	create := must(gotvm.GetGlobalFunction("tvm.graph_executor.create"))
	lib := must(gotvm.LoadModuleFromBytes("callpacked", readFile(t, libraryFile("callpacked.so"))))
	for _, first := range []int64{0, 1, 8, 16} {
		lookup := convert(t, func(...*gotvm.Value) (any, error) { return view.Invoke(x, shape, "float32", first*4) })
		m := invoke(t, create, identityGraph(4), lib, lookup, int64(gotvm.KDLCPU), 0).AsModule()
		want := []float32{float32(first), float32(first) + 1, float32(first) + 2, float32(first) + 3}
		if got := must(invoke(t, function(t, m, "get_output"), 0).AsArray().AsSlice()); !slices.Equal(got.([]float32), want) {
			t.Errorf("the parameter is %v, want %v", got, want)
		}
	}
}

// A view of an array in Go's memory that begins at no multiple of 64 bytes.
func TestViewAtOffset(t *testing.T) {
	x := newArray(t, []int64{64}, make([]float32, 64))
	view := must(gotvm.GetGlobalFunction("runtime.TVMTensorCreateView"))
	shape := invoke(t, must(gotvm.GetGlobalFunction("ffi.Shape")), 4)
	at := func(first int64) *gotvm.Array { return invoke(t, view, x, shape, "float32", first*4).AsArray() }
	y := at(8)
	invoke(t, convert(t, echo), y)
	must(0, newArray(t, []int64{4}, []float32{1, 2, 3, 4}).CopyTo(y))
	must(0, newArray(t, []int64{4}, []float32{5, 6, 7, 8}).CopyTo(at(4)))
	if got := must(gotvm.DataOf[float32](x)); !slices.Equal(got[:16], []float32{0, 0, 0, 0, 5, 6, 7, 8, 1, 2, 3, 4, 0, 0, 0, 0}) {
		t.Errorf("views wrote %v", got)
	}
	if got := must(invoke(t, must(gotvm.GetGlobalFunction("vm.builtin.copy")), y).AsArray().AsSlice()); !slices.Equal(got.([]float32), []float32{1, 2, 3, 4}) {
		t.Errorf("a copy of a view is %v", got)
	}
}

// Every byte of a bool but 0 is true.
func TestBoolBytes(t *testing.T) {
	x := must(gotvm.Empty([]int64{3}, "bool"))
	must(0, x.CopyFromBytes([]byte{2, 0, 255}))
	if got := must(x.AsSlice()); !reflect.DeepEqual(got, []bool{true, false, true}) {
		t.Errorf("AsSlice gives %v", got)
	}
}
