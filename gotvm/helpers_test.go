package gotvm_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// TestMain keeps tests from leaving compiled kernels in the user's folder; those of that cache choose one themselves. And it
// lets the runtime make its own functions, which it does at the first look-up, before tests count objects.
func TestMain(m *testing.M) {
	must(gotvm.FuncListGlobalNames())
	if err := os.Setenv("GOTVM_OPENCL_CACHE", "off"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// Short forms of what most tests begin with; each fails the test rather than return an error.

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func convert(tb testing.TB, fn gotvm.Callback) *gotvm.Function {
	tb.Helper()
	f, err := gotvm.ConvertFunction(fn)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func load(tb testing.TB, path string) *gotvm.Module {
	tb.Helper()
	needModels(tb)
	m, err := gotvm.LoadModuleFromFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// thisTest is a command that runs this test binary with other flags, in the emulator that GOTVM_EMULATOR names if
// it is set.
func thisTest(flags ...string) *exec.Cmd {
	command := append([]string{os.Args[0]}, flags...)
	if emulator := os.Getenv("GOTVM_EMULATOR"); emulator != "" {
		command = append([]string{emulator}, command...)
	}
	return exec.Command(command[0], command[1:]...)
}

// emulated tells whether this runs so slowly that its times mean nothing, and that what only repeats itself can do with
// fewer rounds.
func emulated() bool {
	return os.Getenv("GOTVM_EMULATOR") != ""
}

func function(tb testing.TB, m *gotvm.Module, name string) *gotvm.Function {
	tb.Helper()
	f, err := m.GetFunction(name)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func newArray[T gotvm.Element](tb testing.TB, shape []int64, data []T) *gotvm.Array {
	tb.Helper()
	x, err := gotvm.NewArray(shape, data)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func invoke(tb testing.TB, f *gotvm.Function, args ...any) *gotvm.Value {
	tb.Helper()
	v, err := f.Invoke(args...)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// register makes a global function for the time of the test.
func register(tb testing.TB, name string, fn gotvm.Callback) {
	tb.Helper()
	if err := gotvm.RegisterFunction(fn, name); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := gotvm.RemoveFunction(name); err != nil {
			tb.Error(err)
		}
	})
}

var uniqueNames atomic.Int64

// unique is a name that no other test has.
func unique(tb testing.TB) string {
	return fmt.Sprintf("%s.%d", tb.Name(), uniqueNames.Add(1))
}

// echo returns its only argument.
func echo(args ...*gotvm.Value) (any, error) {
	return args[0], nil
}

// eventually collects garbage until done says so.
func eventually(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			tb.Fatalf("never happened: %s; %s", what, gotvm.Live())
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

// identityGraph is a graph without operators, whose output is its input x, float32 of one dimension.
func identityGraph(elements int) string {
	return fmt.Sprintf(`{"nodes": [{"op": "null", "name": "x", "inputs": []}], "arg_nodes": [0], "heads": [[0, 0, 0]], "node_row_ptr": [0, 1],
		"attrs": {"shape": ["list_shape", [[%d]]], "dltype": ["list_str", ["float32"]], "storage_id": ["list_int", [0]]}}`, elements)
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}
