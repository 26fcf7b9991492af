package gotvm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// copyParams gives a model's files with a copy of the parameters, for tests that change it.
func copyParams(tb testing.TB, c zooCase) gotvm.Files {
	tb.Helper()
	files := c.files()
	path := filepath.Join(tb.TempDir(), "own.params")
	writeFile(tb, path, readFile(tb, files.Params))
	files.Params = path
	return files
}

func writeFile(tb testing.TB, path string, data []byte) {
	tb.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
}

func openFiles(tb testing.TB, files gotvm.Files) *gotvm.Model {
	tb.Helper()
	m, err := gotvm.OpenFiles(files)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = m.Close() })
	return m
}

// paramsHead is a params file with one parameter, up to its data.
func paramsHead(name string, shape []int64, itemSize int) []byte {
	var head bytes.Buffer
	size := int64(itemSize)
	for _, value := range []any{uint64(0xF7E58D4F05049CB7), uint64(0), uint64(1), uint64(len(name)), []byte(name), uint64(1),
		uint64(0xDD5E40F096B4A13F), uint64(0), int32(1), int32(0), int32(len(shape)), uint8(2), uint8(8 * itemSize), uint16(1), shape} {
		_ = binary.Write(&head, binary.LittleEndian, value)
	}
	for _, n := range shape {
		size *= n
	}
	_ = binary.Write(&head, binary.LittleEndian, size)
	return head.Bytes()
}

// Cut anywhere, parameters are refused when a model is opened, and the place is named.
func TestCutParams(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "odd_names")
	files, blobs := copyParams(t, c), readBlobs(t, c.files())
	for size := len(blobs.Params) - 1; size >= 0; size-- {
		if err := os.Truncate(files.Params, int64(size)); err != nil {
			t.Fatal(err)
		}
		_, err := gotvm.OpenFiles(files)
		expectError(t, err, gotvm.ErrFormat, "OpenFiles", files.Params)
		cut := blobs
		cut.Params = blobs.Params[:size:size]
		_, bytesErr := gotvm.OpenBytes(cut)
		expectError(t, bytesErr, gotvm.ErrFormat, "OpenBytes: Params: ")
	}
}

func TestParamsRefused(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	files, blobs := c.files(), readBlobs(t, c.files())
	files.Params = t.TempDir()
	_, err := gotvm.OpenFiles(files)
	expectError(t, err, gotvm.ErrOS, files.Params, "no regular file")
	if n := openCount(t, files.Params); n != 0 {
		t.Errorf("what is no file is open %d times", n)
	}

	// A parameter that does not fit the graph.
	name := firstParam(t, blobs.Params)
	blobs.Params = append(paramsHead(name, []int64{1, 1}, 4), 0, 0, 0, 0)
	_, err = gotvm.OpenBytes(blobs)
	expectError(t, err, gotvm.ErrInvalidArgument, "OpenBytes: Params: Graph: parameter for input", name, "got float32 [1, 1]")
	files.Params = filepath.Join(t.TempDir(), "wrong.params")
	writeFile(t, files.Params, blobs.Params)
	_, err = gotvm.OpenFiles(files)
	expectError(t, err, gotvm.ErrInvalidArgument, "OpenFiles: "+files.Params+": "+files.Graph, name, "got float32 [1, 1]")
}

// firstParam is the name of the first parameter of a params file.
func firstParam(tb testing.TB, params []byte) string {
	tb.Helper()
	size := binary.LittleEndian.Uint64(params[24:])
	return string(params[32 : 32+size])
}

// The file is read when the first session is made; until then it may be renamed over, but not changed.
func TestParamsFileChanges(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	reference := readReference(t, c.path("reference.params"))

	files := copyParams(t, c)
	m := openFiles(t, files)
	if err := os.Truncate(files.Params, 1000); err != nil {
		t.Fatal(err)
	}
	_, err := m.NewSession()
	expectError(t, err, gotvm.ErrFormat, "NewSession: "+files.Params+": the file was changed")

	files = copyParams(t, c)
	m = openFiles(t, files)
	other := files.Params + ".new"
	writeFile(t, other, []byte("something else"))
	if err := os.Rename(other, files.Params); err != nil {
		t.Fatal(err)
	}
	compareOutputs(t, runSession(t, newTestSession(t, m), inputsOf(t, reference)), reference, c)

	// Once there are weights, the file does not matter.
	files = copyParams(t, c)
	m = openFiles(t, files)
	first := newTestSession(t, m)
	writeFile(t, files.Params, []byte("something else"))
	for _, s := range []*gotvm.Session{first, newTestSession(t, m)} {
		compareOutputs(t, runSession(t, s, inputsOf(t, reference)), reference, c)
	}
}

// openCount is how often this process has a file open.
func openCount(tb testing.TB, path string) int {
	tb.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	count := 0
	for _, entry := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && target == path {
			count++
		}
	}
	return count
}

func TestCloseClosesParams(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	reference := readReference(t, c.path("reference.params"))
	files := copyParams(t, c)
	m := openFiles(t, files)
	s := newTestSession(t, m)
	if n := openCount(t, files.Params); n != 1 {
		t.Errorf("the file is open %d times", n)
	}
	_ = m.Close()
	if n := openCount(t, files.Params); n != 0 {
		t.Errorf("after Close the file is open %d times", n)
	}
	compareOutputs(t, runSession(t, s, inputsOf(t, reference)), reference, c)

	files.Graph = files.Params // not a graph
	_, err := gotvm.OpenFiles(files)
	expectError(t, err, gotvm.ErrFormat)
	files = copyParams(t, c)
	files.Lib = "nowhere.so"
	_, err = gotvm.OpenFiles(files)
	expectError(t, err, gotvm.ErrNotFound)
	if n := openCount(t, files.Params); n != 0 {
		t.Errorf("after failures the file is open %d times", n)
	}
}

