// Pack_func_closure_return gets a Go closure back from a packed function, and calls it.
package main

import (
	"fmt"
	"os"

	"github.com/gotvm/gotvm/gotvm"
)

// sampleFunctionCb returns a function that adds its argument to the one here.
func sampleFunctionCb(args ...*gotvm.Value) (interface{}, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("expected 1 argument, got %d", len(args))
	}
	base := args[0].AsInt64()
	return func(args ...*gotvm.Value) (interface{}, error) {
		if len(args) != 1 {
			return nil, fmt.Errorf("expected 1 argument, got %d", len(args))
		}
		return base + args[0].AsInt64(), nil
	}, nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pack_func_closure_return:", err)
		os.Exit(1)
	}
}

func run() error {
	// Without a name, the function goes by the one that Go gives it.
	if err := gotvm.RegisterFunction(sampleFunctionCb); err != nil {
		return err
	}
	makeAdder, err := gotvm.GetGlobalFunction("main.sampleFunctionCb")
	if err != nil {
		return err
	}
	defer makeAdder.Close()
	value, err := makeAdder.Invoke(30)
	if err != nil {
		return err
	}
	add30, err := value.Function()
	if err != nil {
		return err
	}
	defer add30.Close()
	result, err := add30.Invoke(40)
	if err != nil {
		return err
	}
	fmt.Println("Result:", result.AsInt64())
	return nil
}
