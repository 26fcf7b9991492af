package gotvm_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// Models in one file. The files are the compilers' own (scripts/testdata_packages.py).

// zooPackages calls test for each one-file packaging of each test model.
func zooPackages(t *testing.T, test func(t *testing.T, c zooCase, file string)) {
	t.Helper()
	count := map[string]int{}
	for _, c := range zooCases(t) {
		for _, file := range c.Packages {
			count[file]++
			t.Run(c.Gen+"/"+c.Case+"/"+file, func(t *testing.T) { test(t, c, file) })
		}
	}
	for _, file := range []string{"factory.so", "package.tar", "aot.so"} {
		if count[file] < 12 {
			t.Errorf("there are %d of %s", count[file], file)
		}
	}
}

// packageInputs gives the inputs under the names that they have in file: the AOT executor's compiler makes its own.
func packageInputs(tb testing.TB, file string, reference map[string]referenceTensor) gotvm.Inputs {
	tb.Helper()
	inputs := inputsOf(tb, reference)
	if file != "aot.so" && file != "pools.so" {
		return inputs
	}
	clean := gotvm.Inputs{}
	for name, x := range inputs {
		letters := []byte(name)
		for i, b := range letters {
			if !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9') {
				letters[i] = '_'
			}
		}
		clean[string(letters)] = x
	}
	return clean
}

func openPath(tb testing.TB, path string) *gotvm.Model {
	tb.Helper()
	m, err := gotvm.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = m.Close() })
	return m
}

// Every packaging from a file, from a file of another name, from bytes and, a library, from a folder.
func TestPackages(t *testing.T) {
	zooPackages(t, func(t *testing.T, c zooCase, file string) {
		reference := readReference(t, c.path("reference.params"))
		data := readFile(t, c.path(file))
		renamed := filepath.Join(t.TempDir(), "model.bin")
		writeFile(t, renamed, data)
		fromBytes, err := gotvm.OpenBytes(gotvm.Blobs{Lib: data})
		if err != nil {
			t.Fatal(err)
		}
		models := []*gotvm.Model{openPath(t, c.path(file)), openPath(t, renamed), fromBytes}
		if strings.HasSuffix(file, ".so") {
			folder := t.TempDir()
			writeFile(t, filepath.Join(folder, file), data)
			models = append(models, openPath(t, folder))
		}
		for _, m := range models {
			s := newTestSession(t, m)
			if err := m.Close(); err != nil { // the session goes on
				t.Fatal(err)
			}
			compareOutputs(t, runSession(t, s, packageInputs(t, file, reference)), reference, c)
			compareOutputs(t, runSession(t, s, nil), reference, c)
		}
	})
}

// Inputs and outputs without copies.
func TestPackagesBound(t *testing.T) {
	zooPackages(t, func(t *testing.T, c zooCase, file string) {
		reference := readReference(t, c.path("reference.params"))
		s := newTestSession(t, openPath(t, c.path(file)))
		for name, x := range packageInputs(t, file, reference) {
			if err := s.BindInput(name, x); err != nil {
				t.Fatal(err)
			}
		}
		var outputs []*gotvm.Array
		for i := range c.Outputs {
			y := reference[fmt.Sprintf("out:%d", i)]
			y.data = make([]byte, len(y.data))
			outputs = append(outputs, y.array(t))
			if err := s.BindOutput(i, outputs[i]); err != nil {
				t.Fatal(err)
			}
		}
		runSession(t, s, nil)
		compareOutputs(t, outputs, reference, c)
	})
}

// What a packaging says about itself is what the three files say.
func TestPackageInfo(t *testing.T) {
	zooPackages(t, func(t *testing.T, c zooCase, file string) {
		m, triple := openPath(t, c.path(file)), openCase(t, c)
		if file == "factory.so" || file == "package.tar" {
			if !reflect.DeepEqual(m.Inputs(), triple.Inputs()) || !reflect.DeepEqual(m.Outputs(), triple.Outputs()) {
				t.Errorf("%v → %v, want %v → %v", m.Inputs(), m.Outputs(), triple.Inputs(), triple.Outputs())
			}
			return
		}
		inputs := packageInputs(t, file, readReference(t, c.path("reference.params")))
		if len(m.Inputs()) != len(inputs) || len(m.Outputs()) != len(c.Outputs) {
			t.Errorf("%v → %v, want %d inputs and %d outputs", m.Inputs(), m.Outputs(), len(inputs), len(c.Outputs))
		}
		for _, input := range m.Inputs() {
			x := inputs[input.Name]
			if x == nil || x.GetDType() != input.DType || fmt.Sprint(x.GetShape()) != fmt.Sprint(input.Shape) {
				t.Errorf("input %v", input)
			}
		}
		for i, output := range m.Outputs() {
			want := fmt.Sprintf("output%d", i)
			if len(c.Outputs) == 1 && output.Name == "output" {
				want = "output"
			}
			if output.Name != want || output.DType != c.Outputs[i].DType {
				t.Errorf("output %d is %v", i, output)
			}
		}
	})
}

