package gotvm_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// Models that are linked into a program: testdata/linked/main.go, in a module of its own with what scripts/link-model
// makes of the artifacts in testdata/linked (scripts/make_linked_testdata.py).

type linkedRun struct {
	Linked, Path string
	Shape        []int64
	Data, Output []float32
	Error        string

	want  []float32
	error string
}

// linkModel makes an object file of an artifact in folder.
func linkModel(tb testing.TB, folder, artifact string, options ...string) {
	tb.Helper()
	name := strings.ReplaceAll(artifact, "/", "_") + "_linux_amd64.syso"
	arguments := append([]string{filepath.Join("testdata", artifact), "--out", filepath.Join(folder, name)}, options...)
	if out, err := exec.Command("../scripts/link-model", arguments...).CombinedOutput(); err != nil {
		tb.Fatalf("scripts/link-model: %v\n%s", err, out)
	}
}

// buildLinked builds the program with the models whose object files lie in folder.
func buildLinked(tb testing.TB, folder string, flags ...string) string {
	tb.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		tb.Fatal(err)
	}
	writeFile(tb, filepath.Join(folder, "main.go"), readFile(tb, "testdata/linked/main.go"))
	writeFile(tb, filepath.Join(folder, "go.mod"), []byte("module linked\n\ngo 1.24\n\nrequire github.com/gotvm/gotvm v0.0.0\n\nreplace github.com/gotvm/gotvm => "+root+"\n"))
	program := filepath.Join(tb.TempDir(), "program")
	if raceEnabled {
		flags = append(flags, "-race")
	}
	build := exec.Command("go", append([]string{"build", "-o", program}, flags...)...)
	build.Dir = folder
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// runLinked runs the program in an empty folder.
func runLinked(tb testing.TB, program string, runs []linkedRun) {
	tb.Helper()
	input, err := json.Marshal(runs)
	if err != nil {
		tb.Fatal(err)
	}
	var messages bytes.Buffer
	command := exec.Command(program)
	command.Dir, command.Stdin, command.Stderr = tb.TempDir(), bytes.NewReader(input), &messages
	out, err := command.Output()
	if err != nil {
		tb.Fatalf("the program: %v\n%s", err, &messages)
	}
	results := make([]linkedRun, 0, len(runs))
	if err := json.Unmarshal(out, &results); err != nil || len(results) != len(runs) {
		tb.Fatalf("%d results, %v:\n%s", len(results), err, out)
	}
	for i, run := range runs {
		got, what := results[i], run.Linked+run.Path
		if run.error != "" {
			if !strings.Contains(got.Error, run.error) {
				tb.Errorf("%s: error %q, want one with %q", what, got.Error, run.error)
			}
			continue
		}
		if got.Error != "" || len(got.Output) != len(run.want) {
			tb.Errorf("%s: got %v and error %q, want %v", what, got.Output, got.Error, run.want)
			continue
		}
		for k := range run.want {
			if math.Abs(float64(got.Output[k]-run.want[k])) > 1e-5 {
				tb.Errorf("%s: got %v, want %v", what, got.Output, run.want)
				break
			}
		}
	}
}

func floatsOf(tb testing.TB, tensor referenceTensor) []float32 {
	tb.Helper()
	values := make([]float32, len(tensor.data)/4)
	if err := binary.Read(bytes.NewReader(tensor.data), binary.LittleEndian, values); err != nil || tensor.dtype != "float32" || len(values) == 0 {
		tb.Fatalf("a reference of %s, %d bytes: %v", tensor.dtype, len(tensor.data), err)
	}
	return values
}

func needLinker(tb testing.TB) {
	tb.Helper()
	if runtime.GOARCH != "amd64" {
		tb.Skip("the models in testdata/linked are for amd64")
	}
	if testing.Short() {
		tb.Skip("builds a program")
	}
}

// Linked models and opened ones whose functions have the same names: 2x + 1 is linked, 3x + 5 is opened.
func TestLinked(t *testing.T) {
	needLinker(t)
	folder := t.TempDir()
	linkModel(t, folder, "linked/graph.tar", "--prefix", "graph_")
	linkModel(t, folder, "linked/aot.tar", "--prefix=aot_")
	linkModel(t, folder, "relax/linked/mlp/model-compiled.o")

	shape, x, linked, opened := []int64{4}, []float32{-1, 0, 1, 2.5}, []float32{-1, 1, 3, 6}, []float32{2, 5, 8, 12.5}
	path := func(file string) string { return must(filepath.Abs(filepath.Join("testdata/linked", file))) }
	runs := []linkedRun{
		{Linked: "graph_:", want: linked},
		{Path: path("graph.so"), want: opened},
		{Linked: "aot_:", want: linked},
		{Path: path("aot.so"), want: opened},
		{Linked: "graph_:", want: linked}, // the same module, from two goroutines
		{Linked: ":", error: `no model with the prefix "" is linked into this program: there are models with the prefix "aot_", "gotvm_mlp_", "graph_"`},
		{Linked: "none_:", error: `there are models with the prefix "aot_", "gotvm_mlp_", "graph_"`},
	}
	for i := range runs {
		runs[i].Shape, runs[i].Data = shape, x
	}
	mlp := readReference(t, "testdata/relax/linked/mlp/reference.params")
	for _, call := range []string{"0", "1"} { // as relax/manifest.json has them
		input, output := mlp["in:"+call+".0"], mlp["out:"+call]
		runs = append(runs, linkedRun{Linked: "gotvm_mlp_:", Shape: input.shape, Data: floatsOf(t, input), want: floatsOf(t, output)})
	}
	modes := [][]string{nil}
	if !raceEnabled { // with which this mode does not go
		modes = append(modes, []string{"-buildmode=pie"})
	}
	for _, flags := range modes {
		program := buildLinked(t, folder, flags...)
		runLinked(t, program, runs)
		checkNoModelSymbols(t, program)
	}
}

