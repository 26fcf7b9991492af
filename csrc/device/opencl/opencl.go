//go:build !noopencl

// Package opencl compiles the runtime's OpenCL device into Go programs, unless they are built with the tag
// noopencl; it has no Go API. It needs OpenCL's headers to compile (Debian: opencl-c-headers), and looks for
// libOpenCL.so.1 when it is used.
package opencl

// #cgo CFLAGS: -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -O2 -fvisibility=hidden -pthread -I${SRCDIR}/../..
// #cgo CFLAGS: -DTVM_HEADERS=21d20831ce5a2de6
// #cgo LDFLAGS: -ldl
import "C"

import (
	_ "github.com/gotvm/gotvm/csrc/base"
	_ "github.com/gotvm/gotvm/csrc/include"
)
