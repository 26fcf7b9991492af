package gotvm_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// Trained models of Python packages, compiled by both compilers, beside onnxruntime's results for files and pictures
// (scripts/make_relax_models.py). Every reference has a session, and all of a model's sessions run at once.
func TestRealModels(t *testing.T) {
	models := os.Getenv("GOTVM_MODELS")
	if models == "" {
		t.Skip("GOTVM_MODELS is not set: make test-models runs this")
	}
	for _, name := range []string{"magika", "ocr_cls", "ocr_rec"} {
		path := filepath.Join(models, name, name)
		for form, files := range map[string]gotvm.Files{
			"classic": {Lib: path + ".so", Graph: path + ".json", Params: path + ".params"},
			"relax":   {Lib: path + "-relax.so"},
		} {
			t.Run(name+"/"+form, func(t *testing.T) {
				m, err := gotvm.OpenFiles(files)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				references, err := filepath.Glob(filepath.Join(models, name, "reference*.params"))
				if err != nil || len(references) < 2 {
					t.Fatalf("references: %v, error %v", references, err)
				}
				var running sync.WaitGroup
				defer running.Wait()
				for _, file := range references {
					reference, s := readReference(t, file), newTestSession(t, m)
					inputs := inputsOf(t, reference)
					running.Add(1)
					go func() {
						defer running.Done()
						for range 3 {
							outputs, err := s.Run(context.Background(), inputs)
							if err != nil || len(outputs) != 1 {
								t.Errorf("%s: %d outputs, error %v", file, len(outputs), err)
								return
							}
							compareOutput(t, filepath.Base(file), outputs[0], reference["out:0"], 1e-3, 5e-4)
						}
					}()
				}
			})
		}
	}
}
