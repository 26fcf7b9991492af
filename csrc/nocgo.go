//go:build !cgo

package csrc

// The one error that a build without cgo gives: no package above this one is compiled then.
const _ = gotvm_is_written_in_C__install_gcc_and_build_with_CGO_ENABLED_1