// TVM's own way: the library's function that is called as the model makes an executor.
func TestFactoryModules(t *testing.T) {
	zooPackages(t, func(t *testing.T, c zooCase, file string) {
		if file == "package.tar" {
			return
		}
		reference := readReference(t, c.path("reference.params"))
		library := load(t, c.path(file))
		makers := []*gotvm.Module{invoke(t, function(t, library, "default"), gotvm.CPU(0)).AsModule()}
		if file == "factory.so" {
			makers = append(makers, invoke(t, function(t, library, "debug_create"), "default", gotvm.CPU(0)).AsModule())
		}
		for _, executor := range makers {
			for name, x := range inputsOf(t, reference) { // their own names, also for the AOT executor
				call(t, executor, "set_input", name, x)
			}
			call(t, executor, "run")
			if n := call(t, executor, "get_num_outputs").AsInt64(); n != int64(len(c.Outputs)) {
				t.Fatalf("%d outputs, want %d", n, len(c.Outputs))
			}
			for i := range c.Outputs {
				compareOutput(t, fmt.Sprint("output ", i), call(t, executor, "get_output", i).AsArray(), reference[fmt.Sprint("out:", i)], c.RTol, c.ATol)
			}
		}
		_, err := function(t, library, "default").Invoke()
		wantError(t, err, gotvm.ErrInvalidArgument, "default")
		_, err = function(t, library, "default").Invoke("cpu")
		wantError(t, err, gotvm.ErrInvalidArgument, "expected a Device")
	})
}

func TestFactoryFunctions(t *testing.T) {
	for _, gen := range []string{"tvm0.19", "tvm0.9"} {
		c := zooCaseNamed(t, gen, "conv")
		reference := readReference(t, c.path("reference.params"))
		library := load(t, c.path("factory.so"))
		graph := func(text []byte) (graph any) {
			if err := json.Unmarshal(text, &graph); err != nil {
				t.Fatal(err)
			}
			return graph
		}
		text := call(t, library, "get_graph_json").AsStr()
		if !reflect.DeepEqual(graph([]byte(text)), graph(readFile(t, c.path("deploy.json")))) {
			t.Error("get_graph_json gives another graph")
		}

		params := call(t, library, "get_graph_params")
		get := must(gotvm.GetGlobalFunction("runtime.MapGetItem"))
		want := readReference(t, c.path("deploy.params"))
		if n := invoke(t, must(gotvm.GetGlobalFunction("runtime.MapSize")), params).AsInt64(); n != int64(len(want)) || n == 0 {
			t.Errorf("get_graph_params gives %d, want %d", n, len(want))
		}
		for name, tensor := range want {
			x := invoke(t, get, params, name).AsArray()
			if !bytes.Equal(must(x.Bytes()), tensor.data) {
				t.Errorf("parameter %s is another", name)
			}
			if err := x.CopyFromBytes(make([]byte, len(tensor.data))); err != nil { // a copy: the model keeps its own
				t.Fatal(err)
			}
		}

		bare := call(t, library, "remove_params").AsModule()
		if n := invoke(t, must(gotvm.GetGlobalFunction("runtime.MapSize")), call(t, bare, "get_graph_params")).AsInt64(); n != 0 {
			t.Errorf("remove_params leaves %d", n)
		}
		full := invoke(t, function(t, library, "default"), gotvm.CPU(0)).AsModule()
		empty := invoke(t, function(t, bare, "default"), gotvm.CPU(0)).AsModule()
		call(t, empty, "load_params", readFile(t, c.path("deploy.params")))
		for _, executor := range []*gotvm.Module{full, empty} {
			call(t, executor, "set_input", "data", reference["in:data"].array(t))
			call(t, executor, "run")
			compareOutput(t, "output", call(t, executor, "get_output", 0).AsArray(), reference["out:0"], c.RTol, c.ATol)
		}

		_, err := function(t, library, "cuda_graph_create").Invoke(gotvm.CPU(0))
		wantError(t, err, gotvm.ErrUnsupported, "CUDA")
		_, err = function(t, library, "debug_create").Invoke("other", gotvm.CPU(0))
		wantError(t, err, gotvm.ErrNotFound, `"other"`, `"default"`)
		_, err = function(t, library, "default").Invoke(gotvm.CUDA(0))
		wantError(t, err, nil, "cuda(0)")
		_, err = library.GetFunction("default", false)
		if err != nil {
			t.Error(err)
		}
		_, err = library.GetFunction("set_input")
		wantError(t, err, gotvm.ErrNotFound, "set_input")
	}
}

