package gotvm

import "fmt"

// What tests outside of the package need to see.

// LiveHandles is how many handles are neither closed nor collected, and what C holds of Go's.
type LiveHandles struct {
	Functions, Modules, Arrays, Objects int64
	Closures, Errors, Blocks            int
	InC                                 int64 // objects of the runtime
}

func Live() LiveHandles {
	return LiveHandles{
		Functions: live.functions.Load(), Modules: live.modules.Load(),
		Arrays: live.arrays.Load(), Objects: live.objects.Load(),
		Closures: closures.count(), Errors: goErrors.count(), Blocks: blocks.count(),
		InC: objectCount(),
	}
}

func (h LiveHandles) String() string {
	return fmt.Sprintf("%d functions, %d modules, %d arrays, %d objects; in C: %d closures, %d errors, %d blocks, %d objects",
		h.Functions, h.Modules, h.Arrays, h.Objects, h.Closures, h.Errors, h.Blocks, h.InC)
}

var (
	CrossEmpty          = crossEmpty
	LoadModuleFromBytes = loadModuleFromBytes
)

// ForeignBytes is what handles keep of memory that is not Go's.
func ForeignBytes() int64 { return foreign.bytes.Load() }

// RunOvertakenByClose is what Run gives when Close comes in the middle of its beginning.
func RunOvertakenByClose(s *Session) error {
	if !s.acquire() {
		return closedError("session")
	}
	_ = s.Close()
	return s.lock()
}

// BusyRunOvertakenByClose is the same while another goroutine holds the lock.
func BusyRunOvertakenByClose(s *Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return RunOvertakenByClose(s)
}
