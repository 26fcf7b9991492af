package gotvm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Code says what kind of thing went wrong.
type Code int

// The codes of an [Error]. Each has a sentinel for errors.Is.
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
	// ErrRuntime is found when compiled code or a Go callback failed, unless it failed with an error of
	// another code.
	ErrRuntime = errors.New("runtime error")
	// ErrInvalidArgument is found when an argument's value, type, number, shape or device is wrong; nil is.
	ErrInvalidArgument = errors.New("invalid argument")
	// ErrNotFound is found when there is no file, function, input or device of the given name.
	ErrNotFound = errors.New("not found")
	// ErrFormat is found when data is not what it is given as, or damaged.
	ErrFormat = errors.New("damaged data")
	// ErrUnsupported is found when data is well-formed, but needs what this runtime does not have.
	ErrUnsupported = errors.New("unsupported")
	// ErrMemory is found when memory ran out.
	ErrMemory = errors.New("out of memory")
	// ErrOS is found when the operating system refused something. Its own error is often found as well.
	ErrOS = errors.New("operating system error")
	// ErrBusy is found when something that serves one call at a time, such as a session, is in a call.
	ErrBusy = errors.New("busy")
	// ErrCancelled is found when the context of a run was done. The context's cause is found as well.
	ErrCancelled = errors.New("cancelled")
	// ErrClosed is found when something is used after its Close, or was never more than a zero value.
	ErrClosed = errors.New("already closed")
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
	case CodeRuntime:
		return ErrRuntime
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
	return fmt.Sprintf("Code(%d)", int(c))
}

// Error is the type of all errors that this package makes, but for [PanicError]. That one, what callbacks return and
// the cause of a context are found inside, by errors.Is and errors.As.
type Error struct {
	Code    Code
	Kind    string // TVM's name, such as "ValueError"
	Op      string // what was being done, such as `call "set_input"`
	Message string // what went wrong
	Err     error  // what led to it: the error of a callback, the cause of a context, an error of package os; or nil
}

// Error is the text: what was being done, and what went wrong.
func (e *Error) Error() string {
	switch {
	case e == nil:
		return "<nil error>"
	case e.Op == "":
		return "gotvm: " + e.Message
	}
	return "gotvm: " + e.Op + ": " + e.Message
}

// Unwrap gives the error that led to this one.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// hasCode is errors.Is for the code's sentinel, but calls no methods of a callback's own error, which may panic.
func hasCode(err error, code Code) bool {
	e, ok := err.(*Error)
	return ok && e.Code == code
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

// Error is a text with the value of the panic.
func (e *PanicError) Error() string {
	if e == nil {
		return "<nil panic>"
	}
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

// naming is doing for a subject that may be empty.
func naming(op, name string, err error) error {
	if e, ok := err.(*Error); ok && e != nil && e.Op == "" {
		e.Op = op + " " + quote(name)
	}
	return err
}

func join(op, subject string) string {
	if subject == "" {
		return op
	}
	return op + " " + quote(subject)
}

// quote is how names and other texts of unknown length stand in messages; only paths of files stand as they are, as
// in package os.
func quote(text string) string {
	const most = 200
	if len(text) <= most {
		return strconv.Quote(text)
	}
	return strconv.Quote(text[:most]) + "…"
}

// plural is such as "1 argument" or "2 arguments".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func noGlobalError() *Error {
	return newError(kindNotFound, "no global function has this name")
}

func closedError(what string) *Error {
	return newError(kindClosed, "the %s is closed", what)
}

func nilError(what string) *Error {
	return newError(kindValue, "the %s is nil", what)
}

// wrapError makes err, which is found inside, part of a longer message; the kind stays.
func wrapError(err error, format string, args ...any) *Error {
	e := newError(kindOfError(err).name, "%s: %s", fmt.Sprintf(format, args...), inner(err))
	e.Err = err
	return e
}

// trimSpeaker takes "speaker: " from the beginning of a message that will stand after these words.
func trimSpeaker(message, speaker string) string {
	if rest, ok := strings.CutPrefix(message, speaker); ok && speaker != "" {
		if rest, ok = strings.CutPrefix(rest, ": "); ok {
			return rest
		}
	}
	return message
}

// inner is err's text as part of a longer message.
func inner(err error) string {
	return strings.TrimPrefix(err.Error(), "gotvm: ")
}
