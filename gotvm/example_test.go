package gotvm_test

import (
	"errors"
	"fmt"
	"log"
	"slices"

	"github.com/gotvm/gotvm/gotvm"
)

func ExampleEmpty() {
	// The element type and the device may stand in any order, or be left out.
	x, err := gotvm.Empty([]int64{2, 3}, "float32", gotvm.CPU(0))
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	fmt.Println(x)
	// Output: array [2, 3] of float32 on cpu(0)
}

func ExampleNewArray() {
	x, err := gotvm.NewArray([]int64{2, 2}, []int32{1, 2, 3, 4})
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	fmt.Println(x.GetDType(), x.GetShape(), x.GetNdim(), x.GetDevice())

	_, err = gotvm.NewArray([]int64{2, 2}, []int32{1, 2, 3})
	fmt.Println(err)
	// Output:
	// int32 [2 2] 2 cpu(0)
	// gotvm: NewArray: the array has shape [2, 2]: 4 elements (16 bytes), but the slice has 3 elements (12 bytes)
}

func ExampleDataOf() {
	x, err := gotvm.Empty([]int64{3})
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	view, err := gotvm.DataOf[float32](x)
	if err != nil {
		log.Fatal(err)
	}
	view[1] = 0.5 // writes to the array
	elements, err := x.AsSlice()
	fmt.Println(elements, err)
	// Output: [0 0.5 0] <nil>
}

func ExampleArray_CopyFrom() {
	x, err := gotvm.Empty([]int64{2}, "float16")
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	if err := x.CopyFrom([]gotvm.Float16{gotvm.NewFloat16(0.1), gotvm.NewFloat16(2)}); err != nil {
		log.Fatal(err)
	}
	elements, err := x.AsSlice()
	fmt.Println(elements, err)
	fmt.Println(x.CopyFrom([]float32{1, 2}))
	// Output:
	// [0.099976 2] <nil>
	// gotvm: CopyFrom: the array holds float16, the slice float32
}

func ExampleArray_Bytes() {
	x, err := gotvm.NewArray([]int64{2}, []uint16{0x0102, 0x0304})
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	b, err := x.Bytes()
	fmt.Println(b, err)
	// Output: [2 1 4 3] <nil>
}

func ExampleArray_CopyTo() {
	x, err := gotvm.NewArray([]int64{2, 1}, []int8{1, 2})
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	y, err := gotvm.Empty([]int64{2}, "int8")
	if err != nil {
		log.Fatal(err)
	}
	defer y.Close()
	err = x.CopyTo(y)
	elements, _ := y.AsSlice()
	fmt.Println(elements, err)
	// Output: [1 2] <nil>
}

