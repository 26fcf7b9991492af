package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/gotvm/gotvm/gotvm"
)

// openModel opens what either compiler made of the model: a library of TVM 0.19 has its graph and parameters beside it,
// a Relax executable is one file.
func openModel(library string) (*gotvm.Model, error) {
	base := strings.TrimSuffix(library, ".so")
	graph := base + ".json"
	if _, err := os.Stat(graph); errors.Is(err, fs.ErrNotExist) {
		return gotvm.Open(library)
	}
	return gotvm.OpenFiles(gotvm.Files{Lib: library, Graph: graph, Params: base + ".params"})
}

// detector is one session of the model: for one goroutine at a time.
type detector struct {
	config  *config
	session *gotvm.Session
	tokens  []int32   // the memory of the model's input
	scores  []float32 // and of its output
}

func newDetector(model *gotvm.Model, config *config) (*detector, error) {
	session, err := model.NewSession(gotvm.WithThreads(1)) // the other processors have files of their own
	if err != nil {
		return nil, err
	}
	d := &detector{config: config, session: session}
	if err := d.bind(model); err != nil {
		session.Close()
		return nil, err
	}
	return d, nil
}

// bind makes d's memory the input and output of the session; a model that takes or gives something else is an error.
func (d *detector) bind(model *gotvm.Model) error {
	inputs := model.Inputs()
	if len(inputs) != 1 {
		return fmt.Errorf("the model has %d inputs, want 1, the tokens: is it magika's?", len(inputs))
	}
	tokens, err := gotvm.Empty([]int64{1, int64(d.config.tokens())}, "int32")
	if err != nil {
		return err
	}
	defer tokens.Close() // the session keeps the memory
	scores, err := gotvm.Empty([]int64{1, int64(len(d.config.Labels))}, "float32")
	if err != nil {
		return err
	}
	defer scores.Close()
	if err := d.session.BindInput(inputs[0].Name, tokens); err != nil {
		return err
	}
	if err := d.session.BindOutput(0, scores); err != nil {
		return err
	}
	if d.tokens, err = gotvm.DataOf[int32](tokens); err != nil {
		return err
	}
	d.scores, err = gotvm.DataOf[float32](scores)
	return err
}

func (d *detector) Close() {
	d.session.Close()
}

// detect tells the type of the file at path. Links are followed. What is neither a file nor a folder is not opened:
// reading a pipe would take what is in it from others.
func (d *detector) detect(ctx context.Context, path string) (verdict, error) {
	info, err := os.Stat(path)
	if err != nil {
		return verdict{}, err
	}
	switch {
	case info.IsDir():
		return verdict{label: "directory"}, nil
	case !info.Mode().IsRegular():
		return verdict{label: "unknown"}, nil
	case info.Size() == 0:
		return verdict{label: "empty"}, nil
	}
	begin, end, err := readEnds(path, info.Size(), d.config.BlockSize)
	if err != nil {
		return verdict{}, err
	}
	if !d.config.tokenize(d.tokens, begin, end) {
		return withoutModel(begin), nil
	}
	if _, err := d.session.Run(ctx, nil); err != nil {
		return verdict{}, fmt.Errorf("%s: %w", path, err)
	}
	return d.config.decide(d.scores), nil
}

// readEnds reads the first and the last block of a file; of a file that is shorter, both are the whole of it.
func readEnds(path string, size int64, block int) (begin, end []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	begin = make([]byte, min(size, int64(block)))
	if _, err := io.ReadFull(file, begin); err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", path, err)
	}
	end = make([]byte, len(begin))
	if _, err := file.ReadAt(end, size-int64(len(end))); err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return begin, end, nil
}
