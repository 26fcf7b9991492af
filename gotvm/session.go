package gotvm

import (
	"context"
	"math"
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

// WithDevice makes the session run on device instead of CPU(0). The model must be compiled for it; operators that are
// compiled for the CPU run there.
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
	context unsafe.Pointer // the execution context, which C's session owns
	program program

	mu sync.Mutex // held by a run
}

// program is what a session runs: a graph or a Relax executable. One goroutine at a time is in it.
type program interface {
	// context is the execution context of C's session.
	context(session unsafe.Pointer) unsafe.Pointer
	run(ctx context.Context, s *Session, inputs Inputs) ([]*Array, error)
	call(ctx context.Context, s *Session, function string, args []any) (*Value, error)
	bindInput(s *Session, name string, x *Array) error
	bindOutput(s *Session, index int, y *Array) error
	// discard closes outputs of run, but for those that are bound.
	discard(outputs []*Array)
	close()
}

// NewSession makes a session. The model may be closed before the session is.
func (m *Model) NewSession(options ...SessionOption) (*Session, error) {
	s, err := m.newSession(options)
	return s, doing("NewSession", "", err)
}

func (m *Model) newSession(options []SessionOption) (*Session, error) {
	switch {
	case m == nil:
		return nil, nilError("model")
	case m.lib == nil:
		return nil, closedError("model")
	}
	o := sessionOptions{device: CPU(0)}
	for i, option := range options {
		if option == nil {
			return nil, newError(kindValue, "option %d is nil", i)
		}
		option(&o)
	}
	if err := deviceCheck(o.device); err != nil {
		return nil, wrapError(err, "WithDevice")
	}
	if o.threads < 0 || o.threads > math.MaxInt32 {
		return nil, newError(kindValue, "WithThreads: expected 0 to %d, got %d", math.MaxInt32, o.threads)
	}
	if !m.lib.acquire() {
		return nil, closedError("model")
	}
	defer m.lib.leave()
	ptr, program, err := m.start(o)
	if err != nil {
		return nil, err
	}
	s := &Session{context: program.context(ptr), program: program}
	initObject(s, &s.object, ptr, &live.objects)
	return s, nil
}

// start makes what a session consists of.
func (m *Model) start(o sessionOptions) (unsafe.Pointer, program, error) {
	var weights unsafe.Pointer
	var data []byte
	if m.weights != nil {
		if blob := m.blob.Load(); blob != nil { // before acquire: Close drops it after closing the weights
			data = *blob
		}
		if !m.weights.acquire() {
			return nil, nil, closedError("model")
		}
		defer m.weights.leave()
		weights = m.weights.ptr
	}
	if m.executable != nil {
		return startExecutable(m, weights, data, o)
	}
	return startGraph(m, weights, data, o)
}

// enter begins a use of the session, which leave ends.
func (s *Session) enter() error {
	if s == nil {
		return nilError("session")
	}
	if !s.acquire() {
		return closedError("session")
	}
	return s.lock()
}

// lock is the second half of enter. A Close between the halves ends what has not begun.
func (s *Session) lock() error {
	locked := s.mu.TryLock()
	closed := s.state.Load()&stateClosed != 0
	if locked && !closed {
		return nil
	}
	if locked {
		s.mu.Unlock()
	}
	s.release()
	if closed {
		return closedError("session")
	}
	return busyError()
}

func (s *Session) leave() {
	s.mu.Unlock()
	s.release()
}

// release ends a use of the session, locked or not. The last one of a closed session gives back what that holds.
func (s *Session) release() {
	if s.object.leave() {
		s.program.close()
	}
}

// Run sets inputs, runs the model once and returns its outputs: new arrays, the caller's own, but for outputs that
// are bound, where it is the bound array. An input that is not among inputs keeps its last value; one that never
// had any is an error. Before anything is copied all inputs are checked, so that after an error about one the
// others hold what they held. Arrays on other devices are copied over.
//
// Of a Relax executable, Run calls the function main; nested tuples in its result are flattened, in order.
//
// A run ends early, with an error that wraps context.Cause(ctx), when ctx is done; the session can run again.
// A second run at the same time on one session is an error, [ErrBusy].
func (s *Session) Run(ctx context.Context, inputs Inputs) ([]*Array, error) {
	outputs, err := s.run(ctx, inputs)
	return outputs, doing("Run", "", err)
}

func (s *Session) run(ctx context.Context, inputs Inputs) ([]*Array, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if ctx == nil {
		return nil, nilError("context")
	}
	return s.program.run(ctx, s, inputs)
}

// Call calls a function of a Relax executable, such as one of several entry points. Arguments are those of
// [Function.Invoke]; beside them, a []int64 stands for a shape and a []any for a tuple. The result is a tensor, a
// number, a shape or a tuple of such: [Value.Array], [Value.Shape], [Value.Arrays], [Value.Items]. Its arrays may share memory
// with arguments and with constants of the model: do not write to them. As with Run, ctx can end the call.
func (s *Session) Call(ctx context.Context, function string, args ...any) (*Value, error) {
	v, err := s.call(ctx, function, args)
	return v, doing("Call", "", err)
}

func (s *Session) call(ctx context.Context, function string, args []any) (*Value, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if ctx == nil {
		return nil, nilError("context")
	}
	return s.program.call(ctx, s, function, args)
}

// runUntil calls run, which runs the session, and cancels that when ctx is done.
func (s *Session) runUntil(ctx context.Context, run func() error) error {
	if ctx.Done() == nil {
		return run()
	}
	if ctx.Err() != nil {
		return cancelledError(ctx)
	}
	cancelled := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		contextCancel(s.context, true)
		close(cancelled)
	})
	err := run()
	if !stop() { // the flag is set, or about to be: the next run must not see it
		<-cancelled
		contextCancel(s.context, false)
	}
	if hasCode(err, CodeCancelled) && ctx.Err() != nil {
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

func busyError() *Error {
	return newError(kindBusy, "the session is in use: make a session for each goroutine")
}

// BindInput makes the session read input name from x's own memory, without a copy, in each run until the input
// is bound again or given to Run; nil ends the binding. x must be on the session's device and of the input's
// element type and shape. The session keeps x's memory, also when x is closed. On a CPU, a graph wants memory that
// begins at a multiple of 64 bytes, as that of arrays made by Go does, and that is not lent to a callback.
func (s *Session) BindInput(name string, x *Array) error {
	err := s.enter()
	if err == nil {
		err = s.program.bindInput(s, name, x)
		s.leave()
	}
	return doing("BindInput", "", err)
}

// BindOutput makes the session write output index to y's own memory in each run until it is bound again; nil ends
// the binding. A graph's operators work in that memory, without a copy; what a Relax executable makes is copied to
// it. y must be on the session's device and of the output's element type and shape, in memory as [Session.BindInput]
// wants it. The session keeps y's memory, also when y is closed. It must not share memory with another array that is
// bound, unless that one is an input of a Relax executable which is not part of its result: a run would fail with
// [ErrInvalidArgument]. It also does where [Model.Outputs] does not tell what an output is, and y is not like it.
func (s *Session) BindOutput(index int, y *Array) error {
	err := s.enter()
	if err == nil {
		err = s.program.bindOutput(s, index, y)
		s.leave()
	}
	return doing("BindOutput", "", err)
}

// Close gives the session back, once no run uses it. Closing again does nothing.
func (s *Session) Close() error {
	if s == nil {
		return doing("Close", "", nilError("session"))
	}
	if s.close() {
		s.program.close()
	}
	return nil
}
