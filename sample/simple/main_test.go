package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

func TestRun(t *testing.T) {
	folder := os.Getenv("GOTVM_TESTDATA")
	if folder == "" && runtime.GOARCH != "amd64" {
		t.Skip("the library is for amd64")
	}
	if folder == "" {
		folder = "../../gotvm/testdata"
	}
	var out strings.Builder
	if err := run(&out, filepath.Join(folder, "lib", "myadd.so")); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if lines[0] != "TVM Version   : v"+gotvm.TVMVersion {
		t.Error(lines[0])
	}
	var x, y, sum [4]float64
	for i, row := range []*[4]float64{&x, &y, &sum} {
		line := lines[len(lines)-3+i]
		_, numbers, _ := strings.Cut(line, ": [")
		if _, err := fmt.Sscanf(numbers, "%g %g %g %g]", &row[0], &row[1], &row[2], &row[3]); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	for i := range sum {
		if math.Abs(x[i]+y[i]-sum[i]) > 1e-5 {
			t.Errorf("%v + %v = %v", x[i], y[i], sum[i])
		}
	}
}

func TestRunWithoutLibrary(t *testing.T) {
	err := run(&strings.Builder{}, "missing.so")
	if err == nil || !strings.Contains(err.Error(), "missing.so") {
		t.Error(err)
	}
}
