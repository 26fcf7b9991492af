//go:build !noopencl

package gotvm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// TestOpenCLProcess is no test by itself: it is what the processes of the tests below run.
func TestOpenCLProcess(t *testing.T) {
	folder := os.Getenv("GOTVM_TEST_CACHE")
	if folder == "" {
		t.Skip("run by other tests")
	}
	err := gotvm.ConfigureOpenCL(gotvm.OpenCLConfig{Type: "all", CacheDir: folder, CacheBytes: 100 << 20})
	if err != nil {
		t.Fatal(err)
	}
	const model = "tvm0.19/mlp"
	reference := readReference(t, openclFile(model, "reference.params"))
	m, s := openclSession(t, model)
	outputs := must(s.Run(context.Background(), inputsOf(t, reference)))
	checkOutputs(t, outputs, reference)
	if err := errors.Join(s.Close(), m.Close()); err != nil {
		t.Fatal(err)
	}
	if err := gotvm.ConfigureOpenCL(gotvm.OpenCLConfig{}); !errors.Is(err, gotvm.ErrBusy) {
		t.Errorf("ConfigureOpenCL after the first use: %v", err)
	}
}

// runOpenCLProcess runs the model in a process of its own and gives the only file in the cache afterwards.
func runOpenCLProcess(t *testing.T, folder string) (string, os.FileInfo) {
	t.Helper()
	process := thisTest("-test.run=^TestOpenCLProcess$", "-test.v")
	process.Env = append(os.Environ(), "GOTVM_TEST_CACHE="+folder)
	if out, err := process.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
	files := must(filepath.Glob(filepath.Join(folder, "*")))
	if len(files) != 1 {
		t.Fatalf("the cache holds %v", files)
	}
	return files[0], must(os.Stat(files[0]))
}

// TestOpenCLCache: a second process starts with what the first compiled. One that compiles replaces the file of the
// program, one that finds it compiled leaves the file and marks it as used now.
func TestOpenCLCache(t *testing.T) {
	needOpenCL(t)
	folder := filepath.Join(t.TempDir(), "cache")
	path, compiled := runOpenCLProcess(t, folder)
	old := time.Now().Add(-time.Hour)
	for range 2 {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		_, found := runOpenCLProcess(t, folder)
		if !os.SameFile(compiled, found) {
			t.Error("the kernels were compiled again")
		}
		if !found.ModTime().After(old) {
			t.Error("the compiled kernels were not used")
		}
	}
	// Damaged, in place.
	content := readFile(t, path)
	content[len(content)/2] ^= 1
	writeFile(t, path, content)
	if _, again := runOpenCLProcess(t, folder); os.SameFile(compiled, again) {
		t.Error("a damaged file was not replaced")
	}
}

func TestConfigureOpenCLErrors(t *testing.T) {
	for want, config := range map[string]gotvm.OpenCLConfig{
		`the type is "fpga": expected gpu, cpu, accelerator or all`: {Type: "fpga"},
		"CacheBytes: expected 0 or more, got -1":                    {CacheBytes: -1},
		"the cache's folder is no text of less than":                {CacheDir: strings.Repeat("x", 1<<16)},
		"the platform is no text of less than":                      {Platform: "a\x00b"},
	} {
		err := gotvm.ConfigureOpenCL(config)
		if !errors.Is(err, gotvm.ErrInvalidArgument) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", config, err)
		}
	}
}

// TVM's functions for programs that keep compiled kernels themselves can be called from Go; what they save is counted in
// csrc/test/test_opencl_programs.c.
func TestOpenCLPrecompiled(t *testing.T) {
	needOpenCL(t)
	const model = "tvm0.19/mlp"
	reference := readReference(t, openclFile(model, "reference.params"))
	var programs []byte
	for range 2 {
		m, s := openclSession(t, model)
		if programs != nil {
			set := must(m.Module().GetFunction("opencl.SetPreCompiledPrograms"))
			must(set.Invoke(programs))
			if _, err := set.Invoke(programs[:len(programs)-1]); !errors.Is(err, gotvm.ErrFormat) {
				t.Errorf("programs cut short: %v", err)
			}
		}
		outputs := must(s.Run(context.Background(), inputsOf(t, reference)))
		checkOutputs(t, outputs, reference)
		get := must(m.Module().GetFunction("opencl.GetPreCompiledPrograms"))
		programs = must(must(get.Invoke()).Bytes())
	}
}

// As early as possible: before anything asks for devices.
func ExampleConfigureOpenCL() {
	err := gotvm.ConfigureOpenCL(gotvm.OpenCLConfig{
		Type:     "gpu",
		Platform: "NVIDIA",
		CacheDir: "/var/cache/myserver",
	})
	if err != nil {
		fmt.Println(err)
	}
}
