package gotvm_test

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// mistake is a wrong use of the package, and what it says about it: the whole text, or a pattern for it where it
// begins with ^.
type mistake struct {
	err  error
	text string
	want error  // for errors.Is
	kind string // of the *Error
}

// errorOf is the error of a call with a result.
func errorOf[T any](_ T, err error) error { return err }

func checkMistakes(t *testing.T, mistakes []mistake) {
	t.Helper()
	for _, m := range mistakes {
		if m.err == nil {
			t.Errorf("no error, want %s", m.text)
			continue
		}
		text := m.err.Error()
		if pattern, ok := strings.CutPrefix(m.text, "^"); ok {
			if !regexp.MustCompile("^(?:" + pattern + ")$").MatchString(text) {
				t.Errorf("got  %s\nwant %s", text, m.text)
			}
		} else if text != m.text {
			t.Errorf("got  %s\nwant %s", text, m.text)
		}
		var e *gotvm.Error
		switch {
		case !errors.As(m.err, &e):
			t.Errorf("%q is a %T", text, m.err)
		case e.Kind != m.kind || e.Code.String() != m.want.Error() || !errors.Is(m.err, m.want):
			t.Errorf("%q is of code %s and kind %s, want %s and %s", text, e.Code, e.Kind, m.want, m.kind)
		}
	}
}

var (
	invalid, notFound, closed = gotvm.ErrInvalidArgument, gotvm.ErrNotFound, gotvm.ErrClosed
	long                      = strings.Repeat("long name ", 30)
	longQuoted                = `"` + strings.Repeat("long name ", 20) + `"…`
)

