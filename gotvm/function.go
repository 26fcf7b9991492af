package gotvm

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"sync"
	"unsafe"
)

// Function is a packed function: one of a compiled library, of the runtime, or a Go closure. It may be
// called by any goroutines at once, as far as what it does allows.
type Function struct {
	object
	name string
	op   string // "call" and the name, for messages
}

func newFunction(ptr unsafe.Pointer, name string) *Function {
	f := &Function{name: name, op: "call a packed function"}
	if name != "" {
		f.op = join("call", name)
	}
	initObject(f, &f.object, ptr, &live.functions)
	return f
}

// GetGlobalFunction gives the function registered as name, by the runtime or by [RegisterFunction].
// One that is not there is an error, [ErrNotFound].
func GetGlobalFunction(name string) (*Function, error) {
	ptr, err := registryGet(name)
	if err == nil && ptr == nil {
		err = noGlobalError()
	}
	if err != nil {
		return nil, naming("get function", name, err)
	}
	return newFunction(ptr, name), nil
}

// FuncListGlobalNames gives the names of all global functions, sorted.
func FuncListGlobalNames() ([]string, error) {
	return registryNames()
}

// RemoveFunction takes name out of the global functions; who holds the function may go on to use it. That is also so
// for a compiled library that has called it: as long as the library is open, it calls the same function.
func RemoveFunction(name string) error {
	return naming("remove", name, registryRemove(name))
}

// Close gives the function back, once no call uses it. Closing again does nothing. What the collector
// finds unreachable is closed too, but later.
func (f *Function) Close() error {
	if f == nil {
		return doing("Close", "", nilError("function"))
	}
	f.close()
	return nil
}

// String names the function.
func (f *Function) String() string {
	switch {
	case f == nil:
		return "<nil function>"
	case f.name == "":
		return "function"
	default:
		return "function " + f.name
	}
}

// Invoke calls the function. Arguments may be nil, bools, integers and floats of any size, strings,
// []byte, closures like [ConvertFunction] takes, *Function, *Module, *Array, [Device], *Value, and
// []*Value, which stands for its elements. Text is passed whole, NULs included. A []byte is not
// copied: it must not be changed by others during the call.
//
// When the function is a Go closure, or calls one, and that fails, its error is inside of the error
// here, for errors.Is and errors.As. The value returned is never nil without an error.
func (f *Function) Invoke(args ...any) (*Value, error) {
	if f == nil {
		return nil, doing("call", "", nilError("function"))
	}
	if !f.acquire() {
		return nil, doing(cmp.Or(f.op, "call"), "", closedError("function"))
	}
	fr := framePool.Get().(*frame)
	var v *Value
	err := fr.addAll(args)
	if err != nil {
		err = doing(f.op, "", err)
	} else {
		v, err = fr.call(f)
	}
	fr.reset()
	framePool.Put(fr)
	f.leave()
	runtime.KeepAlive(f)
	return v, err
}

// frame holds the arguments of a call in memory that C may read, and what must live until its end. C
// may call back and grow this goroutine's stack, so frames are in the heap; a pool keeps them.
type frame struct {
	c        cFrame
	args     []cArg
	memories [maxMemories]unsafe.Pointer // of Go's, used by C in place; c.memories says for what
	pin      runtime.Pinner              // of arrays, where there was no room
	pinned   bool
	held     []*object        // acquired
	arrays   []*Array         // those of held that are in Go's memory
	owned    []unsafe.Pointer // references that the call itself made
}

var framePool = sync.Pool{New: func() any {
	return &frame{args: make([]cArg, 0, 8), held: make([]*object, 0, 8), arrays: make([]*Array, 0, 8)}
}}

// reset ends the call. What holds on to things of the program is cleared.
func (fr *frame) reset() {
	if n := int(fr.c.memory_count); n > 0 {
		clear(fr.memories[:n])
		fr.c.memory_count = 0
	}
	if fr.pinned {
		fr.pin.Unpin()
		fr.pinned = false
	}
	for i, o := range fr.held {
		o.leave()
		fr.held[i] = nil
	}
	for _, ptr := range fr.owned {
		release(ptr)
	}
	clear(fr.arrays)
	fr.args, fr.held, fr.arrays, fr.owned = fr.args[:0], fr.held[:0], fr.arrays[:0], fr.owned[:0]
}

// keepArrays lets the runtime look after the memory of arrays that it has kept.
func (fr *frame) keepArrays() {
	for _, a := range fr.arrays {
		a.keep()
	}
}

