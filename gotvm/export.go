package gotvm

// Functions that C calls.

// #include "shim.h"
import "C"

import "unsafe"

//export gotvmCall
func gotvmCall(id C.uint64_t, args *C.struct_gotvm_value, count C.int32_t, result *C.struct_gotvm_arg) C.int {
	if callClosure(uint64(id), unsafe.Slice(args, int(count)), result) {
		return 0
	}
	return -1
}

//export gotvmReleaseClosure
func gotvmReleaseClosure(id C.uint64_t) {
	closures.remove(uint64(id))
}

//export gotvmReleaseError
func gotvmReleaseError(id C.uint64_t) {
	goErrors.remove(uint64(id))
}

//export gotvmReleaseBlock
func gotvmReleaseBlock(id C.uint64_t) {
	blocks.remove(uint64(id)).pin.Unpin()
}