func TestMistakesWithFunctions(t *testing.T) {
	f, gone := convert(t, echo), convert(t, echo)
	_ = gone.Close()
	closedArray := newArray(t, []int64{1}, []int8{1})
	goneTuple := invoke(t, must(gotvm.GetGlobalFunction("ffi.Array")), closedArray)
	_, _ = closedArray.Close(), goneTuple.Close()
	register(t, "mistakes.echo", echo)
	named := must(gotvm.GetGlobalFunction("mistakes.echo"))
	failing := func(kind string) *gotvm.Function {
		return convert(t, func(...*gotvm.Value) (any, error) { return nil, &gotvm.Error{Kind: kind, Message: "as said"} })
	}
	panics := convert(t, func(...*gotvm.Value) (any, error) { panic("the reason") })
	results := func(x any) *gotvm.Function {
		return convert(t, func(...*gotvm.Value) (any, error) { return x, nil })
	}
	var nilFunction *gotvm.Function
	var nilArray *gotvm.Array
	var nilModule *gotvm.Module
	var nilValue *gotvm.Value
	var nilBytes *gotvm.ByteArray
	checkMistakes(t, []mistake{
		{errorOf(gotvm.GetGlobalFunction("there.is.none")), `gotvm: get function "there.is.none": no global function has this name`, notFound, "NotFoundError"},
		{errorOf(gotvm.GetGlobalFunction("")), `gotvm: get function "": no global function has this name`, notFound, "NotFoundError"},
		{errorOf(gotvm.GetGlobalFunction("a\x00b")), `gotvm: get function "a\x00b": function name "a\x00b" holds a NUL`, invalid, "ValueError"},
		{errorOf(gotvm.GetGlobalFunction(long)), `gotvm: get function ` + longQuoted + `: no global function has this name`, notFound, "NotFoundError"},
		{gotvm.RemoveFunction("there.is.none"), `gotvm: remove "there.is.none": no global function has this name`, notFound, "NotFoundError"},
		{gotvm.RemoveFunction("a\x00b"), `gotvm: remove "a\x00b": function name "a\x00b" holds a NUL`, invalid, "ValueError"},
		{gotvm.RemoveFunction(long), `gotvm: remove ` + longQuoted + `: no global function has this name`, notFound, "NotFoundError"},

		{gotvm.RegisterFunction(), `gotvm: register: expected a function and perhaps its name, got no argument`, invalid, "ValueError"},
		{gotvm.RegisterFunction(nil), `gotvm: register: expected a func(...*gotvm.Value) (any, error), got <nil>`, invalid, "TypeError"},
		{gotvm.RegisterFunction(7, "seven"), `gotvm: register "seven": expected a func(...*gotvm.Value) (any, error), got int`, invalid, "TypeError"},
		{gotvm.RegisterFunction(func() {}, "typed"), `gotvm: register "typed": expected a func(...*gotvm.Value) (any, error), got func(); Register takes functions of other types`, invalid, "TypeError"},
		{gotvm.RegisterFunction(gotvm.Callback(nil), "x"), `gotvm: register "x": the closure is nil`, invalid, "ValueError"},
		{gotvm.RegisterFunction(nilFunction, "x"), `gotvm: register "x": the function is nil`, invalid, "ValueError"},
		{gotvm.RegisterFunction(gone, "x"), `gotvm: register "x": the function is closed`, closed, "ClosedError"},
		{gotvm.RegisterFunction(echo, 1), `gotvm: register: argument 1, the name: expected a string, got int`, invalid, "TypeError"},
		{gotvm.RegisterFunction(echo, ""), `gotvm: register: the name is empty`, invalid, "ValueError"},
		{gotvm.RegisterFunction(invoke(t, f, f).AsFunction()), `gotvm: register: the name is empty`, invalid, "ValueError"},
		{gotvm.RegisterFunction(echo, "a\x00b"), `gotvm: register "a\x00b": function name "a\x00b" holds a NUL`, invalid, "ValueError"},
		{gotvm.RegisterFunction(echo, "mistakes.echo"), `gotvm: register "mistakes.echo": a global function has this name already`, invalid, "ValueError"},
		{gotvm.Register("mistakes.echo", func() {}), `gotvm: register "mistakes.echo": a global function has this name already`, invalid, "ValueError"},
		{gotvm.Register("x", nil), `gotvm: register "x": expected a function, got <nil>`, invalid, "TypeError"},
		{gotvm.Register("x", func(chan int) {}), `gotvm: register "x": parameter 0 of func(chan int) is of type chan int, which no value of TVM becomes`, invalid, "TypeError"},
		{gotvm.Register("", func() {}), `gotvm: register: the name is empty`, invalid, "ValueError"},

		{errorOf(gotvm.ConvertFunction()), `gotvm: convert function: expected a function, got no argument`, invalid, "ValueError"},
		{errorOf(gotvm.ConvertFunction(nil)), `gotvm: convert function: expected a func(...*gotvm.Value) (any, error), got <nil>`, invalid, "TypeError"},
		{errorOf(gotvm.ConvertFunction("text")), `gotvm: convert function: expected a func(...*gotvm.Value) (any, error), got string`, invalid, "TypeError"},
		{errorOf(gotvm.ConvertFunction(gotvm.Callback(nil))), `gotvm: convert function: the closure is nil`, invalid, "ValueError"},

		{errorOf(nilFunction.Invoke()), `gotvm: call: the function is nil`, invalid, "ValueError"},
		{errorOf((&gotvm.Function{}).Invoke()), `gotvm: call: the function is closed`, closed, "ClosedError"},
		{errorOf(gone.Invoke()), `gotvm: call "github.com/gotvm/gotvm/gotvm_test.echo": the function is closed`, closed, "ClosedError"},
		{errorOf(f.Invoke(1, uint64(math.MaxUint64))), `gotvm: call "github.com/gotvm/gotvm/gotvm_test.echo": argument 1: 18446744073709551615 is beyond the largest int64`, invalid, "ValueError"},
		{errorOf(named.Invoke(1, uint64(math.MaxUint64))), `gotvm: call "mistakes.echo": argument 1: 18446744073709551615 is beyond the largest int64`, invalid, "ValueError"},
		{errorOf(f.Invoke(nilArray)), `gotvm: call "github.com/gotvm/gotvm/gotvm_test.echo": argument 0: the array is nil`, invalid, "ValueError"},
		{errorOf(f.Invoke(nilFunction)), `gotvm: call "github.com/gotvm/gotvm/gotvm_test.echo": argument 0: the function is nil`, invalid, "ValueError"},
		{errorOf(f.Invoke(nilModule)), `gotvm: call "github.com/gotvm/gotvm/gotvm_test.echo": argument 0: the module is nil`, invalid, "ValueError"},
		{errorOf(f.Invoke(gotvm.Callback(nil))), `gotvm: call "github.com/gotvm/gotvm/gotvm_test.echo": argument 0: the closure is nil`, invalid, "ValueError"},
		{errorOf(f.Invoke(nilBytes)), `gotvm: call "github.com/gotvm/gotvm/gotvm_test.echo": argument 0: the byte array is nil`, invalid, "ValueError"},
		{errorOf(f.Invoke(closedArray)), `gotvm: call "github.com/gotvm/gotvm/gotvm_test.echo": argument 0: the array is closed`, closed, "ClosedError"},
		{errorOf(f.Invoke(gone)), `gotvm: call "github.com/gotvm/gotvm/gotvm_test.echo": argument 0: the function is closed`, closed, "ClosedError"},
		{errorOf(f.Invoke(&gotvm.Module{})), `gotvm: call "github.com/gotvm/gotvm/gotvm_test.echo": argument 0: the module is closed`, closed, "ClosedError"},
		{errorOf(f.Invoke([]int{1})), `gotvm: call "github.com/gotvm/gotvm/gotvm_test.echo": argument 0: []int cannot be passed to a packed function`, invalid, "TypeError"},
		{errorOf(f.Invoke(func() {})), `gotvm: call "github.com/gotvm/gotvm/gotvm_test.echo": argument 0: func() cannot be passed to a packed function`, invalid, "TypeError"},
		{errorOf(f.Invoke()), `gotvm: call "github.com/gotvm/gotvm/gotvm_test.echo": panic in callback: runtime error: index out of range [0] with length 0`, gotvm.ErrRuntime, "RuntimeError"},
		{errorOf(panics.Invoke()), `^gotvm: call "[^"]*": panic in callback: the reason`, gotvm.ErrRuntime, "RuntimeError"},
		{errorOf(failing("ValueError").Invoke()), `^gotvm: call "[^"]*": as said`, invalid, "ValueError"},
		{errorOf(failing("BusyError").Invoke()), `^gotvm: call "[^"]*": as said`, gotvm.ErrBusy, "BusyError"},
		{errorOf(failing("MyError").Invoke()), `^gotvm: call "[^"]*": as said`, gotvm.ErrRuntime, "MyError"},
		{errorOf(results(struct{}{}).Invoke()), `^gotvm: call "[^"]*": the callback's result: struct \{\} cannot be passed to a packed function`, invalid, "TypeError"},
		{errorOf(results(nilArray).Invoke()), `^gotvm: call "[^"]*": the callback's result: the array is nil`, invalid, "ValueError"},
		{errorOf(results(closedArray).Invoke()), `^gotvm: call "[^"]*": the callback's result: the array is closed`, closed, "ClosedError"},
		{errorOf(results([]*gotvm.Value{nil, nil}).Invoke()), `^gotvm: call "[^"]*": the callback's result: 2 values were returned as one`, invalid, "ValueError"},

		{nilFunction.Close(), `gotvm: Close: the function is nil`, invalid, "ValueError"},
		{nilModule.Close(), `gotvm: Close: the module is nil`, invalid, "ValueError"},
		{nilValue.Close(), `gotvm: Close: the value is nil`, invalid, "ValueError"},
		{nilArray.Close(), `gotvm: Close: the array is nil`, invalid, "ValueError"},

		{errorOf(nilValue.Int64()), `gotvm: the value: expected int, got nil`, invalid, "TypeError"},
		{errorOf(invoke(t, f, "text").Int64()), `gotvm: the value: expected int, got str "text"`, invalid, "TypeError"},
		{errorOf(invoke(t, f, "text").Float64()), `gotvm: the value: expected float, got str "text"`, invalid, "TypeError"},
		{errorOf(invoke(t, f, 1.5).Bool()), `gotvm: the value: expected bool, got float 1.5`, invalid, "TypeError"},
		{errorOf(invoke(t, f, 7).Str()), `gotvm: the value: expected str, got int 7`, invalid, "TypeError"},
		{errorOf(invoke(t, f, 7).Bytes()), `gotvm: the value: expected bytes, got int 7`, invalid, "TypeError"},
		{errorOf(invoke(t, f, gotvm.CPU(0)).DType()), `gotvm: the value: expected dtype, got device cpu(0)`, invalid, "TypeError"},
		{errorOf(invoke(t, f, nil).Device()), `gotvm: the value: expected device, got nil`, invalid, "TypeError"},
		{errorOf(invoke(t, f, []byte("bytes")).Array()), `gotvm: the value: expected array, got 5 bytes`, invalid, "TypeError"},
		{errorOf(invoke(t, f, true).Function()), `gotvm: the value: expected function, got bool true`, invalid, "TypeError"},
		{errorOf(goneTuple.Arrays()), `gotvm: the value is closed`, closed, "ClosedError"},
		{errorOf(goneTuple.Items()), `gotvm: the value is closed`, closed, "ClosedError"},
		{errorOf(invoke(t, f, f).Module()), `gotvm: the value: expected module, got function`, invalid, "TypeError"},
	})
}

