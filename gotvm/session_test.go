package gotvm_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

func readBlobs(tb testing.TB, files gotvm.Files) gotvm.Blobs {
	tb.Helper()
	return gotvm.Blobs{Lib: readFile(tb, files.Lib), Graph: readFile(tb, files.Graph), Params: readFile(tb, files.Params)}
}

func openCase(tb testing.TB, c zooCase) *gotvm.Model {
	tb.Helper()
	m, err := gotvm.OpenFiles(c.files())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = m.Close() })
	return m
}

func newTestSession(tb testing.TB, m *gotvm.Model, options ...gotvm.SessionOption) *gotvm.Session {
	tb.Helper()
	s, err := m.NewSession(options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func runSession(tb testing.TB, s *gotvm.Session, inputs gotvm.Inputs) []*gotvm.Array {
	tb.Helper()
	outputs, err := s.Run(context.Background(), inputs)
	if err != nil {
		tb.Fatal(err)
	}
	return outputs
}

func compareOutputs(tb testing.TB, outputs []*gotvm.Array, reference map[string]referenceTensor, c zooCase) {
	tb.Helper()
	if len(outputs) != len(c.Outputs) {
		tb.Fatalf("%d outputs, want %d", len(outputs), len(c.Outputs))
	}
	for i, output := range outputs {
		compareOutput(tb, fmt.Sprintf("output %d", i), output, reference[fmt.Sprintf("out:%d", i)], c.RTol, c.ATol)
	}
}

// Every test model from files and from bytes, run twice, with its library's files closed before.
func TestModels(t *testing.T) {
	for _, c := range zooCases(t) {
		t.Run(c.Gen+"/"+c.Case, func(t *testing.T) {
			reference := readReference(t, c.path("reference.params"))
			fromFiles, err := gotvm.OpenFiles(c.files())
			if err != nil {
				t.Fatal(err)
			}
			fromBytes, err := gotvm.OpenBytes(readBlobs(t, c.files()))
			if err != nil {
				t.Fatal(err)
			}
			fromFolder, err := openFolder(t, c)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range []*gotvm.Model{fromFiles, fromBytes, fromFolder} {
				checkInfo(t, m, c)
				s := newTestSession(t, m)
				if err := m.Close(); err != nil { // the session goes on
					t.Fatal(err)
				}
				inputs := inputsOf(t, reference)
				compareOutputs(t, runSession(t, s, inputs), reference, c)
				compareOutputs(t, runSession(t, s, nil), reference, c)
			}
		})
	}
}

// openFolder opens a model's folder; the references in it end with .params too, so it is a folder of links.
func openFolder(tb testing.TB, c zooCase) (*gotvm.Model, error) {
	tb.Helper()
	folder := tb.TempDir()
	for _, file := range []string{"deploy.so", "deploy.json", "deploy.params"} {
		path, err := filepath.Abs(c.path(file))
		if err != nil {
			tb.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(folder, file)); err != nil {
			tb.Fatal(err)
		}
	}
	return gotvm.Open(folder)
}

func checkInfo(tb testing.TB, m *gotvm.Model, c zooCase) {
	tb.Helper()
	if len(m.Inputs()) != len(c.Inputs) || len(m.Outputs()) != len(c.Outputs) {
		tb.Fatalf("inputs %v and outputs %v, want %v and %v", m.Inputs(), m.Outputs(), c.Inputs, c.Outputs)
	}
	same := func(info gotvm.TensorInfo, want zooTensor) bool {
		return info.DType == want.DType && fmt.Sprint(info.Shape) == fmt.Sprint(want.Shape)
	}
	for i, info := range m.Outputs() {
		if !same(info, c.Outputs[i]) {
			tb.Errorf("output %d is %v, want %v", i, info, c.Outputs[i])
		}
	}
	wanted := map[string]zooTensor{}
	for _, input := range c.Inputs {
		wanted[input.Name] = input
	}
	for _, info := range m.Inputs() {
		if want, ok := wanted[info.Name]; !ok || !same(info, want) {
			tb.Errorf("input %v, want %v", info, want)
		}
	}
}

func TestBoundInputsAndOutputs(t *testing.T) {
	for _, name := range []string{"conv", "dense", "multi_output", "input_output", "reshape", "reshape_op", "bool", "scalar"} {
		t.Run(name, func(t *testing.T) {
			c := zooCaseNamed(t, "tvm0.19", name)
			reference := readReference(t, c.path("reference.params"))
			s := newTestSession(t, openCase(t, c))
			for name, x := range inputsOf(t, reference) {
				if err := s.BindInput(name, x); err != nil {
					t.Fatal(err)
				}
				if err := x.Close(); err != nil { // the session keeps its memory
					t.Fatal(err)
				}
			}
			var outputs []*gotvm.Array
			for i := range c.Outputs {
				y := reference[fmt.Sprintf("out:%d", i)]
				y.data = make([]byte, len(y.data))
				array := y.array(t)
				if err := s.BindOutput(i, array); err != nil {
					t.Fatal(err)
				}
				outputs = append(outputs, array)
			}
			runtime.GC()
			if got := runSession(t, s, nil); !slices.Equal(got, outputs) {
				t.Errorf("Run returned %v, want the bound arrays %v", got, outputs)
			}
			compareOutputs(t, outputs, reference, c)
			if err := s.BindOutput(0, nil); err != nil {
				t.Fatal(err)
			}
			if got := runSession(t, s, nil); got[0] == outputs[0] || !slices.Equal(got[1:], outputs[1:]) {
				t.Errorf("Run returned %v with output 0 no longer bound, bound before: %v", got, outputs)
			} else {
				compareOutputs(t, got, reference, c)
			}
			for name := range inputsOf(t, reference) {
				if err := s.BindInput(name, nil); err != nil {
					t.Fatal(err)
				}
			}
			compareOutputs(t, runSession(t, s, inputsOf(t, reference)), reference, c)
		})
	}
}

func TestSessionsShareAModel(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "parallel")
	reference := readReference(t, c.path("reference.params"))
	m := openCase(t, c)
	runs := 20
	if emulated() {
		runs = 2
	}
	var group sync.WaitGroup
	for range 16 {
		group.Add(1)
		go func() {
			defer group.Done()
			s, err := m.NewSession(gotvm.WithThreads(2))
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			inputs := inputsOf(t, reference)
			for range runs {
				outputs, err := s.Run(context.Background(), inputs)
				if err != nil {
					t.Error(err)
					return
				}
				compareOutputs(t, outputs, reference, c)
			}
		}()
	}
	group.Wait()
}

// What a session with one thread runs in parallel stays on that thread.
func TestWithThreads(t *testing.T) {
	t.Setenv("TVM_NUM_THREADS", "4")
	var threads sync.Map
	parallel := callpacked(t, "call_parallel", "test.item", func(...*gotvm.Value) (any, error) {
		threads.Store(syscall.Gettid(), true)
		for range 200 { // others, if there are any, come in between
			runtime.Gosched()
		}
		return nil, nil
	})
	run := func() error { return second(parallel.Invoke(must(gotvm.Empty([]int64{4})))) }
	register(t, "gotvm.test.add_one", func(args ...*gotvm.Value) (any, error) { return args[0], run() })
	for what, m := range map[string]*gotvm.Model{
		"graph": stepModel(t, func() (int64, error) { return 7, run() }),
		"relax": relaxCaseNamed(t, "tvm0.27", "handed").open(t, "bytecode"),
	} {
		threads.Clear()
		info := m.Inputs()[0]
		runSession(t, newTestSession(t, m, gotvm.WithThreads(1)), gotvm.Inputs{"x": must(gotvm.Empty(info.Shape, info.DType))})
		count := 0
		threads.Range(func(any, any) bool { count++; return true })
		if count != 1 {
			t.Errorf("%s: it ran on %d threads", what, count)
		}
	}
}

func TestRunErrors(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "odd_names")
	reference := readReference(t, c.path("reference.params"))
	m := openCase(t, c)
	s := newTestSession(t, m)
	good := inputsOf(t, reference)
	name := c.Inputs[0].Name
	closed := newArray(t, []int64{2, 3}, make([]float32, 6))
	_ = closed.Close()

	_, err := s.Run(context.Background(), nil)
	expectError(t, err, gotvm.ErrInvalidArgument, "never set", name)

	for what, test := range map[string]struct {
		inputs gotvm.Inputs
		want   error
		texts  []string
	}{
		"unknown name": {gotvm.Inputs{"nobody": newArray(t, []int64{1}, []float32{1})}, gotvm.ErrNotFound, []string{`"nobody"`, name}},
		"nil array":    {gotvm.Inputs{name: nil}, gotvm.ErrInvalidArgument, []string{name, "nil"}},
		"closed array": {gotvm.Inputs{name: closed}, gotvm.ErrClosed, []string{name}},
		"dtype":        {gotvm.Inputs{name: newArray(t, []int64{2, 3}, make([]int32, 6))}, gotvm.ErrInvalidArgument, []string{name, "expected float32, got int32"}},
		"shape":        {gotvm.Inputs{name: newArray(t, []int64{3, 2}, make([]float32, 6))}, gotvm.ErrInvalidArgument, []string{name, "expected shape [2, 3], got [3, 2]"}},
		"rank":         {gotvm.Inputs{name: newArray(t, []int64{6}, make([]float32, 6))}, gotvm.ErrInvalidArgument, []string{name, "[2, 3]", "[6]"}},
	} {
		_, err := s.Run(context.Background(), test.inputs)
		if err == nil {
			t.Errorf("%s: no error", what)
			continue
		}
		expectError(t, err, test.want, test.texts...)
	}

	// An input that is wrong leaves the others as they were.
	compareOutputs(t, runSession(t, s, good), reference, c)
	mixed := gotvm.Inputs{name: newArray(t, []int64{2, 3}, make([]float32, 6)), c.Inputs[1].Name: newArray(t, []int64{1}, []float32{0})}
	if _, err := s.Run(context.Background(), mixed); err == nil {
		t.Fatal("no error")
	}
	compareOutputs(t, runSession(t, s, nil), reference, c)

	expectError(t, s.BindOutput(len(c.Outputs), closed), gotvm.ErrInvalidArgument, "there is no output")
	expectError(t, s.BindInput("nobody", closed), gotvm.ErrNotFound, "nobody")
	expectError(t, s.BindInput(name, closed), gotvm.ErrClosed)
	for _, n := range []int{-1, math.MaxInt32 + 1} {
		_, err = m.NewSession(gotvm.WithThreads(n))
		expectError(t, err, gotvm.ErrInvalidArgument, fmt.Sprintf("WithThreads: expected 0 to 2147483647, got %d", n))
	}
	_, err = m.NewSession(gotvm.WithDevice(gotvm.CUDA(0)))
	expectError(t, err, gotvm.ErrInvalidArgument, "cuda(0)")

	_ = s.Close()
	_ = s.Close()
	_, err = s.Run(context.Background(), good)
	expectError(t, err, gotvm.ErrClosed)
	_ = m.Close()
	_ = m.Close()
	_, err = m.NewSession()
	expectError(t, err, gotvm.ErrClosed)
}