// Archives that Go's own writer makes, in all formats, are the same model.
func TestTarFormats(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	reference := readReference(t, c.path("reference.params"))
	blobs := readBlobs(t, c.files())
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		for _, prefix := range []string{"", "./", "././/"} {
			data := makeTar(t, format,
				entry{strings.Repeat("d/", 60) + strings.Repeat("n", 99), []byte("long"), tar.TypeReg},
				entry{prefix + "folder/", nil, tar.TypeDir},
				entry{prefix + "folder/mod.so", []byte("another"), tar.TypeReg},
				entry{prefix + "mod.params", blobs.Params, tar.TypeReg},
				entry{prefix + "mod.json", blobs.Graph, tar.TypeReg},
				entry{prefix + "mod.so", blobs.Lib, tar.TypeReg},
				entry{"größe", []byte("name in UTF-8"), tar.TypeReg})
			m, err := gotvm.OpenBytes(gotvm.Blobs{Lib: data})
			if err != nil {
				t.Errorf("%v %q: %v", format, prefix, err)
				continue
			}
			compareOutputs(t, runSession(t, newTestSession(t, m), inputsOf(t, reference)), reference, c)
			_ = m.Close()
		}
	}
}

type entry struct {
	name string
	data []byte
	kind byte
}

func makeTar(tb testing.TB, format tar.Format, entries ...entry) []byte {
	tb.Helper()
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, e := range entries {
		header := tar.Header{Name: e.name, Size: int64(len(e.data)), Typeflag: e.kind, Mode: 0o644, Format: format, ModTime: time.Unix(1600000000, 0)}
		if format == tar.FormatPAX {
			header.ModTime = time.Unix(1600000000, 250000000) // as tvmc's: an extended header for each file
		}
		if format == tar.FormatUSTAR && e.name == "größe" {
			header.Name = "plain"
		}
		if e.kind == tar.TypeSymlink || e.kind == tar.TypeLink {
			header.Linkname = "elsewhere"
		}
		if err := w.WriteHeader(&header); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(e.data); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buffer.Bytes()
}

// TestTarWrittenOver opens a package that is written over all the time: in place, so that it is cut short meanwhile.
// Opening it gives a model or an error; one that was mapped would end the program.
func TestTarWrittenOver(t *testing.T) {
	content := readFile(t, zooCaseNamed(t, "tvm0.19", "dense").path("package.tar"))
	path := filepath.Join(t.TempDir(), "model.tar")
	writeFile(t, path, content)
	done, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-done:
				stopped <- nil
				return
			default:
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				stopped <- err
				return
			}
			time.Sleep(100 * time.Microsecond) // for some to succeed
		}
	}()
	opened, refused := 0, 0
	for range 300 {
		m, err := gotvm.Open(path)
		if err != nil {
			refused++
			continue
		}
		opened++
		_ = m.Close()
	}
	close(done)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d opened, %d refused", opened, refused)
	m, err := gotvm.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTarRefused(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	blobs := readBlobs(t, c.files())
	lib := entry{"mod.so", blobs.Lib, tar.TypeReg}
	graph := entry{"mod.json", blobs.Graph, tar.TypeReg}
	params := entry{"mod.params", blobs.Params, tar.TypeReg}
	file := func(name string) entry { return entry{name, []byte("x"), tar.TypeReg} }
	for what, test := range map[string]struct {
		entries []entry
		want    error
		texts   []string
	}{
		"nothing":      {[]entry{file("x")}, gotvm.ErrFormat, []string{"without mod.so"}},
		"no graph":     {[]entry{lib, params}, gotvm.ErrFormat, []string{"without mod.json"}},
		"no params":    {[]entry{lib, graph}, gotvm.ErrFormat, []string{"without mod.params"}},
		"objects":      {[]entry{file("mod.tar"), graph, params}, gotvm.ErrUnsupported, []string{"object files", "--output-format so"}},
		"vm":           {[]entry{file("lib.so")}, gotvm.ErrUnsupported, []string{"virtual machine", "--executor graph"}},
		"vm objects":   {[]entry{file("lib.tar")}, gotvm.ErrUnsupported, []string{"virtual machine", "without use_vm"}},
		"exported":     {[]entry{file("devc.o"), file("lib0.o")}, gotvm.ErrUnsupported, []string{"object files", `export_library("model.so")`}},
		"source":       {[]entry{file("./metadata.json"), file("./codegen/host/src/lib0.c")}, gotvm.ErrUnsupported, []string{"Model Library Format", "--output-format so"}},
		"twice":        {[]entry{lib, graph, params, {"./mod.json", blobs.Graph, tar.TypeReg}}, gotvm.ErrFormat, []string{"mod.json is in it twice"}},
		"link":         {[]entry{lib, graph, {"mod.params", nil, tar.TypeSymlink}}, gotvm.ErrUnsupported, []string{"mod.params is a link"}},
		"folder":       {[]entry{lib, graph, {"mod.params", nil, tar.TypeDir}}, gotvm.ErrUnsupported, []string{"mod.params is a link or no file"}},
		"bad library":  {[]entry{file("mod.so"), graph, params}, gotvm.ErrUnsupported, []string{"mod.so"}},
		"bad graph":    {[]entry{lib, file("mod.json"), params}, gotvm.ErrFormat, []string{"mod.json"}},
		"bad params":   {[]entry{lib, graph, file("mod.params")}, gotvm.ErrFormat, []string{"mod.params"}},
		"other params": {[]entry{lib, graph, {"mod.params", append(paramsHead("p0", []int64{1}, 4), 0, 0, 0, 0), tar.TypeReg}}, nil, []string{"mod.params", "p0"}},
	} {
		for _, fromFile := range []bool{false, true} {
			data := makeTar(t, tar.FormatPAX, test.entries...)
			path := filepath.Join(t.TempDir(), "package.tar")
			writeFile(t, path, data)
			var err error
			if fromFile {
				_, err = gotvm.Open(path)
				test.texts = append(test.texts, path)
			} else {
				_, err = gotvm.OpenBytes(gotvm.Blobs{Lib: data})
			}
			if err == nil {
				t.Errorf("%s: no error", what)
				continue
			}
			t.Log(err)
			wantError(t, err, test.want, test.texts...)
		}
	}
}

