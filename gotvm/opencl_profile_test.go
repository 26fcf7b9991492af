//go:build !noopencl

package gotvm_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// profileOn runs a model of testdata/opencl once on OpenCL(0), then measures a run whose outputs are compared with
// the reference's. Any goroutine may call it; the profile is empty where it fails the test.
func profileOn(tb testing.TB, s *gotvm.Session, reference map[string]referenceTensor) *gotvm.Profile {
	tb.Helper()
	outputs, err := s.Run(context.Background(), inputsOf(tb, reference))
	for i, output := range outputs {
		if output.GetNdim() == 0 { // Empty does not make scalars
			continue
		}
		outputs[i] = must(gotvm.Empty(output.GetShape(), output.GetDType(), gotvm.OpenCL(0)))
		err = errors.Join(err, s.BindOutput(i, outputs[i]))
	}
	start := time.Now()
	p, err2 := s.Profile(context.Background())
	if err = errors.Join(err, err2); err != nil {
		tb.Error(err)
		return &gotvm.Profile{}
	}
	checkTimes(tb, p, time.Since(start))
	checkOutputs(tb, outputs, reference)
	return p
}

// Operators on the device have a time there, and only those. The mixed graph has copies and operators on both.
func TestOpenCLProfile(t *testing.T) {
	needOpenCL(t)
	for _, model := range openclGraphs {
		t.Run(model, func(t *testing.T) {
			reference := readReference(t, openclFile(model, "reference.params"))
			_, s := openclSession(t, model)
			p := profileOn(t, s, reference)
			timed := 0
			for _, o := range p.Operators {
				onCPU := strings.HasPrefix(o.Name, "__copy") || o.Name == "tvmgen_default_fused_add_tanh" && model == "tvm0.19/mixed"
				if (o.DeviceTime == 0) != onCPU {
					t.Errorf("%s: %v on the device", o.Name, o.DeviceTime)
				}
				if !onCPU {
					timed++
				}
			}
			if timed == 0 {
				t.Errorf("no operator of %d is the device's", len(p.Operators))
			}
			if text := p.String(); !strings.Contains(text, "device µs") {
				t.Errorf("the table does not tell of the device:\n%s", text)
			}
		})
	}
}

// TestOpenCLProfileRelax: kernels of bytecode.
func TestOpenCLProfileRelax(t *testing.T) {
	needOpenCL(t)
	for _, name := range []string{"mlp", "mlp_dynamic"} {
		reference := readReference(t, openclFile("tvm0.27/"+name, "reference.params"))
		m := must(gotvm.Open(openclFile("tvm0.27/"+name, "model.so")))
		defer m.Close()
		s := must(m.NewSession(gotvm.WithDevice(gotvm.OpenCL(0))))
		defer s.Close()
		input := m.Inputs()[0].Name
		x := reference["in:0"].array(t)
		outputs, err := s.Run(context.Background(), gotvm.Inputs{input: x})
		if err != nil {
			t.Fatal(err)
		}
		checkOutputs(t, outputs, reference)
		start := time.Now()
		p := must(s.Profile(context.Background()))
		checkTimes(t, p, time.Since(start))
		kernels := 0
		for _, o := range p.Operators {
			if o.Name == "shape_func" { // on the CPU
				continue
			}
			kernels++
			if o.DeviceTime <= 0 || len(o.Outputs) != 1 || o.Outputs[0].Shape[0] != x.GetShape()[0] {
				t.Errorf("%s: %+v", name, o)
			}
		}
		if kernels != 4 { // three layers, which are fused, and softmax
			t.Errorf("%s: %d kernels, want 4", name, kernels)
		}
	}
}

// A convolution with 31,104 products takes the device longer than a layer with 40.
func TestOpenCLProfileTimes(t *testing.T) {
	needOpenCL(t)
	reference := readReference(t, openclFile("tvm0.19/conv", "reference.params"))
	_, s := openclSession(t, "tvm0.19/conv")
	least := map[string]time.Duration{}
	for range 10 {
		for _, o := range profileOn(t, s, reference).Operators {
			if before, ok := least[o.Name]; !ok || o.DeviceTime < before {
				least[o.Name] = o.DeviceTime
			}
		}
	}
	large, small := least["tvmgen_default_fused_nn_conv2d_nn_relu"], least["tvmgen_default_fused_nn_dense"]
	if large <= small || small == 0 {
		t.Errorf("the convolution took %v, the layer %v", large, small)
	}
}

// While one session is measured others run, on the same device: all results are right.
func TestOpenCLProfileBesideRuns(t *testing.T) {
	needOpenCL(t)
	for _, model := range []string{"tvm0.19/mlp", "tvm0.19/mixed", "tvm0.19/conv", "tvm0.19/order"} {
		reference := readReference(t, openclFile(model, "reference.params"))
		m := must(gotvm.Open(openclFile(model, "model.so")))
		var group sync.WaitGroup
		for g := range 4 {
			group.Add(1)
			go func() {
				defer group.Done()
				s := must(m.NewSession(gotvm.WithDevice(gotvm.OpenCL(0))))
				defer s.Close()
				for range 20 {
					if g < 2 {
						profileOn(t, s, reference)
						continue
					}
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
