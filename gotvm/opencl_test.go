//go:build !noopencl

package gotvm_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// Models for OpenCL: scripts/make_opencl_testdata.py. They run on whatever device there is, in the end on the CPU
// (Debian: pocl-opencl-icd).

var (
	openclGraphs = []string{
		"tvm0.19/mlp", "tvm0.19/conv", "tvm0.19/mixed", "tvm0.19/order", "tvm0.19/scalars", "tvm0.9/mlp",
	}
	openclExecutables = []string{"tvm0.27/mlp", "tvm0.27/mlp_dynamic", "tvm0.27/cond", "tvm0.27/mixed"}
)

// Those that only scripts/test-models makes, for their size.
var (
	openclLargeGraphs      = []string{"tvm0.19/resnet18"}
	openclLargeExecutables = []string{
		"tvm0.27/cnn", "tvm0.27/ops_sort", "tvm0.27/order_dynamic", "tvm0.27/transformer", "tvm0.27/transformer_dynamic",
	}
)

// openclModels are the models that are there.
func openclModels(committed, large []string) []string {
	if os.Getenv("GOTVM_TESTDATA") == "" {
		return committed
	}
	return slices.Concat(committed, large)
}

// needOpenCL skips a test where there is no device or no model for this machine. Where GOTVM_TEST_OPENCL is set, the
// test fails.
func needOpenCL(tb testing.TB) {
	tb.Helper()
	skip := tb.Skip
	if os.Getenv("GOTVM_TEST_OPENCL") != "" {
		skip = tb.Fatal
	}
	if !openclModelsFit(tb) {
		skip("the OpenCL models in " + testdata() + " are missing or for another machine")
	}
	x, err := gotvm.Empty([]int64{1}, gotvm.OpenCL(0))
	if err != nil {
		skip(err)
	}
	_ = x.Close()
}

// openclModelsFit is false for test data of other machines than amd64, which are made without models for OpenCL.
func openclModelsFit(tb testing.TB) bool {
	tb.Helper()
	library := openclFile("tvm0.19/mlp", "model.so")
	_, err := os.Stat(library)
	return err == nil && runsHere(tb, library)
}

func openclFile(model, file string) string {
	return filepath.Join(testdata(), "opencl", filepath.FromSlash(model), file)
}

