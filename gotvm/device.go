package gotvm

// Device is a place for arrays and for computing: a type, such as KDLCPU, and a
// number. The CPU is always there; its number is a mere label.
type Device struct {
	DeviceType int32
	DeviceID   int32
}

// Context is a device under its first name.
//
// Deprecated: use Device.
type Context = Device

// String is such as "cpu(0)".
func (d Device) String() string {
	return devicePrint(d)
}

// Sync waits until the device has done all that it was asked to do, by every goroutine. Reading an array waits by
// itself; a run whose outputs stay on the device does not. It is [ErrNotFound] where there is no such device and
// [ErrInvalidArgument] where this runtime does not know its type.
func (d Device) Sync() error {
	return deviceSync(d)
}

// CPU is the processor that the program runs on.
func CPU(index int32) Device { return Device{KDLCPU, index} }

// CUDA is an NVIDIA GPU; this runtime has no support for it.
func CUDA(index int32) Device { return Device{KDLCUDA, index} }

// GPU is [CUDA] under its first name.
//
// Deprecated: use CUDA.
func GPU(index int32) Device { return CUDA(index) }

// CUDAHost is CPU memory that CUDA pinned; this runtime has no support for it.
func CUDAHost(index int32) Device { return Device{KDLCUDAHost, index} }

// CPUPinned is [CUDAHost] under its first name.
//
// Deprecated: use CUDAHost.
func CPUPinned(index int32) Device { return CUDAHost(index) }

// OpenCL is an OpenCL device: a GPU, or where there is none a CPU, unless [ConfigureOpenCL] or the environment chooses
// others. What it needs is a driver and the loader libOpenCL.so.1, which is opened when such a device is first used;
// programs that are built with the tag noopencl have no support for it.
func OpenCL(index int32) Device { return Device{KDLOpenCL, index} }

// Metal is an Apple GPU; this runtime has no support for it.
func Metal(index int32) Device { return Device{KDLMetal, index} }

// VPI is a Verilog simulator; this runtime has no support for it.
func VPI(index int32) Device { return Device{KDLVPI, index} }

// ROCM is an AMD GPU; this runtime has no support for it.
func ROCM(index int32) Device { return Device{KDLROCM, index} }

// SDAccel is a Xilinx FPGA; this runtime has no support for it.
func SDAccel(index int32) Device { return Device{KDLSDAccel, index} }

// Vulkan is a Vulkan device; this runtime has no support for it.
func Vulkan(index int32) Device { return Device{KDLVulkan, index} }

// OpenGL is an OpenGL device; this runtime has no support for it.
func OpenGL(index int32) Device { return Device{KOpenGL, index} }

// DeviceInfo describes a device of this machine.
type DeviceInfo struct {
	Device  Device
	Kind    string // such as "cpu"
	Name    string // what its maker calls it, "" when that is unknown
	Memory  int64  // bytes of all its memory, 0 when that is unknown
	Threads int    // of a CPU, the size of the pool of threads; of others, the processors; 0 when that is unknown
}

// TVM's numbers of what DeviceInfo holds.
const (
	attributeName    = 5
	attributeThreads = 7
	attributeMemory  = 14
)

// Devices lists the devices that models can run on here, the CPU first.
func Devices() []DeviceInfo {
	get, err := GetGlobalFunction("runtime.GetDeviceAttr")
	if err != nil { // the program has removed it
		get = nil
	}
	defer func() { _ = get.Close() }()
	var devices []DeviceInfo
	for _, kind := range deviceKinds() {
		for id := range kind.count() {
			attribute := func(number int) *Value {
				v, _ := get.Invoke(kind.deviceType, id, number)
				return v
			}
			devices = append(devices, DeviceInfo{
				Device:  Device{kind.deviceType, int32(id)},
				Kind:    kind.name,
				Name:    attribute(attributeName).AsStr(),
				Memory:  attribute(attributeMemory).AsInt64(),
				Threads: int(attribute(attributeThreads).AsInt64()),
			})
		}
	}
	return devices
}
