// Package relax compiles the Relax virtual machine into Go programs; it has no Go API.
package relax

// #cgo CFLAGS: -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -O2 -fvisibility=hidden -pthread -I${SRCDIR}/..
// #cgo CFLAGS: -DTVM_HEADERS=21d20831ce5a2de6
import "C"

import (
	_ "github.com/gotvm/gotvm/csrc/base"
	_ "github.com/gotvm/gotvm/csrc/device"
	_ "github.com/gotvm/gotvm/csrc/include"
	_ "github.com/gotvm/gotvm/csrc/module"
)
