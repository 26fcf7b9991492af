package gotvm

// The layer between Go and C. Objects of the runtime are unsafe.Pointers to C memory on the Go side
// and uintptr_t on the way, so that neither cgo's checks nor the collector look at them.
//
// Only what can never raise an error is marked nocallback: raising one replaces, and so may free, an
// older one, which may hold a Go error.

// #cgo CFLAGS: -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -O2 -fvisibility=hidden -pthread -I${SRCDIR}/../csrc
// #cgo CFLAGS: -DTVM_HEADERS=21d20831ce5a2de6
// #cgo LDFLAGS: -rdynamic -lcjson -lm -ldl -pthread
// #cgo nocallback gotvm_retain
// #cgo nocallback gotvm_use_count
// #cgo nocallback gotvm_tensor_dl
// #cgo nocallback gotvm_tensor_is_shared
// #cgo nocallback gotvm_tensor_keep
// #cgo nocallback gotvm_context_cancel
// #cgo nocallback gotvm_dtype_print
// #cgo nocallback gotvm_device_print
// #cgo noescape gotvm_dtype_print
// #cgo noescape gotvm_device_print
// #include "shim.h"
// #include "base/device.h"
// #include "base/dtype.h"
// #include "base/tensor.h"
// #include "include/tvm_runtime.h"
// #include <stdlib.h>
import "C"

import (
	"errors"
	"strings"
	"unsafe"
)

// C's structs under Go names.
type (
	cArg     = C.struct_gotvm_arg
	cValue   = C.struct_gotvm_value
	cFrame   = C.struct_gotvm_frame
	cFailure = C.struct_gotvm_failure
	cResult  = C.struct_gotvm_result
	cTensor  = C.DLTensor
)

// What a value is, by the runtime's numbers.
const (
	typeNone       = C.TVM_TYPE_NONE
	typeInt        = C.TVM_TYPE_INT
	typeBool       = C.TVM_TYPE_BOOL
	typeFloat      = C.TVM_TYPE_FLOAT
	typeOpaque     = C.TVM_TYPE_OPAQUE_PTR
	typeDType      = C.TVM_TYPE_DTYPE
	typeDevice     = C.TVM_TYPE_DEVICE
	typeDLTensor   = C.TVM_TYPE_DLTENSOR_PTR
	typeRawStr     = C.TVM_TYPE_RAW_STR
	typeBytesPtr   = C.TVM_TYPE_BYTES_PTR
	typeSmallStr   = C.TVM_TYPE_SMALL_STR
	typeSmallBytes = C.TVM_TYPE_SMALL_BYTES
	typeObject     = C.TVM_TYPE_OBJECT
	typeStr        = C.TVM_TYPE_STR
	typeBytes      = C.TVM_TYPE_BYTES
	typeFunction   = C.TVM_TYPE_FUNCTION
	typeTensor     = C.TVM_TYPE_TENSOR
	typeModule     = C.TVM_TYPE_MODULE
	typeArray      = C.TVM_TYPE_ARRAY
	typeShape      = C.TVM_TYPE_SHAPE
)

// Kinds of error that the Go side raises or tells apart.
const (
	kindRuntime     = C.TVM_RUNTIME_ERROR
	kindValue       = C.TVM_VALUE_ERROR
	kindType        = C.TVM_TYPE_ERROR
	kindIndex       = C.TVM_INDEX_ERROR
	kindNotFound    = C.TVM_NOT_FOUND_ERROR
	kindFormat      = C.TVM_FORMAT_ERROR
	kindUnsupported = C.TVM_UNSUPPORTED_ERROR
	kindMemory      = C.TVM_MEMORY_ERROR
	kindOS          = C.TVM_OS_ERROR
	kindBusy        = C.TVM_BUSY_ERROR
	kindCancelled   = C.TVM_CANCELLED_ERROR
)

// What an argument's memory is.
const (
	memoryStr   = C.GOTVM_STR
	memoryBytes = C.GOTVM_BYTES
	memoryData  = C.GOTVM_DATA
)

const (
	alignment     = C.TVM_ALIGNMENT
	maxDims       = C.TVM_MAX_NDIM
	maxMemories   = C.GOTVM_MEMORIES
	tvmVersion    = C.TVM_VERSION
	dlpackVersion = C.DLPACK_VERSION
)

