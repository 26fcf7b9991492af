package gotvm_test

import (
	"os"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

var library = libraryFile("myadd.so")

func checkAdd(t *testing.T, m *gotvm.Module) {
	t.Helper()
	x, y := newArray(t, []int64{3}, []float32{1, 2, 3}), newArray(t, []int64{3}, []float32{10, 20, 30})
	out := must(gotvm.Empty([]int64{3}))
	if v := invoke(t, function(t, m, "myadd"), x, y, out); !v.IsNil() {
		t.Error(v)
	}
	if v := must(gotvm.DataOf[float32](out)); v[0] != 11 || v[1] != 22 || v[2] != 33 {
		t.Error(v)
	}
}

func TestLoadModule(t *testing.T) {
	checkAdd(t, load(t, library))
	for _, format := range []string{"so", "dll", "dylib", "dso"} {
		checkAdd(t, must(gotvm.LoadModuleFromFile(library, format)))
	}
}

func TestLoadModuleFromBytes(t *testing.T) {
	needModels(t)
	checkAdd(t, must(gotvm.LoadModuleFromBytes("myadd", must(os.ReadFile(library)))))
	_, err := gotvm.LoadModuleFromBytes("no library", []byte("no library"))
	wantError(t, err, nil, "no library")
	_, err = gotvm.LoadModuleFromBytes("nothing", nil)
	wantError(t, err, nil, "nothing")
}

func TestLoadModuleRefuses(t *testing.T) {
	needModels(t)
	_, err := gotvm.LoadModuleFromFile("dummy.so")
	wantError(t, err, gotvm.ErrNotFound, "cannot open shared object", "dummy.so", "load: ")
	_, err = gotvm.LoadModuleFromFile("./dummy.so", "so")
	wantError(t, err, gotvm.ErrNotFound, "cannot open shared object")
	_, err = gotvm.LoadModuleFromFile(library, "zip")
	wantError(t, err, nil, "zip")
	_, err = gotvm.LoadModuleFromFile(library, 1)
	wantError(t, err, gotvm.ErrInvalidArgument, "int")
	_, err = gotvm.LoadModuleFromFile("a\x00b")
	wantError(t, err, gotvm.ErrInvalidArgument, "NUL")
	_, err = gotvm.LoadModuleFromFile("module_test.go")
	wantError(t, err, nil, "module_test.go")
}

func TestGetFunction(t *testing.T) {
	m := load(t, library)
	for _, args := range [][]any{nil, {true}, {false}, {1}, {0}, {int32(1)}, {uint8(1)}, {true, 1}} {
		f, err := m.GetFunction("myadd", args...)
		if err != nil || f == nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	f, err := m.GetFunction("missing")
	if f != nil {
		t.Error("a function that is not there")
	}
	wantError(t, err, gotvm.ErrNotFound, "missing", library)
	_, err = m.GetFunction("myadd", "yes")
	wantError(t, err, gotvm.ErrInvalidArgument, "string")
	_, err = m.GetFunction("a\x00b")
	wantError(t, err, gotvm.ErrInvalidArgument, "NUL")
	_, err = m.GetFunction("")
	wantError(t, err, gotvm.ErrNotFound)
}

// A function keeps its module.
func TestCloseModule(t *testing.T) {
	m := load(t, library)
	add := function(t, m, "myadd")
	for i := 0; i < 2; i++ {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := m.GetFunction("myadd")
	wantError(t, err, gotvm.ErrClosed, "module")
	x := must(gotvm.Empty([]int64{2}))
	invoke(t, add, x, x, x)
	_, err = convert(t, echo).Invoke(m)
	wantError(t, err, gotvm.ErrClosed, "module")
}

// Compiled code checks its arguments; what it says must arrive.
func TestCompiledCodeRefuses(t *testing.T) {
	add := function(t, load(t, library), "myadd")
	x := must(gotvm.Empty([]int64{2}))
	_, err := add.Invoke(x)
	wantError(t, err, nil, `call "myadd"`, "num_args should be 3")
	_, err = add.Invoke(x, x, must(gotvm.Empty([]int64{2}, "int32")))
	wantError(t, err, nil, `call "myadd"`)
}
