package gotvm_test

import (
	"errors"
	"fmt"
	"log"

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
	add, err := gotvm.ConvertFunction(func(args ...*gotvm.Value) (interface{}, error) {
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
	double := func(args ...*gotvm.Value) (interface{}, error) {
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
	// gotvm: call example.double: the value is of kind str, not float
}

func ExampleFunction_Invoke() {
	describe, err := gotvm.ConvertFunction(func(args ...*gotvm.Value) (interface{}, error) {
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
	identity, err := gotvm.ConvertFunction(func(args ...*gotvm.Value) (interface{}, error) { return args[0], nil })
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
	// gotvm: the value is of kind str, not int
}

func ExampleError() {
	failure := errors.New("out of paper")
	f, err := gotvm.ConvertFunction(func(...*gotvm.Value) (interface{}, error) { return nil, failure })
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
	// gotvm: get function no.such.function: no global function has this name
	// true
	// not found / NotFoundError
}

func ExamplePanicError() {
	f, err := gotvm.ConvertFunction(func(args ...*gotvm.Value) (interface{}, error) { panic("no way") })
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	_, err = f.Invoke()
	var p *gotvm.PanicError
	fmt.Println(errors.As(err, &p), p)
	// Output: true panic in callback: no way
}

func ExampleDevice() {
	fmt.Println(gotvm.CPU(0), gotvm.OpenCL(1), gotvm.GPU(0) == gotvm.CUDA(0))
	_, err := gotvm.Empty([]int64{1}, gotvm.Metal(0))
	fmt.Println(errors.Is(err, gotvm.ErrInvalidArgument))
	// Output:
	// cpu(0) opencl(1) true
	// true
}
