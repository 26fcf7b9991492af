package gotvm

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"runtime/debug"
	"unsafe"
)

// Callback is a Go function in the form of a packed function. What it returns is converted as the
// arguments of [Function.Invoke] are.
//
// The runtime may call it from any thread, from several at once when compiled code runs in parallel,
// and again before it has returned. Its arguments may be kept, but see [Value.Array]. An error becomes
// the error of the call, a panic a [PanicError]. It must not end its goroutine (runtime.Goexit, or
// FailNow of a test).
type Callback = func(args ...*Value) (any, error)

// closure is a callback that C refers to by number.
type closure struct{ fn Callback }

// newClosure makes a packed function of fn; the closure is given back with its last reference.
func newClosure(fn Callback) (unsafe.Pointer, error) {
	id := closures.add(&closure{fn})
	ptr, err := newFunctionObject(id)
	if err != nil {
		closures.remove(id)
	}
	return ptr, err
}

// ConvertFunction makes a packed function of a Go closure, its only argument, of type [Callback].
func ConvertFunction(args ...any) (*Function, error) {
	f, err := convert(args)
	return f, doing("convert function", "", err)
}

func convert(args []any) (*Function, error) {
	if len(args) == 0 {
		return nil, newError(kindValue, "expected a function, got no argument")
	}
	fn, err := callbackOf(args[0])
	if err != nil {
		return nil, err
	}
	ptr, err := newClosure(fn)
	if err != nil {
		return nil, err
	}
	return newFunction(ptr, nameOf(fn)), nil
}

// callbackOf accepts Callback and types defined as such a function.
func callbackOf(arg any) (Callback, error) {
	fn, ok := arg.(Callback)
	if !ok {
		v := reflect.ValueOf(arg)
		if !v.IsValid() || !v.CanConvert(callbackType) {
			return nil, notCallback(arg)
		}
		fn = v.Convert(callbackType).Interface().(Callback)
	}
	if fn == nil {
		return nil, nilError("closure")
	}
	return fn, nil
}

func notCallback(arg any) *Error {
	e := newError(kindType, "expected a func(...*gotvm.Value) (any, error), got %T", arg)
	if reflect.ValueOf(arg).Kind() == reflect.Func {
		e.Message += "; Register takes functions of other types"
	}
	return e
}

// nameOf is the function's name as Go has it, such as "main.sampleCb".
func nameOf(fn Callback) string {
	return runtime.FuncForPC(reflect.ValueOf(fn).Pointer()).Name()
}

// RegisterFunction makes a global function of a [Callback] or *Function, the first argument. The second
// is its name; without one it is the closure's name in Go, such as "main.sampleCb". A name in use is an
// error: [RemoveFunction] frees it.
func RegisterFunction(args ...any) error {
	name, err := register(args)
	return doing("register", name, err)
}

func register(args []any) (name string, err error) {
	if len(args) > 1 {
		var ok bool
		if name, ok = args[1].(string); !ok {
			return "", newError(kindType, "argument 1, the name: expected a string, got %T", args[1])
		}
	}
	if len(args) == 0 {
		return "", newError(kindValue, "expected a function and perhaps its name, got no argument")
	}
	f, ok := args[0].(*Function)
	if !ok {
		if f, err = convert(args); err != nil {
			return name, err
		}
		defer func() { _ = f.Close() }() // the registry has a reference of its own
	}
	if f == nil {
		return name, nilError("function")
	}
	if len(args) == 1 {
		name = f.name
	}
	if name == "" {
		return name, newError(kindValue, "the name is empty")
	}
	if !f.acquire() {
		return name, closedError("function")
	}
	defer f.leave()
	return name, registrySet(name, f.ptr)
}

