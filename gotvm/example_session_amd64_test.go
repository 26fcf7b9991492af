package gotvm_test

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// A server: one model, a few sessions of it, and any number of goroutines that take one when they need it.
func Example() {
	model, err := gotvm.Open("testdata/models/tvm0.19/dense/package.tar")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	sessions := make(chan *gotvm.Session, 2)
	for range cap(sessions) {
		session, err := model.NewSession(gotvm.WithThreads(1)) // the goroutines use the cores
		if err != nil {
			log.Fatal(err)
		}
		defer session.Close()
		sessions <- session
	}

	serve := func(ctx context.Context, pixels []float32) ([]float32, error) {
		x, err := gotvm.NewArray(model.Inputs()[0].Shape, pixels)
		if err != nil {
			return nil, err
		}
		defer x.Close()
		session := <-sessions
		defer func() { sessions <- session }()
		outputs, err := session.Run(ctx, gotvm.Inputs{"data": x})
		if err != nil {
			return nil, err
		}
		defer outputs[0].Close()
		return gotvm.DataOf[float32](outputs[0]) // ordinary memory, which outlives the array
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var requests sync.WaitGroup
	for range 8 {
		requests.Add(1)
		go func() {
			defer requests.Done()
			scores, err := serve(ctx, make([]float32, 4*32))
			if err != nil || len(scores) != 4*10 {
				log.Fatal(scores, err)
			}
		}()
	}
	requests.Wait()
	_, err = serve(ctx, make([]float32, 7))
	fmt.Println(err)
	// Output: gotvm: NewArray: the array has shape [4, 32]: 128 elements (512 bytes), but the slice has 7 elements (28 bytes)
}

// What TVM 0.5 to 0.19 write for the graph executor.
func ExampleOpenFiles() {
	const folder = "testdata/models/tvm0.19/dense/"
	model, err := gotvm.OpenFiles(gotvm.Files{Lib: folder + "deploy.so", Graph: folder + "deploy.json", Params: folder + "deploy.params"})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	fmt.Println(model.Inputs())
	// Output: [data float32 [4, 32]]
}

func ExampleWithDevice() {
	model, err := gotvm.Open("testdata/models/tvm0.19/dense/package.tar")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	session, err := model.NewSession(gotvm.WithDevice(gotvm.CPU(0)), gotvm.WithThreads(2))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(session.Close())
	_, err = model.NewSession(gotvm.WithDevice(gotvm.CUDA(0)))
	fmt.Println(err)
	// Output:
	// <nil>
	// gotvm: NewSession: WithDevice: cuda(0): this runtime has no support for such a device
}

// A model's library has functions, of which its operators are made.
func ExampleModel_Module() {
	model, err := gotvm.Open("testdata/models/tvm0.19/dense/package.tar")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	softmax, err := model.Module().GetFunction("tvmgen_default_fused_nn_softmax")
	if err != nil {
		log.Fatal(err)
	}
	defer softmax.Close()
	x, err := gotvm.NewArray([]int64{4, 10}, make([]float32, 40))
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	y, err := gotvm.Empty([]int64{4, 10})
	if err != nil {
		log.Fatal(err)
	}
	defer y.Close()
	if _, err := softmax.Invoke(x, y); err != nil {
		log.Fatal(err)
	}
	scores, err := gotvm.DataOf[float32](y)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(scores[0], err)
	// Output: 0.1 <nil>
}
