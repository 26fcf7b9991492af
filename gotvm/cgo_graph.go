package gotvm

// The layer between Go and C for models and sessions; see cgo.go.

// #include "shim_graph.h"
// #cgo nocallback gotvm_plan_input_count
// #cgo nocallback gotvm_plan_output_count
// #cgo nocallback gotvm_plan_input
// #cgo nocallback gotvm_plan_output
// #cgo nocallback gotvm_params_has
// #cgo nocallback gotvm_session_cancel
import "C"

import (
	"unsafe"
)

type cSlot = C.struct_gotvm_slot

func newPlan(name string, json []byte) (unsafe.Pointer, error) {
	text, err := cString("name", name)
	if err != nil {
		return nil, err
	}
	r := C.gotvm_plan_new(chars(text), chars(json), C.size_t(len(json)))
	return takeObject(&r, "", "")
}

func newParams(name string, data []byte, device Device) (unsafe.Pointer, error) {
	text, err := cString("name", name)
	if err != nil {
		return nil, err
	}
	r := C.gotvm_params_new(chars(text), chars(data), C.size_t(len(data)), device.c())
	return takeObject(&r, "", "")
}

func newSession(plan, library, params unsafe.Pointer, device Device, threads int) (unsafe.Pointer, error) {
	r := C.gotvm_session_new(number(plan), number(library), number(params), device.c(), C.int(threads))
	return takeObject(&r, "", "")
}

// planInputs lists all inputs of a graph, parameters included, in their order.
func planInputs(plan unsafe.Pointer) []TensorInfo {
	infos := make([]TensorInfo, int(C.gotvm_plan_input_count(number(plan))))
	for i := range infos {
		infos[i] = tensorInfo(C.gotvm_plan_input(number(plan), C.size_t(i)))
	}
	return infos
}

func planOutputs(plan unsafe.Pointer) []TensorInfo {
	infos := make([]TensorInfo, int(C.gotvm_plan_output_count(number(plan))))
	for i := range infos {
		infos[i] = tensorInfo(C.gotvm_plan_output(number(plan), C.size_t(i)))
	}
	return infos
}

func tensorInfo(port C.struct_gotvm_port) TensorInfo {
	dtype := dataType{uint8(port.dtype.code), uint8(port.dtype.bits), uint16(port.dtype.lanes)}
	return TensorInfo{
		Name:  string(bytesAt(port.name, C.uintptr_t(port.name_size))),
		DType: dtype.String(),
		Shape: append([]int64{}, unsafe.Slice((*int64)(pointer(port.shape)), int(port.ndim))...),
		dtype: dtype,
	}
}

func paramsHave(params unsafe.Pointer, name string) bool {
	text := []byte(name)
	return C.gotvm_params_has(number(params), chars(text), C.size_t(len(text))) != 0
}

func sessionRun(session unsafe.Pointer, inputs, outputs []cSlot) error {
	f := C.gotvm_session_run(number(session), unsafe.SliceData(inputs), C.size_t(len(inputs)),
		unsafe.SliceData(outputs), C.size_t(len(outputs)))
	return takeError(&f, "", "")
}

func sessionCancel(session unsafe.Pointer, cancelled bool) {
	C.gotvm_session_cancel(number(session), cBool(cancelled))
}

func sessionBindInput(session unsafe.Pointer, slot cSlot) error {
	f := C.gotvm_session_bind_input(number(session), slot)
	return takeError(&f, "", "")
}

func sessionBindOutput(session unsafe.Pointer, slot cSlot) error {
	f := C.gotvm_session_bind_output(number(session), slot)
	return takeError(&f, "", "")
}

func newSlot(index int, tensor unsafe.Pointer) cSlot {
	return cSlot{index: C.uint64_t(index), tensor: number(tensor)}
}
