package gotvm_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

func ExampleLoadModuleFromFile() {
	m, err := gotvm.LoadModuleFromFile("testdata/lib/myadd.so")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	add, err := m.GetFunction("myadd")
	if err != nil {
		log.Fatal(err)
	}
	defer add.Close()

	x, err := gotvm.NewArray([]int64{3}, []float32{1, 2, 3})
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	out, err := gotvm.Empty([]int64{3})
	if err != nil {
		log.Fatal(err)
	}
	defer out.Close()
	if _, err := add.Invoke(x, x, out); err != nil {
		log.Fatal(err)
	}
	elements, err := out.AsSlice()
	fmt.Println(elements, err)
	// Output: [2 4 6] <nil>
}

// A model by TVM's own functions.
func ExampleModule_GetFunction() {
	const folder = "testdata/models/tvm0.19/dense/"
	graph, err := os.ReadFile(folder + "deploy.json")
	if err != nil {
		log.Fatal(err)
	}
	params, err := os.ReadFile(folder + "deploy.params")
	if err != nil {
		log.Fatal(err)
	}
	library, err := gotvm.LoadModuleFromFile(folder + "deploy.so")
	if err != nil {
		log.Fatal(err)
	}
	defer library.Close()
	create, err := gotvm.GetGlobalFunction("tvm.graph_executor.create")
	if err != nil {
		log.Fatal(err)
	}
	defer create.Close()
	v, err := create.Invoke(string(graph), library, gotvm.KDLCPU, 0)
	if err != nil {
		log.Fatal(err)
	}
	executor, err := v.Module()
	if err != nil {
		log.Fatal(err)
	}
	defer executor.Close()

	call := func(name string, args ...any) *gotvm.Value {
		f, err := executor.GetFunction(name)
		if err != nil {
			log.Fatal(err)
		}
		defer f.Close()
		v, err := f.Invoke(args...)
		if err != nil {
			log.Fatal(err)
		}
		return v
	}
	call("load_params", params)
	// call("set_input", "data", x) would set an input.
	call("run")
	output := call("get_output", 0).AsArray()
	defer output.Close()
	fmt.Println(output)
	// Output: array [4, 10] of float32 on cpu(0)
}

func ExampleModel_NewSession() {
	const folder = "testdata/models/tvm0.19/dense/"
	m, err := gotvm.OpenFiles(gotvm.Files{Lib: folder + "deploy.so", Graph: folder + "deploy.json", Params: folder + "deploy.params"})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	inputs := gotvm.Inputs{}
	for _, info := range m.Inputs() {
		x, err := gotvm.Empty(info.Shape, info.DType)
		if err != nil {
			log.Fatal(err)
		}
		defer x.Close()
		inputs[info.Name] = x
	}
	s, err := m.NewSession(gotvm.WithThreads(1))
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	outputs, err := s.Run(context.Background(), inputs)
	if err != nil {
		log.Fatal(err)
	}
	for _, y := range outputs {
		fmt.Println(y)
		_ = y.Close()
	}
	// Output: array [4, 10] of float32 on cpu(0)
}

// The three files may be part of the program, by //go:embed.
func ExampleOpenBytes() {
	var blobs gotvm.Blobs
	for name, blob := range map[string]*[]byte{"deploy.so": &blobs.Lib, "deploy.json": &blobs.Graph, "deploy.params": &blobs.Params} {
		data, err := os.ReadFile("testdata/models/tvm0.19/dense/" + name)
		if err != nil {
			log.Fatal(err)
		}
		*blob = data
	}
	m, err := gotvm.OpenBytes(blobs)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	fmt.Println(m.Inputs(), len(m.Outputs()))
	// Output: [data float32 [4, 32]] 1
}

// A run ends when its context does, at the next operator.
func ExampleSession_Run() {
	const folder = "testdata/models/tvm0.19/dense/"
	m, err := gotvm.OpenFiles(gotvm.Files{Lib: folder + "deploy.so", Graph: folder + "deploy.json", Params: folder + "deploy.params"})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	s, err := m.NewSession()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	x, err := gotvm.NewArray([]int64{4, 32}, make([]float32, 4*32))
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	_, err = s.Run(ctx, gotvm.Inputs{"data": x})
	fmt.Println(err)
	fmt.Println(errors.Is(err, gotvm.ErrCancelled), errors.Is(err, context.DeadlineExceeded))

	outputs, err := s.Run(context.Background(), gotvm.Inputs{"data": x}) // the session can run again
	fmt.Println(outputs, err)
	_, err = s.Run(context.Background(), gotvm.Inputs{"image": x})
	fmt.Println(err)
	// Output:
	// gotvm: Run: the run was cancelled: context deadline exceeded
	// true true
	// [array [4, 10] of float32 on cpu(0)] <nil>
	// gotvm: Run: there is no input "image": the model has "data"
}

// What a model wants and gives.
func ExampleModel_Inputs() {
	const folder = "testdata/models/tvm0.19/lstm/"
	m, err := gotvm.OpenFiles(gotvm.Files{Lib: folder + "deploy.so", Graph: folder + "deploy.json", Params: folder + "deploy.params"})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	for _, info := range m.Inputs() {
		fmt.Println(info.Name, info.DType, info.Shape)
	}
	for i, info := range m.Outputs() {
		fmt.Println(i, info.DType, info.Shape)
	}
	// Output:
	// sequence float32 [4 1 6]
	// 0 float32 [1 8]
	// 1 float32 [1 8]
}

// A bound output is written in place in every run.
func ExampleSession_BindOutput() {
	const folder = "testdata/models/tvm0.19/dense/"
	m, err := gotvm.OpenFiles(gotvm.Files{Lib: folder + "deploy.so", Graph: folder + "deploy.json", Params: folder + "deploy.params"})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	s, err := m.NewSession()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	x, err := gotvm.NewArray([]int64{4, 32}, make([]float32, 4*32))
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	y, err := gotvm.Empty([]int64{4, 10})
	if err != nil {
		log.Fatal(err)
	}
	defer y.Close()
	if err := s.BindOutput(0, y); err != nil {
		log.Fatal(err)
	}
	if _, err := s.Run(context.Background(), gotvm.Inputs{"data": x}); err != nil {
		log.Fatal(err)
	}
	scores, err := gotvm.DataOf[float32](y)
	if err != nil {
		log.Fatal(err)
	}
	var sum float32 // of the probabilities of each of four
	for _, score := range scores {
		sum += score
	}
	fmt.Printf("%.3f\n", sum)
	// Output: 4.000
}

// Bound arrays are read and written in place in every run.
func ExampleSession_BindInput() {
	const folder = "testdata/models/tvm0.19/dense/"
	m, err := gotvm.OpenFiles(gotvm.Files{Lib: folder + "deploy.so", Graph: folder + "deploy.json", Params: folder + "deploy.params"})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	s, err := m.NewSession()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	x, err := gotvm.NewArray([]int64{4, 32}, make([]float32, 4*32))
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	if err := s.BindInput("data", x); err != nil {
		log.Fatal(err)
	}
	pixels, err := gotvm.DataOf[float32](x)
	if err != nil {
		log.Fatal(err)
	}
	for i := range 3 {
		pixels[0] = float32(i) // the next run sees this
		outputs, err := s.Run(context.Background(), nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(outputs[0])
	}
	// Output:
	// array [4, 10] of float32 on cpu(0)
	// array [4, 10] of float32 on cpu(0)
	// array [4, 10] of float32 on cpu(0)
}
