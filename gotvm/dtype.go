package gotvm

import (
	"math"
	"strconv"
)

// Float16 is an IEEE half-precision number, as its bits.
type Float16 uint16

// NewFloat16 rounds f to the nearest half-precision number, ties to even.
func NewFloat16(f float32) Float16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // NaN, made quiet; the upper payload bits stay
		return Float16(sign | 0x7e00 | uint16(b>>13&0x1ff))
	case b >= 0x477ff000: // 65520 and more round to infinity
		return Float16(sign | 0x7c00)
	case b < 0x38800000: // below 2^-14: subnormal; the sum's last bits are the rounded result
		sum := math.Float32frombits(b) + 0.5
		return Float16(sign | uint16(math.Float32bits(sum)-math.Float32bits(0.5)))
	default: // a new exponent bias, and half a unit less one, plus one where the last bit is odd
		b += 0xc8000fff + b>>13&1
		return Float16(sign | uint16(b>>13))
	}
}

// Float32 is the same number; every half-precision number is one of single precision.
func (f Float16) Float32() float32 {
	sign := uint32(f&0x8000) << 16
	exponent := uint32(f >> 10 & 0x1f)
	fraction := uint32(f & 0x3ff)
	switch exponent {
	case 0:
		value := float32(fraction) / (1 << 24)
		return math.Float32frombits(sign | math.Float32bits(value))
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	default:
		return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
	}
}

// String is the number in decimal.
func (f Float16) String() string {
	return strconv.FormatFloat(float64(f.Float32()), 'g', 5, 32)
}

// BFloat16 is a number of type bfloat16, as its bits: the upper half of a float32.
type BFloat16 uint16

// NewBFloat16 rounds f to the nearest bfloat16, ties to even.
func NewBFloat16(f float32) BFloat16 {
	b := math.Float32bits(f)
	if f != f {
		return BFloat16(b>>16 | 0x40)
	}
	return BFloat16((b + 0x7fff + b>>16&1) >> 16)
}

// Float32 is the same number; every bfloat16 is a float32.
func (f BFloat16) Float32() float32 {
	return math.Float32frombits(uint32(f) << 16)
}

// String is the number in decimal.
func (f BFloat16) String() string {
	return strconv.FormatFloat(float64(f.Float32()), 'g', 4, 32)
}

// Element lists the Go types that stand for elements of arrays.
type Element interface {
	bool | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32 | float64 | Float16 | BFloat16
}

// dataType is an element type as DLPack has it.
type dataType struct {
	code, bits uint8
	lanes      uint16
}

var (
	dtypeInt8     = dataType{0, 8, 1}
	dtypeInt16    = dataType{0, 16, 1}
	dtypeInt32    = dataType{0, 32, 1}
	dtypeInt64    = dataType{0, 64, 1}
	dtypeUint8    = dataType{1, 8, 1}
	dtypeUint16   = dataType{1, 16, 1}
	dtypeUint32   = dataType{1, 32, 1}
	dtypeUint64   = dataType{1, 64, 1}
	dtypeFloat16  = dataType{2, 16, 1}
	dtypeFloat32  = dataType{2, 32, 1}
	dtypeFloat64  = dataType{2, 64, 1}
	dtypeBFloat16 = dataType{4, 16, 1}
	dtypeBool     = dataType{6, 8, 1}
)

// dtypeNames holds the types with a Go type of their own.
var dtypeNames = map[dataType]string{
	dtypeInt8: "int8", dtypeInt16: "int16", dtypeInt32: "int32", dtypeInt64: "int64",
	dtypeUint8: "uint8", dtypeUint16: "uint16", dtypeUint32: "uint32", dtypeUint64: "uint64",
	dtypeFloat16: "float16", dtypeFloat32: "float32", dtypeFloat64: "float64",
	dtypeBFloat16: "bfloat16", dtypeBool: "bool",
}

var dtypeByName = func() map[string]dataType {
	m := make(map[string]dataType, len(dtypeNames))
	for t, name := range dtypeNames {
		m[name] = t
	}
	return m
}()

// parseDType reads names such as "float32", and with the runtime's help "int8x4" or "float8_e4m3fn".
func parseDType(name string) (dataType, error) {
	if t, ok := dtypeByName[name]; ok {
		return t, nil
	}
	t, err := dtypeParse(name)
	if err != nil {
		return t, newError(kindValue, "%s is not a dtype such as \"float32\"", quote(name))
	}
	return t, nil
}

func (t dataType) String() string {
	if name, ok := dtypeNames[t]; ok {
		return name
	}
	return dtypePrint(t)
}

// size is the bytes of one element, 0 for a type without data.
func (t dataType) size() int {
	return (int(t.bits)*int(t.lanes) + 7) / 8
}

// dtypeOf is the element type that T stands for.
func dtypeOf[T Element]() dataType {
	var zero T
	switch any(zero).(type) {
	case bool:
		return dtypeBool
	case int8:
		return dtypeInt8
	case int16:
		return dtypeInt16
	case int32:
		return dtypeInt32
	case int64:
		return dtypeInt64
	case uint8:
		return dtypeUint8
	case uint16:
		return dtypeUint16
	case uint32:
		return dtypeUint32
	case uint64:
		return dtypeUint64
	case Float16:
		return dtypeFloat16
	case BFloat16:
		return dtypeBFloat16
	case float32:
		return dtypeFloat32
	default:
		return dtypeFloat64
	}
}