// Cut anywhere, a package is refused; the end mark and what follows it do not matter.
func TestCutTar(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.9", "linked_params")
	data := readFile(t, c.path("package.tar"))
	end := len(bytes.TrimRight(data, "\x00"))
	end = (end + 511) / 512 * 512 // of the last file
	for size := 1; size < end+512; size += 61 {
		if m, err := gotvm.OpenBytes(gotvm.Blobs{Lib: data[:size]}); err == nil {
			_ = m.Close()
			t.Fatalf("cut to %d of %d bytes, it opens", size, len(data))
		}
	}
	m, err := gotvm.OpenBytes(gotvm.Blobs{Lib: data[:end+512]})
	if err != nil {
		t.Fatal(err)
	}
	_ = m.Close()
}

// What tvmc itself makes of an ONNX file (scripts/make_tvmc_packages.py).
func TestPackagesOfTVMC(t *testing.T) {
	folder := os.Getenv("GOTVM_ONNX")
	if folder == "" {
		t.Skip("GOTVM_ONNX is not set: make test-models runs this")
	}
	reference := readReference(t, filepath.Join(folder, "reference.params"))
	outputs := runSession(t, newTestSession(t, openPath(t, filepath.Join(folder, "tvmc", "package.tar"))), inputsOf(t, reference))
	compareOutput(t, "probabilities", outputs[0], reference["out:0"], 1e-5, 1e-6)
	for file, text := range map[string]string{"objects.tar": "--output-format so", "vm.tar": "--executor graph", "vm.so": "kind VMExecutable"} {
		path := filepath.Join(folder, "tvmc", file)
		_, err := gotvm.Open(path)
		wantError(t, err, gotvm.ErrUnsupported, path, text)
		t.Log(err)
	}
}

