package gotvm_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

func TestVersion(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Skip("only the repository has the Makefile: ", err)
	}
	line := regexp.MustCompile(`(?m)^VERSION = (.*)$`).FindSubmatch(makefile)
	if line == nil || string(line[1]) != gotvm.Version {
		t.Errorf("the Makefile says %q, the package %q", line, gotvm.Version)
	}
}

func TestBuildInfo(t *testing.T) {
	b := gotvm.BuildInfo()
	if b.Version != gotvm.Version || b.TVM != gotvm.TVMVersion || b.DLPack != gotvm.DLPackVersion || !slices.Contains(b.Devices, "cpu") {
		t.Errorf("%+v", b)
	}
	if !regexp.MustCompile(`^1\.\d+\.\d+$`).MatchString(b.CJSON) {
		t.Errorf("cJSON %q", b.CJSON)
	}
	if !regexp.MustCompile(`^(gcc|clang) \d+\.\d+`).MatchString(b.Compiler) {
		t.Errorf("compiler %q", b.Compiler)
	}
	for _, part := range []string{gotvm.Version, b.CJSON, b.Compiler, "devices: cpu"} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("%q does not say %q", b, part)
		}
	}
	t.Log(b)
}

// The CPU, compared with what the kernel says of it.
func TestDeviceInfo(t *testing.T) {
	devices := gotvm.Devices()
	if len(devices) == 0 {
		t.Fatal("there is no device")
	}
	for _, d := range devices {
		t.Logf("%+v", d)
	}
	cpu := devices[0]
	if cpu.Device != gotvm.CPU(0) || cpu.Kind != "cpu" || cpu.Name == "" {
		t.Errorf("%+v", cpu)
	}
	field := func(file, name string) string {
		_, line, _ := strings.Cut("\n"+string(readFile(t, file)), "\n"+name)
		line, _, _ = strings.Cut(line, "\n")
		return strings.Trim(line, "\t :")
	}
	if name := field("/proc/cpuinfo", "model name"); name != "" && name != cpu.Name { // arm64 has none
		t.Errorf("the kernel calls the CPU %q, and here it is %q", name, cpu.Name)
	}
	memory := fmt.Sprintf("%d kB", cpu.Memory>>10)
	if total := field("/proc/meminfo", "MemTotal"); total != memory {
		t.Errorf("the kernel has %s of memory, and here it is %s", total, memory)
	}
	configure := must(gotvm.GetGlobalFunction("runtime.config_threadpool"))
	defer invoke(t, configure, 0, 0)
	invoke(t, configure, 0, 3)
	if threads := gotvm.Devices()[0].Threads; threads != 3 {
		t.Errorf("the pool has 3 threads, and here it is %d", threads)
	}
}