func expectError(tb testing.TB, err, want error, texts ...string) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Errorf("error %v is not %v", err, want)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			tb.Errorf("error %q lacks %q", err, text)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	files, blobs := c.files(), readBlobs(t, c.files())
	text := filepath.Join(t.TempDir(), "text.so")
	writeFile(t, text, []byte("hello, this is not a library"))
	open := func(change func(*gotvm.Files)) error {
		f := files
		change(&f)
		_, err := gotvm.OpenFiles(f)
		return err
	}
	openBytes := func(change func(*gotvm.Blobs)) error {
		b := blobs
		change(&b)
		_, err := gotvm.OpenBytes(b)
		return err
	}
	_, folderErr := gotvm.Open(t.TempDir())
	_, missingErr := gotvm.Open("testdata/nowhere")
	for what, test := range map[string]struct {
		err   error
		want  error
		texts []string
	}{
		"no files":         {open(func(f *gotvm.Files) { *f = gotvm.Files{} }), gotvm.ErrInvalidArgument, []string{"Lib"}},
		"missing library":  {open(func(f *gotvm.Files) { f.Lib = "nowhere.so" }), gotvm.ErrNotFound, []string{"nowhere.so", "cannot open shared object"}},
		"missing graph":    {open(func(f *gotvm.Files) { f.Graph = "nowhere.json" }), os.ErrNotExist, []string{"nowhere.json"}},
		"missing params":   {open(func(f *gotvm.Files) { f.Params = "nowhere.params" }), gotvm.ErrNotFound, []string{"nowhere.params"}},
		"graph as library": {open(func(f *gotvm.Files) { f.Lib = f.Graph }), gotvm.ErrUnsupported, []string{"deploy.json"}},
		"text as library":  {open(func(f *gotvm.Files) { f.Lib = text }), nil, []string{"text.so"}},
		"params as graph":  {open(func(f *gotvm.Files) { f.Graph = f.Params }), gotvm.ErrFormat, []string{"deploy.params"}},
		"graph as params":  {open(func(f *gotvm.Files) { f.Params = f.Graph }), gotvm.ErrFormat, []string{"deploy.json"}},
		"cut graph":        {openBytes(func(b *gotvm.Blobs) { b.Graph = b.Graph[:len(b.Graph)/2] }), gotvm.ErrFormat, []string{"Graph"}},
		"cut params":       {openBytes(func(b *gotvm.Blobs) { b.Params = b.Params[:len(b.Params)-1] }), gotvm.ErrFormat, []string{"Params"}},
		"empty params":     {openBytes(func(b *gotvm.Blobs) { b.Params = []byte{} }), gotvm.ErrFormat, []string{"Params"}},
		"cut library":      {openBytes(func(b *gotvm.Blobs) { b.Lib = b.Lib[:len(b.Lib)/2] }), nil, []string{"Lib"}},
		"empty folder":     {folderErr, gotvm.ErrNotFound, []string{"there is no"}},
		"missing folder":   {missingErr, gotvm.ErrNotFound, []string{"nowhere"}},
	} {
		if test.err == nil {
			t.Errorf("%s: no error", what)
			continue
		}
		if test.want == nil {
			test.want = test.err
		}
		t.Log(test.err)
		expectError(t, test.err, test.want, test.texts...)
	}
}

