// Package base compiles the runtime's foundations into Go programs; it has no Go API.
package base

// #cgo CFLAGS: -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -O2 -fvisibility=hidden -pthread -I${SRCDIR}/..
// #cgo CFLAGS: -DTVM_HEADERS=21d20831ce5a2de6
import "C"

import (
	_ "github.com/gotvm/gotvm/csrc/include"
)
