package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"image"
	"image/png"
	"strings"

	"github.com/gotvm/gotvm/gotvm"
)

// The compiled network; its library is embedded by library_*.go, one for each architecture.
var (
	//go:embed model/digits.json
	graph []byte
	//go:embed model/digits.params
	params []byte
)

// Pictures that were kept out of training, in a grid of size×size tiles, and a line of labels for each row.
var (
	//go:embed model/heldout.png
	heldOutPNG []byte
	//go:embed model/heldout.txt
	heldOutLabels string
)

// classifier is one session of the network: for one goroutine at a time.
type classifier struct {
	model   *gotvm.Model
	session *gotvm.Session
}

func newClassifier() (*classifier, error) {
	model, err := gotvm.OpenBytes(gotvm.Blobs{Lib: library, Graph: graph, Params: params})
	if err != nil {
		return nil, err
	}
	session, err := model.NewSession()
	if err != nil {
		model.Close()
		return nil, err
	}
	return &classifier{model, session}, nil
}

func (c *classifier) Close() {
	c.session.Close()
	c.model.Close()
}

// classify returns the most probable digit and its probability.
func (c *classifier) classify(ctx context.Context, p picture) (digit int, confidence float32, err error) {
	input, err := gotvm.NewArray([]int64{1, 1, size, size}, p[:])
	if err != nil {
		return 0, 0, err
	}
	defer input.Close()
	outputs, err := c.session.Run(ctx, gotvm.Inputs{"image": input})
	if err != nil {
		return 0, 0, err
	}
	defer outputs[0].Close()
	probabilities, err := gotvm.DataOf[float32](outputs[0])
	if err != nil {
		return 0, 0, err
	}
	for i, probability := range probabilities {
		if probability > confidence {
			digit, confidence = i, probability
		}
	}
	return digit, confidence, nil
}

// heldOut returns the embedded pictures and their labels.
func heldOut() (pictures []picture, labels []int, err error) {
	sheet, err := png.Decode(bytes.NewReader(heldOutPNG))
	if err != nil {
		return nil, nil, fmt.Errorf("the embedded pictures: %w", err)
	}
	for row, line := range strings.Fields(heldOutLabels) {
		for column, label := range line {
			tile := image.Rect(column*size, row*size, (column+1)*size, (row+1)*size)
			pictures = append(pictures, averageInk(sheet, tile, false))
			labels = append(labels, int(label-'0'))
		}
	}
	return pictures, labels, nil
}
