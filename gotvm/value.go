package gotvm

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Kind says what a [Value] is.
type Kind uint8

// The kinds of values.
const (
	KindNil Kind = iota
	KindInt
	KindBool
	KindFloat
	KindHandle // an address that means nothing to Go
	KindDType  // an element type
	KindDevice
	KindStr
	KindBytes
	KindArray
	KindFunction
	KindModule
	KindObject // any other object of the runtime
)

var kindNames = [...]string{"nil", "int", "bool", "float", "handle", "dtype", "device", "str", "bytes", "array", "function", "module", "object"}

// String is the kind's name, such as "int".
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return kindNames[k]
}

// Value is what a packed function returned, or an argument of a callback. It does not change, may be
// kept for as long as the program likes, and may be passed to calls as often as it likes.
//
// The methods AsInt64, AsStr and so on give the zero value where the kind is another one; Int64, Str
// and so on give an error then. Integers read as floats, and bools as integers. Text is a string or
// bytes.
//
// A value owns the array, function or module in it, until AsArray, AsFunction or AsModule hands that
// over; each time it is the same one, which has a Close of its own.
type Value struct {
	kind  Kind
	taken uint32 // atomic: 1 when the handle in ref belongs to the program
	bits  uint64 // of scalars
	text  string
	ref   any // *Array, *Function, *Module, *borrowed or *opaque
}

// opaque is an object that has no Go type.
type opaque struct {
	object
	typeIndex int32
}

// borrowed is a tensor that compiled code lends to a callback, for the time of that call.
type borrowed struct {
	mu     sync.Mutex
	dl     unsafe.Pointer
	ended  bool
	tensor unsafe.Pointer // made when an array is first asked for; a reference
	array  *Array
}

// ByteArray is raw data to pass to functions, such as the parameters of a model.
//
// Deprecated: use []byte.
type ByteArray []byte

// nilValue is shared by all calls that return nothing.
var nilValue = &Value{}

// read fills v from what C has. An object's reference becomes v's; text is copied.
func (v *Value) read(c *cValue) {
	object := pointer(uintptrOf(uint64(c.bits)))
	v.bits = uint64(c.bits)
	switch c.type_index {
	case typeNone:
		v.kind = KindNil
	case typeInt:
		v.kind = KindInt
	case typeBool:
		v.kind = KindBool
	case typeFloat:
		v.kind = KindFloat
	case typeOpaque:
		v.kind = KindHandle
	case typeDType:
		v.kind = KindDType
	case typeDevice:
		v.kind = KindDevice
	case typeSmallStr, typeSmallBytes:
		v.kind = textKind(c.type_index == typeSmallStr)
		v.text = string((*[8]byte)(unsafe.Pointer(&c.bits))[:c.size])
	case typeRawStr, typeStr, typeBytesPtr, typeBytes:
		v.kind = textKind(c.type_index == typeRawStr || c.type_index == typeStr)
		v.text = string(bytesAt(c.data, uintptrOf(uint64(c.size))))
	case typeDLTensor:
		v.kind, v.ref = KindArray, &borrowed{dl: object}
	case typeTensor:
		dl, b := (*cTensor)(pointer(c.data)), (*block)(nil)
		if c.size != 0 {
			b = &block{data: dataOf(dl)}
		}
		v.kind, v.ref = KindArray, wrapTensor(object, dl, b)
	case typeFunction:
		v.kind, v.ref = KindFunction, newFunction(object, "")
	case typeModule:
		v.kind, v.ref = KindModule, newModule(object, "")
	default:
		o := &opaque{typeIndex: int32(c.type_index)}
		initObject(o, &o.object, object, &live.objects)
		v.kind, v.ref = KindObject, o
	}
}

func textKind(isStr bool) Kind {
	if isStr {
		return KindStr
	}
	return KindBytes
}

// Kind says what the value is. That of a nil *Value is KindNil.
func (v *Value) Kind() Kind {
	if v == nil {
		return KindNil
	}
	return v.kind
}

// IsNil says whether the value is nothing: what functions return that return nothing.
func (v *Value) IsNil() bool {
	return v.Kind() == KindNil
}

// Close gives back the array, function or module in the value, unless AsArray, AsFunction or AsModule
// has handed it over. Closing again does nothing, and other values need no Close.
func (v *Value) Close() error {
	if v == nil {
		return doing("Close", "", nilError("value"))
	}
	if atomic.LoadUint32(&v.taken) != 0 {
		return nil
	}
	switch ref := v.ref.(type) {
	case *Array:
		ref.close()
	case *Function:
		ref.close()
	case *Module:
		ref.close()
	case *opaque:
		ref.close()
	}
	return nil
}

