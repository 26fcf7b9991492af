package gotvm

import (
	"runtime"
	"syscall"
	"unsafe"
)

// block is memory of a CPU array: in Go's heap, where the collector sees it, and pinned for as long
// as C refers to it.
type block struct {
	data unsafe.Pointer // a multiple of alignment
	pin  runtime.Pinner
}

// probeSize is from where on an allocation is tried first: running out of memory ends a Go program.
const probeSize = 64 << 20

// newBlock makes zeroed memory of at least size bytes.
func newBlock(size int) (*block, error) {
	if size > probeSize && !canAllocate(size) {
		return nil, newError(kindMemory, "cannot allocate %d bytes", size)
	}
	// Go's size classes from 128 bytes on are multiples of 128 in practice; where not, take more.
	rounded := max((size+alignment-1)&^(alignment-1), alignment)
	buffer := make([]byte, rounded)
	if rest := uintptr(unsafe.Pointer(&buffer[0])) % alignment; rest != 0 {
		buffer = make([]byte, rounded+alignment)
	}
	skip := -uintptr(unsafe.Pointer(&buffer[0])) % alignment
	b := &block{data: unsafe.Pointer(&buffer[skip])}
	b.pin.Pin(&buffer[skip])
	return b, nil
}

// canAllocate asks the operating system for as much memory and gives it back at once.
func canAllocate(size int) bool {
	trial, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return false
	}
	return syscall.Munmap(trial) == nil
}
