// Command onnx is onnxruntime's side of the benchmarks.
package main

import (
	"errors"
	"os"
	"strconv"

	"github.com/gotvm/gotvm/scripts/bench/harness"
	ort "github.com/yalue/onnxruntime_go"
)

func main() {
	mode, args := os.Args[1], os.Args[2:]
	ort.SetSharedLibraryPath(os.Getenv("ONNXRUNTIME"))
	harness.Check(ort.InitializeEnvironment(ort.WithLogLevelError()))
	switch mode {
	case "first": // PREFIX INPUT SHAPE OUTPUT OUTSHAPE
		s := open(args, "-")
		harness.Check(s.Run())
		harness.First(s.output.GetData())
	case "run": // … THREADS: requests "REPEAT NUMBER"
		run := open(args, args[5]).runner().Run
		harness.Serve(func(words []string) any { return harness.Times(words, run) })
	case "many": // … THREADS: requests "SESSIONS SECONDS"
		harness.Serve(func(words []string) any {
			return harness.Many(words, func() harness.Runner { return open(args, args[5]).runner() })
		})
	case "idle": // … THREADS
		run := open(args, args[5]).runner().Run
		harness.Serve(func([]string) any { return harness.Idle(run) })
	case "arrays":
		harness.Serve(func([]string) any {
			return harness.Arrays(func(shape []int64, data []float32) {
				copy(harness.Must(ort.NewEmptyTensor[float32](shape)).GetData(), data)
			})
		})
	default:
		harness.Check(errors.New("there is no mode " + mode))
	}
}

type session struct {
	*ort.AdvancedSession
	output *ort.Tensor[float32]
}

// open makes a session with bound input and output; with as many threads as onnxruntime likes for "-".
func open(args []string, threads string) session {
	m := harness.Must(harness.ParseModel(args))
	options := harness.Must(ort.NewSessionOptions())
	defer func() { harness.Check(options.Destroy()) }()
	if threads != "-" {
		harness.Check(options.SetIntraOpNumThreads(harness.Must(strconv.Atoi(threads))))
	}
	input := harness.Must(ort.NewTensor(ort.Shape(m.Shape), m.Data))
	output := harness.Must(ort.NewEmptyTensor[float32](ort.Shape(m.OutShape)))
	s := harness.Must(ort.NewAdvancedSession(m.ONNX, []string{m.Input}, []string{m.Output},
		[]ort.Value{input}, []ort.Value{output}, options))
	return session{s, output}
}

func (s session) runner() harness.Runner {
	return harness.Runner{
		Run: func() {
			if err := s.Run(); err != nil {
				harness.Check(err)
			}
		},
		Close: func() { harness.Check(s.Destroy()) },
	}
}
