package gotvm

import (
	"errors"
	"reflect"
	"runtime"
	"unsafe"
)

// Register makes a global function called name of fn, an ordinary Go function. What calls it, compiled
// code or [Function.Invoke], passes values of TVM, which become arguments of fn's types:
//
//	bool                                a bool, or whether an integer is not 0
//	int, int8 … uint64, uintptr         an integer or bool, if it fits
//	float32, float64                    a float, integer or bool, if it fits
//	string                              a string or bytes
//	[]byte                              bytes, a string, or the elements of an array of uint8
//	[]float32, []int8, … []bool         the elements of an array of that type, in row-major order
//	*Array, *Function, *Module, Device  what it is
//	*Value                              anything
//	any                                 anything: nil, bool, int64, float64, string, []byte, Device, *Array,
//	                                    *Function, *Module, and *Value for all else
//
// Types defined on top of these do as well. Slices are copies. An *Array has a Close, which saves a copy where
// compiled code lends its own tensor: see [Value.Array]. The last parameter may be variadic.
//
// fn may return nothing, a value, an error, or a value and an error. The value's type is one of the above; a
// slice, but for []byte, becomes a new array of one dimension.
//
// A function with other types is refused here. Arguments of the wrong number, type or range are an error of
// the call, which fn does not see. Calls may come from any thread, as those of a [Callback] may, and a panic
// becomes a [PanicError].
//
// A Callback gets its values as they are, with nothing in between, and a [*Function] is registered as it is. As with
// [RegisterFunction] a name in use is an error, also when the runtime itself has it; [RemoveFunction] frees it.
func Register(name string, fn any) error {
	if t := reflect.TypeOf(fn); t != reflect.TypeFor[*Function]() && (t == nil || !t.ConvertibleTo(callbackType)) {
		adapted, err := adapt(name, fn)
		if err != nil {
			return doing("register", name, err)
		}
		fn = adapted
	}
	return RegisterFunction(fn, name)
}

// reader sets to, of the type that it is for, to what a value holds. An error of kind TypeError means that the
// value is of another kind.
type reader func(v *Value, to reflect.Value) error

var errRange = errors.New("out of range")

var errorType = reflect.TypeFor[error]()

// adapter calls a Go function of any type for C.
type adapter struct {
	name     string
	fn       reflect.Value
	params   []reflect.Type // of the variadic one: its elements
	readers  []reader       // for each parameter
	variadic bool
	value    bool // it returns a value …
	fails    bool // … and an error after that
}

// adapt checks the type of a function and makes a callback of it.
func adapt(name string, fn any) (Callback, error) {
	f := reflect.ValueOf(fn)
	switch {
	case f.Kind() != reflect.Func:
		return nil, newError(kindType, "expected a function, got %T", fn)
	case f.IsNil():
		return nil, nilError("function")
	}
	t := f.Type()
	a := &adapter{name: name, fn: f, variadic: t.IsVariadic()}
	for i := range t.NumIn() {
		param := t.In(i)
		if a.variadic && i == t.NumIn()-1 {
			param = param.Elem()
		}
		read := readerOf(param)
		if read == nil {
			return nil, newError(kindType, "parameter %d of %s is of type %s, which no value of TVM becomes", i, t, param)
		}
		a.params, a.readers = append(a.params, param), append(a.readers, read)
	}
	results := t.NumOut()
	if results > 0 && t.Out(results-1) == errorType {
		a.fails = true
		results--
	}
	switch {
	case results > 1:
		return nil, newError(kindType, "%s returns %d values: expected at most one, and an error after it", t, t.NumOut())
	case results == 1 && !isReturnable(t.Out(0)):
		return nil, newError(kindType, "result 0 of %s is of type %s, which becomes no value of TVM", t, t.Out(0))
	}
	a.value = results == 1
	return a.callback(fn), nil
}

// callback is a.call, or the same without reflection, which takes longer than all the rest of a short call.
func (a *adapter) callback(fn any) Callback {
	for _, callback := range []Callback{
		direct(a, fn, (*Value).Int64),
		direct(a, fn, func(v *Value) (int, error) { i, err := v.Int64(); return int(i), err }),
		direct(a, fn, (*Value).Float64),
		direct(a, fn, (*Value).Str),
		direct(a, fn, (*Value).Array),
	} {
		if callback != nil {
			return callback
		}
	}
	return a.call
}