// openclSession opens a model and makes a session on OpenCL(0), both until the end of the test.
func openclSession(tb testing.TB, model string) (*gotvm.Model, *gotvm.Session) {
	tb.Helper()
	m, err := gotvm.Open(openclFile(model, "model.so"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = m.Close() })
	s, err := m.NewSession(gotvm.WithDevice(gotvm.OpenCL(0)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return m, s
}

// checkOutputs compares outputs with the reference's: those of the same model compiled for CPUs.
func checkOutputs(tb testing.TB, outputs []*gotvm.Array, reference map[string]referenceTensor) {
	tb.Helper()
	checkOutputsWithin(tb, outputs, reference, 1e-5)
}

func checkOutputsWithin(tb testing.TB, outputs []*gotvm.Array, reference map[string]referenceTensor, tolerance float64) {
	tb.Helper()
	if len(outputs) == 0 {
		tb.Fatal("there are no outputs")
	}
	for i, output := range outputs {
		name := "out:" + strconv.Itoa(i)
		want, ok := reference[name]
		if !ok {
			tb.Fatalf("the reference has no %s", name)
		}
		compareOutput(tb, name, output, want, tolerance, tolerance)
	}
}

func TestOpenCLModels(t *testing.T) {
	needOpenCL(t)
	for _, model := range openclModels(openclGraphs, openclLargeGraphs) {
		t.Run(model, func(t *testing.T) {
			reference := readReference(t, openclFile(model, "reference.params"))
			_, s := openclSession(t, model)
			for range 3 {
				outputs, err := s.Run(context.Background(), inputsOf(t, reference))
				if err != nil {
					t.Fatal(err)
				}
				tolerance := 1e-5
				if slices.Contains(openclLargeGraphs, model) { // sums of thousands, in another order
					tolerance = 1e-4
				}
				checkOutputsWithin(t, outputs, reference, tolerance)
			}
		})
	}
}

// TestOpenCLRelax: Relax executables in both modes, with inputs on the CPU and on the device.
func TestOpenCLRelax(t *testing.T) {
	needOpenCL(t)
	for _, name := range openclModels(openclExecutables, openclLargeExecutables) {
		reference := readReference(t, openclFile(name, "reference.params"))
		for _, file := range []string{"model.so", "model-compiled.so"} {
			t.Run(name+"/"+file, func(t *testing.T) {
				m := must(gotvm.Open(openclFile(name, file)))
				defer m.Close()
				for range 2 { // the second shares the constants
					s := must(m.NewSession(gotvm.WithDevice(gotvm.OpenCL(0))))
					defer s.Close()
					inputs := gotvm.Inputs{}
					var args []any
					scalars := false // Empty does not make them
					for i, info := range m.Inputs() {
						x := reference["in:"+strconv.Itoa(i)].array(t)
						inputs[info.Name] = x
						if x.GetNdim() == 0 {
							scalars = true
							continue
						}
						y := must(gotvm.Empty(x.GetShape(), x.GetDType(), gotvm.OpenCL(0)))
						if err := x.CopyTo(y); err != nil {
							t.Fatal(err)
						}
						args = append(args, y)
					}
					for range 3 {
						outputs, err := s.Run(context.Background(), inputs)
						if err != nil {
							t.Fatal(err)
						}
						checkOutputs(t, outputs, reference)
					}
					if scalars {
						continue
					}
					result, err := s.Call(context.Background(), "main", args...)
					if err != nil {
						t.Fatal(err)
					}
					arrays := must(result.Arrays())
					checkOutputs(t, arrays, reference)
					if got := arrays[0].GetDevice(); got != gotvm.OpenCL(0) {
						t.Errorf("Call's result is on %v", got)
					}
				}
			})
		}
	}
}

// TestOpenCLDevices: the list names them, and the first one can be used.
func TestOpenCLDevices(t *testing.T) {
	needOpenCL(t)
	devices := slices.DeleteFunc(gotvm.Devices(), func(d gotvm.DeviceInfo) bool { return d.Kind != "opencl" })
	if len(devices) == 0 {
		t.Fatal("there is a device, but Devices does not list it")
	}
	for i, d := range devices {
		if d.Device != gotvm.OpenCL(int32(i)) || d.Name == "" || d.Memory <= 0 || d.Threads <= 0 {
			t.Errorf("device %d is %+v", i, d)
		}
	}
	_, err := gotvm.Empty([]int64{1}, gotvm.OpenCL(int32(len(devices))))
	if !errors.Is(err, gotvm.ErrNotFound) || !strings.Contains(err.Error(), "there is no such device") {
		t.Errorf("the device behind the last one: %v", err)
	}
}

// TestOpenCLArrays: contents survive all ways there and back.
func TestOpenCLArrays(t *testing.T) {
	needOpenCL(t)
	want := []float32{1, -2.5, 3e9, 0, 5, 6}
	x := must(gotvm.Empty([]int64{2, 3}, gotvm.OpenCL(0)))
	defer x.Close()
	if err := x.CopyFrom(want); err != nil {
		t.Fatal(err)
	}
	if got := must(x.AsSlice()); !slices.Equal(got.([]float32), want) {
		t.Errorf("AsSlice is %v, want %v", got, want)
	}
	// On the device, then to the CPU.
	y := must(gotvm.Empty([]int64{2, 3}, gotvm.OpenCL(0)))
	z := must(gotvm.Empty([]int64{2, 3}))
	if err := errors.Join(x.CopyTo(y), x.CopyFrom(make([]float32, 6)), y.CopyTo(z)); err != nil {
		t.Fatal(err)
	}
	if got := must(gotvm.DataOf[float32](z)); !slices.Equal(got, want) {
		t.Errorf("the copy of the copy is %v, want %v", got, want)
	}
	if got := must(x.AsSlice()); !slices.Equal(got.([]float32), make([]float32, 6)) {
		t.Errorf("the source is %v after zeros were copied to it", got)
	}
	raw := must(z.Bytes())
	if err := x.CopyFromBytes(raw); err != nil || !bytes.Equal(must(x.Bytes()), raw) {
		t.Errorf("Bytes is %v, want %v (%v)", must(x.Bytes()), raw, err)
	}
	if _, err := gotvm.DataOf[float32](x); err == nil || !strings.Contains(err.Error(), "opencl(0)") {
		t.Errorf("a view of memory on the device: %v", err)
	}
	if got := x.GetDevice(); got != gotvm.OpenCL(0) {
		t.Errorf("the device is %v", got)
	}
	empty := must(gotvm.Empty([]int64{0, 3}, gotvm.OpenCL(0)))
	if got := must(empty.Bytes()); len(got) != 0 {
		t.Errorf("an array without elements holds %v", got)
	}
}

// TestOpenCLExhaustion: too large an array is an error, after which all goes on.
func TestOpenCLExhaustion(t *testing.T) {
	needOpenCL(t)
	_, err := gotvm.Empty([]int64{1 << 50}, "uint8", gotvm.OpenCL(0))
	if !errors.Is(err, gotvm.ErrMemory) {
		t.Errorf("a petabyte: %v", err)
	}
	TestOpenCLArrays(t)
}

// TestOpenCLInputs: arrays on the device are inputs as those on the CPU are; outputs can stay there.
func TestOpenCLInputs(t *testing.T) {
	needOpenCL(t)
	reference := readReference(t, openclFile("tvm0.19/mlp", "reference.params"))
	_, s := openclSession(t, "tvm0.19/mlp")
	data := inputsOf(t, reference)["data"]
	onDevice := must(gotvm.Empty(data.GetShape(), gotvm.OpenCL(0)))
	if err := data.CopyTo(onDevice); err != nil {
		t.Fatal(err)
	}
	outputs, err := s.Run(context.Background(), gotvm.Inputs{"data": onDevice})
	if err != nil {
		t.Fatal(err)
	}
	checkOutputs(t, outputs, reference)

	result := must(gotvm.Empty(outputs[0].GetShape(), gotvm.OpenCL(0)))
	if err := errors.Join(s.BindInput("data", onDevice), s.BindOutput(0, result)); err != nil {
		t.Fatal(err)
	}
	outputs, err = s.Run(context.Background(), nil)
	if err := errors.Join(err, gotvm.OpenCL(0).Sync()); err != nil {
		t.Fatal(err)
	}
	if outputs[0] != result {
		t.Error("the output is not the array that was bound")
	}
	checkOutputs(t, outputs, reference)
	err = s.BindInput("data", data)
	if !errors.Is(err, gotvm.ErrInvalidArgument) || !strings.Contains(err.Error(), "opencl(0)") {
		t.Errorf("binding an array on the CPU: %v", err)
	}
}

// TestOpenCLBoundToTheCPU: a session of a Relax executable wants bound arrays on its own device, as others do.
func TestOpenCLBoundToTheCPU(t *testing.T) {
	needOpenCL(t)
	s := newTestSession(t, relaxCaseNamed(t, "tvm0.27", "mlp").open(t, "bytecode"))
	for what, err := range map[string]error{
		`input "x"`: s.BindInput("x", must(gotvm.Empty([]int64{1, 16}, gotvm.OpenCL(0)))),
		"output 0":  s.BindOutput(0, must(gotvm.Empty([]int64{1, 5}, gotvm.OpenCL(0)))),
	} {
		expectError(t, err, gotvm.ErrInvalidArgument, what+": expected an array on cpu(0), got one on opencl(0)")
	}
}

// TestOpenCLSessions: sessions of one model in many goroutines.
func TestOpenCLSessions(t *testing.T) {
	needOpenCL(t)
	for _, model := range []string{"tvm0.19/mlp", "tvm0.19/mixed", "tvm0.19/order"} {
		reference := readReference(t, openclFile(model, "reference.params"))
		m, err := gotvm.Open(openclFile(model, "model.so"))
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		for range 4 {
			group.Add(1)
			go func() {
				defer group.Done()
				s, err := m.NewSession(gotvm.WithDevice(gotvm.OpenCL(0)))
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				for range 20 {
					outputs, err := s.Run(context.Background(), inputsOf(t, reference))
					if err != nil {
						t.Error(err)
						return
					}
					checkOutputs(t, outputs, reference)
				}
			}()
		}
		group.Wait()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOpenCLReopened: what a session's library imports is found, also when the file was opened again and closed.
func TestOpenCLReopened(t *testing.T) {
	needOpenCL(t)
	for _, model := range openclGraphs {
		reference := readReference(t, openclFile(model, "reference.params"))
		m := must(gotvm.Open(openclFile(model, "model.so")))
		s := must(m.NewSession(gotvm.WithDevice(gotvm.OpenCL(0))))
		must(0, m.Close())
		must(0, must(gotvm.Open(openclFile(model, "model.so"))).Close())
		outputs, err := s.Run(context.Background(), inputsOf(t, reference))
		if err != nil {
			t.Fatalf("%s: %v", model, err)
		}
		checkOutputs(t, outputs, reference)
		must(0, s.Close())
	}
}

// TestOpenCLSync: waiting for devices that are there, and for those that are not.
func TestOpenCLSync(t *testing.T) {
	needOpenCL(t)
	if err := errors.Join(gotvm.OpenCL(0).Sync(), gotvm.CPU(0).Sync()); err != nil {
		t.Error(err)
	}
	for device, want := range map[gotvm.Device]error{
		gotvm.OpenCL(1000): gotvm.ErrNotFound, gotvm.OpenCL(-1): gotvm.ErrNotFound, gotvm.Metal(0): gotvm.ErrInvalidArgument,
	} {
		if err := device.Sync(); !errors.Is(err, want) || !strings.Contains(err.Error(), device.String()) {
			t.Errorf("%v: %v, want %v", device, err, want)
		}
	}
}

// TestOpenCLWrongDevice: a model for OpenCL is refused on the CPU alone, with what it is for.
func TestOpenCLWrongDevice(t *testing.T) {
	if !openclModelsFit(t) {
		t.Skip("there are no OpenCL models for this machine")
	}
	m := must(gotvm.Open(openclFile("tvm0.19/mlp", "model.so")))
	defer m.Close()
	_, err := m.NewSession()
	if !errors.Is(err, gotvm.ErrInvalidArgument) || !strings.Contains(err.Error(), "opencl(0)") {
		t.Errorf("a session on the CPU: %v", err)
	}
}

// TestOpenCLNative: the ways that TVM's own programs go.
func TestOpenCLNative(t *testing.T) {
	needOpenCL(t)
	for _, model := range []string{"tvm0.19/mlp", "tvm0.19/mixed", "tvm0.9/mlp"} {
		reference := readReference(t, openclFile(model, "reference.params"))
		m := load(t, openclFile(model, "model.so"))
		devices := []any{gotvm.OpenCL(0)}
		if strings.HasSuffix(model, "mixed") {
			devices = append(devices, gotvm.CPU(0))
		}
		executor := invoke(t, function(t, m, "default"), devices...).AsModule()
		for name, x := range inputsOf(t, reference) {
			invoke(t, function(t, executor, "set_input"), name, x)
		}
		invoke(t, function(t, executor, "run"))
		output := invoke(t, function(t, executor, "get_output"), 0).AsArray()
		if got := output.GetDevice(); got != gotvm.OpenCL(0) {
			t.Errorf("%s: the output is on %v", model, got)
		}
		checkOutputs(t, []*gotvm.Array{output}, reference)
		copied := must(gotvm.Empty(output.GetShape()))
		invoke(t, function(t, executor, "get_output"), 0, copied)
		checkOutputs(t, []*gotvm.Array{copied}, reference)
	}
}

// TestOpenCLForCPU: a session is not on the CPU where it is asked to use another device.
func TestOpenCLForCPU(t *testing.T) {
	needOpenCL(t)
	for _, c := range []zooCase{zooCaseNamed(t, "tvm0.19", "linked_params"), zooCaseNamed(t, "tvm0.9", "conv")} {
		for _, file := range c.Packages {
			m := must(gotvm.Open(c.path(file)))
			_, err := m.NewSession(gotvm.WithDevice(gotvm.OpenCL(0)))
			expectError(t, err, gotvm.ErrInvalidArgument, "nothing of the model is compiled for opencl(0)")
			_ = m.Close()
		}
	}
}