func TestMistakesWithArrays(t *testing.T) {
	x := newArray(t, []int64{2, 3}, make([]float32, 6))
	ints := newArray(t, []int64{6}, make([]int32, 6))
	gone := newArray(t, []int64{1}, []int8{1})
	_ = gone.Close()
	vectors := must(gotvm.Empty([]int64{2}, "float32x2"))
	var none *gotvm.Array
	zero := &gotvm.Array{}
	checkMistakes(t, []mistake{
		{errorOf(gotvm.Empty(nil)), `gotvm: Empty: the shape has no dimensions: NewArray makes scalars`, invalid, "ValueError"},
		{errorOf(gotvm.Empty([]int64{2, -1})), `gotvm: Empty: shape [2, -1] has a negative dimension`, invalid, "ValueError"},
		{errorOf(gotvm.Empty(make([]int64, 65))), `gotvm: Empty: the shape has 65 dimensions: expected at most 64`, invalid, "ValueError"},
		{errorOf(gotvm.Empty([]int64{1 << 40, 1 << 40}, "float64")), `gotvm: Empty: shape [1099511627776, 1099511627776] of float64 is larger than memory could be`, invalid, "ValueError"},
		{errorOf(gotvm.Empty([]int64{1 << 46}, "int8")), `gotvm: Empty: cannot allocate 70368744177664 bytes`, gotvm.ErrMemory, "MemoryError"},
		{errorOf(gotvm.Empty([]int64{1}, "flaot32")), `gotvm: Empty: "flaot32" is not a dtype such as "float32"`, invalid, "ValueError"},
		{errorOf(gotvm.Empty([]int64{1}, long)), `gotvm: Empty: ` + longQuoted + ` is not a dtype such as "float32"`, invalid, "ValueError"},
		{errorOf(gotvm.Empty([]int64{1}, "")), `gotvm: Empty: "" is not a dtype such as "float32"`, invalid, "ValueError"},
		{errorOf(gotvm.Empty([]int64{1}, "int8", 3)), `gotvm: Empty: optional argument 1: expected a dtype such as "float32" or a Device, got int`, invalid, "TypeError"},
		{errorOf(gotvm.Empty([]int64{1}, nil)), `gotvm: Empty: optional argument 0: expected a dtype such as "float32" or a Device, got <nil>`, invalid, "TypeError"},
		{errorOf(gotvm.Empty([]int64{1}, gotvm.CPU(-1))), `gotvm: Empty: cpu(-1): device ids begin at 0`, invalid, "ValueError"},
		{errorOf(gotvm.Empty([]int64{1}, gotvm.CUDA(0))), `gotvm: Empty: cuda(0): this runtime has no support for such a device`, invalid, "TypeError"},
		{errorOf(gotvm.Empty([]int64{1}, gotvm.Device{DeviceType: 77, DeviceID: 1})), `gotvm: Empty: device type 77(1): this runtime has no support for such a device`, invalid, "TypeError"},
		{errorOf(gotvm.NewArray([]int64{4}, []float32{1})), `gotvm: NewArray: the array has shape [4]: 4 elements (16 bytes), but the slice has 1 element (4 bytes)`, invalid, "ValueError"},
		{errorOf(gotvm.NewArray([]int64{}, []float32{1, 2})), `gotvm: NewArray: the array has shape []: 1 element (4 bytes), but the slice has 2 elements (8 bytes)`, invalid, "ValueError"},
		{errorOf(gotvm.NewArray([]int64{-4}, []float32{1})), `gotvm: NewArray: shape [-4] has a negative dimension`, invalid, "ValueError"},
		{errorOf(gotvm.NewArray(nil, []float32{})), `gotvm: NewArray: the array has shape []: 1 element (4 bytes), but the slice has 0 elements (0 bytes)`, invalid, "ValueError"},

		{errorOf(gotvm.DataOf[float32](none)), `gotvm: DataOf: the array is nil`, invalid, "ValueError"},
		{errorOf(gotvm.DataOf[int8](gone)), `gotvm: DataOf: the array is closed`, closed, "ClosedError"},
		{errorOf(gotvm.DataOf[float32](zero)), `gotvm: DataOf: the array is closed`, closed, "ClosedError"},
		{errorOf(gotvm.DataOf[int32](x)), `gotvm: DataOf: expected an array of int32, got array [2, 3] of float32 on cpu(0)`, invalid, "TypeError"},
		{errorOf(gotvm.DataOf[gotvm.Float16](x)), `gotvm: DataOf: expected an array of float16, got array [2, 3] of float32 on cpu(0)`, invalid, "TypeError"},

		{none.CopyFrom([]float32{1}), `gotvm: CopyFrom: the array is nil`, invalid, "ValueError"},
		{gone.CopyFrom([]int8{1}), `gotvm: CopyFrom: the array is closed`, closed, "ClosedError"},
		{x.CopyFrom(nil), `gotvm: CopyFrom: expected a slice such as []float32 or []int64, got <nil>`, invalid, "TypeError"},
		{x.CopyFrom("text"), `gotvm: CopyFrom: expected a slice such as []float32 or []int64, got string`, invalid, "TypeError"},
		{x.CopyFrom([]string{"text"}), `gotvm: CopyFrom: expected a slice such as []float32 or []int64, got []string`, invalid, "TypeError"},
		{x.CopyFrom([]int{1}), `gotvm: CopyFrom: expected a slice such as []float32 or []int64, got []int`, invalid, "TypeError"},
		{x.CopyFrom([6]float32{}), `gotvm: CopyFrom: expected a slice such as []float32 or []int64, got [6]float32`, invalid, "TypeError"},
		{x.CopyFrom(make([]float64, 6)), `gotvm: CopyFrom: the array holds float32, the slice float64`, invalid, "TypeError"},
		{x.CopyFrom(make([]float32, 5)), `gotvm: CopyFrom: the array has shape [2, 3]: 6 elements (24 bytes), but the slice has 5 elements (20 bytes)`, invalid, "ValueError"},
		{none.CopyFromBytes(nil), `gotvm: CopyFromBytes: the array is nil`, invalid, "ValueError"},
		{gone.CopyFromBytes(nil), `gotvm: CopyFromBytes: the array is closed`, closed, "ClosedError"},
		{x.CopyFromBytes(make([]byte, 23)), `gotvm: CopyFromBytes: the array has shape [2, 3] of float32: 24 bytes, but the slice has 23 bytes`, invalid, "ValueError"},
		{errorOf(none.AsSlice()), `gotvm: AsSlice: the array is nil`, invalid, "ValueError"},
		{errorOf(gone.AsSlice()), `gotvm: AsSlice: the array is closed`, closed, "ClosedError"},
		{errorOf(vectors.AsSlice()), `gotvm: AsSlice: no Go type stands for elements of type float32x2: use Bytes`, gotvm.ErrUnsupported, "UnsupportedError"},
		{errorOf(none.Bytes()), `gotvm: Bytes: the array is nil`, invalid, "ValueError"},
		{errorOf(gone.Bytes()), `gotvm: Bytes: the array is closed`, closed, "ClosedError"},
		{none.CopyTo(x), `gotvm: CopyTo: the array is nil`, invalid, "ValueError"},
		{gone.CopyTo(x), `gotvm: CopyTo: the array is closed`, closed, "ClosedError"},
		{x.CopyTo(none), `gotvm: CopyTo: the target: the array is nil`, invalid, "ValueError"},
		{x.CopyTo(gone), `gotvm: CopyTo: the target: the array is closed`, closed, "ClosedError"},
		{x.CopyTo(ints), `gotvm: CopyTo: cannot copy float32 to int32: dtypes differ`, invalid, "TypeError"},
		{x.CopyTo(must(gotvm.Empty([]int64{7}))), `gotvm: CopyTo: cannot copy [2, 3] (24 bytes) to [7] (28 bytes)`, invalid, "ValueError"},
	})
}

