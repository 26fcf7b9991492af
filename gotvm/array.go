package gotvm

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"unsafe"
)

// Array is a tensor: elements of one type in row-major order, on one device.
//
// A CPU array made by Go ([Empty], [NewArray]) has its memory in Go's heap. Arrays that calls return
// may lie in memory of the runtime. Either way an array may be passed to any call, from any goroutine;
// calls that write the same array at the same time are the program's to prevent.
type Array struct {
	object
	dtype  dataType
	device Device
	shape  []int64
	count  int      // of elements
	block  *block   // where they lie in Go's memory
	dl     *cTensor // C's tensor, where they lie elsewhere
}

// data is the first element, where the CPU can reach it; else nil. The array is in use, or something else keeps
// its tensor. It is read anew each time because a tensor that was lent gets memory of its own.
func (a *Array) data() unsafe.Pointer {
	switch {
	case a.block != nil:
		return a.block.data
	case a.device.DeviceType == KDLCPU:
		return dataOf(a.dl)
	default:
		return nil
	}
}

// shapeSize is the number of elements of a shape and their bytes.
func shapeSize(shape []int64, dtype dataType) (count, size int, err error) {
	if len(shape) > maxDims {
		return 0, 0, newError(kindValue, "the shape has %d dimensions: expected at most %d", len(shape), maxDims)
	}
	item := dtype.size()
	if item == 0 {
		return 0, 0, newError(kindType, "%s is no element type", dtype)
	}
	count = 1
	for _, dim := range shape {
		if dim < 0 {
			return 0, 0, newError(kindValue, "shape %s has a negative dimension", printShape(shape))
		}
	}
	if slices.Contains(shape, 0) {
		return 0, 0, nil
	}
	for _, dim := range shape {
		if dim > math.MaxInt/int64(item)/int64(count) {
			return 0, 0, newError(kindValue, "shape %s of %s is larger than memory could be", printShape(shape), dtype)
		}
		count *= int(dim)
	}
	return count, count * item, nil
}

func printShape(shape []int64) string {
	return strings.ReplaceAll(fmt.Sprint(shape), " ", ", ")
}

// newArray makes an array of zeros on a CPU, or of undefined contents elsewhere.
func newArray(shape []int64, dtype dataType, device Device) (*Array, error) {
	count, size, err := shapeSize(shape, dtype)
	if err != nil {
		return nil, err
	}
	if device.DeviceType != KDLCPU || device.DeviceID < 0 {
		tensor, err := tensorEmpty(shape, dtype, device)
		if err != nil {
			return nil, err
		}
		return wrapTensor(tensor, tensorDL(tensor), nil), nil
	}
	b, err := newBlock(size)
	if err != nil {
		return nil, err
	}
	tensor, err := tensorWrap(b.data, size, shape, dtype, device)
	if err != nil {
		return nil, err
	}
	a := &Array{dtype: dtype, device: device, shape: slices.Clone(shape), count: count, block: b}
	initObject(a, &a.object, tensor, &live.arrays)
	return a, nil
}

// wrapTensor makes an array of a tensor of the runtime, whose reference it takes.
func wrapTensor(tensor unsafe.Pointer, dl *cTensor, b *block) *Array {
	a := &Array{dl: dl, block: b}
	a.dtype, a.shape, a.device = describe(dl)
	a.count = 1
	for _, dim := range a.shape {
		a.count *= int(dim)
	}
	if b == nil {
		a.bytes = int64(a.count) * int64(a.dtype.size())
	}
	initObject(a, &a.object, tensor, &live.arrays)
	return a
}

// Empty makes an array of the given shape. The optional arguments, in any order, are the element type
// as a string, "float32" unless given, and the [Device], CPU(0) unless given. Elements on a CPU are
// zero, elsewhere undefined. A shape without dimensions is an error here; [NewArray] makes scalars.
func Empty(shape []int64, args ...any) (*Array, error) {
	a, err := empty(shape, args)
	return a, doing("Empty", "", err)
}