func TestPackageErrors(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	blobs := readBlobs(t, c.files())
	_, err := gotvm.Open(c.path("deploy.so"))
	wantError(t, err, gotvm.ErrUnsupported, c.path("deploy.so"), "without a graph", "OpenFiles")
	_, err = gotvm.Open(c.path("deploy.json"))
	wantError(t, err, gotvm.ErrUnsupported, c.path("deploy.json"), "JSON")
	_, err = gotvm.OpenBytes(gotvm.Blobs{Lib: blobs.Lib})
	wantError(t, err, gotvm.ErrUnsupported, "Lib", "without a graph")
	_, err = gotvm.OpenBytes(gotvm.Blobs{Lib: readFile(t, c.path("factory.so")), Params: blobs.Params})
	wantError(t, err, gotvm.ErrInvalidArgument, "parameters of its own")
	_, err = gotvm.OpenBytes(gotvm.Blobs{})
	wantError(t, err, gotvm.ErrInvalidArgument, "Lib")
	_, err = gotvm.LoadModuleFromFile(c.path("package.tar"), "so")
	wantError(t, err, gotvm.ErrUnsupported, "package.tar", "tvmc")
	folder := t.TempDir()
	writeFile(t, folder+"/a.so", blobs.Lib)
	writeFile(t, folder+"/a.params", blobs.Params)
	_, err = gotvm.Open(folder)
	wantError(t, err, gotvm.ErrNotFound, folder, ".json")
	writeFile(t, folder+"/b.so", blobs.Lib)
	_, err = gotvm.Open(folder)
	wantError(t, err, gotvm.ErrInvalidArgument, "several .so")
}

// A process that opens a package and runs it has the weights in memory once.
func TestTarMemory(t *testing.T) {
	const variable, size = "GOTVM_TEST_TAR", 64 << 20
	c := zooCaseNamed(t, "tvm0.19", "dense")
	path := os.Getenv(variable)
	if path == "" { // in a process of its own, whose peak is not that of the other tests
		path = filepath.Join(t.TempDir(), "large.tar")
		writeLargeTar(t, path, readFile(t, c.path("deploy.so")), size)
		command := thisTest("-test.run=^TestTarMemory$", "-test.v")
		command.Env = append(os.Environ(), variable+"="+path)
		output, err := command.CombinedOutput()
		if err != nil || !strings.Contains(string(output), "PASS") {
			t.Errorf("%v: %s", err, output)
		}
		t.Logf("%s", output)
		return
	}
	before := peakMemory(t)
	m := openPath(t, path)
	opened := peakMemory(t)
	outputs := runSession(t, newTestSession(t, m), gotvm.Inputs{"x": newArray(t, []int64{3}, []float32{1, 2, 3})})
	if got := fmt.Sprint(must(gotvm.DataOf[float32](outputs[0]))); got != "[1 2 3]" {
		t.Error(got)
	}
	after := peakMemory(t)
	t.Logf("before: %d KiB; opened: %d KiB more; run: %d KiB more", before, opened-before, after-opened)
	if opened-before > 10<<10 || after-before > (size+20<<20)>>10 {
		t.Error("weights are in memory more than once")
	}
}

func writeLargeTar(tb testing.TB, path string, lib []byte, size int64) {
	tb.Helper()
	graph := fmt.Appendf(nil, `{"nodes": [{"op": "null", "name": "w", "inputs": []}, {"op": "null", "name": "x", "inputs": []}],
		"arg_nodes": [0, 1], "heads": [[1, 0, 0]], "node_row_ptr": [0, 1, 2], "attrs": {"dltype": ["list_str", ["float32", "float32"]],
		"storage_id": ["list_int", [0, 1]], "shape": ["list_shape", [[%d], [3]]]}}`, size/4)
	head := paramsHead("w", []int64{size / 4}, 4)
	file := must(os.Create(path))
	defer file.Close()
	w := tar.NewWriter(file)
	for _, part := range []struct {
		name  string
		data  []byte
		zeros int64
	}{{"mod.so", lib, 0}, {"mod.params", head, size}, {"mod.json", graph, 0}} {
		err := w.WriteHeader(&tar.Header{Name: part.name, Size: int64(len(part.data)) + part.zeros, Mode: 0o600})
		if err == nil {
			_, err = w.Write(part.data)
		}
		if err == nil {
			_, err = io.CopyN(w, zeros{}, part.zeros)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A damaged factory library is refused before its code runs, or works; it never crashes the process.
func TestDamagedFactory(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.9", "linked_params")
	data := readFile(t, c.path("factory.so"))
	at := bytes.Index(data, []byte("GraphExecutorFactory"))
	if at < 0 {
		t.Fatal("the library has no factory")
	}
	// Before the kind's name stand the blob's size, the number of modules and the name's length.
	end := at - 16 + int(binary.LittleEndian.Uint64(data[at-24:]))
	refused := 0
	for i := at - 8; i+8 <= end; i += 3 {
		damaged := bytes.Clone(data)
		binary.LittleEndian.PutUint64(damaged[i:], 1<<40)
		m, err := gotvm.OpenBytes(gotvm.Blobs{Lib: damaged})
		if err != nil {
			refused++
			continue
		}
		_ = m.Close()
	}
	if refused < 100 {
		t.Errorf("%d were refused", refused)
	}
	runtime.GC()
}