// makeArguments makes n values and pointers to them, the usual few in one allocation.
func makeArguments(n int) ([]Value, []*Value) {
	switch {
	case n <= 2:
		a := new(struct {
			pointers [2]*Value
			values   [2]Value
		})
		return a.values[:n], a.pointers[:n]
	case n <= 6:
		a := new(struct {
			pointers [6]*Value
			values   [6]Value
		})
		return a.values[:n], a.pointers[:n]
	default:
		return make([]Value, n), make([]*Value, n)
	}
}

// callClosure calls closure number id for C. On failure the error is raised where C looks for it.
func callClosure(id uint64, args []cValue, result *cArg) bool {
	values, pointers := makeArguments(len(args))
	lent := false
	for i := range args {
		values[i].read(&args[i])
		pointers[i] = &values[i]
		lent = lent || args[i].type_index == typeDLTensor
	}
	value, err := callSafely(closures.get(id).fn, pointers)
	if lent {
		value, err = endLoans(values, value, err)
	}
	if err == nil {
		err = returnValue(value, result)
	}
	if err != nil {
		raiseError(err)
		return false
	}
	return true
}

// endLoans takes back the tensors that were lent for the call, after a look at what it returned.
func endLoans(values []Value, value any, err error) (any, error) {
	var returned *Value
	switch v := value.(type) {
	case *Value:
		returned = v
	case Value:
		returned = &v
	case []*Value:
		if len(v) == 1 {
			returned = v[0]
		}
	}
	if returned != nil && err == nil {
		if b, ok := returned.ref.(*borrowed); ok {
			value, err = b.get()
		}
	}
	for i := range values {
		if b, ok := values[i].ref.(*borrowed); ok {
			if e := b.end(); e != nil {
				err = errors.Join(err, e)
			}
		}
	}
	return value, err
}

// callSafely turns a panic into an error.
func callSafely(fn Callback, args []*Value) (value any, err error) {
	defer func() {
		if p := recover(); p != nil {
			value, err = nil, &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return fn(args...)
}

// returnValue hands value to C, which owns it then.
func returnValue(value any, result *cArg) error {
	switch value := value.(type) { // what most callbacks return
	case nil:
		return nil // C has set the result to nothing
	case int64:
		*result = cArg{type_index: typeInt, bits: cUint64(value)}
		return nil
	case float64:
		*result = cArg{type_index: typeFloat, bits: cUint64(math.Float64bits(value))}
		return nil
	}
	fr := framePool.Get().(*frame)
	err := fr.add(value)
	if err == nil {
		err = fr.takeArg(result)
	}
	fr.reset()
	framePool.Put(fr)
	if err != nil {
		return wrapError(err, "the callback's result")
	}
	return nil
}

// takeArg moves the only argument to result, with a reference where it is an object.
func (fr *frame) takeArg(result *cArg) error {
	if len(fr.args) != 1 {
		return newError(kindValue, "%d values were returned as one", len(fr.args))
	}
	arg := fr.args[0]
	switch {
	case fr.c.memory_count > 0 && fr.c.memories[0].use != memoryData:
		text := fr.c.memories[0]
		return newText(fr.memories[0], int(text.size), text.use == memoryBytes, result)
	case arg.type_index >= typeObject:
		fr.keepArrays()
		retain(pointer(uintptrOf(uint64(arg.bits))))
	}
	*result = arg
	return nil
}

// raiseError gives err to C, where the call that led to the callback finds it again.
func raiseError(err error) {
	raised := &raisedError{err: err, kind: kindOfError(err), text: textOf(err)}
	raised.raise()
}

// kindOfError is the kind of an error of this package inside of err, also when methods of err panic.
func kindOfError(err error) (kind errorKind) {
	kind = errorKinds[kindRuntime]
	defer func() { _ = recover() }()
	var e *Error
	if errors.As(err, &e) && e != nil {
		kind = kindOf([]byte(e.Kind))
	}
	return kind
}

// textOf is err's text, even when the error's own method panics.
func textOf(err error) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprintf("%T, whose Error method panics: %v", err, p)
		}
	}()
	return inner(err)
}
