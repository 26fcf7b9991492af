// Package harness is what the programs of the benchmarks have in common: their command line, the protocol between
// them and scripts/bench/bench.py, and what they measure of themselves.
package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"
)

// Model says where a model is and what its input and output look like. A Relax executable is one file, Lib. Next to the
// files lie the elements of the input, as raw float32.
type Model struct {
	Lib, Graph, Params, ONNX string
	Input                    string
	Shape, OutShape          []int64
	Output                   string // in the ONNX file
	Data                     []float32
}

// ParseModel reads the five arguments PREFIX INPUT SHAPE OUTPUT OUTSHAPE, shapes like 1,3,224,224, and the input.
func ParseModel(args []string) (*Model, error) {
	if len(args) < 5 {
		return nil, fmt.Errorf("expected PREFIX INPUT SHAPE OUTPUT OUTSHAPE, got %q", args)
	}
	prefix := args[0]
	m := &Model{Lib: prefix + ".so", Graph: prefix + ".json", Params: prefix + ".params", ONNX: prefix + ".onnx", Input: args[1], Output: args[3]}
	var err error
	if m.Shape, err = parseShape(args[2]); err != nil {
		return nil, err
	}
	if m.OutShape, err = parseShape(args[4]); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(prefix + ".in")
	if err != nil {
		return nil, err
	}
	if want := 4 * Count(m.Shape); len(raw) != want {
		return nil, fmt.Errorf("%s.in has %d bytes, expected %d", prefix, len(raw), want)
	}
	m.Data = unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(raw))), len(raw)/4) // all machines are little-endian
	return m, nil
}

func parseShape(text string) ([]int64, error) {
	var shape []int64
	for _, field := range strings.Split(text, ",") {
		dim, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("shape %q: %w", text, err)
		}
		shape = append(shape, dim)
	}
	return shape, nil
}

// Count is the number of elements.
func Count(shape []int64) int {
	count := 1
	for _, dim := range shape {
		count *= int(dim)
	}
	return count
}
