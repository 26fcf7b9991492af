package gotvm

// The layer between Go and C for profiles; see cgo.go.

// #include "shim_profile.h"
// #cgo nocallback gotvm_profile_free
// #cgo nocallback gotvm_context_profile
// #cgo nocallback gotvm_profile_total
// #cgo nocallback gotvm_profile_first
// #cgo nocallback gotvm_profile_operator
// #cgo nocallback gotvm_profile_tensor
import "C"

import (
	"math"
	"time"
	"unsafe"
)

// contextProfile measures what run runs in an execution context, one run.
func contextProfile(context unsafe.Pointer, run func() error) (*Profile, error) {
	r := C.gotvm_profile_new()
	profile, err := takeObject(&r, "", "")
	if err != nil {
		return nil, err
	}
	defer C.gotvm_profile_free(number(profile))
	C.gotvm_context_profile(number(context), number(profile))
	defer C.gotvm_context_profile(number(context), 0)
	if err := run(); err != nil {
		return nil, err
	}
	p := &Profile{Operators: []OperatorProfile{}, Total: time.Duration(C.gotvm_profile_total(number(profile)))}
	for next := C.gotvm_profile_first(number(profile)); next != 0; {
		operator := C.gotvm_profile_operator(next)
		p.Operators = append(p.Operators, operatorProfile(next, operator))
		next = operator.next
	}
	return p, nil
}

func operatorProfile(operator C.uintptr_t, info C.struct_gotvm_operator) OperatorProfile {
	tensors := make([]TensorInfo, int(info.input_count+info.output_count))
	for i := range tensors {
		tensors[i] = tensorInfo(C.gotvm_profile_tensor(operator, C.size_t(i)))
	}
	inputs := int(info.input_count)
	return OperatorProfile{
		Name:       string(bytesAt(info.name, info.name_size)),
		Function:   string(bytesAt(info.function, info.function_size)),
		Start:      time.Duration(info.start),
		Duration:   time.Duration(info.end - info.start),
		DeviceTime: time.Duration(info.device_time),
		Inputs:     tensors[:inputs:inputs],
		Outputs:    tensors[inputs:],
		Bytes:      int64(min(uint64(info.nbytes), math.MaxInt64)),
	}
}