// A second run on a session that is running is ErrBusy, and a run in which the context ends is cancelled; the
// session can be used again afterwards.
func TestBusyAndCancelled(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "workspace")
	reference := readReference(t, c.path("reference.params"))
	s := newTestSession(t, openCase(t, c))
	inputs := inputsOf(t, reference)
	cause := errors.New("the user went away")

	done, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	_, err := s.Run(done, inputs)
	if !errors.Is(err, cause) || !errors.Is(err, gotvm.ErrCancelled) {
		t.Errorf("a run with a done context gives %v", err)
	}
	compareOutputs(t, runSession(t, s, inputs), reference, c)

	var group sync.WaitGroup
	var mu sync.Mutex
	var busy, cancelled, right int
	until := time.Now().Add(300 * time.Millisecond)
	for range 4 {
		group.Add(1)
		go func() {
			defer group.Done()
			mine := inputsOf(t, reference)
			for i := 0; time.Now().Before(until); i++ {
				ctx, cancel := context.WithCancelCause(context.Background())
				if i%3 == 0 {
					go cancel(cause)
				}
				outputs, err := s.Run(ctx, mine)
				mu.Lock()
				switch {
				case errors.Is(err, gotvm.ErrBusy):
					busy++
				case errors.Is(err, cause):
					cancelled++
				case err != nil:
					t.Error(err)
				default:
					right++
					compareOutputs(t, outputs, reference, c)
				}
				mu.Unlock()
				cancel(nil)
			}
		}()
	}
	group.Wait()
	t.Logf("%d busy, %d cancelled, %d right", busy, cancelled, right)
	if right == 0 || busy == 0 {
		t.Errorf("%d runs were right and %d busy, want some of both", right, busy)
	}
	compareOutputs(t, runSession(t, s, inputs), reference, c)
}