func TestMistakesWithModules(t *testing.T) {
	m, gone := load(t, library), load(t, library)
	_ = gone.Close()
	var none *gotvm.Module
	folder := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		writeFile(t, path, []byte(content))
		return path
	}
	content := string(readFile(t, library))
	text, empty, cut := write("text.so", "not a library at all"), write("empty.so", ""), write("cut.so", content[:len(content)/2])
	add := function(t, m, "myadd")
	x := must(gotvm.Empty([]int64{2}))
	if runtime.GOARCH == "amd64" {
		checkMistakes(t, []mistake{
			{errorOf(gotvm.LoadModuleFromFile("testdata/arm64/dense/deploy.so")), `gotvm: load: testdata/arm64/dense/deploy.so: compiled for aarch64, and this program runs on x86-64: recompile the model with --target "llvm -mtriple=x86_64-linux-gnu"`, gotvm.ErrUnsupported, "UnsupportedError"},
		})
	}
	checkMistakes(t, []mistake{
		{errorOf(gotvm.LoadModuleFromFile("")), `gotvm: load: the path is empty`, invalid, "ValueError"},
		{errorOf(gotvm.LoadModuleFromFile("there_is_none.so")), `gotvm: load: there_is_none.so: cannot open shared object file: it is neither in the working directory nor in the dynamic linker's library path`, notFound, "NotFoundError"},
		{errorOf(gotvm.LoadModuleFromFile("./there_is_none.so")), `gotvm: load: ./there_is_none.so: cannot open shared object file: No such file or directory`, notFound, "NotFoundError"},
		{errorOf(gotvm.LoadModuleFromFile("a\x00b")), `gotvm: load: path "a\x00b" holds a NUL`, invalid, "ValueError"},
		{errorOf(gotvm.LoadModuleFromFile(folder)), `^gotvm: load: .*: cannot open shared object file: it is a directory`, gotvm.ErrOS, "OSError"},
		{errorOf(gotvm.LoadModuleFromFile(text)), `^gotvm: load: .*/text\.so: not a shared object, but text`, gotvm.ErrUnsupported, "UnsupportedError"},
		{errorOf(gotvm.LoadModuleFromFile(empty)), `^gotvm: load: .*/empty\.so: it is empty`, gotvm.ErrFormat, "FormatError"},
		{errorOf(gotvm.LoadModuleFromFile(cut)), `^gotvm: load: .*/cut\.so: a damaged or truncated ELF file: a segment reaches beyond the end of the file`, gotvm.ErrFormat, "FormatError"},
		{errorOf(gotvm.LoadModuleFromFile(filepath.Join(testdata(), "models", "manifest.json"))), `^gotvm: load: .*/manifest\.json: not a shared object, but JSON text, perhaps a model's graph: it goes with a library, and does not replace one`, gotvm.ErrUnsupported, "UnsupportedError"},
		{errorOf(gotvm.LoadModuleFromFile(zooCaseNamed(t, "tvm0.19", "dense").path("deploy.params"))), `^gotvm: load: .*/deploy\.params: not a shared object, but a TVM parameter file: it goes with a library, and does not replace one`, gotvm.ErrUnsupported, "UnsupportedError"},
		{errorOf(gotvm.LoadModuleFromFile(library, "zip")), `^gotvm: load: .*/myadd\.so: the format "zip" is not that of a library: expected so, dll, dylib or dso`, invalid, "ValueError"},
		{errorOf(gotvm.LoadModuleFromFile(library, 1)), `^gotvm: load: .*/myadd\.so: the format: expected a string, got int`, invalid, "TypeError"},

		{errorOf(none.GetFunction("f")), `gotvm: get function "f": the module is nil`, invalid, "ValueError"},
		{errorOf((&gotvm.Module{}).GetFunction("f")), `gotvm: get function "f": the module is closed`, closed, "ClosedError"},
		{errorOf(gone.GetFunction("myadd")), `gotvm: get function "myadd": the module is closed`, closed, "ClosedError"},
		{errorOf(m.GetFunction("missing")), `^gotvm: get function "missing": .*/myadd\.so has no such function`, notFound, "NotFoundError"},
		{errorOf(m.GetFunction("")), `^gotvm: get function "": .*/myadd\.so has no such function`, notFound, "NotFoundError"},
		{errorOf(m.GetFunction("a\x00b")), `gotvm: get function "a\x00b": function name "a\x00b" holds a NUL`, invalid, "ValueError"},
		{errorOf(m.GetFunction(long)), `^gotvm: get function ` + longQuoted + `: .*/myadd\.so has no such function`, notFound, "NotFoundError"},
		{errorOf(m.GetFunction("myadd", "yes")), `gotvm: get function "myadd": argument 1, whether to look in imported modules: expected a bool or an integer, got string`, invalid, "TypeError"},

		{errorOf(add.Invoke(x)), `^gotvm: call "myadd": Assert fail: .*myadd: num_args should be 3`, gotvm.ErrRuntime, "RuntimeError"},
		{errorOf(add.Invoke(x, x, must(gotvm.Empty([]int64{2}, "int32")))), `^gotvm: call "myadd": Assert fail: .*myadd\.var_C\.dtype is expected to be float32`, gotvm.ErrRuntime, "RuntimeError"},
		{errorOf(add.Invoke(x, x, must(gotvm.Empty([]int64{3})))), `^gotvm: call "myadd": Assert fail: .*Argument myadd\.var_C\.shape\[0\] has an unsatisfied constraint.*`, gotvm.ErrRuntime, "RuntimeError"},
		{errorOf(add.Invoke(1, 2, 3)), `^gotvm: call "myadd": Assert fail: .*myadd: Expect arg\[0\] to be pointer`, gotvm.ErrRuntime, "RuntimeError"},
	})
}

