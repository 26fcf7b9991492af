package gotvm_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"github.com/gotvm/gotvm/gotvm"
)

func ExampleSession_Profile() {
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
	if _, err := s.Run(context.Background(), gotvm.Inputs{"data": x}); err != nil { // sets the input, warms up
		log.Fatal(err)
	}

	p, err := s.Profile(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, o := range p.Operators { // fmt.Print(p) prints a table with the times
		fmt.Println(o.Name, o.Bytes, o.Outputs[0].Shape)
	}
	var trace bytes.Buffer // or a file, for chrome://tracing
	if err := p.WriteTrace(&trace); err != nil {
		log.Fatal(err)
	}
	// Output:
	// tvmgen_default_fused_nn_contrib_dense_pack_add_nn_relu 7616 [4 48]
	// tvmgen_default_fused_nn_contrib_dense_pack_add 2888 [4 10]
	// tvmgen_default_fused_nn_softmax 320 [4 10]
}
