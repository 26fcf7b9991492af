//go:build !noopencl

package csrc

import _ "github.com/gotvm/gotvm/csrc/device/opencl"