func (fr *frame) call(f *Function) (*Value, error) {
	fr.c.function = number(f.ptr)
	ok := fr.cross()
	if fr.c.tensors_kept != 0 || fr.pinned {
		fr.keepArrays()
	}
	if !ok {
		err := takeError(&fr.c.failure, f.op, "")
		if e, ok := err.(*Error); ok {
			e.Message = trimSpeaker(e.Message, f.name) // the runtime's functions say who speaks
		}
		return nil, err
	}
	result := &fr.c.result
	if result.type_index == typeNone {
		return nilValue, nil
	}
	v := new(Value)
	v.read(result)
	switch result.type_index {
	case typeStr, typeBytes:
		release(pointer(uintptrOf(v.bits)))
	case typeDLTensor:
		v.ref.(*borrowed).ended = true
	}
	return v, nil
}

func (fr *frame) addAll(args []any) error {
	for i, arg := range args {
		if err := fr.add(arg); err != nil {
			e := err.(*Error)
			e.Message = fmt.Sprintf("argument %d: %s", i, e.Message)
			return e
		}
	}
	return nil
}

func (fr *frame) push(kind int32, bits uint64) {
	fr.args = append(fr.args, cArg{type_index: cInt32(kind), bits: cUint64(bits)})
}

func (fr *frame) pushInt(i int64) error {
	fr.push(typeInt, uint64(i))
	return nil
}

func (fr *frame) pushUint(u uint64) error {
	if u > math.MaxInt64 {
		return newError(kindValue, "%d is beyond the largest int64", u)
	}
	return fr.pushInt(int64(u))
}

func (fr *frame) pushFloat(f float64) error {
	fr.push(typeFloat, math.Float64bits(f))
	return nil
}

func (fr *frame) pushBool(b bool) error {
	var bits uint64
	if b {
		bits = 1
	}
	fr.push(typeBool, bits)
	return nil
}

// pushObject takes part in a use of o until the call ends.
func (fr *frame) pushObject(kind int32, o *object, what string) error {
	if !o.acquire() {
		return closedError(what)
	}
	fr.held = append(fr.held, o)
	fr.push(kind, uint64(uintptr(o.ptr)))
	return nil
}

// pushMemory notes that C may use memory of Go's for the next argument; false when there is no room.
func (fr *frame) pushMemory(use int32, memory unsafe.Pointer, size int) bool {
	n := fr.c.memory_count
	if n == maxMemories {
		return false
	}
	fr.memories[n] = memory
	m := &fr.c.memories[n]
	m.arg, m.use, m.size = cInt32(len(fr.args)), cInt32(use), cUint64(size)
	fr.c.memory_count = n + 1
	return true
}

func (fr *frame) pushArray(a *Array) error {
	if a.block != nil {
		fr.arrays = append(fr.arrays, a)
		if !fr.pushMemory(memoryData, a.block.data, 0) {
			fr.pin.Pin(a.block.data)
			fr.pinned = true
		}
	}
	return fr.pushObject(typeTensor, &a.object, "array")
}

// pushText passes size bytes: a few inline, more where they are, or as a copy.
func (fr *frame) pushText(text unsafe.Pointer, size int, isBytes bool) error {
	small, use := int32(typeSmallStr), int32(memoryStr)
	if isBytes {
		small, use = typeSmallBytes, memoryBytes
	}
	arg := cArg{}
	switch {
	case size < 8:
		arg = cArg{type_index: cInt32(small), small_size: cUint32(size)}
		copy((*[8]byte)(unsafe.Pointer(&arg.bits))[:], unsafe.Slice((*byte)(text), size))
	case fr.pushMemory(use, text, size):
		// C fills in the argument
	default:
		if err := newText(text, size, isBytes, &arg); err != nil {
			return err
		}
		fr.owned = append(fr.owned, pointer(uintptrOf(uint64(arg.bits))))
	}
	fr.args = append(fr.args, arg)
	return nil
}

func (fr *frame) pushStr(s string) error {
	return fr.pushText(unsafe.Pointer(unsafe.StringData(s)), len(s), false)
}

func (fr *frame) pushBytes(b []byte) error {
	return fr.pushText(unsafe.Pointer(unsafe.SliceData(b)), len(b), true)
}