// C's numbers under Go names.
type (
	cInt32  = C.int32_t
	cUint32 = C.uint32_t
	cUint64 = C.uint64_t
)

func uintptrOf(bits uint64) C.uintptr_t {
	return C.uintptr_t(bits)
}

// pointer makes a pointer of what C gave as a number.
func pointer(address C.uintptr_t) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&address))
}

func number(object unsafe.Pointer) C.uintptr_t {
	return C.uintptr_t(uintptr(object))
}

// bytesAt is memory of C; it must be copied before C frees it.
func bytesAt(address, size C.uintptr_t) []byte {
	return unsafe.Slice((*byte)(pointer(address)), int(size))
}

// cString ends text with a NUL. Text that holds one already is an error.
func cString(what, text string) ([]byte, error) {
	if strings.IndexByte(text, 0) >= 0 {
		return nil, newError(kindValue, "%s %s holds a NUL", what, quote(text))
	}
	return append(append(make([]byte, 0, len(text)+1), text...), 0), nil
}

func chars(text []byte) *C.char {
	return (*C.char)(unsafe.Pointer(unsafe.SliceData(text)))
}

// takeError makes a Go error of a failure, nil where there is none, and gives the C error back.
func takeError(f *cFailure, op, subject string) error {
	if f.error == 0 && f.payload == 0 {
		return nil
	}
	e := &Error{Op: join(op, subject)}
	var raised *raisedError
	switch id := uint64(f.payload); {
	case id == 0: // no callback was involved
	case f.payload_taken != 0:
		raised = goErrors.remove(id)
	default:
		raised = goErrors.get(id)
	}
	if raised != nil {
		e.Err = raised.err
	}
	if f.error == 0 {
		e.Code, e.Kind, e.Message = raised.kind.code, raised.kind.name, raised.text
	} else {
		kind := kindOf(bytesAt(f.kind, f.kind_size))
		e.Code, e.Kind, e.Message = kind.code, kind.name, string(bytesAt(f.message, f.message_size))
		C.gotvm_release(f.error)
	}
	e.Message = trimSpeaker(e.Message, e.Op)
	*f = cFailure{}
	return e
}

// takeObject is what a C function gave.
func takeObject(r *cResult, op, subject string) (unsafe.Pointer, error) {
	if err := takeError(&r.failure, op, subject); err != nil {
		return nil, err
	}
	return pointer(C.uintptr_t(r.value)), nil
}

// contextCancel makes a run in an execution context at this time, or the next one, end early; false takes that
// back. Any goroutine may call it.
func contextCancel(context unsafe.Pointer, cancelled bool) {
	C.gotvm_context_cancel(number(context), cBool(cancelled))
}

// The build

func compiler() string { return C.GoString(C.gotvm_compiler()) }

func cjsonVersion() string { return C.GoString(C.gotvm_cjson_version()) }

// deviceKind is a kind of device that is compiled in.
type deviceKind struct {
	name       string
	deviceType int32
	api        *C.struct_tvm_device_api
}

func deviceKinds() []deviceKind {
	var kinds []deviceKind
	for i := C.size_t(0); ; i++ {
		api := C.gotvm_device_kind(i)
		if api == nil {
			return kinds
		}
		kinds = append(kinds, deviceKind{C.GoString(api.name), int32(api._type), api})
	}
}

// deviceCheck is the error of using a device that is not there.
func deviceCheck(d Device) error {
	f := C.gotvm_device_check(d.c())
	return takeError(&f, "", "")
}

func deviceSync(d Device) error {
	f := C.gotvm_device_sync(d.c())
	return takeError(&f, "Sync", "")
}

// count is how many devices of this kind there are.
func (k deviceKind) count() int { return int(C.gotvm_device_count(k.api)) }

func retain(object unsafe.Pointer) {
	C.gotvm_retain(number(object))
}

func release(object unsafe.Pointer) {
	C.gotvm_release(number(object))
}

// retainHandle is for references that handles of the program will hold.
func retainHandle(object unsafe.Pointer) {
	C.gotvm_retain_handle(number(object))
}

// releaseHandle is for references that handles of the program held.
func releaseHandle(object unsafe.Pointer) {
	C.gotvm_release_handle(number(object))
}

func useCount(object unsafe.Pointer) int {
	return int(C.gotvm_use_count(number(object)))
}

