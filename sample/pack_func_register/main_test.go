package main

import (
	"os/exec"
	"testing"
)

// The program runs as one, since functions have other names in a test's binary.
func TestProgram(t *testing.T) {
	out, err := exec.Command("go", "run", ".").CombinedOutput()
	if want := "Listed: true\nResult: 30\n"; err != nil || string(out) != want {
		t.Errorf("%v\ngot:  %q\nwant: %q", err, out, want)
	}
}
