package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// What people say the pictures show, from the data set: the first line of sample/digits/model/heldout.txt.
const labels = "54233310665897119613\n"

// The linked model beside sample/digits' library of the same network, whose functions have the same names; both against
// onnxruntime (of Python, on the network before it was compiled).
func TestProbabilities(t *testing.T) {
	data, err := os.ReadFile("testdata/probabilities.json")
	if err != nil {
		t.Fatal(err)
	}
	var want [][]float32
	if err := json.Unmarshal(data, &want); err != nil || len(want) != 20 {
		t.Fatalf("%d references: %v", len(want), err)
	}
	picture, err := png.Decode(bytes.NewReader(row))
	if err != nil {
		t.Fatal(err)
	}
	linked, err := gotvm.OpenLinked("digits_")
	if err != nil {
		t.Fatal(err)
	}
	defer linked.Close()
	folder := "../digits/model/"
	opened, err := gotvm.OpenFiles(gotvm.Files{Lib: folder + "digits_" + runtime.GOARCH + ".so", Graph: folder + "digits.json", Params: folder + "digits.params"})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	for name, model := range map[string]*gotvm.Model{"linked": linked, "opened": opened} {
		session, err := model.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		for i := range want {
			got, err := classify(context.Background(), session, picture, image.Pt(i*size, 0))
			if err != nil {
				t.Fatal(err)
			}
			close := func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-5 }
			if !slices.EqualFunc(got, want[i], close) {
				t.Errorf("%s: picture %d: got %v, want %v", name, i, got, want[i])
			}
		}
	}
}

func TestErrors(t *testing.T) {
	var wide bytes.Buffer
	if err := png.Encode(&wide, image.NewGray(image.Rect(0, 0, 12, 8))); err != nil {
		t.Fatal(err)
	}
	for want, data := range map[string][]byte{"12×8 pixels": wide.Bytes(), "not a PNG": []byte("plain text, no picture")} {
		path := filepath.Join(t.TempDir(), "row.png")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		err := run(context.Background(), &bytes.Buffer{}, []string{path})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want %q and the path", err, want)
		}
	}
	if err := run(context.Background(), &bytes.Buffer{}, []string{"none.png"}); err == nil {
		t.Error("a file that is not there: no error")
	}
}

// The executable, alone in a folder, with an empty environment.
func TestOneFile(t *testing.T) {
	program := filepath.Join(t.TempDir(), "onefile")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	arguments := []string{program}
	if emulator := os.Getenv("GOTVM_EMULATOR"); emulator != "" {
		arguments = []string{emulator, program}
	}
	command := exec.Command(arguments[0], arguments[1:]...)
	command.Dir, command.Env = filepath.Dir(program), []string{}
	out, err := command.CombinedOutput()
	if err != nil || string(out) != labels {
		t.Errorf("got %v and\n%s, want\n%s", err, out, labels)
	}
	checkNeeds(t, program)
}

// What the executable wants from the machine, as README.md says.
func checkNeeds(t *testing.T, program string) {
	t.Helper()
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	libraries, err := file.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, library := range libraries {
		switch {
		case library == "libc.so.6", library == "libm.so.6", library == "libcjson.so.1":
		case strings.HasPrefix(library, "ld-linux"), library == "libdl.so.2", library == "libpthread.so.0": // of an older libc
		default:
			t.Errorf("the executable needs %s", library)
		}
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, symbol := range symbols {
		if strings.HasPrefix(symbol.Name, "tvmgen_") || strings.HasPrefix(symbol.Name, "__tvm_") {
			t.Errorf("the executable exports %s, which a model that it opens might take for its own", symbol.Name)
		}
	}
}

func Example() {
	if err := run(context.Background(), os.Stdout, nil); err != nil {
		fmt.Println(err)
	}
	// Output: 54233310665897119613
}
