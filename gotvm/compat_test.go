package gotvm_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// Programs for the published package use these names with these types, and nothing but the import path
// may change for them.

var (
	_ string                                                       = gotvm.TVMVersion
	_ int                                                          = gotvm.DLPackVersion
	_ func(string, ...any) (*gotvm.Module, error)                  = gotvm.LoadModuleFromFile
	_ func(*gotvm.Module, string, ...any) (*gotvm.Function, error) = (*gotvm.Module).GetFunction
	_ func(string) (*gotvm.Function, error)                        = gotvm.GetGlobalFunction
	_ func() ([]string, error)                                     = gotvm.FuncListGlobalNames
	_ func(...any) (*gotvm.Function, error)                        = gotvm.ConvertFunction
	_ func(...any) error                                           = gotvm.RegisterFunction
	_ func(*gotvm.Function, ...any) (*gotvm.Value, error)          = (*gotvm.Function).Invoke
	_ func(*gotvm.Value) int64                                     = (*gotvm.Value).AsInt64
	_ func(*gotvm.Value) float64                                   = (*gotvm.Value).AsFloat64
	_ func(*gotvm.Value) *gotvm.Module                             = (*gotvm.Value).AsModule
	_ func(*gotvm.Value) *gotvm.Function                           = (*gotvm.Value).AsFunction
	_ func(*gotvm.Value) []byte                                    = (*gotvm.Value).AsBytes
	_ func(*gotvm.Value) string                                    = (*gotvm.Value).AsStr
	_ func([]int64, ...any) (*gotvm.Array, error)                  = gotvm.Empty
	_ func(*gotvm.Array, any) error                                = (*gotvm.Array).CopyFrom
	_ func(*gotvm.Array) (any, error)                              = (*gotvm.Array).AsSlice
	_ func(*gotvm.Array) int32                                     = (*gotvm.Array).GetNdim
	_ func(*gotvm.Array) []int64                                   = (*gotvm.Array).GetShape
	_ func(*gotvm.Array) string                                    = (*gotvm.Array).GetDType
	_ func(*gotvm.Array) gotvm.Context                             = (*gotvm.Array).GetCtx
	_ func(*gotvm.Array) gotvm.Device                              = (*gotvm.Array).GetDevice
	_ gotvm.ByteArray                                              = nil
	_ func(args ...*gotvm.Value) (any, error)                      = gotvm.Callback(nil)
	_ [2]int32                                                     = [2]int32{gotvm.Context{}.DeviceType, gotvm.Context{}.DeviceID}
	_ map[string]func(int32) gotvm.Context                         = devices
	_ func(index int32) gotvm.Device                               = gotvm.CUDA
	_ func(index int32) gotvm.Device                               = gotvm.CUDAHost
	_ []*int32                                                     = []*int32{&gotvm.KDLDevice, &gotvm.KTVMContext, &gotvm.KObjectHandle, &gotvm.KNodeHandle}
)

var devices = map[string]func(int32) gotvm.Context{
	"cpu": gotvm.CPU, "cuda": gotvm.GPU, "cuda_host": gotvm.CPUPinned, "opencl": gotvm.OpenCL, "metal": gotvm.Metal,
	"vpi": gotvm.VPI, "rocm": gotvm.ROCM, "device type 33": gotvm.SDAccel, "vulkan": gotvm.Vulkan, "device type 34": gotvm.OpenGL,
}

func TestDevices(t *testing.T) {
	for name, device := range devices {
		if got := device(3).String(); got != name+"(3)" {
			t.Errorf("%s is %s", name, got)
		}
	}
	if gotvm.GPU(1) != gotvm.CUDA(1) || gotvm.CPUPinned(1) != gotvm.CUDAHost(1) {
		t.Error("the old and the new name of a device differ")
	}
}

