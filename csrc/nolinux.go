//go:build !linux && !cgo

package csrc

// The one error that a build for another system gives, unless cgo is on: then it is the C compiler's.
const _ = gotvm_runs_on_Linux_only