func (fr *frame) pushClosure(fn Callback) error {
	if fn == nil {
		return nilError("closure")
	}
	ptr, err := newClosure(fn)
	if err != nil {
		return err
	}
	fr.owned = append(fr.owned, ptr)
	fr.push(typeFunction, uint64(uintptr(ptr)))
	return nil
}

// add appends one argument, or several for a []*Value.
func (fr *frame) add(arg any) error {
	switch arg := arg.(type) {
	case nil:
		fr.push(typeNone, 0)
		return nil
	case *Array:
		if arg == nil {
			return nilError("array")
		}
		return fr.pushArray(arg)
	case int:
		return fr.pushInt(int64(arg))
	case int64:
		return fr.pushInt(arg)
	case int32:
		return fr.pushInt(int64(arg))
	case uint8:
		return fr.pushInt(int64(arg))
	case uint64:
		return fr.pushUint(arg)
	case float64:
		return fr.pushFloat(arg)
	case float32:
		return fr.pushFloat(float64(arg))
	case bool:
		return fr.pushBool(arg)
	case string:
		return fr.pushStr(arg)
	case []byte:
		return fr.pushBytes(arg)
	case ByteArray:
		return fr.pushBytes(arg)
	case *ByteArray:
		if arg == nil {
			return nilError("byte array")
		}
		return fr.pushBytes(*arg)
	case *Value:
		return fr.addValue(arg)
	case Value:
		return fr.addValue(&arg)
	case []*Value:
		for _, v := range arg {
			if err := fr.addValue(v); err != nil {
				return err
			}
		}
		return nil
	case Callback:
		return fr.pushClosure(arg)
	case *Function:
		if arg == nil {
			return nilError("function")
		}
		return fr.pushObject(typeFunction, &arg.object, "function")
	case *Module:
		if arg == nil {
			return nilError("module")
		}
		return fr.pushObject(typeModule, &arg.object, "module")
	case Device:
		fr.push(typeDevice, deviceBits(arg))
		return nil
	default:
		return fr.addByKind(arg)
	}
}

var callbackType = reflect.TypeFor[Callback]()

// addByKind takes the less common types, and those that programs define on top of basic ones.
func (fr *frame) addByKind(arg any) error {
	v := reflect.ValueOf(arg)
	switch {
	case v.CanInt():
		return fr.pushInt(v.Int())
	case v.CanUint():
		return fr.pushUint(v.Uint())
	case v.CanFloat():
		return fr.pushFloat(v.Float())
	case v.Kind() == reflect.Bool:
		return fr.pushBool(v.Bool())
	case v.Kind() == reflect.String:
		return fr.pushStr(v.String())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		return fr.pushBytes(v.Bytes())
	case v.CanConvert(callbackType):
		return fr.pushClosure(v.Convert(callbackType).Interface().(Callback))
	default:
		e := newError(kindType, "%T cannot be passed to a packed function", arg)
		if v.IsValid() && isElements(v.Type()) {
			e.Message += ": NewArray makes an array of it"
		}
		return e
	}
}

func (fr *frame) addValue(v *Value) error {
	switch v.Kind() {
	case KindNil:
		fr.push(typeNone, 0)
	case KindInt:
		fr.push(typeInt, v.bits)
	case KindBool:
		fr.push(typeBool, v.bits)
	case KindFloat:
		fr.push(typeFloat, v.bits)
	case KindHandle:
		fr.push(typeOpaque, v.bits)
	case KindDType:
		fr.push(typeDType, v.bits)
	case KindDevice:
		fr.push(typeDevice, v.bits)
	case KindStr:
		return fr.pushStr(v.text)
	case KindBytes:
		return fr.pushText(unsafe.Pointer(unsafe.StringData(v.text)), len(v.text), true)
	default:
		return fr.addReference(v)
	}
	return nil
}

func (fr *frame) addReference(v *Value) error {
	switch ref := v.ref.(type) {
	case *Array:
		return fr.pushArray(ref)
	case *Function:
		return fr.pushObject(typeFunction, &ref.object, "function")
	case *Module:
		return fr.pushObject(typeModule, &ref.object, "module")
	case *opaque:
		return fr.pushObject(ref.typeIndex, &ref.object, "object")
	default:
		return fr.pushBorrowed(ref.(*borrowed))
	}
}

func (fr *frame) pushBorrowed(b *borrowed) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.array != nil:
		return fr.pushArray(b.array)
	case b.ended:
		return errBorrowEnded()
	default:
		fr.push(typeDLTensor, uint64(uintptr(b.dl)))
		return nil
	}
}