func TestMistakesWithGraphModules(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	m := graphModule(t, c, "tvm.graph_executor.create")
	lib, graph := load(t, c.path("deploy.so")), string(readFile(t, c.path("deploy.json")))
	create := must(gotvm.GetGlobalFunction("tvm.graph_executor.create"))
	set, get := function(t, m, "set_input"), function(t, m, "get_output")
	x := must(gotvm.Empty([]int64{4, 32}))
	checkMistakes(t, []mistake{
		{errorOf(create.Invoke()), `gotvm: call "tvm.graph_executor.create": expected 4 to 35 arguments, got 0`, invalid, "ValueError"},
		{errorOf(create.Invoke("{", lib, 1, 0)), `gotvm: call "tvm.graph_executor.create": graph: byte 1: the text ends too early`, gotvm.ErrFormat, "FormatError"},
		{errorOf(create.Invoke(graph, 7, 1, 0)), `gotvm: call "tvm.graph_executor.create": argument 1 (library): expected Module, got int`, invalid, "TypeError"},
		{errorOf(create.Invoke(graph, lib, int64(gotvm.KDLCUDA), 0)), `gotvm: call "tvm.graph_executor.create": graph: cuda(0): this runtime has no support for such a device`, invalid, "TypeError"},
		{errorOf(create.Invoke(graph, load(t, library), 1, 0)), `^gotvm: call "tvm\.graph_executor\.create": graph: node \d+ \(\w+\): function \w+ is neither in the library \(a module of kind library\) nor in its imports; are graph and library of the same model\?`, notFound, "NotFoundError"},
		{errorOf(m.GetFunction("no_such_method")), `gotvm: get function "no_such_method": the module has no such function`, notFound, "NotFoundError"},
		{errorOf(set.Invoke()), `gotvm: call "set_input": expected 2 arguments, got 0`, invalid, "ValueError"},
		{errorOf(set.Invoke("nobody", x)), `^gotvm: call "set_input": the graph has no input called nobody; it has: data, .*`, notFound, "NotFoundError"},
		{errorOf(set.Invoke(99, x)), `gotvm: call "set_input": input 99 is out of range: the graph has 5`, invalid, "IndexError"},
		{errorOf(set.Invoke("data", must(gotvm.Empty([]int64{4, 33})))), `gotvm: call "set_input": input 0 (data): expected float32 [4, 32] (512 bytes), got float32 [4, 33] (528 bytes)`, invalid, "ValueError"},
		{errorOf(set.Invoke("data", must(gotvm.Empty([]int64{4, 32}, "int32")))), `gotvm: call "set_input": input 0 (data): expected float32 [4, 32] (512 bytes), got int32 [4, 32] (512 bytes)`, invalid, "TypeError"},
		{errorOf(set.Invoke("data", "text")), `gotvm: call "set_input": argument 1 (value): expected Tensor, got str`, invalid, "TypeError"},
		{errorOf(get.Invoke(1)), `gotvm: call "get_output": output 1 is out of range: the graph has 1`, invalid, "IndexError"},
		{errorOf(get.Invoke("text")), `^gotvm: call "get_output": the graph has no output called text; it has: \w+`, notFound, "NotFoundError"},
		{errorOf(get.Invoke(0, x)), `^gotvm: call "get_output": output 0 \(\w+\): expected float32 \[4, 10\] \(160 bytes\), got float32 \[4, 32\] \(512 bytes\)`, invalid, "ValueError"},
		{errorOf(function(t, m, "load_params").Invoke([]byte("no parameters"))), `gotvm: call "load_params": not a params file, but text`, gotvm.ErrFormat, "FormatError"},
	})
}