func ExampleConvertFunction() {
	limit := int64(100) // closures may capture what they like
	add, err := gotvm.ConvertFunction(func(args ...*gotvm.Value) (any, error) {
		if len(args) != 2 {
			return nil, fmt.Errorf("expected 2 arguments, got %d", len(args))
		}
		return min(args[0].AsInt64()+args[1].AsInt64(), limit), nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer add.Close()
	sum, err := add.Invoke(30, 40)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sum.AsInt64())
	// Output: 70
}

func ExampleRegisterFunction() {
	double := func(args ...*gotvm.Value) (any, error) {
		f, err := args[0].Float64() // says so when it is no number
		return 2 * f, err
	}
	if err := gotvm.RegisterFunction(double, "example.double"); err != nil {
		log.Fatal(err)
	}
	defer gotvm.RemoveFunction("example.double")

	f, err := gotvm.GetGlobalFunction("example.double")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	v, err := f.Invoke(2.5)
	fmt.Println(v, err)
	_, err = f.Invoke("text")
	fmt.Println(err)
	// Output:
	// 5 <nil>
	// gotvm: call "example.double": the value: expected float, got str "text"
}

func ExampleRegister() {
	err := gotvm.Register("example.scale", func(x []float32, by float64) ([]float32, error) {
		if by == 0 {
			return nil, errors.New("nothing would be left")
		}
		for i := range x {
			x[i] *= float32(by)
		}
		return x, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer gotvm.RemoveFunction("example.scale")

	scale, err := gotvm.GetGlobalFunction("example.scale") // compiled code finds it by the same name
	if err != nil {
		log.Fatal(err)
	}
	defer scale.Close()
	x, err := gotvm.NewArray([]int64{3}, []float32{1, 2, 3})
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	v, err := scale.Invoke(x, 10)
	if err != nil {
		log.Fatal(err)
	}
	elements, err := v.AsArray().AsSlice()
	fmt.Println(elements, err)

	_, err = scale.Invoke(x, "ten")
	fmt.Println(err)
	_, err = scale.Invoke(x, 0)
	fmt.Println(err)
	fmt.Println(gotvm.Register("example.wrong", func(map[string]int) {}))
	// Output:
	// [10 20 30] <nil>
	// gotvm: call "example.scale": argument 1: expected float64, got str "ten"
	// gotvm: call "example.scale": nothing would be left
	// gotvm: register "example.wrong": parameter 0 of func(map[string]int) is of type map[string]int, which no value of TVM becomes
}

// Closures go as arguments, and what calls them may be a registered function, too.
func ExampleCallback() {
	err := gotvm.Register("example.twice", func(f *gotvm.Function, x int64) (int64, error) {
		defer f.Close()
		for range 2 {
			y, err := f.Invoke(x)
			if err != nil {
				return 0, err
			}
			if x, err = y.Int64(); err != nil {
				return 0, err
			}
		}
		return x, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer gotvm.RemoveFunction("example.twice")
	twice, err := gotvm.GetGlobalFunction("example.twice")
	if err != nil {
		log.Fatal(err)
	}
	defer twice.Close()

	square := func(args ...*gotvm.Value) (any, error) {
		x, err := args[0].Int64()
		return x * x, err
	}
	v, err := twice.Invoke(square, 3)
	fmt.Println(v, err)
	// Output: 81 <nil>
}

func ExampleGetGlobalFunction() {
	f, err := gotvm.GetGlobalFunction("runtime.GetDeviceAttr") // one of the runtime's own
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	exists, err := f.Invoke(gotvm.KDLCPU, 0, 0)
	fmt.Println(exists, err)
	_, err = gotvm.GetGlobalFunction("runtime.GetDeviceAtr")
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// gotvm: get function "runtime.GetDeviceAtr": no global function has this name
}

func ExampleTensorInfo() {
	info := gotvm.TensorInfo{Name: "tokens", DType: "int64", Shape: []int64{1, -1}} // as of a model for texts of any length
	fmt.Println(info)
	// Output: tokens int64 [1, -1]
}

func ExampleFuncListGlobalNames() {
	names, err := gotvm.FuncListGlobalNames()
	fmt.Println(slices.Contains(names, "tvm.graph_executor.create"), err)
	// Output: true <nil>
}

func ExampleRemoveFunction() {
	if err := gotvm.Register("example.one", func() int { return 1 }); err != nil {
		log.Fatal(err)
	}
	one, err := gotvm.GetGlobalFunction("example.one")
	if err != nil {
		log.Fatal(err)
	}
	defer one.Close()
	fmt.Println(gotvm.RemoveFunction("example.one"))
	v, err := one.Invoke() // who has it goes on to use it
	fmt.Println(v, err)
	fmt.Println(gotvm.RemoveFunction("example.one"))
	// Output:
	// <nil>
	// 1 <nil>
	// gotvm: remove "example.one": no global function has this name
}

func ExampleFunction_Invoke() {
	describe, err := gotvm.ConvertFunction(func(args ...*gotvm.Value) (any, error) {
		for _, arg := range args {
			fmt.Println(arg.Kind(), arg)
		}
		return nil, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer describe.Close()
	v, err := describe.Invoke(nil, 7, true, 1.5, "text", []byte{1, 2}, gotvm.CPU(0))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(v.IsNil())
	// Output:
	// nil nil
	// int 7
	// bool true
	// float 1.5
	// str text
	// bytes 2 bytes
	// device cpu(0)
	// true
}

func ExampleValue() {
	identity, err := gotvm.ConvertFunction(func(args ...*gotvm.Value) (any, error) { return args[0], nil })
	if err != nil {
		log.Fatal(err)
	}
	defer identity.Close()
	v, err := identity.Invoke("text")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q %d\n", v.AsStr(), v.AsInt64()) // zero where the kind is another one …
	_, err = v.Int64()                            // … or an error
	fmt.Println(err)
	// Output:
	// "text" 0
	// gotvm: the value: expected int, got str "text"
}

func ExampleError() {
	failure := errors.New("out of paper")
	f, err := gotvm.ConvertFunction(func(...*gotvm.Value) (any, error) { return nil, failure })
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	_, err = f.Invoke()
	fmt.Println(errors.Is(err, failure))

	_, err = gotvm.GetGlobalFunction("no.such.function")
	fmt.Println(err)
	fmt.Println(errors.Is(err, gotvm.ErrNotFound))
	var e *gotvm.Error
	if errors.As(err, &e) {
		fmt.Println(e.Code, "/", e.Kind)
	}
	// Output:
	// true
	// gotvm: get function "no.such.function": no global function has this name
	// true
	// not found / NotFoundError
}

func ExamplePanicError() {
	f, err := gotvm.ConvertFunction(func(args ...*gotvm.Value) (any, error) { panic("no way") })
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	_, err = f.Invoke()
	var p *gotvm.PanicError
	fmt.Println(errors.As(err, &p), p)
	// Output: true panic in callback: no way
}

// Errors have sentinels and codes.
func ExampleCode() {
	_, err := gotvm.Empty([]int64{2, -1})
	var e *gotvm.Error
	if errors.As(err, &e) {
		switch e.Code {
		case gotvm.CodeInvalidArgument:
			fmt.Println("mine:", e.Message)
		case gotvm.CodeMemory:
			fmt.Println("the machine's:", e.Message)
		}
	}
	fmt.Println(errors.Is(err, gotvm.ErrInvalidArgument))
	// Output:
	// mine: shape [2, -1] has a negative dimension
	// true
}

func ExampleFloat16() {
	h, b := gotvm.NewFloat16(0.1), gotvm.NewBFloat16(0.1) // the nearest there are
	fmt.Println(h, h.Float32(), b, b.Float32())
	x, err := gotvm.NewArray([]int64{2}, []gotvm.Float16{h, gotvm.NewFloat16(1e6)})
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	elements, err := x.AsSlice()
	fmt.Println(x.GetDType(), elements, err)
	// Output:
	// 0.099976 0.099975586 0.1001 0.100097656
	// float16 [0.099976 +Inf] <nil>
}

func ExampleArray_CopyFromBytes() {
	x, err := gotvm.Empty([]int64{2}, "float8_e4m3fn") // Go has no type for these
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	if err := x.CopyFromBytes([]byte{0x38, 0x40}); err != nil {
		log.Fatal(err)
	}
	b, err := x.Bytes()
	fmt.Println(b, err)
	fmt.Println(x.CopyFromBytes(b[:1]))
	// Output:
	// [56 64] <nil>
	// gotvm: CopyFromBytes: the array has shape [2] of float8_e4m3fn: 2 bytes, but the slice has 1 byte
}

// A view is ordinary Go memory; what is closed says so.
func ExampleArray_Close() {
	x, err := gotvm.NewArray([]int64{2}, []int64{3, 4})
	if err != nil {
		log.Fatal(err)
	}
	view, err := gotvm.DataOf[int64](x)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(x.Close(), x.Close(), view)
	_, err = x.AsSlice()
	fmt.Println(err, errors.Is(err, gotvm.ErrClosed))
	// Output:
	// <nil> <nil> [3 4]
	// gotvm: AsSlice: the array is closed true
}

func ExampleDevices() {
	cpu := gotvm.Devices()[0]                                          // others follow
	fmt.Println(cpu.Device, cpu.Kind, cpu.Threads > 0, cpu.Memory > 0) // and cpu.Name
	// Output: cpu(0) cpu true true
}

func ExampleDevice_Sync() {
	device := gotvm.CPU(0) // or one with a queue of work, such as gotvm.OpenCL(0)
	x, err := gotvm.Empty([]int64{2}, device)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = x.CopyFrom([]float32{1, 2})
	fmt.Println(err, device.Sync())
	// Output: <nil> <nil>
}

func ExampleBuildInfo() {
	build := gotvm.BuildInfo()
	fmt.Println(build.Version == gotvm.Version, build.Devices[0]) // fmt.Println(build) prints everything
	// Output: true cpu
}

func ExampleDevice() {
	fmt.Println(gotvm.CPU(0), gotvm.OpenCL(1), gotvm.GPU(0) == gotvm.CUDA(0))
	_, err := gotvm.Empty([]int64{1}, gotvm.Metal(0))
	fmt.Println(errors.Is(err, gotvm.ErrInvalidArgument))
	// Output:
	// cpu(0) opencl(1) true
	// true
}