func empty(shape []int64, args []any) (*Array, error) {
	if len(shape) == 0 {
		return nil, newError(kindValue, "the shape has no dimensions: NewArray makes scalars")
	}
	dtype, device := dtypeFloat32, CPU(0)
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			t, err := parseDType(arg)
			if err != nil {
				return nil, err
			}
			dtype = t
		case Device:
			device = arg
		default:
			return nil, newError(kindType, "optional argument %d: expected a dtype such as \"float32\" or a Device, got %T", i, arg)
		}
	}
	return newArray(shape, dtype, device)
}

// NewArray makes a CPU array that holds a copy of data. A shape without dimensions makes a scalar.
func NewArray[T Element](shape []int64, data []T) (*Array, error) {
	a, err := newArray(shape, dtypeOf[T](), CPU(0))
	if err != nil {
		return nil, doing("NewArray", "", err)
	}
	if err := a.checkLength(len(data), dtypeOf[T]().size()); err != nil {
		_ = a.Close()
		return nil, doing("NewArray", "", err)
	}
	copy(unsafe.Slice((*T)(a.data()), a.count), data)
	runtime.KeepAlive(a)
	return a, nil
}

// DataOf is a view of the elements of a CPU array, not a copy; T must be the Go type of the elements.
//
// The view of an array made by Go is ordinary Go memory: it holds for as long as the program uses it,
// whatever becomes of the array. Of an array whose memory belongs to the runtime or to a model, such as
// what get_output(0) returned, the view holds until the array is closed or no longer reachable: use
// runtime.KeepAlive, or copy with [Array.AsSlice]. Views of an array that a callback was lent end with
// the callback.
func DataOf[T Element](x *Array) ([]T, error) {
	if err := x.enter(); err != nil {
		return nil, doing("DataOf", "", err)
	}
	defer x.leave()
	if want := dtypeOf[T](); x.dtype != want {
		return nil, doing("DataOf", "", newError(kindType, "expected an array of %s, got %s", want, x))
	}
	data := x.data()
	if data == nil && x.count > 0 {
		return nil, doing("DataOf", "", newError(kindType, "the array is on %s, where Go cannot see it: use AsSlice or Bytes", x.device))
	}
	return unsafe.Slice((*T)(data), x.count), nil
}

// enter begins a use of the array, which leave ends.
func (a *Array) enter() error {
	if a == nil {
		return nilError("array")
	}
	if !a.acquire() {
		return closedError("array")
	}
	return nil
}

// share makes another array of the same memory. a is in use.
func (a *Array) share() *Array {
	retainHandle(a.ptr)
	return wrapTensor(a.ptr, tensorDL(a.ptr), a.block)
}

// isLike says whether the two have the same element type and shape.
func (a *Array) isLike(b *Array) bool {
	return a.dtype == b.dtype && slices.Equal(a.shape, b.shape)
}

// overlaps says whether the two share memory, so that writing one changes the other. They may be closed, but not
// given back.
func (a *Array) overlaps(b *Array) bool {
	from, to := uintptr(a.data()), uintptr(b.data())
	if from == 0 || to == 0 {
		return a.ptr == b.ptr // on devices other than the CPU, only what is the same is seen to be
	}
	return from < to+uintptr(b.count*b.dtype.size()) && to < from+uintptr(a.count*a.dtype.size())
}

// Close gives the array's memory back, once no call uses it. Closing again does nothing. What the
// collector finds unreachable is closed too, but later.
func (a *Array) Close() error {
	if a == nil {
		return doing("Close", "", nilError("array"))
	}
	a.close()
	return nil
}

// GetNdim is the number of dimensions.
func (a *Array) GetNdim() int32 {
	if a == nil {
		return 0
	}
	return int32(len(a.shape))
}

// GetShape is a copy of the shape.
func (a *Array) GetShape() []int64 {
	if a == nil {
		return nil
	}
	return append([]int64{}, a.shape...)
}

