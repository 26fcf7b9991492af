package gotvm

// The layer between Go and C for models and sessions; see cgo.go.

// #include "shim_graph.h"
// #cgo nocallback gotvm_plan_input_count
// #cgo nocallback gotvm_plan_output_count
// #cgo nocallback gotvm_plan_input
// #cgo nocallback gotvm_plan_output
// #cgo nocallback gotvm_weights_has
// #cgo nocallback gotvm_session_context
import "C"

import (
	"os"
	"runtime"
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

// newWeights reads what a params file holds for plan, but the data: file's, which is not needed afterwards, or
// with file nil data's, which newSession wants again.
func newWeights(plan unsafe.Pointer, name string, file *os.File, data []byte) (unsafe.Pointer, error) {
	text, err := cString("name", name)
	if err != nil {
		return nil, err
	}
	fd, size := -1, int64(len(data))
	if file != nil {
		info, err := file.Stat()
		if err != nil {
			return nil, fileError(err)
		}
		fd, size = int(file.Fd()), info.Size()
	}
	r := C.gotvm_weights_new(number(plan), chars(text), C.int(fd), chars(data), C.size_t(size))
	runtime.KeepAlive(file)
	return takeObject(&r, "", "")
}

// modelPackage is what one file holds: each a reference, nil where there is none.
type modelPackage struct {
	module, plan, library, weights unsafe.Pointer
	inBytes                        bool // the weights are still in the bytes
}

// readPackage opens the file at path or, unless data is nil, data, which path names.
func readPackage(path string, data []byte) (modelPackage, error) {
	text, err := cString("path", path)
	if err != nil {
		return modelPackage{}, err
	}
	p := C.gotvm_package_open(chars(text), chars(data), C.size_t(len(data)))
	return takePackage(&p)
}

// linkedPackage opens what is linked into the program.
func linkedPackage(prefix string) (modelPackage, error) {
	text, err := cString("prefix", prefix)
	if err != nil {
		return modelPackage{}, err
	}
	p := C.gotvm_package_linked(chars(text))
	return takePackage(&p)
}

func takePackage(p *C.struct_gotvm_package) (modelPackage, error) {
	if err := takeError(&p.failure, "", ""); err != nil {
		return modelPackage{}, err
	}
	return modelPackage{pointer(p.module), pointer(p.plan), pointer(p.library), pointer(p.weights), p.in_bytes != 0}, nil
}

func newSession(plan, library, weights unsafe.Pointer, data []byte, device Device, threads int) (unsafe.Pointer, error) {
	r := C.gotvm_session_new(number(plan), number(library), number(weights), chars(data), device.c(), C.int(threads))
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

func weightsHave(weights unsafe.Pointer, name string) bool {
	text := []byte(name)
	return C.gotvm_weights_has(number(weights), chars(text), C.size_t(len(text))) != 0
}

func sessionRun(session unsafe.Pointer, inputs, outputs []cSlot) error {
	f := C.gotvm_session_run(number(session), unsafe.SliceData(inputs), C.size_t(len(inputs)),
		unsafe.SliceData(outputs), C.size_t(len(outputs)))
	return takeError(&f, "", "")
}

// sessionContext is the session's execution context.
func sessionContext(session unsafe.Pointer) unsafe.Pointer {
	return pointer(C.gotvm_session_context(number(session)))
}

func sessionBindInput(session unsafe.Pointer, slot cSlot) error {
	f := C.gotvm_session_bind_input(number(session), slot)
	return takeError(&f, "", "")
}

func sessionBindOutput(session unsafe.Pointer, slot cSlot) error {
	f := C.gotvm_session_bind_output(number(session), slot)
	return takeError(&f, "", "")
}

// sessionIsBound says whether an input is bound.
func sessionIsBound(session unsafe.Pointer, index int) (bool, error) {
	r := C.gotvm_session_is_bound(number(session), C.size_t(index))
	return r.value != 0, takeError(&r.failure, "", "")
}

func newSlot(index int, tensor unsafe.Pointer) cSlot {
	return cSlot{index: C.size_t(index), tensor: number(tensor)}
}
