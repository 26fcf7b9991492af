//go:build noopencl

package gotvm_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// TestNoOpenCL: a program that was built without OpenCL says so.
func TestNoOpenCL(t *testing.T) {
	needModels(t)
	_, err := gotvm.Open("testdata/opencl/tvm0.19/mlp/model.so")
	if !errors.Is(err, gotvm.ErrUnsupported) || !strings.Contains(err.Error(), "built without OpenCL (tag noopencl)") {
		t.Errorf("a model for OpenCL: %v", err)
	}
	_, err = gotvm.Empty([]int64{1}, gotvm.OpenCL(0))
	if !errors.Is(err, gotvm.ErrInvalidArgument) || !strings.Contains(err.Error(), "opencl(0)") {
		t.Errorf("an array on OpenCL: %v", err)
	}
	if err := gotvm.ConfigureOpenCL(gotvm.OpenCLConfig{}); !errors.Is(err, gotvm.ErrUnsupported) {
		t.Errorf("ConfigureOpenCL: %v", err)
	}
	for _, d := range gotvm.Devices() {
		if d.Kind != "cpu" {
			t.Errorf("there is a device %v", d)
		}
	}
}
