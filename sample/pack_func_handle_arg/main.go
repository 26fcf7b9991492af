// Pack_func_handle_arg passes a packed function to another one.
package main

import (
	"fmt"
	"os"

	"github.com/gotvm/gotvm/gotvm"
)

// sampleCb adds its two arguments.
func sampleCb(args ...*gotvm.Value) (interface{}, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("expected 2 arguments, got %d", len(args))
	}
	return args[0].AsInt64() + args[1].AsInt64(), nil
}

// sampleFunctionArg calls its first argument with the others.
func sampleFunctionArg(args ...*gotvm.Value) (interface{}, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("expected a function and its arguments")
	}
	function, err := args[0].Function()
	if err != nil {
		return nil, err
	}
	defer function.Close()
	return function.Invoke(args[1:])
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pack_func_handle_arg:", err)
		os.Exit(1)
	}
}

func run() error {
	add, err := gotvm.ConvertFunction(sampleCb)
	if err != nil {
		return err
	}
	defer add.Close()
	// Without a name, the function goes by the one that Go gives it.
	if err := gotvm.RegisterFunction(sampleFunctionArg); err != nil {
		return err
	}
	apply, err := gotvm.GetGlobalFunction("main.sampleFunctionArg")
	if err != nil {
		return err
	}
	defer apply.Close()
	result, err := apply.Invoke(add, 10, 20)
	if err != nil {
		return err
	}
	fmt.Println("Result:", result.AsInt64())
	return nil
}
