// Pack_func_convert makes a packed function of a Go function and calls it.
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
	for _, arg := range args {
		fmt.Println("Argument:", arg.Kind(), arg)
	}
	a, err := args[0].Int64()
	if err != nil {
		return nil, err
	}
	b, err := args[1].Int64()
	if err != nil {
		return nil, err
	}
	return a + b, nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pack_func_convert:", err)
		os.Exit(1)
	}
}

func run() error {
	function, err := gotvm.ConvertFunction(sampleCb)
	if err != nil {
		return err
	}
	defer function.Close()
	result, err := function.Invoke(10, 20)
	if err != nil {
		return err
	}
	fmt.Println("Result:", result.AsInt64())
	return nil
}
