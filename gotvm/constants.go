package gotvm

// Versions: of the TVM release whose runtime API this is, and of DLPack.
var (
	TVMVersion    = tvmVersion
	DLPackVersion = dlpackVersion
)

// Types of devices, for [Device]. They are variables because the published package had them so.
var (
	KDLCPU  = int32(1)
	KDLCUDA = int32(2)
	// KDLGPU is [KDLCUDA] under its first name.
	//
	// Deprecated: use KDLCUDA.
	KDLGPU      = KDLCUDA
	KDLCUDAHost = int32(3)
	// KDLCPUPinned is [KDLCUDAHost] under its first name.
	//
	// Deprecated: use KDLCUDAHost.
	KDLCPUPinned = KDLCUDAHost
	KDLOpenCL    = int32(4)
	KDLVulkan    = int32(7)
	KDLMetal     = int32(8)
	KDLVPI       = int32(9)
	KDLROCM      = int32(10)
	KExtDev      = int32(12)
	KDLSDAccel   = int32(33)
	KOpenGL      = int32(34)
)

// Codes of element types and of values in TVM's classic interface. [Value.Kind] tells what a value is
// to a Go program.
var (
	KDLInt    = int32(0)
	KDLUInt   = int32(1)
	KDLFloat  = int32(2)
	KHandle   = int32(3)
	KNull     = int32(4)
	KTVMType  = int32(5)
	KDLDevice = int32(6)
	// KTVMContext is [KDLDevice] under its first name.
	//
	// Deprecated: use KDLDevice.
	KTVMContext   = KDLDevice
	KArrayHandle  = int32(7)
	KObjectHandle = int32(8)
	// KNodeHandle is [KObjectHandle] under its first name.
	//
	// Deprecated: use KObjectHandle.
	KNodeHandle       = KObjectHandle
	KModuleHandle     = int32(9)
	KFuncHandle       = int32(10)
	KStr              = int32(11)
	KBytes            = int32(12)
	KNDArrayContainer = int32(13)
	KExtBegin         = int32(16)
	KNNVMFirst        = int32(16)
	KNNVMLast         = int32(20)
	KExtReserveEnd    = int32(64)
	KExtEnd           = int32(128)
)