// direct calls functions whose parameters and result are of one type; nil where fn is no such function.
func direct[T any](a *adapter, fn any, read func(*Value) (T, error)) Callback {
	var call func(x [3]T) (any, error)
	switch fn := fn.(type) {
	case func(T):
		call = func(x [3]T) (any, error) { fn(x[0]); return nil, nil }
	case func(T) T:
		call = func(x [3]T) (any, error) { return fn(x[0]), nil }
	case func(T) error:
		call = func(x [3]T) (any, error) { return nil, fn(x[0]) }
	case func(T) (T, error):
		call = func(x [3]T) (any, error) { y, err := fn(x[0]); return y, err }
	case func(T, T) T:
		call = func(x [3]T) (any, error) { return fn(x[0], x[1]), nil }
	case func(T, T) error:
		call = func(x [3]T) (any, error) { return nil, fn(x[0], x[1]) }
	case func(T, T) (T, error):
		call = func(x [3]T) (any, error) { y, err := fn(x[0], x[1]); return y, err }
	case func(T, T, T) error:
		call = func(x [3]T) (any, error) { return nil, fn(x[0], x[1], x[2]) }
	default:
		return nil
	}
	return func(values ...*Value) (any, error) {
		if err := a.checkCount(len(values)); err != nil {
			return nil, err
		}
		var x [3]T
		for i, v := range values {
			var err error
			if x[i], err = read(v); err != nil {
				return nil, a.argumentError(i, v, err)
			}
		}
		return call(x)
	}
}

func (a *adapter) call(values ...*Value) (any, error) {
	if err := a.checkCount(len(values)); err != nil {
		return nil, err
	}
	args := make([]reflect.Value, len(values))
	for i, v := range values {
		k := min(i, len(a.params)-1)
		args[i] = reflect.New(a.params[k]).Elem()
		if err := a.readers[k](v, args[i]); err != nil {
			return nil, a.argumentError(i, v, err)
		}
	}
	results := a.fn.Call(args)
	if a.fails {
		if err, _ := results[len(results)-1].Interface().(error); err != nil {
			return nil, err
		}
	}
	if !a.value {
		return nil, nil
	}
	return resultOf(results[0])
}

func (a *adapter) checkCount(n int) error {
	switch want := len(a.params); {
	case a.variadic && n < want-1:
		return a.error(newError(kindValue, "expected at least %s, got %d", plural(want-1, "argument"), n))
	case !a.variadic && n != want:
		return a.error(newError(kindValue, "expected %s, got %d", plural(want, "argument"), n))
	}
	return nil
}

// argumentError says why argument i cannot be v.
func (a *adapter) argumentError(i int, v *Value, reason error) error {
	param := a.params[min(i, len(a.params)-1)]
	if reason == errRange {
		return a.error(newError(kindValue, "argument %d: %s is out of the range of %s", i, v.describe(), param))
	}
	if e, ok := reason.(*Error); ok && e.Kind == kindType {
		return a.error(newError(kindType, "argument %d: expected %s, got %s", i, param, v.describe()))
	}
	return a.error(wrapError(reason, "argument %d", i))
}

func (a *adapter) error(e *Error) error {
	return doing("call", a.name, e)
}

// readerOf is nil for types that no value becomes.
func readerOf(t reflect.Type) reader {
	switch t {
	case reflect.TypeFor[*Value]():
		return func(v *Value, to reflect.Value) error {
			to.Set(reflect.ValueOf(v))
			return nil
		}
	case reflect.TypeFor[*Array]():
		return readBy((*Value).Array)
	case reflect.TypeFor[*Function]():
		return readBy((*Value).Function)
	case reflect.TypeFor[*Module]():
		return readBy((*Value).Module)
	case reflect.TypeFor[Device]():
		return readBy((*Value).Device)
	}
	switch k := t.Kind(); {
	case k == reflect.Bool:
		return readBool
	case k >= reflect.Int && k <= reflect.Int64:
		return readInt
	case k >= reflect.Uint && k <= reflect.Uintptr:
		return readUint
	case k == reflect.Float32 || k == reflect.Float64:
		return readFloat
	case k == reflect.String:
		return readString
	case k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return readBytes
	case isElements(t):
		return readElements
	case isAny(t):
		return readAny
	default:
		return nil
	}
}

