// Pack_func_closure_arg passes a Go closure to a packed function.
package main

import (
	"fmt"
	"os"

	"github.com/gotvm/gotvm/gotvm"
)

// sampleFunctionArg calls its first argument with the two others.
func sampleFunctionArg(args ...*gotvm.Value) (interface{}, error) {
	if len(args) != 3 {
		return nil, fmt.Errorf("expected 3 arguments, got %d", len(args))
	}
	function, err := args[0].Function()
	if err != nil {
		return nil, err
	}
	defer function.Close()
	return function.Invoke(args[1].AsInt64(), args[2].AsInt64())
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pack_func_closure_arg:", err)
		os.Exit(1)
	}
}

func run() error {
	// Without a name, the function goes by the one that Go gives it.
	if err := gotvm.RegisterFunction(sampleFunctionArg); err != nil {
		return err
	}
	apply, err := gotvm.GetGlobalFunction("main.sampleFunctionArg")
	if err != nil {
		return err
	}
	defer apply.Close()

	calls := 0
	add := func(args ...*gotvm.Value) (interface{}, error) {
		calls++ // closures may capture what they like
		return args[0].AsInt64() + args[1].AsInt64(), nil
	}
	result, err := apply.Invoke(add, 30, 50)
	if err != nil {
		return err
	}
	fmt.Printf("Result: %d after %d call\n", result.AsInt64(), calls)
	return nil
}