func TestMistakesWithModels(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	files, blobs := c.files(), readBlobs(t, c.files())
	open := func(change func(*gotvm.Files)) error {
		f := files
		change(&f)
		return errorOf(gotvm.OpenFiles(f))
	}
	openBytes := func(change func(*gotvm.Blobs)) error {
		b := blobs
		change(&b)
		return errorOf(gotvm.OpenBytes(b))
	}
	folder := t.TempDir()
	several := t.TempDir()
	for _, name := range []string{"one.so", "two.so"} {
		if err := os.WriteFile(filepath.Join(several, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pipe, huge := filepath.Join(several, "pipe"), filepath.Join(several, "huge") // neither may be read to its end
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(huge, nil, 0o600), os.Truncate(huge, 1<<40)); err != nil {
		t.Fatal(err)
	}
	m, gone := openCase(t, c), openCase(t, c)
	_ = gone.Close()
	var none *gotvm.Model
	checkMistakes(t, []mistake{
		{errorOf(gotvm.Open("")), `gotvm: Open: the path is empty`, invalid, "ValueError"},
		{errorOf(gotvm.Open("there_is_none")), `gotvm: Open: there_is_none: no such file or directory`, notFound, "NotFoundError"},
		{errorOf(gotvm.Open("a\x00b")), `gotvm: Open: path "a\x00b" holds a NUL`, invalid, "ValueError"},
		{errorOf(gotvm.Open(folder)), `^gotvm: Open: .*: there is no \.so file`, notFound, "NotFoundError"},
		{errorOf(gotvm.Open(several)), `^gotvm: Open: .*: there are several \.so files: name the ones to use with OpenFiles`, invalid, "ValueError"},
		{errorOf(gotvm.Open(files.Lib)), `^gotvm: Open: .*/deploy\.so: a library without a graph: open it with its graph and parameters \(OpenFiles, OpenBytes\), or call its functions \(LoadModuleFromFile\)`, gotvm.ErrUnsupported, "UnsupportedError"},
		{errorOf(gotvm.OpenFiles(gotvm.Files{})), `gotvm: OpenFiles: expected a path for Lib, got none`, invalid, "ValueError"},
		{open(func(f *gotvm.Files) { f.Lib = "none.so" }), `gotvm: OpenFiles: none.so: cannot open shared object file: it is neither in the working directory nor in the dynamic linker's library path`, notFound, "NotFoundError"},
		{open(func(f *gotvm.Files) { f.Graph = "none.json" }), `gotvm: OpenFiles: none.json: no such file or directory`, notFound, "NotFoundError"},
		{open(func(f *gotvm.Files) { f.Params = "none.params" }), `gotvm: OpenFiles: none.params: no such file or directory`, notFound, "NotFoundError"},
		{open(func(f *gotvm.Files) { f.Graph = folder }), `^gotvm: OpenFiles: .*: cannot be used: it is no regular file`, gotvm.ErrOS, "OSError"},
		{open(func(f *gotvm.Files) { f.Lib = "a\x00b" }), `gotvm: OpenFiles: path "a\x00b" holds a NUL`, invalid, "ValueError"},
		{open(func(f *gotvm.Files) { f.Graph = "a\x00b" }), `gotvm: OpenFiles: path "a\x00b" holds a NUL`, invalid, "ValueError"},
		{open(func(f *gotvm.Files) { f.Params = "a\x00b" }), `gotvm: OpenFiles: path "a\x00b" holds a NUL`, invalid, "ValueError"},
		{open(func(f *gotvm.Files) { f.Lib = pipe }), `^gotvm: OpenFiles: .*/pipe: cannot open shared object file: it is no regular file`, gotvm.ErrOS, "OSError"},
		{open(func(f *gotvm.Files) { f.Graph = pipe }), `^gotvm: OpenFiles: .*/pipe: cannot be used: it is no regular file`, gotvm.ErrOS, "OSError"},
		{open(func(f *gotvm.Files) { f.Params = pipe }), `^gotvm: OpenFiles: .*/pipe: cannot be used: it is no regular file`, gotvm.ErrOS, "OSError"},
		{open(func(f *gotvm.Files) { f.Graph = huge }), `^gotvm: OpenFiles: .*/huge: cannot allocate 1099511627776 bytes`, gotvm.ErrMemory, "MemoryError"},
		{open(func(f *gotvm.Files) { f.Params = folder }), `^gotvm: OpenFiles: .*: cannot be used: it is no regular file`, gotvm.ErrOS, "OSError"},
		{open(func(f *gotvm.Files) { f.Lib = f.Graph }), `^gotvm: OpenFiles: .*/deploy\.json: not a shared object, but JSON text, perhaps a model's graph: it goes with a library, and does not replace one`, gotvm.ErrUnsupported, "UnsupportedError"},
		{open(func(f *gotvm.Files) { f.Graph = f.Params }), `^gotvm: OpenFiles: .*/deploy\.params: not a graph in JSON, but a TVM parameter file: it goes with a library, and does not replace one`, gotvm.ErrFormat, "FormatError"},
		{open(func(f *gotvm.Files) { f.Params = f.Graph }), `^gotvm: OpenFiles: .*/deploy\.json: not a params file, but JSON text, perhaps a model's graph: it goes with a library, and does not replace one`, gotvm.ErrFormat, "FormatError"},
		{openBytes(func(b *gotvm.Blobs) { b.Lib = nil }), `gotvm: OpenBytes: expected bytes for Lib, got none`, invalid, "ValueError"},
		{openBytes(func(b *gotvm.Blobs) { b.Lib = b.Lib[:len(b.Lib)/2] }), `gotvm: OpenBytes: Lib: a damaged or truncated ELF file: a segment reaches beyond the end of the file`, gotvm.ErrFormat, "FormatError"},
		{openBytes(func(b *gotvm.Blobs) { b.Graph = b.Graph[:7] }), `^gotvm: OpenBytes: Graph: byte 4: the string that begins here does not end`, gotvm.ErrFormat, "FormatError"},
		{openBytes(func(b *gotvm.Blobs) { b.Params = b.Params[:len(b.Params)-1] }), `^gotvm: OpenBytes: Params: parameter \d+ \(p\d+\): byte \d+: data: expected \d+ bytes, \d+ are left`, gotvm.ErrFormat, "FormatError"},
		{openBytes(func(b *gotvm.Blobs) { b.Params = []byte{} }), `gotvm: OpenBytes: Params: it is empty`, gotvm.ErrFormat, "FormatError"},
		{none.Close(), `gotvm: Close: the model is nil`, invalid, "ValueError"},
		{errorOf(none.NewSession()), `gotvm: NewSession: the model is nil`, invalid, "ValueError"},
		{errorOf((&gotvm.Model{}).NewSession()), `gotvm: NewSession: the model is closed`, closed, "ClosedError"},
		{errorOf(gone.NewSession()), `gotvm: NewSession: the model is closed`, closed, "ClosedError"},
		{errorOf(m.NewSession(nil)), `gotvm: NewSession: option 0 is nil`, invalid, "ValueError"},
		{errorOf(m.NewSession(gotvm.WithThreads(-1))), `gotvm: NewSession: WithThreads: expected 0 to 2147483647, got -1`, invalid, "ValueError"},
		{errorOf(m.NewSession(gotvm.WithDevice(gotvm.CUDA(0)))), `gotvm: NewSession: WithDevice: cuda(0): this runtime has no support for such a device`, invalid, "TypeError"},
		{errorOf(m.NewSession(gotvm.WithDevice(gotvm.CPU(-1)))), `gotvm: NewSession: WithDevice: cpu(-1): device ids begin at 0`, invalid, "ValueError"},
	})
	s, closedSession := newTestSession(t, m), newTestSession(t, m)
	_ = closedSession.Close()
	var noSession *gotvm.Session
	var noProfile *gotvm.Profile
	ctx := context.Background()
	x, y := must(gotvm.Empty([]int64{4, 32})), must(gotvm.Empty([]int64{4, 10}))
	closedArray := must(gotvm.Empty([]int64{4, 32}))
	_ = closedArray.Close()
	done, cancel := context.WithCancelCause(ctx)
	cancel(errors.New("the user went away"))
	run := func(inputs gotvm.Inputs) error { return errorOf(s.Run(ctx, inputs)) }
	var nilContext context.Context
	checkMistakes(t, []mistake{
		{errorOf(noSession.Run(ctx, nil)), `gotvm: Run: the session is nil`, invalid, "ValueError"},
		{errorOf((&gotvm.Session{}).Run(ctx, nil)), `gotvm: Run: the session is closed`, closed, "ClosedError"},
		{errorOf(closedSession.Run(ctx, nil)), `gotvm: Run: the session is closed`, closed, "ClosedError"},
		{errorOf(s.Run(nilContext, nil)), `gotvm: Run: the context is nil`, invalid, "ValueError"},
		{errorOf(s.Run(done, gotvm.Inputs{"data": x})), `gotvm: Run: the run was cancelled: the user went away`, gotvm.ErrCancelled, "CancelledError"},
		{errorOf(newTestSession(t, m).Run(ctx, nil)), `gotvm: Run: 1 input was never set: data`, invalid, "ValueError"},
		{run(gotvm.Inputs{"nobody": x}), `gotvm: Run: there is no input "nobody": the model has "data"`, notFound, "NotFoundError"},
		{run(gotvm.Inputs{long: x}), `gotvm: Run: there is no input ` + longQuoted + `: the model has "data"`, notFound, "NotFoundError"},
		{run(gotvm.Inputs{"data": nil}), `gotvm: Run: input "data": the array is nil`, invalid, "ValueError"},
		{run(gotvm.Inputs{"data": &gotvm.Array{}}), `gotvm: Run: input "data": the array is closed`, closed, "ClosedError"},
		{errorOf(newTestSession(t, callbackModel(t, func() int64 { return 0 })).Run(ctx, gotvm.Inputs{"data": x})), `gotvm: Run: there is no input "data": the model has none`, notFound, "NotFoundError"},
		{run(gotvm.Inputs{"data": closedArray}), `gotvm: Run: input "data": the array is closed`, closed, "ClosedError"},
		{run(gotvm.Inputs{"data": y}), `gotvm: Run: input "data": expected shape [4, 32], got [4, 10]`, invalid, "ValueError"},
		{run(gotvm.Inputs{"data": must(gotvm.Empty([]int64{4, 32}, "int32"))}), `gotvm: Run: input "data": expected float32, got int32`, invalid, "TypeError"},
		{errorOf(noSession.Profile(ctx)), `gotvm: Profile: the session is nil`, invalid, "ValueError"},
		{errorOf(closedSession.Profile(ctx)), `gotvm: Profile: the session is closed`, closed, "ClosedError"},
		{errorOf(s.Profile(nilContext)), `gotvm: Profile: the context is nil`, invalid, "ValueError"},
		{errorOf(s.Profile(done)), `gotvm: Profile: the run was cancelled: the user went away`, gotvm.ErrCancelled, "CancelledError"},
		{errorOf(noSession.ProfileCall(ctx, "f")), `gotvm: ProfileCall: the session is nil`, invalid, "ValueError"},
		{errorOf(closedSession.ProfileCall(ctx, "f")), `gotvm: ProfileCall: the session is closed`, closed, "ClosedError"},
		{errorOf(s.ProfileCall(nilContext, "f")), `gotvm: ProfileCall: the context is nil`, invalid, "ValueError"},
		{errorOf(s.ProfileCall(ctx, "f")), `gotvm: ProfileCall: the model is a graph, which has no functions: use Run, Profile, or Model.Module for functions of the library`, gotvm.ErrUnsupported, "UnsupportedError"},
		{noSession.BindInput("data", x), `gotvm: BindInput: the session is nil`, invalid, "ValueError"},
		{closedSession.BindInput("data", x), `gotvm: BindInput: the session is closed`, closed, "ClosedError"},
		{s.BindInput("nobody", x), `gotvm: BindInput: there is no input "nobody": the model has "data"`, notFound, "NotFoundError"},
		{s.BindInput("data", y), `gotvm: BindInput: input "data": expected shape [4, 32], got [4, 10]`, invalid, "ValueError"},
		{s.BindInput("data", closedArray), `gotvm: BindInput: input "data": the array is closed`, closed, "ClosedError"},
		{noSession.BindOutput(0, y), `gotvm: BindOutput: the session is nil`, invalid, "ValueError"},
		{closedSession.BindOutput(0, y), `gotvm: BindOutput: the session is closed`, closed, "ClosedError"},
		{s.BindOutput(-1, y), `gotvm: BindOutput: there is no output -1: the model has 1 output`, invalid, "IndexError"},
		{s.BindOutput(1, y), `gotvm: BindOutput: there is no output 1: the model has 1 output`, invalid, "IndexError"},
		{s.BindOutput(0, x), `^gotvm: BindOutput: output 0 \(\w+\): expected float32 \[4, 10\] \(160 bytes\), got float32 \[4, 32\] \(512 bytes\)`, invalid, "ValueError"},
		{s.BindOutput(0, closedArray), `gotvm: BindOutput: output 0: the array is closed`, closed, "ClosedError"},
		{s.BindOutput(0, must(gotvm.Empty([]int64{4, 10}, "int32"))), `^gotvm: BindOutput: output 0 \(\w+\): expected float32 \[4, 10\] \(160 bytes\), got int32 \[4, 10\] \(160 bytes\)`, invalid, "TypeError"},
		{noProfile.WriteTable(io.Discard), `gotvm: WriteTable: the profile is nil`, invalid, "ValueError"},
		{noProfile.WriteTrace(io.Discard), `gotvm: WriteTrace: the profile is nil`, invalid, "ValueError"},
		{noSession.Close(), `gotvm: Close: the session is nil`, invalid, "ValueError"},
	})
}

// Mistakes of Go functions that a model calls.
func TestMistakesInCallbacks(t *testing.T) {
	var s *gotvm.Session
	var busy []mistake
	calls := 0
	step := func() (int64, error) { return 0, nil }
	m := callbackModel(t, func() int64 { return 0 })
	if err := gotvm.RemoveFunction("test.ints"); err != nil {
		t.Fatal(err)
	}
	if err := gotvm.Register("test.ints", func(...any) (int64, error) { calls++; return step() }); err != nil {
		t.Fatal(err)
	}
	s = newTestSession(t, m)
	ctx := context.Background()
	run := func(fn func() (int64, error)) error {
		calls, step = 0, fn
		return errorOf(s.Run(ctx, nil))
	}
	x := must(gotvm.Empty([]int64{1}, "int64"))
	failure := errors.New("no paper")
	fails := run(func() (int64, error) {
		if calls == 3 {
			return 0, failure
		}
		return 0, nil
	})
	if !errors.Is(fails, failure) {
		t.Errorf("%v is no %v", fails, failure)
	}
	panics := run(func() (int64, error) { panic(failure) })
	var p *gotvm.PanicError
	if !errors.As(panics, &p) || p.Value != failure {
		t.Errorf("%v is no panic with %v", panics, failure)
	}
	if err := run(func() (int64, error) {
		if calls == 1 {
			busy = []mistake{
				{errorOf(s.Run(ctx, nil)), `gotvm: Run: the session is in use: make a session for each goroutine`, gotvm.ErrBusy, "BusyError"},
				{errorOf(s.Profile(ctx)), `gotvm: Profile: the session is in use: make a session for each goroutine`, gotvm.ErrBusy, "BusyError"},
				{s.BindOutput(0, x), `gotvm: BindOutput: the session is in use: make a session for each goroutine`, gotvm.ErrBusy, "BusyError"},
			}
		}
		return 0, nil
	}); err != nil {
		t.Error(err)
	}
	checkMistakes(t, append(busy, []mistake{
		{fails, `gotvm: Run: Graph: node 2 (step): call_ints: no paper`, gotvm.ErrRuntime, "RuntimeError"},
		{panics, `gotvm: Run: Graph: node 0 (step): call_ints: panic in callback: no paper`, gotvm.ErrRuntime, "RuntimeError"},
		{run(func() (int64, error) { return 0, errorOf(gotvm.GetGlobalFunction("there.is.none")) }), `gotvm: Run: Graph: node 0 (step): call_ints: get function "there.is.none": no global function has this name`, notFound, "NotFoundError"},
	}...))
	if err := gotvm.RemoveFunction("test.ints"); err != nil {
		t.Fatal(err)
	}
	unlinked := newTestSession(t, callbackModel(t, func() int64 { return 0 }))
	if err := gotvm.RemoveFunction("test.ints"); err != nil {
		t.Fatal(err)
	}
	if err := gotvm.Register("test.ints", func(int) int64 { return 0 }); err != nil {
		t.Fatal(err)
	}
	checkMistakes(t, []mistake{
		{errorOf(unlinked.Run(ctx, nil)), `gotvm: Run: Graph: node 0 (step): call_ints: call "test.ints": expected 1 argument, got 3`, invalid, "ValueError"},
	})
}