// Outputs are ordinary Go memory: a view outlives array, session and model.
func TestOutputViewsOutliveEverything(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	reference := readReference(t, c.path("reference.params"))
	want := reference["out:0"].numbers()
	view := func() []float32 {
		m, err := gotvm.OpenFiles(c.files())
		if err != nil {
			t.Fatal(err)
		}
		s, err := m.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		outputs := runSession(t, s, inputsOf(t, reference))
		view, err := gotvm.DataOf[float32](outputs[0])
		if err != nil {
			t.Fatal(err)
		}
		_ = outputs[0].Close()
		_ = s.Close()
		_ = m.Close()
		return view
	}()
	for range 5 {
		runtime.GC()
		must(gotvm.Empty([]int64{1 << 16}))
	}
	for i, value := range view {
		if d := float64(value) - want[i]; d > 1e-4 || d < -1e-4 {
			t.Fatalf("element %d is %v, want %v", i, value, want[i])
		}
	}
}

// The large models that `make models` compiles.
func TestLargeModels(t *testing.T) {
	models := os.Getenv("GOTVM_MODELS")
	if models == "" {
		t.Skip("GOTVM_MODELS is not set: make test-models runs this")
	}
	for _, name := range []string{"mlp", "mobilenet", "mobilenet_nchw", "resnet18"} {
		path := filepath.Join(models, name, name)
		m, err := gotvm.OpenFiles(gotvm.Files{Lib: path + ".so", Graph: path + ".json", Params: path + ".params"})
		if err != nil {
			t.Fatal(err)
		}
		reference := readReference(t, filepath.Join(models, name, "reference.params"))
		outputs := runSession(t, newTestSession(t, m), inputsOf(t, reference))
		compareOutput(t, name, outputs[0], reference["out:0"], 1e-4, 1e-4)
		_ = m.Close()
	}
}