// GetDType is the element type, such as "float32".
func (a *Array) GetDType() string {
	if a == nil {
		return ""
	}
	return a.dtype.String()
}

// GetDevice is where the array lies.
func (a *Array) GetDevice() Device {
	if a == nil {
		return Device{}
	}
	return a.device
}

// GetCtx is [Array.GetDevice] under its first name.
//
// Deprecated: use GetDevice.
func (a *Array) GetCtx() Context {
	return a.GetDevice()
}

// String describes the array, without its elements.
func (a *Array) String() string {
	if a == nil {
		return "<nil array>"
	}
	return fmt.Sprintf("array %s of %s on %s", printShape(a.shape), a.dtype, a.device)
}

// checkLength compares the array with a slice of n elements of that many bytes each.
func (a *Array) checkLength(n, size int) error {
	if n == a.count {
		return nil
	}
	return newError(kindValue, "the array has shape %s: %s (%d bytes), but the slice has %s (%d bytes)",
		printShape(a.shape), plural(a.count, "element"), a.count*a.dtype.size(), plural(n, "element"), n*size)
}

// write copies size bytes, the array's own size, to it. The array must be acquired.
func (a *Array) write(from unsafe.Pointer, size int) error {
	if size == 0 {
		return nil
	}
	data := a.data()
	if data == nil {
		return tensorWrite(a.ptr, from, size)
	}
	copy(unsafe.Slice((*byte)(data), size), unsafe.Slice((*byte)(from), size))
	return nil
}

func (a *Array) read(to unsafe.Pointer, size int) error {
	if size == 0 {
		return nil
	}
	data := a.data()
	if data == nil {
		return tensorRead(a.ptr, to, size)
	}
	copy(unsafe.Slice((*byte)(to), size), unsafe.Slice((*byte)(data), size))
	return nil
}

// CopyFrom copies a slice of as many elements as the array has, of the Go type of its elements:
// []float32 for float32 and so on, with []Float16, []BFloat16 and []bool.
func (a *Array) CopyFrom(val any) error {
	if err := a.enter(); err != nil {
		return doing("CopyFrom", "", err)
	}
	defer a.leave()
	data, n, dtype, err := sliceOf(val)
	if err == nil && dtype != a.dtype {
		err = newError(kindType, "the array holds %s, the slice %s", a.dtype, dtype)
	}
	if err == nil {
		err = a.checkLength(n, dtype.size())
	}
	if err == nil {
		err = a.write(data, n*dtype.size())
	}
	runtime.KeepAlive(val)
	return doing("CopyFrom", "", err)
}

// sliceOf takes a slice apart: first element, length, and what the elements are.
func sliceOf(val any) (data unsafe.Pointer, n int, dtype dataType, err error) {
	switch s := val.(type) {
	case []float32:
		return unsafe.Pointer(unsafe.SliceData(s)), len(s), dtypeFloat32, nil
	case []uint8:
		return unsafe.Pointer(unsafe.SliceData(s)), len(s), dtypeUint8, nil
	}
	v := reflect.ValueOf(val)
	if v.Kind() != reflect.Slice {
		return nil, 0, dataType{}, notSlice(val)
	}
	if element := v.Type().Elem(); element == reflect.TypeFor[Float16]() {
		return v.UnsafePointer(), v.Len(), dtypeFloat16, nil
	} else if element == reflect.TypeFor[BFloat16]() {
		return v.UnsafePointer(), v.Len(), dtypeBFloat16, nil
	}
	dtype, ok := dtypeByKind[v.Type().Elem().Kind()]
	if !ok {
		return nil, 0, dataType{}, notSlice(val)
	}
	return v.UnsafePointer(), v.Len(), dtype, nil
}

func notSlice(val any) *Error {
	return newError(kindType, "expected a slice such as []float32 or []int64, got %T", val)
}

