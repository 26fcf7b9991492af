package gotvm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"unsafe"
)

// Inputs are arrays for the inputs of a model, by name.
type Inputs map[string]*Array

// SessionOption changes how a session is made.
type SessionOption func(*sessionOptions)

type sessionOptions struct {
	device  Device
	threads int
}

// WithDevice makes the session run on device instead of CPU(0).
func WithDevice(device Device) SessionOption {
	return func(o *sessionOptions) { o.device = device }
}

// WithThreads makes each operator of the session use at most n threads; 0, as without the option, means the
// size of the pool of threads: TVM_NUM_THREADS, else OMP_NUM_THREADS, else the number of physical cores.
func WithThreads(n int) SessionOption {
	return func(o *sessionOptions) { o.threads = n }
}

// Session runs a model: it owns the memory of one run at a time. Goroutines that run a model at the same time
// make a session each; the weights are shared.
type Session struct {
	object
	model *Model // its tables only: it may be closed

	mu      sync.Mutex // held by a run
	inputs  []cSlot    // of the next run; kept to save allocations
	outputs []cSlot
	pin     runtime.Pinner // of arrays in Go's memory, during a run
}

// NewSession makes a session. The model may be closed before the session is.
func (m *Model) NewSession(options ...SessionOption) (*Session, error) {
	s, err := m.newSession(options)
	return s, doing("NewSession", "", err)
}

func (m *Model) newSession(options []SessionOption) (*Session, error) {
	if m == nil || m.lib == nil {
		return nil, nilError("model")
	}
	o := sessionOptions{device: CPU(0)}
	for i, option := range options {
		if option == nil {
			return nil, newError(kindValue, "option %d is nil", i)
		}
		option(&o)
	}
	if o.threads < 0 || o.threads > math.MaxInt32 {
		return nil, newError(kindValue, "WithThreads: expected 0 to %d, got %d", math.MaxInt32, o.threads)
	}
	if !m.lib.acquire() {
		return nil, closedError("model")
	}
	defer m.lib.leave()
	if !m.plan.acquire() {
		return nil, closedError("model")
	}
	defer m.plan.leave()
	var params unsafe.Pointer
	if m.params != nil {
		if !m.params.acquire() {
			return nil, closedError("model")
		}
		defer m.params.leave()
		params = m.params.ptr
	}
	ptr, err := newSession(m.plan.ptr, m.lib.ptr, params, o.device, o.threads)
	if err != nil {
		return nil, err
	}
	s := &Session{model: m}
	initObject(s, &s.object, ptr, &live.objects)
	return s, nil
}

// Run sets inputs, runs the model once and returns its outputs: new arrays, the caller's own. An input that is
// not among inputs keeps its last value; one that never had any is an error. Before anything is copied all
// inputs are checked, so that after an error about one the others hold what they held. Arrays on other devices
// are copied over.
//
// A run ends early, with an error that wraps context.Cause(ctx), when ctx is done; the session can run again.
// A second run at the same time on one session is an error, [ErrBusy].
func (s *Session) Run(ctx context.Context, inputs Inputs) ([]*Array, error) {
	outputs, err := s.run(ctx, inputs)
	return outputs, doing("Run", "", err)
}

func (s *Session) run(ctx context.Context, inputs Inputs) (outputs []*Array, err error) {
	if s == nil || s.model == nil {
		return nil, nilError("session")
	}
	if ctx == nil {
		return nil, nilError("context")
	}
	if !s.acquire() {
		return nil, closedError("session")
	}
	defer s.leave()
	if !s.mu.TryLock() {
		return nil, busyError()
	}
	defer s.mu.Unlock()
	defer s.pin.Unpin()

	s.inputs, s.outputs = s.inputs[:0], s.outputs[:0]
	for name, x := range inputs {
		index, err := s.model.checkInput(name, x)
		if err != nil {
			return nil, err
		}
		if !x.acquire() {
			return nil, closedError(fmt.Sprintf("array for input %q", name))
		}
		defer x.leave()
		s.inputs = append(s.inputs, s.slot(index, x))
	}
	defer func() {
		if err != nil {
			for _, output := range outputs {
				_ = output.Close()
			}
			outputs = nil
		}
	}()
	for i, info := range s.model.outputs {
		output, err := newArray(info.Shape, info.dtype, CPU(0))
		if err != nil {
			return outputs, err
		}
		outputs = append(outputs, output)
		s.outputs = append(s.outputs, s.slot(i, output))
	}
	return outputs, s.runUntil(ctx)
}