func (v *Value) mismatch(want string) error {
	return newError(kindType, "the value: expected %s, got %s", want, v.describe())
}

// Int64 is the integer or bool.
func (v *Value) Int64() (int64, error) {
	if k := v.Kind(); k != KindInt && k != KindBool {
		return 0, v.mismatch("int")
	}
	return int64(v.bits), nil
}

// Float64 is the float or integer.
func (v *Value) Float64() (float64, error) {
	switch v.Kind() {
	case KindFloat:
		return math.Float64frombits(v.bits), nil
	case KindInt, KindBool:
		return float64(int64(v.bits)), nil
	default:
		return 0, v.mismatch("float")
	}
}

// Bool is the bool, or whether the integer is not 0.
func (v *Value) Bool() (bool, error) {
	if k := v.Kind(); k != KindInt && k != KindBool {
		return false, v.mismatch("bool")
	}
	return v.bits != 0, nil
}

// Str is the text.
func (v *Value) Str() (string, error) {
	if k := v.Kind(); k != KindStr && k != KindBytes {
		return "", v.mismatch("str")
	}
	return v.text, nil
}

// Bytes is a copy of the text.
func (v *Value) Bytes() ([]byte, error) {
	if k := v.Kind(); k != KindStr && k != KindBytes {
		return nil, v.mismatch("bytes")
	}
	return []byte(v.text), nil
}

// Device is the device.
func (v *Value) Device() (Device, error) {
	if v.Kind() != KindDevice {
		return Device{}, v.mismatch("device")
	}
	return deviceOf(v.bits), nil
}

// DType is the element type, such as "float32".
func (v *Value) DType() (string, error) {
	if v.Kind() != KindDType {
		return "", v.mismatch("dtype")
	}
	return dtypeOfBits(v.bits).String(), nil
}

// Array is the array, always the same one, which has a Close of its own.
//
// A tensor that compiled code passes to a callback is lent for the time of the call. Its array may be
// kept all the same: when the callback returns, the array gets memory of its own, a copy. Until then only
// the goroutine of the callback may use it, and a session of a graph cannot bind it. Close it before, to save
// the copy. A value whose array was not asked for in time gives an error afterwards.
func (v *Value) Array() (*Array, error) {
	if v.Kind() != KindArray {
		return nil, v.mismatch("array")
	}
	if b, ok := v.ref.(*borrowed); ok {
		return b.get()
	}
	atomic.StoreUint32(&v.taken, 1)
	return v.ref.(*Array), nil
}

// Items gives the items of an array of the runtime, such as a tuple that a Relax function returns.
func (v *Value) Items() ([]*Value, error) {
	return readObject(v, typeArray, "an array of values", arrayItems)
}

// Shape gives the dimensions of a shape of the runtime, such as a Relax function returns.
func (v *Value) Shape() ([]int64, error) {
	return readObject(v, typeShape, "a shape", shapeDims)
}

// Arrays gives the tensors in the value: of a tuple all of them, nested ones in order, of a tensor that one.
// Anything else in it is an error. Each array is the caller's.
func (v *Value) Arrays() ([]*Array, error) {
	if v.Kind() == KindArray {
		a, err := v.Array()
		if err != nil {
			return nil, err
		}
		return []*Array{a}, nil
	}
	items, err := v.Items()
	switch {
	case hasCode(err, CodeClosed):
		return nil, err
	case err != nil:
		return nil, v.mismatch("arrays")
	}
	arrays := []*Array{}
	for i, item := range items {
		inner, err := item.Arrays()
		if err != nil {
			for _, a := range arrays {
				a.close()
			}
			for _, rest := range items[i:] {
				_ = rest.Close()
			}
			return nil, wrapError(err, "item %d", i)
		}
		_ = item.Close()
		arrays = append(arrays, inner...)
	}
	return arrays, nil
}

// readObject reads what is in an object that has no Go type; what names that in messages.
func readObject[T any](v *Value, typeIndex int32, what string, read func(unsafe.Pointer) []T) ([]T, error) {
	if v == nil {
		return nil, v.mismatch(what)
	}
	o, ok := v.ref.(*opaque)
	if !ok || o.typeIndex != typeIndex {
		return nil, v.mismatch(what)
	}
	if !o.acquire() {
		return nil, closedError("value")
	}
	defer o.leave()
	return read(o.ptr), nil
}

// Function is the function, always the same one, which has a Close of its own.
func (v *Value) Function() (*Function, error) {
	if v.Kind() != KindFunction {
		return nil, v.mismatch("function")
	}
	atomic.StoreUint32(&v.taken, 1)
	return v.ref.(*Function), nil
}