// The bytes that a model is opened from are kept as long as it is open, whatever the program does, and no longer.
func TestParamsBytesAreKept(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	reference := readReference(t, c.path("reference.params"))
	collected := make(chan struct{})
	m := func() *gotvm.Model {
		blobs := readBlobs(t, c.files())
		runtime.AddCleanup(&blobs.Params[0], func(done chan struct{}) { close(done) }, collected)
		return must(gotvm.OpenBytes(blobs))
	}()
	for range 5 {
		runtime.GC()
		must(gotvm.NewArray([]int64{1 << 16}, make([]float32, 1<<16)))
	}
	s := newTestSession(t, m)
	select {
	case <-collected:
		t.Error("the bytes are gone while the model is open")
	default:
	}
	_ = m.Close()
	eventually(t, "the bytes are collected", func() bool {
		select {
		case <-collected:
			return true
		default:
			return false
		}
	})
	compareOutputs(t, runSession(t, s, inputsOf(t, reference)), reference, c)
	runtime.KeepAlive(m)
}

// Sessions that are made at the same time, while the model is being closed.
func TestNewSessionDuringClose(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	reference := readReference(t, c.path("reference.params"))
	blobs := readBlobs(t, c.files())
	for round := range 40 {
		m := openFiles(t, c.files())
		if round%2 == 1 {
			m = must(gotvm.OpenBytes(blobs))
		}
		var group sync.WaitGroup
		start := make(chan struct{})
		for range 4 {
			group.Add(1)
			go func() {
				defer group.Done()
				<-start
				s, err := m.NewSession()
				if err != nil {
					if !errors.Is(err, gotvm.ErrClosed) {
						t.Error(err)
					}
					return
				}
				defer s.Close()
				outputs, err := s.Run(t.Context(), inputsOf(t, reference))
				if err != nil {
					t.Error(err)
					return
				}
				compareOutputs(t, outputs, reference, c)
			}()
		}
		close(start)
		if round%4 > 1 {
			runtime.Gosched()
			_ = m.Close()
		}
		group.Wait()
		_ = m.Close()
	}
}

// peakMemory is the most that this process had, in KiB.
func peakMemory(tb testing.TB) int {
	tb.Helper()
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(readFile(tb, "/proc/self/status"))
	if found == nil {
		tb.Skip("the system does not tell")
	}
	return must(strconv.Atoi(string(found[1])))
}

// A process that opens a model and runs it has the weights in memory once.
func TestWeightsMemory(t *testing.T) {
	const variable, size = "GOTVM_TEST_WEIGHTS", 64 << 20
	c := zooCaseNamed(t, "tvm0.19", "dense")
	folder := os.Getenv(variable)
	if folder == "" { // in a process of its own, whose peak is not that of the other tests
		folder = t.TempDir()
		writeFile(t, folder+"/large.json", fmt.Appendf(nil, `{"nodes": [{"op": "null", "name": "w", "inputs": []},
			{"op": "null", "name": "x", "inputs": []}], "arg_nodes": [0, 1], "heads": [[1, 0, 0]], "node_row_ptr": [0, 1, 2],
			"attrs": {"dltype": ["list_str", ["float32", "float32"]], "storage_id": ["list_int", [0, 1]],
			"shape": ["list_shape", [[%d], [3]]]}}`, size/4))
		head := paramsHead("w", []int64{size / 4}, 4)
		writeFile(t, folder+"/large.params", head)
		if err := os.Truncate(folder+"/large.params", int64(len(head)+size)); err != nil {
			t.Fatal(err)
		}
		command := thisTest("-test.run=^TestWeightsMemory$", "-test.v")
		command.Env = append(os.Environ(), variable+"="+folder)
		output, err := command.CombinedOutput()
		if err != nil || !strings.Contains(string(output), "PASS") {
			t.Errorf("%v: %s", err, output)
		}
		t.Logf("%s", output)
		return
	}
	before := peakMemory(t)
	m := openFiles(t, gotvm.Files{Lib: c.path("deploy.so"), Graph: folder + "/large.json", Params: folder + "/large.params"})
	opened := peakMemory(t)
	x := newArray(t, []int64{3}, []float32{1, 2, 3})
	for range 3 {
		outputs := runSession(t, newTestSession(t, m), gotvm.Inputs{"x": x})
		if got := fmt.Sprint(must(gotvm.DataOf[float32](outputs[0]))); got != "[1 2 3]" {
			t.Error(got)
		}
	}
	after := peakMemory(t)
	t.Logf("before: %d KiB; opened: %d KiB more; run: %d KiB more", before, opened-before, after-opened)
	if opened-before > 10<<10 {
		t.Error("opening reads the weights")
	}
	if after-before > (size+20<<20)>>10 {
		t.Error("weights are in memory more than once")
	}
}

// An input that is called as the compiler calls a parameter is an input all the same.
func TestInputNamedAsParameter(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	blobs := readBlobs(t, c.files())
	blobs.Graph = bytes.Replace(blobs.Graph, []byte(`"name": "data"`), []byte(`"name": "p0"`), 1)
	m, err := gotvm.OpenBytes(blobs)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if inputs := m.Inputs(); len(inputs) != 1 || inputs[0].Name != "p0" || fmt.Sprint(inputs[0].Shape) != "[4 32]" {
		t.Errorf("the inputs are %v", inputs)
	}
	reference := readReference(t, c.path("reference.params"))
	s := newTestSession(t, m)
	outputs := runSession(t, s, gotvm.Inputs{"p0": reference["in:data"].array(t)})
	compareOutput(t, "output", outputs[0], reference["out:0"], c.RTol, c.ATol)
}
