package gotvm

// The layer between Go and C for profiles; see cgo.go.

// #include "shim_profile.h"
// #cgo nocallback gotvm_session_operator_count
// #cgo nocallback gotvm_session_operator
// #cgo nocallback gotvm_session_argument
import "C"

import (
	"math"
	"time"
	"unsafe"
)

type cTime = C.struct_tvm_graph_time

// newTimes has room for all operators of a session.
func newTimes(session unsafe.Pointer) []cTime {
	return make([]cTime, int(C.gotvm_session_operator_count(number(session))))
}

// sessionProfile runs and fills in times.
func sessionProfile(session unsafe.Pointer, times []cTime) (total time.Duration, err error) {
	var nanos C.int64_t
	f := C.gotvm_session_profile(number(session), unsafe.SliceData(times), &nanos)
	return time.Duration(nanos), takeError(&f, "", "")
}

func operatorProfile(session unsafe.Pointer, t cTime) OperatorProfile {
	info := C.gotvm_session_operator(number(session), t.node)
	arguments := make([]TensorInfo, int(info.input_count+info.output_count))
	for i := range arguments {
		arguments[i] = tensorInfo(C.gotvm_session_argument(number(session), t.node, C.size_t(i)))
	}
	inputs := int(info.input_count)
	return OperatorProfile{
		Name:     string(bytesAt(info.name, info.name_size)),
		Function: string(bytesAt(info.function, info.function_size)),
		Start:    time.Duration(t.start),
		Duration: time.Duration(t.end - t.start),
		Inputs:   arguments[:inputs:inputs],
		Outputs:  arguments[inputs:],
		Bytes:    int64(min(uint64(info.nbytes), math.MaxInt64)),
	}
}
