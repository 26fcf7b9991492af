package gotvm

// The layer between Go and C for Relax executables; see cgo.go.

// #include "shim_relax.h"
// #cgo nocallback gotvm_relax_executable
// #cgo nocallback gotvm_relax_function_count
// #cgo nocallback gotvm_relax_function_name
// #cgo nocallback gotvm_relax_param_count
// #cgo nocallback gotvm_relax_param
// #cgo nocallback gotvm_relax_result_count
// #cgo nocallback gotvm_relax_result
// #cgo nocallback gotvm_relax_session_context
// #cgo nocallback gotvm_params_find
// #cgo nocallback gotvm_shape
// #cgo nocallback gotvm_array_size
// #cgo nocallback gotvm_array_item
import "C"

import "unsafe"

// executableOf is the executable in a module, whose reference it shares; nil when there is none.
func executableOf(module unsafe.Pointer) unsafe.Pointer {
	return pointer(C.gotvm_relax_executable(number(module)))
}

func executableFunctions(executable unsafe.Pointer) []FunctionInfo {
	functions := make([]FunctionInfo, int(C.gotvm_relax_function_count(number(executable))))
	for i := range functions {
		index := C.size_t(i)
		name := C.gotvm_relax_function_name(number(executable), index)
		f := FunctionInfo{Name: string(bytesAt(name.name, name.name_size))}
		f.Params = make([]TensorInfo, int(C.gotvm_relax_param_count(number(executable), index)))
		for k := range f.Params {
			f.Params[k] = relaxInfo(C.gotvm_relax_param(number(executable), index, C.size_t(k)))
		}
		for k := range C.gotvm_relax_result_count(number(executable), index) {
			f.Results = append(f.Results, relaxInfo(C.gotvm_relax_result(number(executable), index, k)))
		}
		functions[i] = f
	}
	return functions
}

// relaxInfo reads a parameter or result that may be unknown.
func relaxInfo(port C.struct_gotvm_port) TensorInfo {
	if port.ndim == 0 || port.shape != 0 {
		return tensorInfo(port)
	}
	info := TensorInfo{Name: string(bytesAt(port.name, port.name_size))}
	if port.dtype.bits != 0 {
		info.dtype = dataType{uint8(port.dtype.code), uint8(port.dtype.bits), uint16(port.dtype.lanes)}
		info.DType = info.dtype.String()
	}
	for range port.ndim { // of which only the number is known
		info.Shape = append(info.Shape, -1)
	}
	return info
}

func newRelaxSession(executable unsafe.Pointer, device Device, threads int) (unsafe.Pointer, error) {
	r := C.gotvm_relax_session_new(number(executable), device.c(), C.int(threads))
	return takeObject(&r, "", "")
}

func relaxFunction(session unsafe.Pointer, index int) (unsafe.Pointer, error) {
	r := C.gotvm_relax_function_new(number(session), C.size_t(index))
	return takeObject(&r, "", "")
}

// relaxContext is the session's execution context.
func relaxContext(session unsafe.Pointer) unsafe.Pointer {
	return pointer(C.gotvm_relax_session_context(number(session)))
}

func relaxCopyingFunction(session unsafe.Pointer, index int) (unsafe.Pointer, error) {
	r := C.gotvm_relax_copying_function_new(number(session), C.size_t(index))
	return takeObject(&r, "", "")
}

func weightsPlace(weights unsafe.Pointer, data []byte, device Device) (unsafe.Pointer, error) {
	r := C.gotvm_weights_place(number(weights), chars(data), device.c())
	return takeObject(&r, "", "")
}

func paramsFind(params unsafe.Pointer, name string) unsafe.Pointer {
	text := []byte(name)
	return pointer(C.gotvm_params_find(number(params), chars(text), C.size_t(len(text))))
}

// shapeDims reads a shape of the runtime.
func shapeDims(shape unsafe.Pointer) []int64 {
	port := C.gotvm_shape(number(shape))
	return append([]int64{}, unsafe.Slice((*int64)(pointer(port.shape)), int(port.ndim))...)
}

// arrayItems reads the items of an array of the runtime.
func arrayItems(array unsafe.Pointer) []*Value {
	items := make([]*Value, int(C.gotvm_array_size(number(array))))
	for i := range items {
		c := C.gotvm_array_item(number(array), C.size_t(i))
		items[i] = new(Value)
		items[i].read(&c)
	}
	return items
}
