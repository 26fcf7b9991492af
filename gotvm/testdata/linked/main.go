// A program that models are linked into, see gotvm/linked_test.go. It reads runs from its input, does them all at once,
// and writes what they gave.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"sync"

	"github.com/gotvm/gotvm/gotvm"
)

type run struct {
	Linked, Path string // one of both; Linked is a prefix and a colon
	Shape        []int64
	Data         []float32

	Output []float32
	Error  string
}

func (r *run) do() error {
	var model *gotvm.Model
	var err error
	if r.Path != "" {
		model, err = gotvm.Open(r.Path)
	} else {
		model, err = gotvm.OpenLinked(r.Linked[:len(r.Linked)-1])
	}
	if err != nil {
		return err
	}
	defer model.Close()
	session, err := model.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	input, err := gotvm.NewArray(r.Shape, r.Data)
	if err != nil {
		return err
	}
	outputs, err := session.Run(context.Background(), gotvm.Inputs{model.Inputs()[0].Name: input})
	if err != nil {
		return err
	}
	values, err := gotvm.DataOf[float32](outputs[0])
	r.Output = append(r.Output, values...)
	return err
}

func main() {
	var runs []*run
	if err := json.NewDecoder(os.Stdin).Decode(&runs); err != nil {
		log.Fatal(err)
	}
	var all sync.WaitGroup
	for _, r := range runs {
		all.Add(1)
		go func() {
			defer all.Done()
			if err := r.do(); err != nil {
				r.Error = err.Error()
			}
		}()
	}
	all.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(runs); err != nil {
		log.Fatal(err)
	}
}
