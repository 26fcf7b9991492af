// Pack_func_register makes a global function of a Go function: compiled code and other parts of the
// program find it by name.
package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/gotvm/gotvm/gotvm"
)

// sampleCb adds its two arguments. AsInt64 is 0 for what is no integer; Int64 would say so.
func sampleCb(args ...*gotvm.Value) (interface{}, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("expected 2 arguments, got %d", len(args))
	}
	return args[0].AsInt64() + args[1].AsInt64(), nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pack_func_register:", err)
		os.Exit(1)
	}
}

func run() error {
	if err := gotvm.RegisterFunction(sampleCb, "sampleCb"); err != nil {
		return err
	}
	names, err := gotvm.FuncListGlobalNames()
	if err != nil {
		return err
	}
	fmt.Println("Listed:", slices.Contains(names, "sampleCb"))

	function, err := gotvm.GetGlobalFunction("sampleCb")
	if err != nil {
		return err
	}
	defer function.Close()
	result, err := function.Invoke(int64(10), int64(20))
	if err != nil {
		return err
	}
	fmt.Println("Result:", result.AsInt64())
	return nil
}