// What scripts/compile made of an ONNX file, compared with ONNX's reference evaluator.
func TestCompiledONNX(t *testing.T) {
	folder := os.Getenv("GOTVM_ONNX")
	if folder == "" {
		t.Skip("GOTVM_ONNX is not set: make test-models runs this")
	}
	path := func(name string) string { return filepath.Join(folder, name) }
	reference := readReference(t, path("reference.params"))
	for form, files := range map[string]gotvm.Files{
		"classic":        {Lib: path("deploy.so"), Graph: path("deploy.json"), Params: path("deploy.params")},
		"relax":          {Lib: path("model.so")},
		"relax/dynamic":  {Lib: path("dynamic.so")},
		"relax/compiled": {Lib: path("compiled.so")},
		"relax/tuned":    {Lib: path("tuned.so")},
	} {
		t.Run(form, func(t *testing.T) {
			m, err := gotvm.OpenFiles(files)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			outputs := runSession(t, newTestSession(t, m), inputsOf(t, reference))
			compareOutput(t, "probabilities", outputs[0], reference["out:0"], 1e-5, 1e-6)
		})
	}
}

// The arm64 models of testdata, where this is such a machine.
func TestArm64Models(t *testing.T) {
	if runtime.GOARCH != "arm64" {
		file := filepath.Join("testdata", "arm64", "dense", "deploy.so")
		_, err := gotvm.LoadModuleFromFile(file)
		if runtime.GOARCH == "amd64" {
			expectError(t, err, gotvm.ErrUnsupported, file, "aarch64", "x86-64")
		}
		return
	}
	for _, name := range []string{"conv", "dense", "parallel"} {
		folder := filepath.Join("testdata", "arm64", name)
		reference := readReference(t, filepath.Join(folder, "reference.params"))
		m, err := gotvm.OpenFiles(gotvm.Files{Lib: filepath.Join(folder, "deploy.so"),
			Graph: filepath.Join(folder, "deploy.json"), Params: filepath.Join(folder, "deploy.params")})
		if err != nil {
			t.Fatal(err)
		}
		outputs := runSession(t, newTestSession(t, m), inputsOf(t, reference))
		for i, output := range outputs {
			compareOutput(t, name, output, reference[fmt.Sprintf("out:%d", i)], 1e-4, 1e-4)
		}
		_ = m.Close()
	}
}