// isElements says whether a type is that of a slice which an array can be copied to.
func isElements(t reflect.Type) bool {
	if t.Kind() != reflect.Slice {
		return false
	}
	_, ok := dtypeByKind[t.Elem().Kind()]
	return ok
}

func isAny(t reflect.Type) bool {
	return t.Kind() == reflect.Interface && t.NumMethod() == 0
}

// isReturnable says whether resultOf takes values of a type.
func isReturnable(t reflect.Type) bool {
	return readerOf(t) != nil || t.ConvertibleTo(callbackType)
}

// readBy reads values with their accessor.
func readBy[T any](get func(*Value) (T, error)) reader {
	return func(v *Value, to reflect.Value) error {
		x, err := get(v)
		if err == nil {
			to.Set(reflect.ValueOf(x))
		}
		return err
	}
}

func readBool(v *Value, to reflect.Value) error {
	b, err := v.Bool()
	if err != nil {
		return err
	}
	to.SetBool(b)
	return nil
}

func readInt(v *Value, to reflect.Value) error {
	i, err := v.Int64()
	switch {
	case err != nil:
		return err
	case to.OverflowInt(i):
		return errRange
	}
	to.SetInt(i)
	return nil
}

func readUint(v *Value, to reflect.Value) error {
	i, err := v.Int64()
	switch {
	case err != nil:
		return err
	case i < 0 || to.OverflowUint(uint64(i)):
		return errRange
	}
	to.SetUint(uint64(i))
	return nil
}

func readFloat(v *Value, to reflect.Value) error {
	f, err := v.Float64()
	switch {
	case err != nil:
		return err
	case to.OverflowFloat(f):
		return errRange
	}
	to.SetFloat(f)
	return nil
}

func readString(v *Value, to reflect.Value) error {
	s, err := v.Str()
	if err != nil {
		return err
	}
	to.SetString(s)
	return nil
}

func readBytes(v *Value, to reflect.Value) error {
	if v.Kind() == KindArray {
		return readElements(v, to)
	}
	b, err := v.Bytes()
	if err != nil {
		return err
	}
	to.SetBytes(b)
	return nil
}

// readElements copies the elements of an array to a new slice.
func readElements(v *Value, to reflect.Value) error {
	x, err := v.Array()
	if err != nil {
		return err
	}
	defer func() { _ = x.Close() }() // nobody else sees it
	slice := reflect.MakeSlice(to.Type(), x.count, x.count)
	data, n, dtype, err := sliceOf(slice.Interface())
	switch {
	case err != nil:
		return err
	case dtype != x.dtype:
		return v.mismatch("that")
	}
	if err := x.read(data, n*dtype.size()); err != nil {
		return err
	}
	if dtype == dtypeBool {
		normalize(unsafe.Slice((*byte)(data), n))
	}
	to.Set(slice)
	runtime.KeepAlive(x)
	return nil
}

// normalize makes bools of Go of bytes, where all but 0 is true.
func normalize(bools []byte) {
	for i, b := range bools {
		if b != 0 {
			bools[i] = 1
		}
	}
}

func readAny(v *Value, to reflect.Value) error {
	var x any = v
	var err error
	switch v.Kind() {
	case KindNil:
		return nil
	case KindBool:
		x, err = v.Bool()
	case KindInt:
		x, err = v.Int64()
	case KindFloat:
		x, err = v.Float64()
	case KindStr:
		x, err = v.Str()
	case KindBytes:
		x, err = v.Bytes()
	case KindDevice:
		x, err = v.Device()
	case KindArray:
		x, err = v.Array()
	case KindFunction:
		x, err = v.Function()
	case KindModule:
		x, err = v.Module()
	}
	if err == nil {
		to.Set(reflect.ValueOf(x))
	}
	return err
}

// resultOf is what a callback returns for a value.
func resultOf(v reflect.Value) (any, error) {
	if v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch {
	case !v.IsValid():
		return nil, nil
	case v.CanInt():
		return v.Int(), nil
	case v.CanFloat():
		return v.Float(), nil
	}
	t := v.Type()
	if !isElements(t) || t.Elem().Kind() == reflect.Uint8 {
		return v.Interface(), nil
	}
	data, n, dtype, err := sliceOf(v.Interface())
	if err != nil {
		return nil, err
	}
	x, err := newArray([]int64{int64(n)}, dtype, CPU(0))
	if err != nil {
		return nil, err
	}
	return x, x.write(data, n*dtype.size())
}
