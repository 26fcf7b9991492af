// Onefile reads handwritten digits, and is one file: runtime, compiled functions, graph and weights are all in the
// executable, and nothing is read from disk but the pictures. See README.md for how a model gets there.
//
//	onefile                      read the embedded row of pictures
//	onefile row.png…             read PNG files: rows of pictures of 8×8 pixels, light ink on a dark ground
package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"

	"github.com/gotvm/gotvm/gotvm"
)

const size = 8 // the side of the pictures that the network was trained on

//go:embed digits.png
var row []byte

func main() {
	if err := run(context.Background(), os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "onefile:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, paths []string) error {
	// The model that model_linux_*.syso holds, beside this file: go build links it.
	model, err := gotvm.OpenLinked("digits_")
	if err != nil {
		return err
	}
	defer model.Close()
	session, err := model.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	if len(paths) == 0 {
		return readRow(ctx, w, session, row)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := readRow(ctx, w, session, data); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// readRow prints the digits of a PNG as one line.
func readRow(ctx context.Context, w io.Writer, session *gotvm.Session, data []byte) error {
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return err
	}
	b := picture.Bounds()
	if b.Dy() != size || b.Dx()%size != 0 {
		return fmt.Errorf("a picture of %d×%d pixels: expected a row of %d×%d ones", b.Dx(), b.Dy(), size, size)
	}
	for left := b.Min.X; left < b.Max.X; left += size {
		probabilities, err := classify(ctx, session, picture, image.Pt(left, b.Min.Y))
		if err != nil {
			return err
		}
		digit := 0
		for i, p := range probabilities {
			if p > probabilities[digit] {
				digit = i
			}
		}
		fmt.Fprint(w, digit)
	}
	fmt.Fprintln(w)
	return nil
}

// classify gives the probability of each digit for the picture at corner.
func classify(ctx context.Context, session *gotvm.Session, picture image.Image, corner image.Point) ([]float32, error) {
	var pixels [size * size]float32
	for i := range pixels {
		pixel := picture.At(corner.X+i%size, corner.Y+i/size)
		pixels[i] = float32(color.Gray16Model.Convert(pixel).(color.Gray16).Y) / math.MaxUint16
	}
	input, err := gotvm.NewArray([]int64{1, 1, size, size}, pixels[:])
	if err != nil {
		return nil, err
	}
	defer input.Close()
	outputs, err := session.Run(ctx, gotvm.Inputs{"image": input})
	if err != nil {
		return nil, err
	}
	return gotvm.DataOf[float32](outputs[0])
}
