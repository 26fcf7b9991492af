// Deploy runs a compiled MobileNet with TVM's own functions (tvm.graph_executor.create, load_params, set_input,
// run, get_output), step by step, as TVM's own samples do. The model is what `make models` compiles; the input is
// random.
//
//	deploy [-model build/models/mobilenet/mobilenet]     reads <model>.so, <model>.json and <model>.params
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"os"
	"slices"

	"github.com/gotvm/gotvm/gotvm"
)

// The model takes one picture, rows × columns × channels, and gives a score for each class.
var (
	inputShape  = []int64{1, 224, 224, 3}
	outputShape = []int64{1, 1001}
)

func main() {
	model := flag.String("model", "build/models/mobilenet/mobilenet", "path of the model's files without their endings")
	flag.Parse()
	if err := run(os.Stdout, *model); err != nil {
		fmt.Fprintln(os.Stderr, "deploy:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, model string) error {
	fmt.Fprintf(w, "TVM %s, DLPack %d\n", gotvm.TVMVersion, gotvm.DLPackVersion)
	random := rand.New(rand.NewSource(10))
	picture := make([]float32, 224*224*3)
	for i := range picture {
		picture[i] = random.Float32()
	}
	scores, err := infer(model, picture)
	if err != nil {
		return err
	}
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	fmt.Fprintln(w, "Best classes:")
	for _, class := range order[:5] {
		fmt.Fprintf(w, "%6d  %.6f\n", class, scores[class])
	}
	return nil
}

// infer loads the model and runs it once.
func infer(model string, picture []float32) ([]float32, error) {
	lib, err := gotvm.LoadModuleFromFile(model + ".so")
	if err != nil {
		return nil, err
	}
	defer lib.Close()
	graph, err := os.ReadFile(model + ".json")
	if err != nil {
		return nil, err
	}
	params, err := os.ReadFile(model + ".params")
	if err != nil {
		return nil, err
	}

	create, err := gotvm.GetGlobalFunction("tvm.graph_executor.create")
	if err != nil {
		return nil, err
	}
	defer create.Close()
	created, err := create.Invoke(string(graph), lib, gotvm.KDLCPU, 0)
	if err != nil {
		return nil, err
	}
	executor := created.AsModule()
	defer executor.Close()

	input, err := gotvm.Empty(inputShape, "float32", gotvm.CPU(0))
	if err != nil {
		return nil, err
	}
	defer input.Close()
	if err := input.CopyFrom(picture); err != nil {
		return nil, err
	}
	output, err := gotvm.Empty(outputShape)
	if err != nil {
		return nil, err
	}
	defer output.Close()

	for _, step := range []struct {
		function string
		args     []any
	}{
		{"load_params", []any{params}},
		{"set_input", []any{"input", input}},
		{"run", nil},
		{"get_output", []any{0, output}},
	} {
		function, err := executor.GetFunction(step.function)
		if err != nil {
			return nil, err
		}
		_, err = function.Invoke(step.args...)
		function.Close()
		if err != nil {
			return nil, err
		}
	}
	scores, err := output.AsSlice()
	if err != nil {
		return nil, err
	}
	return scores.([]float32), nil
}
