package gotvm_test

import (
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// The test models: compiled by real compilers, with inputs and the outputs of the compiler's own runtime
// (scripts/make_testdata.py). GOTVM_TESTDATA names another folder of the same form.

type zooTensor struct {
	Name  string
	DType string
	Shape []int64
}

type zooCase struct {
	Gen, Case, Dir  string
	Inputs, Outputs []zooTensor
	RTol, ATol      float64
	Packages        []string // files that hold the whole model
}

func (c zooCase) path(file string) string {
	return filepath.Join(testdata(), "models", c.Dir, file)
}

func (c zooCase) files() gotvm.Files {
	return gotvm.Files{Lib: c.path("deploy.so"), Graph: c.path("deploy.json"), Params: c.path("deploy.params")}
}

func testdata() string {
	if folder := os.Getenv("GOTVM_TESTDATA"); folder != "" {
		return folder
	}
	return "testdata"
}

// libraryFile is the path of one of the single libraries.
func libraryFile(name string) string {
	return filepath.Join(testdata(), "lib", name)
}

// modelsFit tells whether this machine can run the compiled code of the test data: testdata is for amd64, but for
// the folders arm64.
func modelsFit(tb testing.TB) bool {
	tb.Helper()
	return runsHere(tb, libraryFile("myadd.so"))
}

// runsHere tells whether a library is for this machine.
func runsHere(tb testing.TB, library string) bool {
	tb.Helper()
	return machineOf(tb, library) == machineOf(tb, "/proc/self/exe")
}

// needModels skips a test of compiled code where that is for another machine. Where GOTVM_TESTDATA names the
// folder, the test fails.
func needModels(tb testing.TB) {
	tb.Helper()
	if modelsFit(tb) {
		return
	}
	if os.Getenv("GOTVM_TESTDATA") != "" {
		tb.Fatalf("the models in %s are for another machine", testdata())
	}
	tb.Skipf("the models in %s are for another machine", testdata())
}

func machineOf(tb testing.TB, path string) elf.Machine {
	tb.Helper()
	file, err := elf.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	return file.Machine
}

func zooCases(tb testing.TB) []zooCase {
	tb.Helper()
	needModels(tb)
	data, err := os.ReadFile(filepath.Join(testdata(), "models", "manifest.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var cases []zooCase
	if err := json.Unmarshal(data, &cases); err != nil {
		tb.Fatal(err)
	}
	if len(cases) < 40 {
		tb.Fatalf("the manifest lists %d models", len(cases))
	}
	return cases
}

func zooCaseNamed(tb testing.TB, gen, name string) zooCase {
	tb.Helper()
	for _, c := range zooCases(tb) {
		if c.Gen == gen && c.Case == name {
			return c
		}
	}
	tb.Fatalf("there is no model %s of %s", name, gen)
	return zooCase{}
}

// referenceTensor is an entry of a reference file: raw elements.
type referenceTensor struct {
	dtype string
	shape []int64
	data  []byte
}

// readReference reads a params file (TVM's format: two u64, names, tensors) without help from the package
// under test.
func readReference(tb testing.TB, path string) map[string]referenceTensor {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	take := func(n uint64) []byte {
		if n > uint64(len(data)) {
			tb.Fatalf("%s is cut short", path)
		}
		head := data[:n]
		data = data[n:]
		return head
	}
	number := func() uint64 { return binary.LittleEndian.Uint64(take(8)) }
	if magic := number(); magic != 0xF7E58D4F05049CB7 {
		tb.Fatalf("%s begins with %x", path, magic)
	}
	number()
	names := make([]string, number())
	for i := range names {
		names[i] = string(take(number()))
	}
	tensors := make(map[string]referenceTensor)
	number() // as many tensors
	for _, name := range names {
		take(8 + 8 + 8) // magic, reserved, device
		var t referenceTensor
		ndim := binary.LittleEndian.Uint32(take(4))
		code := take(4)
		t.dtype = dtypeNames[[2]byte{code[0], code[1]}]
		for range ndim {
			t.shape = append(t.shape, int64(number()))
		}
		t.data = take(number())
		tensors[name] = t
	}
	return tensors
}

// Element types by the classic code and number of bits.
var dtypeNames = map[[2]byte]string{
	{0, 8}: "int8", {0, 16}: "int16", {0, 32}: "int32", {0, 64}: "int64",
	{1, 1}: "bool", {1, 8}: "uint8", {1, 16}: "uint16", {1, 32}: "uint32", {1, 64}: "uint64",
	{2, 16}: "float16", {2, 32}: "float32", {2, 64}: "float64", {4, 16}: "bfloat16",
	{6, 8}: "bool", // in files of TVM 0.23 and newer
}

// array makes an array of a reference tensor.
func (t referenceTensor) array(tb testing.TB) *gotvm.Array {
	tb.Helper()
	x, err := gotvm.NewArray(t.shape, make([]byte, len(t.data)/t.itemSize()))
	if t.dtype != "uint8" {
		if len(t.shape) == 0 {
			x, err = emptyScalar(t.dtype)
		} else {
			x, err = gotvm.Empty(t.shape, t.dtype)
		}
	}
	if err == nil {
		err = x.CopyFromBytes(t.data)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

// emptyScalar makes a scalar of any type: Empty wants a dimension.
func emptyScalar(dtype string) (*gotvm.Array, error) {
	switch dtype {
	case "float32":
		return gotvm.NewArray([]int64{}, []float32{0})
	case "int32":
		return gotvm.NewArray([]int64{}, []int32{0})
	case "int64":
		return gotvm.NewArray([]int64{}, []int64{0})
	case "bool":
		return gotvm.NewArray([]int64{}, []bool{false})
	default:
		return nil, fmt.Errorf("no scalar of %s is needed yet", dtype)
	}
}

func (t referenceTensor) itemSize() int {
	switch t.dtype {
	case "bool", "int8", "uint8":
		return 1
	case "float16", "bfloat16", "int16", "uint16":
		return 2
	case "float32", "int32", "uint32":
		return 4
	default:
		return 8
	}
}

// numbers decodes elements without help from the package under test.
func (t referenceTensor) numbers() []float64 {
	size := t.itemSize()
	values := make([]float64, len(t.data)/size)
	for i := range values {
		b := t.data[i*size:]
		switch t.dtype {
		case "float32":
			values[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		case "float64":
			values[i] = math.Float64frombits(binary.LittleEndian.Uint64(b))
		case "float16":
			values[i] = halfValue(binary.LittleEndian.Uint16(b))
		case "bfloat16":
			values[i] = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
		case "int8":
			values[i] = float64(int8(b[0]))
		case "int16":
			values[i] = float64(int16(binary.LittleEndian.Uint16(b)))
		case "int32":
			values[i] = float64(int32(binary.LittleEndian.Uint32(b)))
		case "int64":
			values[i] = float64(int64(binary.LittleEndian.Uint64(b)))
		case "bool", "uint8":
			values[i] = float64(b[0])
		case "uint16":
			values[i] = float64(binary.LittleEndian.Uint16(b))
		case "uint32":
			values[i] = float64(binary.LittleEndian.Uint32(b))
		case "uint64":
			values[i] = float64(binary.LittleEndian.Uint64(b))
		default:
			panic("no numbers of " + t.dtype + " are needed yet")
		}
	}
	return values
}

func halfValue(bits uint16) float64 {
	sign := 1.0
	if bits&0x8000 != 0 {
		sign = -1
	}
	exponent, fraction := int(bits>>10&0x1f), float64(bits&0x3ff)
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 0x1f:
		if fraction != 0 {
			return math.NaN()
		}
		return sign * math.Inf(1)
	default:
		return sign * math.Ldexp(fraction+1024, exponent-25)
	}
}

// compareOutput compares an array with the reference.
func compareOutput(tb testing.TB, what string, got *gotvm.Array, want referenceTensor, rtol, atol float64) {
	tb.Helper()
	if got.GetDType() != want.dtype || fmt.Sprint(got.GetShape()) != fmt.Sprint(append([]int64{}, want.shape...)) {
		tb.Errorf("%s is %s %v, want %s %v", what, got.GetDType(), got.GetShape(), want.dtype, want.shape)
		return
	}
	data, err := got.Bytes()
	if err != nil {
		tb.Errorf("%s: %v", what, err)
		return
	}
	values := referenceTensor{want.dtype, want.shape, data}.numbers()
	for i, expected := range want.numbers() {
		if values[i] == expected || math.IsNaN(values[i]) && math.IsNaN(expected) {
			continue
		}
		if d := math.Abs(values[i] - expected); !(d <= atol+rtol*math.Abs(expected)) {
			tb.Errorf("%s: element %d is %v, want %v", what, i, values[i], expected)
			return
		}
	}
}

// inputsOf gives a reference file's inputs as arrays.
func inputsOf(tb testing.TB, reference map[string]referenceTensor) gotvm.Inputs {
	tb.Helper()
	inputs := gotvm.Inputs{}
	for name, tensor := range reference {
		if len(name) > 3 && name[:3] == "in:" {
			inputs[name[3:]] = tensor.array(tb)
		}
	}
	return inputs
}