// Module is the module, always the same one, which has a Close of its own.
func (v *Value) Module() (*Module, error) {
	if v.Kind() != KindModule {
		return nil, v.mismatch("module")
	}
	atomic.StoreUint32(&v.taken, 1)
	return v.ref.(*Module), nil
}

// AsInt64 is [Value.Int64], or 0.
func (v *Value) AsInt64() int64 {
	i, _ := v.Int64()
	return i
}

// AsFloat64 is [Value.Float64], or 0.
func (v *Value) AsFloat64() float64 {
	f, _ := v.Float64()
	return f
}

// AsBool is [Value.Bool], or false.
func (v *Value) AsBool() bool {
	b, _ := v.Bool()
	return b
}

// AsStr is [Value.Str], or "".
func (v *Value) AsStr() string {
	s, _ := v.Str()
	return s
}

// AsBytes is [Value.Bytes], or nil.
func (v *Value) AsBytes() []byte {
	b, _ := v.Bytes()
	return b
}

// AsArray is [Value.Array], or nil, whose methods return errors.
func (v *Value) AsArray() *Array {
	a, _ := v.Array()
	return a
}

// AsFunction is [Value.Function], or nil, whose methods return errors.
func (v *Value) AsFunction() *Function {
	f, _ := v.Function()
	return f
}

// AsModule is [Value.Module], or nil, whose methods return errors.
func (v *Value) AsModule() *Module {
	m, _ := v.Module()
	return m
}

// String shows the value to people.
func (v *Value) String() string {
	switch v.Kind() {
	case KindNil:
		return "nil"
	case KindInt:
		return fmt.Sprint(int64(v.bits))
	case KindBool:
		return fmt.Sprint(v.bits != 0)
	case KindFloat:
		return fmt.Sprint(math.Float64frombits(v.bits))
	case KindDType:
		return dtypeOfBits(v.bits).String()
	case KindDevice:
		return deviceOf(v.bits).String()
	case KindStr:
		return v.text
	case KindBytes:
		return fmt.Sprintf("%d bytes", len(v.text))
	case KindArray:
		if a, ok := v.ref.(*Array); ok {
			return a.String()
		}
		return v.ref.(*borrowed).String()
	default:
		return v.kind.String()
	}
}

// describe is what the value is, for messages.
func (v *Value) describe() string {
	switch v.Kind() {
	case KindStr:
		return "str " + quote(v.text)
	case KindBytes, KindArray, KindNil, KindFunction, KindModule, KindObject, KindHandle:
		return v.String()
	default:
		return v.Kind().String() + " " + v.String()
	}
}

// Scalars in 8 bytes, as C has them.

func deviceBits(d Device) uint64 {
	return uint64(uint32(d.DeviceType)) | uint64(uint32(d.DeviceID))<<32
}

func deviceOf(bits uint64) Device {
	return Device{int32(uint32(bits)), int32(uint32(bits >> 32))}
}

func dtypeOfBits(bits uint64) dataType {
	return dataType{uint8(bits), uint8(bits >> 8), uint16(bits >> 16)}
}

func (b *borrowed) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.array != nil:
		return b.array.String()
	case b.ended:
		return "array that was lent and is gone"
	}
	dl := (*cTensor)(b.dl)
	if dl == nil || dl.ndim < 0 || dl.ndim > maxDims {
		return "array that is damaged"
	}
	dtype, shape, device := describe(dl)
	return (&Array{dtype: dtype, shape: shape, device: device}).String()
}

func (b *borrowed) get() (*Array, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.array != nil {
		return b.array, nil
	}
	if b.ended {
		return nil, errBorrowEnded()
	}
	tensor, err := tensorBorrow(b.dl)
	if err != nil {
		return nil, err
	}
	retain(tensor)
	b.tensor, b.array = tensor, wrapTensor(tensor, tensorDL(tensor), nil)
	return b.array, nil
}

func errBorrowEnded() *Error {
	return newError(kindClosed, "the tensor was lent for one call of a callback, which is over: ask for AsArray in the callback")
}

// end is called when the callback returns. Where the program or the runtime still holds the array, it
// gets memory of its own.
func (b *borrowed) end() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	if b.tensor == nil {
		return nil
	}
	defer release(b.tensor)
	if useCount(b.tensor) == 1 {
		return nil
	}
	a := b.array
	own, err := newArray(a.shape, a.dtype, a.device)
	if err != nil {
		return err
	}
	own.keep()
	if err := tensorDetach(b.tensor, own.ptr); err != nil {
		_ = own.Close()
		return err
	}
	return own.Close()
}
