//go:build cgo && !noopencl

package csrc

import _ "github.com/gotvm/gotvm/csrc/device/opencl"
