// Package base compiles the runtime's foundations into Go programs; it has no Go API.
package base

// #cgo CFLAGS: -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -O2 -fvisibility=hidden -pthread -I${SRCDIR}/..
// #cgo CFLAGS: -DTVM_HEADERS=1d331da0034de3b0
import "C"

import (
	_ "github.com/gotvm/gotvm/csrc/include"
)