// slot lets C use x until the end of the run.
func (s *Session) slot(index int, x *Array) cSlot {
	if x.block != nil {
		s.pin.Pin(x.data)
	}
	return newSlot(index, x.ptr)
}

// checkInput finds the input called name and compares it with an array for it.
func (m *Model) checkInput(name string, x *Array) (index int, err error) {
	port, ok := m.ports[name]
	switch {
	case !ok:
		return 0, newError(kindNotFound, "there is no input %q: the model has %s", name, m.inputNames())
	case x == nil:
		return 0, newError(kindValue, "input %q: the array is nil", name)
	case x.dtype != port.info.dtype:
		return 0, newError(kindType, "input %q: expected %s, got %s", name, port.info.dtype, x.dtype)
	case !slices.Equal(x.shape, port.info.Shape):
		return 0, newError(kindValue, "input %q: expected shape %s, got %s", name, printShape(port.info.Shape), printShape(x.shape))
	}
	return port.index, nil
}

// runUntil runs with the slots that are filled in, until ctx is done.
func (s *Session) runUntil(ctx context.Context) error {
	if ctx.Done() == nil {
		return sessionRun(s.ptr, s.inputs, s.outputs)
	}
	if ctx.Err() != nil {
		return cancelledError(ctx)
	}
	cancelled := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		sessionCancel(s.ptr, true)
		close(cancelled)
	})
	err := sessionRun(s.ptr, s.inputs, s.outputs)
	if !stop() { // the flag is set, or about to be: the next run must not see it
		<-cancelled
		sessionCancel(s.ptr, false)
	}
	if errors.Is(err, ErrCancelled) && ctx.Err() != nil {
		return cancelledError(ctx)
	}
	return err
}

func cancelledError(ctx context.Context) *Error {
	cause := context.Cause(ctx)
	e := newError(kindCancelled, "the run was cancelled: %v", cause)
	e.Err = cause
	return e
}

// BindInput makes the session read input name from x's own memory, without a copy, in each run until the input
// is bound again or given to Run; nil ends the binding. x must be on the session's device and of the input's
// element type and shape. The session keeps x's memory, also when x is closed.
func (s *Session) BindInput(name string, x *Array) error {
	err := s.bindInput(name, x)
	return doing("BindInput", "", err)
}

func (s *Session) bindInput(name string, x *Array) error {
	if s == nil || s.model == nil {
		return nilError("session")
	}
	port, ok := s.model.ports[name]
	if !ok {
		return newError(kindNotFound, "there is no input %q: the model has %s", name, s.model.inputNames())
	}
	if x != nil {
		if _, err := s.model.checkInput(name, x); err != nil {
			return err
		}
	}
	return s.bind(port.index, x, sessionBindInput)
}

// BindOutput makes the session write output index to y's own memory, without a copy, in each run until it is
// bound again; nil ends the binding. y must be on the session's device and of the output's element type and
// shape. The session keeps y's memory, also when y is closed. Arrays that are bound must not share memory.
func (s *Session) BindOutput(index int, y *Array) error {
	if s == nil || s.model == nil {
		return doing("BindOutput", "", nilError("session"))
	}
	if n := len(s.model.outputs); index < 0 || index >= n {
		return doing("BindOutput", "", newError(kindIndex, "there is no output %d: the model has %d", index, n))
	}
	return doing("BindOutput", "", s.bind(index, y, sessionBindOutput))
}

func (s *Session) bind(index int, x *Array, set func(session unsafe.Pointer, slot cSlot) error) error {
	if !s.acquire() {
		return closedError("session")
	}
	defer s.leave()
	if !s.mu.TryLock() {
		return busyError()
	}
	defer s.mu.Unlock()
	if x == nil {
		return set(s.ptr, newSlot(index, nil))
	}
	if err := x.enter(); err != nil {
		return err
	}
	defer x.leave()
	x.keep() // C holds a reference from here on
	return set(s.ptr, newSlot(index, x.ptr))
}

func busyError() *Error {
	return newError(kindBusy, "the session is in use: make a session for each goroutine")
}

// Close gives the session back, once no run uses it. Closing again does nothing.
func (s *Session) Close() error {
	if s == nil || s.model == nil {
		return nilError("session")
	}
	s.close()
	return nil
}
