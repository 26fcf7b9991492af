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