var dtypeByKind = map[reflect.Kind]dataType{
	reflect.Bool: dtypeBool, reflect.Int8: dtypeInt8, reflect.Int16: dtypeInt16, reflect.Int32: dtypeInt32,
	reflect.Int64: dtypeInt64, reflect.Uint8: dtypeUint8, reflect.Uint16: dtypeUint16, reflect.Uint32: dtypeUint32,
	reflect.Uint64: dtypeUint64, reflect.Float32: dtypeFloat32, reflect.Float64: dtypeFloat64,
}

// AsSlice is a copy of the elements: []float32 for an array of float32 and so on, with []Float16,
// []BFloat16 and []bool.
func (a *Array) AsSlice() (any, error) {
	if err := a.enter(); err != nil {
		return nil, doing("AsSlice", "", err)
	}
	defer a.leave()
	v, err := a.slice()
	return v, doing("AsSlice", "", err)
}

func (a *Array) slice() (any, error) {
	switch a.dtype {
	case dtypeFloat32:
		return readSlice[float32](a)
	case dtypeFloat64:
		return readSlice[float64](a)
	case dtypeFloat16:
		return readSlice[Float16](a)
	case dtypeBFloat16:
		return readSlice[BFloat16](a)
	case dtypeInt8:
		return readSlice[int8](a)
	case dtypeInt16:
		return readSlice[int16](a)
	case dtypeInt32:
		return readSlice[int32](a)
	case dtypeInt64:
		return readSlice[int64](a)
	case dtypeUint8:
		return readSlice[uint8](a)
	case dtypeUint16:
		return readSlice[uint16](a)
	case dtypeUint32:
		return readSlice[uint32](a)
	case dtypeUint64:
		return readSlice[uint64](a)
	case dtypeBool:
		bytes, err := readSlice[uint8](a)
		if err != nil {
			return nil, err
		}
		values := make([]bool, a.count)
		for i, b := range bytes {
			values[i] = b != 0
		}
		return values, nil
	default:
		return nil, newError(kindUnsupported, "no Go type stands for elements of type %s: use Bytes", a.dtype)
	}
}

// readSlice copies the elements, which are as large as a T.
func readSlice[T Element](a *Array) ([]T, error) {
	if data := a.data(); data != nil {
		return slices.Clone(unsafe.Slice((*T)(data), a.count)), nil
	}
	values := make([]T, a.count)
	return values, a.read(unsafe.Pointer(unsafe.SliceData(values)), a.count*a.dtype.size())
}

// CopyFromBytes copies the elements' raw bytes, of any element type; as many as the array has.
func (a *Array) CopyFromBytes(b []byte) error {
	if err := a.enter(); err != nil {
		return doing("CopyFromBytes", "", err)
	}
	defer a.leave()
	if size := a.count * a.dtype.size(); len(b) != size {
		return doing("CopyFromBytes", "", newError(kindValue, "the array has shape %s of %s: %s, but the slice has %s",
			printShape(a.shape), a.dtype, plural(size, "byte"), plural(len(b), "byte")))
	}
	return doing("CopyFromBytes", "", a.write(unsafe.Pointer(unsafe.SliceData(b)), len(b)))
}

// Bytes is a copy of the elements' raw bytes, of any element type.
func (a *Array) Bytes() ([]byte, error) {
	if err := a.enter(); err != nil {
		return nil, doing("Bytes", "", err)
	}
	defer a.leave()
	b := make([]byte, a.count*a.dtype.size())
	if err := a.read(unsafe.Pointer(unsafe.SliceData(b)), len(b)); err != nil {
		return nil, doing("Bytes", "", err)
	}
	return b, nil
}

// CopyTo copies the elements to other, an array of equal element type and size in bytes, on any device.
func (a *Array) CopyTo(other *Array) error {
	if err := a.enter(); err != nil {
		return doing("CopyTo", "", err)
	}
	defer a.leave()
	if err := other.enter(); err != nil {
		return doing("CopyTo", "", wrapError(err, "the target"))
	}
	defer other.leave()
	return doing("CopyTo", "", tensorCopy(a.ptr, other.ptr))
}