// objectCount is how many objects of the runtime are alive, for leak tests.
func objectCount() int64 {
	return int64(C.tvm_object_live_count())
}

// crossEmpty goes to C and back, for benchmarks to compare with.
func crossEmpty() {
	C.gotvm_nothing()
}

// cross runs the call that the frame describes and says whether it succeeded.
func (fr *frame) cross() bool {
	m := &fr.memories
	fr.c.count = C.int32_t(len(fr.args))
	return C.gotvm_call(&fr.c, unsafe.SliceData(fr.args), (*C.char)(m[0]), (*C.char)(m[1]), (*C.char)(m[2]), (*C.char)(m[3]),
		(*C.char)(m[4]), (*C.char)(m[5]), (*C.char)(m[6]), (*C.char)(m[7])) == 0
}

// newText copies text into an object of the runtime.
func newText(text unsafe.Pointer, size int, isBytes bool, out *cArg) error {
	f := C.gotvm_text_new(cBool(isBytes), (*C.char)(text), C.size_t(size), out)
	return takeError(&f, "copy text", "")
}

func cBool(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// raise puts e where C callers find it.
func (e *raisedError) raise() {
	kind, text := unsafe.StringData(e.kind.c), unsafe.StringData(e.text)
	C.gotvm_raise((*C.char)(unsafe.Pointer(kind)), (*C.char)(unsafe.Pointer(text)), C.size_t(len(e.text)),
		C.uint64_t(goErrors.add(e)))
}

// newFunctionObject makes a packed function of closure number id.
func newFunctionObject(id uint64) (unsafe.Pointer, error) {
	r := C.gotvm_closure_new(C.uint64_t(id))
	return takeObject(&r, "", "")
}

// The registry and modules; nil without an error means that there is no such function.

func registryGet(name string) (unsafe.Pointer, error) {
	text, err := cString("function name", name)
	if err != nil {
		return nil, err
	}
	r := C.gotvm_registry_get(chars(text))
	return takeObject(&r, "", "")
}

func registrySet(name string, function unsafe.Pointer) error {
	text, err := cString("function name", name)
	if err != nil {
		return err
	}
	f := C.gotvm_registry_set(chars(text), number(function))
	err = takeError(&f, "", "")
	if errors.Is(err, ErrInvalidArgument) { // this text goes with the caller's
		return newError(kindValue, "a global function has this name already")
	}
	return err
}

func registryRemove(name string) error {
	text, err := cString("function name", name)
	if err != nil {
		return err
	}
	f := C.gotvm_registry_remove(chars(text))
	err = takeError(&f, "", "")
	if errors.Is(err, ErrNotFound) { // this text goes with the caller's
		return noGlobalError()
	}
	return err
}

func registryNames() ([]string, error) {
	var count C.size_t
	r := C.gotvm_registry_list(&count)
	block, err := takeObject(&r, "list functions", "")
	if err != nil {
		return nil, err
	}
	defer C.free(block)
	names := make([]string, int(count))
	for i, name := range unsafe.Slice((**C.char)(block), int(count)) {
		names[i] = C.GoString(name)
	}
	return names, nil
}

func libraryLoad(path, format string) (unsafe.Pointer, error) {
	p, err := cString("path", path)
	if err != nil {
		return nil, err
	}
	f, err := cString("format", format)
	if err != nil {
		return nil, err
	}
	r := C.gotvm_library_load(chars(p), chars(f))
	return takeObject(&r, "", "")
}

func libraryOpenBytes(name string, data []byte) (unsafe.Pointer, error) {
	n, err := cString("name", name)
	if err != nil {
		return nil, err
	}
	r := C.gotvm_library_open_bytes(chars(n), chars(data), C.size_t(len(data)))
	return takeObject(&r, "", "")
}

func moduleGetFunction(module unsafe.Pointer, name string, queryImports bool) (unsafe.Pointer, error) {
	text, err := cString("function name", name)
	if err != nil {
		return nil, err
	}
	r := C.gotvm_module_get_function(number(module), chars(text), cBool(queryImports))
	return takeObject(&r, "", "")
}

// Tensors

func (t dataType) c() C.DLDataType {
	return C.DLDataType{code: C.uint8_t(t.code), bits: C.uint8_t(t.bits), lanes: C.uint16_t(t.lanes)}
}

func (d Device) c() C.DLDevice {
	return C.DLDevice{device_type: C.DLDeviceType(d.DeviceType), device_id: C.int(d.DeviceID)}
}

func dims(shape []int64) *C.int64_t {
	return (*C.int64_t)(unsafe.Pointer(unsafe.SliceData(shape)))
}

// tensorWrap makes a tensor over memory of Go, to be used in calls only, until tensorKeep.
func tensorWrap(data unsafe.Pointer, size int, shape []int64, dtype dataType, device Device) (unsafe.Pointer, error) {
	r := C.gotvm_tensor_wrap((*C.char)(data), C.size_t(size), dims(shape), C.int(len(shape)), dtype.c(), device.c())
	return takeObject(&r, "", "")
}

// tensorIsShared says whether anything but the array that asks holds the tensor or a view of its memory.
func tensorIsShared(tensor unsafe.Pointer) bool {
	return bool(C.gotvm_tensor_is_shared(number(tensor)))
}

// tensorKeep makes a tensor in Go's memory the owner of block number id; false when it owns one.
func tensorKeep(tensor unsafe.Pointer, id uint64) bool {
	return bool(C.gotvm_tensor_keep(number(tensor), C.uint64_t(id)))
}

func tensorEmpty(shape []int64, dtype dataType, device Device) (unsafe.Pointer, error) {
	r := C.gotvm_tensor_empty(dims(shape), C.int(len(shape)), dtype.c(), device.c())
	return takeObject(&r, "", "")
}

// tensorBorrow makes a tensor over memory that a caller in C lends.
func tensorBorrow(dl unsafe.Pointer) (unsafe.Pointer, error) {
	r := C.gotvm_tensor_borrow(number(dl))
	return takeObject(&r, "use a borrowed tensor", "")
}

func tensorDetach(tensor, replacement unsafe.Pointer) error {
	f := C.gotvm_tensor_detach(number(tensor), number(replacement))
	return takeError(&f, "detach a borrowed tensor", "")
}

func tensorCopy(from, to unsafe.Pointer) error {
	f := C.gotvm_tensor_copy(number(from), number(to))
	return takeError(&f, "", "")
}

func tensorRead(tensor, data unsafe.Pointer, size int) error {
	f := C.gotvm_tensor_read(number(tensor), (*C.char)(data), C.size_t(size))
	return takeError(&f, "", "")
}

func tensorWrite(tensor, data unsafe.Pointer, size int) error {
	f := C.gotvm_tensor_write(number(tensor), (*C.char)(data), C.size_t(size))
	return takeError(&f, "", "")
}

func tensorDL(tensor unsafe.Pointer) *cTensor {
	return (*cTensor)(pointer(C.gotvm_tensor_dl(number(tensor))))
}

// dataOf is where a tensor's first element lies.
func dataOf(dl *cTensor) unsafe.Pointer {
	return unsafe.Add(dl.data, int(dl.byte_offset))
}

// describe reads what a tensor is: element type, shape and device.
func describe(dl *cTensor) (dtype dataType, shape []int64, device Device) {
	dtype = dataType{uint8(dl.dtype.code), uint8(dl.dtype.bits), uint16(dl.dtype.lanes)}
	shape = make([]int64, int(dl.ndim))
	if len(shape) > 0 {
		copy(shape, unsafe.Slice((*int64)(unsafe.Pointer(dl.shape)), len(shape)))
	}
	device = Device{int32(dl.device.device_type), int32(dl.device.device_id)}
	return dtype, shape, device
}

// dtypeParse reads the element types that Go has no name for, such as float32x4.
func dtypeParse(text string) (dataType, error) {
	var out C.DLDataType
	b := []byte(text)
	f := C.gotvm_dtype_parse(chars(b), C.size_t(len(b)), &out)
	return dataType{uint8(out.code), uint8(out.bits), uint16(out.lanes)}, takeError(&f, "", "")
}

func dtypePrint(t dataType) string {
	var buffer [C.TVM_DTYPE_TEXT_SIZE]C.char
	C.gotvm_dtype_print(t.c(), &buffer[0])
	return C.GoString(&buffer[0])
}

func devicePrint(d Device) string {
	var buffer [C.TVM_DEVICE_TEXT_SIZE]C.char
	C.gotvm_device_print(d.c(), &buffer[0])
	return C.GoString(&buffer[0])
}
