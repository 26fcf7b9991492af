// Simple adds two vectors with a function that TVM has compiled.
//
//	go run ./sample/simple [-lib gotvm/testdata/lib/myadd.so]
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand"
	"os"

	"github.com/gotvm/gotvm/gotvm"
)

func main() {
	lib := flag.String("lib", "gotvm/testdata/lib/myadd.so", "a library with a function myadd(x, y, out) on float32 vectors")
	flag.Parse()
	if err := run(os.Stdout, *lib); err != nil {
		fmt.Fprintln(os.Stderr, "simple:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, lib string) error {
	fmt.Fprintf(w, "TVM Version   : v%v\nDLPACK Version: v%v\n\n", gotvm.TVMVersion, gotvm.DLPackVersion)

	module, err := gotvm.LoadModuleFromFile(lib)
	if err != nil {
		return err
	}
	defer module.Close()
	add, err := module.GetFunction("myadd")
	if err != nil {
		return err
	}
	defer add.Close()

	// Three ways to say the same: float32 on the CPU is the default.
	shape := []int64{4}
	x, err := gotvm.Empty(shape, "float32", gotvm.CPU(0))
	if err != nil {
		return err
	}
	defer x.Close()
	y, err := gotvm.Empty(shape, "float32")
	if err != nil {
		return err
	}
	defer y.Close()
	out, err := gotvm.Empty(shape)
	if err != nil {
		return err
	}
	defer out.Close()

	for _, input := range []struct {
		name  string
		array *gotvm.Array
	}{{"X", x}, {"Y", y}} {
		data := make([]float32, 4)
		for i := range data {
			data[i] = rand.Float32()
		}
		if err := input.array.CopyFrom(data); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: %v\n", input.name, data)
	}
	if _, err := add.Invoke(x, y, out); err != nil {
		return err
	}
	sum, err := out.AsSlice()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "Result: %v\n", sum.([]float32))
	return nil
}
