package gotvm

import (
	"errors"
	"fmt"
	"strings"
)

// Code says what kind of thing went wrong.
type Code int

// The codes of an [Error]. Each but CodeRuntime has a sentinel for errors.Is.
const (
	CodeRuntime         Code = iota // a model or a callback failed
	CodeInvalidArgument             // an argument's value, type, shape or device is wrong
	CodeNotFound                    // there is no such file, function or name
	CodeFormat                      // a file's content is damaged
	CodeUnsupported                 // well-formed, but not for this runtime
	CodeMemory                      // memory ran out
	CodeOS                          // the operating system refused
	CodeBusy                        // in use by another goroutine
	CodeCancelled                   // the run was cancelled
	CodeClosed                      // something is used after its Close
)

// What errors.Is finds in an error of this package, by its code.
var (
	ErrInvalidArgument = errors.New("invalid argument")
	ErrNotFound        = errors.New("not found")
	ErrFormat          = errors.New("damaged data")
	ErrUnsupported     = errors.New("unsupported")
	ErrMemory          = errors.New("out of memory")
	ErrOS              = errors.New("operating system error")
	ErrBusy            = errors.New("busy")
	ErrCancelled       = errors.New("cancelled")
	ErrClosed          = errors.New("already closed")
)

// kindClosed is a kind of the Go side alone.
const kindClosed = "ClosedError"

// errorKind is one of the runtime's kinds of errors.
type errorKind struct {
	name string
	c    string // name and a NUL
	code Code
}

var errorKinds = func() map[string]errorKind {
	kinds := make(map[string]errorKind)
	for name, code := range map[string]Code{
		kindRuntime:     CodeRuntime,
		kindValue:       CodeInvalidArgument,
		kindType:        CodeInvalidArgument,
		kindIndex:       CodeInvalidArgument,
		kindNotFound:    CodeNotFound,
		kindFormat:      CodeFormat,
		kindUnsupported: CodeUnsupported,
		kindMemory:      CodeMemory,
		kindOS:          CodeOS,
		kindBusy:        CodeBusy,
		kindCancelled:   CodeCancelled,
		kindClosed:      CodeClosed,
	} {
		kinds[name] = errorKind{name, name + "\x00", code}
	}
	return kinds
}()

// raisedError is an error that travels inside of a C error.
type raisedError struct {
	err  error
	kind errorKind
	text string
}

// kindOf is CodeRuntime for names that callbacks and models make up.
func kindOf(name []byte) errorKind {
	if kind, ok := errorKinds[string(name)]; ok { // this conversion copies nothing
		return kind
	}
	return errorKind{name: string(name), c: string(name) + "\x00"}
}

func (c Code) sentinel() error {
	switch c {
	case CodeInvalidArgument:
		return ErrInvalidArgument
	case CodeNotFound:
		return ErrNotFound
	case CodeFormat:
		return ErrFormat
	case CodeUnsupported:
		return ErrUnsupported
	case CodeMemory:
		return ErrMemory
	case CodeOS:
		return ErrOS
	case CodeBusy:
		return ErrBusy
	case CodeCancelled:
		return ErrCancelled
	case CodeClosed:
		return ErrClosed
	default:
		return nil
	}
}

// String is a word or two, such as "not found".
func (c Code) String() string {
	if err := c.sentinel(); err != nil {
		return err.Error()
	}
	return "runtime error"
}

// Error is the type of all errors that this package makes, except those that callbacks return and
// [PanicError]: these are found inside, by errors.Is and errors.As.
type Error struct {
	Code    Code
	Kind    string // TVM's name, such as "ValueError"
	Op      string // what was being done, such as "call set_input"
	Message string // what went wrong
	Err     error  // the error of the Go callback that failed; nil when none did
}

func (e *Error) Error() string {
	if e.Op == "" {
		return "gotvm: " + e.Message
	}
	return "gotvm: " + e.Op + ": " + e.Message
}

// Unwrap gives the callback's error.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// Is makes errors.Is find the sentinel that belongs to the code.
func (e *Error) Is(target error) bool {
	return e != nil && target != nil && target == e.Code.sentinel()
}

// PanicError is what becomes of a panic in a callback: C code must not be unwound, so the panic ends
// at the callback and the function that was called fails with this error inside.
type PanicError struct {
	Value any    // what panic was called with
	Stack []byte // the callback's stack at that time
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("panic in callback: %v", e.Value)
}

// Unwrap gives the value of the panic where that was an error.
func (e *PanicError) Unwrap() error {
	if e == nil {
		return nil
	}
	err, _ := e.Value.(error)
	return err
}

func newError(kind, format string, args ...any) *Error {
	return &Error{Code: errorKinds[kind].code, Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// doing says what failed, in an error that has not been told yet; op and subject as "call", "run".
func doing(op, subject string, err error) error {
	if e, ok := err.(*Error); ok && e != nil && e.Op == "" {
		e.Op = join(op, subject)
	}
	return err
}

func join(op, subject string) string {
	if subject == "" {
		return op
	}
	return op + " " + subject
}

func closedError(what string) *Error {
	return newError(kindClosed, "the %s is closed", what)
}

func nilError(what string) *Error {
	return newError(kindValue, "the %s is nil", what)
}

// inner is err's text as part of a longer message.
func inner(err error) string {
	return strings.TrimPrefix(err.Error(), "gotvm: ")
}
