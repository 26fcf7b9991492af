package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The reference outputs were computed by TVM's own runtime; reference.params ends with them.
func referenceScores(t *testing.T, path string) []float32 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	count := int(outputShape[1])
	if len(data) < 4*count {
		t.Fatalf("%s has %d bytes", path, len(data))
	}
	scores := make([]float32, count)
	if err := binary.Read(bytes.NewReader(data[len(data)-4*count:]), binary.LittleEndian, scores); err != nil {
		t.Fatal(err)
	}
	return scores
}

func compare(t *testing.T, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d scores, want %d", len(got), len(want))
	}
	for i := range want {
		if d := math.Abs(float64(got[i] - want[i])); !(d <= tolerance*(1+math.Abs(float64(want[i])))) {
			t.Fatalf("score %d is %v, want %v", i, got[i], want[i])
		}
	}
}

// The input that scripts/make_models.py computes the reference outputs from.
func referencePicture() []float32 {
	picture := make([]float32, 224*224*3)
	for i := range picture {
		picture[i] = float32(float64(i%251) / 250)
	}
	return picture
}

// standIn is the folder with the stand-in for MobileNet: testdata, whose library is for amd64, or the folder deploy
// of the test data that GOTVM_TESTDATA names.
func standIn(t *testing.T) string {
	t.Helper()
	if folder := os.Getenv("GOTVM_TESTDATA"); folder != "" {
		return filepath.Join(folder, "deploy")
	}
	if runtime.GOARCH != "amd64" {
		t.Skipf("the model in testdata is for amd64, this is %s", runtime.GOARCH)
	}
	return "testdata"
}

func TestInfer(t *testing.T) {
	folder := standIn(t)
	scores, err := infer(filepath.Join(folder, "mobilenet"), referencePicture())
	if err != nil {
		t.Fatal(err)
	}
	compare(t, scores, referenceScores(t, filepath.Join(folder, "reference.params")), 1e-5)
}

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(&out, filepath.Join(standIn(t), "mobilenet")); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "Best classes:") || strings.Count(out.String(), "\n") != 7 {
		t.Errorf("unexpected output:\n%s", out.String())
	}
}

// The real MobileNet, which `make models` compiles.
func TestMobileNet(t *testing.T) {
	models := os.Getenv("GOTVM_MODELS")
	if models == "" {
		t.Skip("GOTVM_MODELS is not set: make test-models runs this")
	}
	folder := filepath.Join(models, "mobilenet")
	scores, err := infer(filepath.Join(folder, "mobilenet"), referenceInput(t, filepath.Join(folder, "reference.params")))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, scores, referenceScores(t, filepath.Join(folder, "reference.params")), 1e-4)
}

// referenceInput finds the picture in a reference file: it stands before the last tensor, whose header has 56
// bytes here (two magic words, device, number of dimensions, type, two dimensions, size).
func referenceInput(t *testing.T, path string) []float32 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const headerSize = 8 + 8 + 8 + 4 + 4 + 2*8 + 8
	end := len(data) - 4*int(outputShape[1]) - headerSize
	picture := make([]float32, 224*224*3)
	if err := binary.Read(bytes.NewReader(data[end-4*len(picture):end]), binary.LittleEndian, picture); err != nil {
		t.Fatal(err)
	}
	return picture
}

func TestErrors(t *testing.T) {
	if err := run(&strings.Builder{}, "testdata/missing"); err == nil || !strings.Contains(err.Error(), "cannot open shared object") {
		t.Errorf("a missing model gives %v", err)
	}
	if _, err := infer(filepath.Join(standIn(t), "mobilenet"), make([]float32, 244*244*3)); err == nil ||
		!strings.Contains(err.Error(), "178608") || !strings.Contains(err.Error(), "150528") {
		t.Errorf("an input of the wrong length gives %v, want both lengths", err)
	}
}
