//go:build linux && !cgo

package csrc

// The one error that a build without cgo gives: no package above this one is compiled then. A build for another processor
// needs its C compiler, as in CC=aarch64-linux-gnu-gcc CGO_ENABLED=1 GOARCH=arm64 go build.
const _ = gotvm_is_written_in_C__install_gcc_and_set_CGO_ENABLED_1__and_CC_for_another_processor
