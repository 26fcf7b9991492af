package gotvm_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// BenchmarkModel runs the models of `make models` with bound inputs and outputs; scripts/bench_models.py sets
// it beside TVM's own runtime.
func BenchmarkModel(b *testing.B) {
	models := os.Getenv("GOTVM_MODELS")
	if models == "" {
		b.Skip("GOTVM_MODELS is not set")
	}
	for _, name := range []string{"mlp", "mobilenet", "mobilenet_nchw", "resnet18"} {
		for _, threads := range []int{1, 2} {
			b.Run(name+"/threads="+strconv.Itoa(threads), func(b *testing.B) {
				benchmarkModel(b, filepath.Join(models, name, name), threads)
			})
		}
	}
}

func benchmarkModel(b *testing.B, path string, threads int) {
	m, err := gotvm.OpenFiles(gotvm.Files{Lib: path + ".so", Graph: path + ".json", Params: path + ".params"})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	s := newTestSession(b, m, gotvm.WithThreads(threads))
	reference := readReference(b, filepath.Join(filepath.Dir(path), "reference.params"))
	for name, x := range inputsOf(b, reference) {
		if err := s.BindInput(name, x); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := s.Run(context.Background(), nil); err != nil {
			b.Fatal(err)
		}
	}
}