// checkNoModelSymbols proves that the dynamic linker sees nothing of the models.
func checkNoModelSymbols(tb testing.TB, program string) {
	tb.Helper()
	file, err := elf.Open(program)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	symbols, err := file.DynamicSymbols()
	if err != nil {
		tb.Fatal(err)
	}
	exported := 0
	for _, symbol := range symbols {
		if symbol.Name == "TVMBackendAllocWorkspace" && symbol.Section != elf.SHN_UNDEF {
			exported++ // what opened models look for
		}
		for _, part := range []string{"tvmgen", "__tvm", "__TVM", "extendhfsf2"} {
			if strings.Contains(symbol.Name, part) {
				tb.Errorf("the program exports %s", symbol.Name)
			}
		}
	}
	if exported != 1 {
		tb.Errorf("the program does not export TVMBackendAllocWorkspace")
	}
}

// Two models that claim the same prefix are told apart from one that is there.
func TestLinkedTwice(t *testing.T) {
	needLinker(t)
	folder := t.TempDir()
	linkModel(t, folder, "linked/graph.tar", "--prefix", "same_")
	linkModel(t, folder, "linked/aot.tar", "--prefix", "same_")
	runLinked(t, buildLinked(t, folder), []linkedRun{{Linked: "same_:", error: "same___tvm_dev_mblob is registered twice"}})
}

// No model is linked into the test binary.
func TestLinkedNone(t *testing.T) {
	for _, prefix := range []string{"", "digits_"} {
		_, err := gotvm.OpenLinked(prefix)
		if !errors.Is(err, gotvm.ErrNotFound) || !strings.Contains(err.Error(), "scripts/link-model") {
			t.Errorf("OpenLinked(%q): %v", prefix, err)
		}
	}
	if _, err := gotvm.OpenLinked("a\x00b"); err == nil || !strings.Contains(err.Error(), "NUL") {
		t.Errorf("a prefix with a NUL: %v", err)
	}
	system, err := gotvm.GetGlobalFunction("runtime.SystemLib")
	if err != nil {
		t.Fatal(err)
	}
	defer system.Close()
	if _, err := system.Invoke(); !errors.Is(err, gotvm.ErrNotFound) {
		t.Errorf("runtime.SystemLib: %v", err)
	}
}

// systemLibrary makes an object file that registers a model itself, and needs a great many other symbols.
func systemLibrary(tb testing.TB) string {
	tb.Helper()
	var code strings.Builder
	code.WriteString("int TVMBackendRegisterSystemLibSymbol(const char *name, void *address);\n")
	code.WriteString("__attribute__((constructor)) static void start(void) { TVMBackendRegisterSystemLibSymbol(\"\", (void *)start); }\n")
	for i := range 5000 {
		fmt.Fprintf(&code, "extern int wanted%d; int *use%d = &wanted%d;\n", i, i, i)
	}
	source, object := filepath.Join(tb.TempDir(), "system.c"), filepath.Join(tb.TempDir(), "system.o")
	writeFile(tb, source, []byte(code.String()))
	if out, err := exec.Command("cc", "-c", source, "-o", object).CombinedOutput(); err != nil {
		tb.Fatalf("cc: %v\n%s", err, out)
	}
	return object
}

// What scripts/link-model refuses.
func TestLinkModelErrors(t *testing.T) {
	needLinker(t)
	text := filepath.Join(t.TempDir(), "text.o")
	writeFile(t, text, []byte("no object"))
	system := systemLibrary(t)
	for want, arguments := range map[string][]string{
		"no model given":                   {},
		"a library cannot be linked":       {"testdata/linked/graph.so"},
		"compile it as a usual library":    {system, "--prefix", "a_"},
		"none.o: no such file":             {"none.o"},
		"is not an object file":            {text},
		"whose prefix the compiler sets":   {"testdata/relax/linked/mlp/model.o", "--prefix", "a_"},
		"expected letters":                 {"testdata/linked/graph.tar", "--prefix", "a b"},
		"options of scripts/compile are":   {"testdata/linked/graph.tar", "--tune", "3"},
		"there is already a model":         {"testdata/linked/graph.tar", "testdata/linked/aot.tar"},
		"--prefix: expected a value":       {"testdata/linked/graph.tar", "--prefix"},
		"holds no object files at its top": {"testdata/models/tvm0.19/odd_names/package.tar"},
	} {
		out, err := exec.Command("../scripts/link-model", arguments...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !strings.Contains(string(out), "link-model: error: ") || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v, want %q:\n%s", arguments, err, want, out)
		}
		if _, err := os.Stat("model_linux_amd64.syso"); err == nil {
			t.Fatalf("%v: wrote a file", arguments)
		}
	}
}
