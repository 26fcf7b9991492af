// Package csrc compiles the runtime's public C API into Go programs; it has no Go API.
package csrc

// #cgo CFLAGS: -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -O2 -fvisibility=hidden -pthread -I${SRCDIR}
// #cgo CFLAGS: -DTVM_HEADERS=21d20831ce5a2de6
// #cgo noopencl CFLAGS: -DTVM_NO_OPENCL
import "C"

import (
	_ "github.com/gotvm/gotvm/csrc/base"
	_ "github.com/gotvm/gotvm/csrc/contrib"
	_ "github.com/gotvm/gotvm/csrc/device"
	_ "github.com/gotvm/gotvm/csrc/graph"
	_ "github.com/gotvm/gotvm/csrc/include"
	_ "github.com/gotvm/gotvm/csrc/module"
	_ "github.com/gotvm/gotvm/csrc/relax"
)
