package gotvm_test

import (
	"context"
	"fmt"
	"log"

	"github.com/gotvm/gotvm/gotvm"
)

// A Relax executable has several functions; some take and give more than arrays.
func ExampleSession_Call() {
	m, err := gotvm.Open("testdata/relax/tvm0.27/nested/model.so")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	s, err := m.NewSession()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	x, err := gotvm.NewArray([]int64{2, 3}, []float32{1, 2, 3, 4, 5, 6})
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	v, err := s.Call(context.Background(), "same", x) // gives a tuple of its argument, twice
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	arrays, err := v.Arrays()
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range arrays {
		elements, err := a.AsSlice()
		fmt.Println(elements, err)
	}
	// Output:
	// [1 2 3 4 5 6] <nil>
	// [1 2 3 4 5 6] <nil>
}

func ExampleModel_Functions() {
	m, err := gotvm.Open("testdata/relax/tvm0.27/nested/model.so")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	for _, f := range m.Functions() {
		fmt.Println(f.Name, f.Params)
	}
	// Output:
	// caller [x float32 [2, 3]]
	// helper [x float32 [2, 3]]
	// main [x float32 [2, 3] y int32 [4]]
	// same [x float32 [2, 3]]
	// swap [pair]
}

// The kernels of one function, with the shapes of this call.
func ExampleSession_ProfileCall() {
	m, err := gotvm.Open("testdata/relax/tvm0.27/mlp_dynamic/model.so")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	s, err := m.NewSession()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	x, err := gotvm.NewArray([]int64{7, 16}, make([]float32, 7*16))
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()

	p, err := s.ProfileCall(context.Background(), "main", x)
	if err != nil {
		log.Fatal(err)
	}
	for _, o := range p.Operators { // o.Duration, and on a GPU o.DeviceTime, say how long
		if len(o.Outputs) == 1 {
			fmt.Println(o.Name, o.Bytes, o.Outputs[0].Shape)
		}
	}
	// Output:
	// matmul 1552 [7 12]
	// add 720 [7 12]
	// relu 672 [7 12]
	// matmul1 1248 [7 12]
	// add 720 [7 12]
	// relu 672 [7 12]
	// matmul2 716 [7 5]
	// add1 300 [7 5]
	// softmax 280 [7 5]
}
