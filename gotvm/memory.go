package gotvm

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// block is memory of a CPU array, in Go's heap.
//
// As long as only arrays of the program refer to it, this is ordinary memory of theirs: C uses it in
// calls, which the array takes part in, and cgo pins it for that time. When C keeps the array's tensor
// beyond a call, the block is pinned, and stands in a table that keeps it alive, until C gives the last
// reference back. (Were that so from the start, an array that the program dropped would cost the
// collector two cycles, and memory would grow far beyond what is in use.)
type block struct {
	data unsafe.Pointer // a multiple of alignment
	pin  runtime.Pinner
	kept atomic.Bool
}

// keep gives the array's memory to its tensor. The array must be acquired.
func (a *Array) keep() {
	b := a.block
	if b == nil || b.kept.Swap(true) {
		return
	}
	b.pin.Pin(b.data)
	id := blocks.add(b)
	if !tensorKeep(a.ptr, id) { // another array of the same tensor has done it
		blocks.remove(id).pin.Unpin()
	}
}

// probeSize is from where on an allocation is tried first: running out of memory ends a Go program.
const probeSize = 64 << 20

// newBlock makes zeroed memory of at least size bytes.
func newBlock(size int) (*block, error) {
	if size > probeSize && !canAllocate(size) {
		return nil, newError(kindMemory, "cannot allocate %d bytes", size)
	}
	// Blocks of a multiple of 128 bytes begin at one in practice; where not, take more.
	rounded := max((size+alignment-1)&^(alignment-1), alignment)
	buffer := make([]byte, rounded)
	if rest := uintptr(unsafe.Pointer(&buffer[0])) % alignment; rest != 0 {
		buffer = make([]byte, rounded+alignment)
	}
	skip := -uintptr(unsafe.Pointer(&buffer[0])) % alignment
	return &block{data: unsafe.Pointer(&buffer[skip])}, nil
}

// canAllocate asks the operating system for as much memory and gives it back at once.
func canAllocate(size int) bool {
	trial, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return false
	}
	return syscall.Munmap(trial) == nil
}
