package gotvm_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/gotvm/gotvm/gotvm"
)

// A package that "tvmc compile" made; a factory library opens in the same way.
func ExampleOpen() {
	model, err := gotvm.Open("testdata/models/tvm0.19/dense/package.tar")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	session, err := model.NewSession()
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()

	x, err := gotvm.NewArray([]int64{4, 32}, make([]float32, 4*32))
	if err != nil {
		log.Fatal(err)
	}
	outputs, err := session.Run(context.Background(), gotvm.Inputs{"data": x})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(model.Inputs()[0], "→", outputs[0].GetDType(), outputs[0].GetShape())
	// Output: data float32 [4, 32] → float32 [4 10]
}

// One file from //go:embed: graph, weights and code.
func ExampleOpenBytes_factory() {
	library, err := os.ReadFile("testdata/models/tvm0.19/dense/factory.so")
	if err != nil {
		log.Fatal(err)
	}
	model, err := gotvm.OpenBytes(gotvm.Blobs{Lib: library})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	fmt.Println(model.Inputs())
	// Output: [data float32 [4, 32]]
}

// TVM's own way: the library has a function, called as the model is, that makes an executor for a device.
func ExampleModule_GetFunction_factory() {
	library, err := gotvm.LoadModuleFromFile("testdata/models/tvm0.19/dense/factory.so")
	if err != nil {
		log.Fatal(err)
	}
	defer library.Close()
	create, err := library.GetFunction("default")
	if err != nil {
		log.Fatal(err)
	}
	defer create.Close()
	value, err := create.Invoke(gotvm.CPU(0))
	if err != nil {
		log.Fatal(err)
	}
	executor, err := value.Module()
	if err != nil {
		log.Fatal(err)
	}
	defer executor.Close()
	count, err := executor.GetFunction("get_num_outputs")
	if err != nil {
		log.Fatal(err)
	}
	defer count.Close()
	n, err := count.Invoke()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n.AsInt64())
	// Output: 1
}
