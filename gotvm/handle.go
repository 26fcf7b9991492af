package gotvm

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

// object is a reference to an object of the runtime, embedded in the types that users hold. Calls
// take part in it between acquire and leave. After Close no further call gets in, and the last one
// out gives the reference back, so that Close never pulls an object from under a call.
type object struct {
	ptr     unsafe.Pointer
	state   atomic.Int32 // 2 for each call inside, 1 when closed
	live    *atomic.Int64
	bytes   int64 // of memory that is not Go's, which the object keeps
	cleanup runtime.Cleanup
}

const (
	stateClosed = 1
	stateCall   = 2
)

// Handles alive, by type; for leak tests.
var live struct{ functions, modules, arrays, objects atomic.Int64 }

// foreign is the memory that handles keep and Go's collector does not see. Where it is large, and twice what it was at
// the last collection, unreachable handles may be what keeps it.
var foreign struct {
	bytes, limit atomic.Int64 // limit: when to collect; 0 stands for leastLimit
}

const leastLimit = 64 << 20

// addForeign counts memory that a handle keeps from now on, and collects garbage when it is time to.
func addForeign(bytes int64) {
	now := foreign.bytes.Add(bytes)
	if limit := foreign.limit.Load(); now > max(limit, leastLimit) && foreign.limit.CompareAndSwap(limit, 2*now) {
		runtime.GC()
	}
}

// reference is what is left to give back of a handle.
type reference struct {
	ptr   unsafe.Pointer
	live  *atomic.Int64
	bytes int64
}

func (r reference) release() {
	releaseHandle(r.ptr)
	r.live.Add(-1)
	if r.bytes > 0 {
		foreign.bytes.Add(-r.bytes)
	}
}

// collect gives back what became unreachable without Close. Only that lowers the limit, as Go's own heap may fill what
// it once had: a program that closes what it uses, again and again, shall not cause a collection each time.
func (r reference) collect() {
	r.release()
	if r.bytes == 0 {
		return
	}
	now := foreign.bytes.Load()
	if limit := foreign.limit.Load(); limit > max(2*now, leastLimit) {
		foreign.limit.CompareAndSwap(limit, 2*now)
	}
}

// initObject makes handle, which embeds o, the owner of a reference to ptr. o.bytes is set.
func initObject[T any](handle *T, o *object, ptr unsafe.Pointer, live *atomic.Int64) {
	live.Add(1)
	o.ptr, o.live = ptr, live
	o.cleanup = runtime.AddCleanup(handle, reference.collect, reference{ptr, live, o.bytes})
	if o.bytes > 0 {
		addForeign(o.bytes)
	}
}

// acquire keeps the object from being given back until leave; false when it is closed, or was never
// more than the zero value of its type.
func (o *object) acquire() bool {
	for o.ptr != nil {
		state := o.state.Load()
		if state&stateClosed != 0 {
			return false
		}
		if o.state.CompareAndSwap(state, state+stateCall) {
			return true
		}
	}
	return false
}

// leave is true when it has given the object back: it was closed, and this was the last use.
func (o *object) leave() bool {
	last := o.state.Add(-stateCall) == stateClosed
	if last {
		o.giveBack()
	}
	return last
}

// close is true when it has given the object back: it was not in use.
func (o *object) close() bool {
	for o.ptr != nil {
		state := o.state.Load()
		if state&stateClosed != 0 {
			return false
		}
		if o.state.CompareAndSwap(state, state|stateClosed) {
			if state == 0 {
				o.giveBack()
			}
			return state == 0
		}
	}
	return false
}

func (o *object) giveBack() {
	o.cleanup.Stop()
	reference{o.ptr, o.live, o.bytes}.release()
	runtime.KeepAlive(o) // until the cleanup is stopped
}

const chunkSize = 256

// table gives numbers to Go values that C refers to. Looking one up takes no lock, since each call of
// a closure does.
type table[T any] struct {
	mu     sync.Mutex
	free   []uint64
	used   uint64
	chunks atomic.Pointer[[]*[chunkSize]atomic.Pointer[T]]
}

var (
	closures table[closure]
	goErrors table[raisedError]
	blocks   table[block]
)

// add stores value under a number above 0.
func (t *table[T]) add(value *T) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var id uint64
	if n := len(t.free); n > 0 {
		id = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		t.used++
		id = t.used
		t.grow(id)
	}
	t.slot(id).Store(value)
	return id
}

// grow makes room for id.
func (t *table[T]) grow(id uint64) {
	var chunks []*[chunkSize]atomic.Pointer[T]
	if old := t.chunks.Load(); old != nil {
		chunks = *old
	}
	if id/chunkSize < uint64(len(chunks)) {
		return
	}
	// A copy, because readers may hold the old slice.
	chunks = append(chunks[:len(chunks):len(chunks)], new([chunkSize]atomic.Pointer[T]))
	t.chunks.Store(&chunks)
}

func (t *table[T]) slot(id uint64) *atomic.Pointer[T] {
	return &(*t.chunks.Load())[id/chunkSize][id%chunkSize]
}

// get is the value under an id that add gave and remove has not taken.
func (t *table[T]) get(id uint64) *T {
	return t.slot(id).Load()
}

func (t *table[T]) remove(id uint64) *T {
	value := t.slot(id).Swap(nil)
	t.mu.Lock()
	t.free = append(t.free, id)
	t.mu.Unlock()
	return value
}

// count is how many values C refers to.
func (t *table[T]) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(t.used) - len(t.free)
}