func TestConstants(t *testing.T) {
	for _, c := range []struct {
		got  *int32
		want int32
	}{
		{&gotvm.KDLCPU, 1}, {&gotvm.KDLGPU, 2}, {&gotvm.KDLCPUPinned, 3}, {&gotvm.KDLOpenCL, 4}, {&gotvm.KDLVulkan, 7},
		{&gotvm.KDLMetal, 8}, {&gotvm.KDLVPI, 9}, {&gotvm.KDLROCM, 10}, {&gotvm.KExtDev, 12}, {&gotvm.KDLInt, 0},
		{&gotvm.KDLUInt, 1}, {&gotvm.KDLFloat, 2}, {&gotvm.KHandle, 3}, {&gotvm.KNull, 4}, {&gotvm.KTVMType, 5},
		{&gotvm.KTVMContext, 6}, {&gotvm.KDLDevice, 6}, {&gotvm.KArrayHandle, 7}, {&gotvm.KNodeHandle, 8},
		{&gotvm.KObjectHandle, 8}, {&gotvm.KModuleHandle, 9}, {&gotvm.KFuncHandle, 10}, {&gotvm.KStr, 11}, {&gotvm.KBytes, 12},
		{&gotvm.KNDArrayContainer, 13}, {&gotvm.KDLSDAccel, 33}, {&gotvm.KOpenGL, 34}, {&gotvm.KExtBegin, 16},
		{&gotvm.KNNVMFirst, 16}, {&gotvm.KNNVMLast, 20}, {&gotvm.KExtReserveEnd, 64}, {&gotvm.KExtEnd, 128},
	} {
		if *c.got != c.want {
			t.Errorf("%d, want %d", *c.got, c.want)
		}
	}
}

// The published way to deploy a model, as in its announcement.
func TestPublishedProgram(t *testing.T) {
	c := zooCaseNamed(t, "tvm0.19", "dense")
	modp, err := gotvm.LoadModuleFromFile(c.path("deploy.so"), "so")
	if err != nil {
		t.Fatal(err)
	}
	jsonStr := string(readFile(t, c.path("deploy.json")))
	funp, err := gotvm.GetGlobalFunction("tvm.graph_runtime.create")
	if err != nil {
		t.Fatal(err)
	}
	graphrt, err := funp.Invoke(jsonStr, modp, (int64)(gotvm.KDLCPU), (int64)(0))
	if err != nil {
		t.Fatal(err)
	}
	graphmod := graphrt.AsModule()
	funp, err = graphmod.GetFunction("load_params")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = funp.Invoke(readFile(t, c.path("deploy.params"))); err != nil {
		t.Fatal(err)
	}
	inX, err := gotvm.Empty(c.Inputs[0].Shape, "float32", gotvm.CPU(0))
	if err != nil {
		t.Fatal(err)
	}
	out, err := gotvm.Empty(c.Outputs[0].Shape)
	if err != nil {
		t.Fatal(err)
	}
	reference := readReference(t, c.path("reference.params"))
	inSlice := must(reference["in:"+c.Inputs[0].Name].array(t).AsSlice()).([]float32)
	inX.CopyFrom(inSlice)
	funp, err = graphmod.GetFunction("set_input")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = funp.Invoke(c.Inputs[0].Name, inX); err != nil {
		t.Fatal(err)
	}
	funp, err = graphmod.GetFunction("run")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = funp.Invoke(); err != nil {
		t.Fatal(err)
	}
	funp, err = graphmod.GetFunction("get_output")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = funp.Invoke(int64(0), out); err != nil {
		t.Fatal(err)
	}
	outIntf, _ := out.AsSlice()
	if outSlice := outIntf.([]float32); len(outSlice) == 0 {
		t.Error("no output")
	}
	compareOutput(t, "output", out, reference["out:0"], c.RTol, c.ATol)
}

// A value used as an argument must remain what it is.
func TestValueIsReusable(t *testing.T) {
	f := convert(t, echo)
	for _, arg := range []any{7, 1.5, "a string that is long", []byte("bytes that are long"), must(gotvm.Empty([]int64{1}))} {
		v := invoke(t, f, arg)
		for i := 0; i < 3; i++ {
			if got := invoke(t, f, v); got.Kind() != v.Kind() || fmt.Sprint(got) != fmt.Sprint(v) {
				t.Errorf("time %d: %s became %s", i, v, got)
			}
		}
	}
}

// The published package had pointers in the handles' place; programs compare and print them.
func TestHandlesArePointers(t *testing.T) {
	for _, handle := range []any{load(t, library), convert(t, echo), must(gotvm.Empty([]int64{1}))} {
		if reflect.TypeOf(handle).Kind() != reflect.Pointer || fmt.Sprintf("%v %p", handle, handle) == "" {
			t.Errorf("%T", handle)
		}
	}
}
