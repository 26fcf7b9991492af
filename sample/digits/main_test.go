package main

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newTestClassifier(t *testing.T) *classifier {
	t.Helper()
	c, err := newClassifier()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// The training script prints the accuracy of the network before it was compiled; at least 97 % is what it
// must reach.
func TestHeldOutAccuracy(t *testing.T) {
	c := newTestClassifier(t)
	pictures, labels, err := heldOut()
	if err != nil {
		t.Fatal(err)
	}
	if len(pictures) < 300 || len(pictures) != len(labels) {
		t.Fatalf("%d pictures and %d labels", len(pictures), len(labels))
	}
	right := 0
	for i, p := range pictures {
		digit, confidence, err := c.classify(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		if confidence <= 0.1 || confidence > 1.0001 {
			t.Errorf("picture %d: confidence %v", i, confidence)
		}
		if digit == labels[i] {
			right++
		}
	}
	if accuracy := float64(right) / float64(len(pictures)); accuracy < 0.97 {
		t.Errorf("accuracy %.4f, want at least 0.97", accuracy)
	}
}

func TestRunWithoutArguments(t *testing.T) {
	var out bytes.Buffer
	if err := run(context.Background(), &out, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"labelled", "held-out pictures are right"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out.String())
		}
	}
}

// A held-out picture, drawn dark on light, large and off centre, is still read as the same digit.
func TestRunOnPNG(t *testing.T) {
	pictures, labels, err := heldOut()
	if err != nil {
		t.Fatal(err)
	}
	c := newTestClassifier(t)
	tried, same := 0, 0
	for i := 0; i < len(pictures); i += 7 {
		var file bytes.Buffer
		if err := png.Encode(&file, enlarge(pictures[i], 24)); err != nil {
			t.Fatal(err)
		}
		p, err := readPicture(&file)
		if err != nil {
			t.Fatal(err)
		}
		digit, _, err := c.classify(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		tried++
		if digit == labels[i] {
			same++
		}
	}
	if same*10 < tried*9 {
		t.Errorf("%d of %d enlarged pictures are right, want at least 9 of 10", same, tried)
	}

	path := filepath.Join(t.TempDir(), "digit.png")
	var file, out bytes.Buffer
	if err := png.Encode(&file, enlarge(pictures[0], 24)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(context.Background(), &out, []string{path}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), path) || !strings.Contains(out.String(), "→") {
		t.Errorf("unexpected output:\n%s", out.String())
	}
}

func TestBadPictures(t *testing.T) {
	var blank bytes.Buffer
	if err := png.Encode(&blank, image.NewGray(image.Rect(0, 0, 30, 30))); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"not a PNG": {[]byte("hello, this is plain text"), "not a PNG"},
		"empty":     {nil, "EOF"},
		"blank":     {blank.Bytes(), "blank"},
	} {
		path := filepath.Join(t.TempDir(), "bad.png")
		if err := os.WriteFile(path, test.data, 0o600); err != nil {
			t.Fatal(err)
		}
		err := run(context.Background(), &bytes.Buffer{}, []string{path})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one with the path and %q", name, err, test.want)
		}
	}
}

// enlarge draws a picture in black on white, scale pixels for each of its own, with a margin.
func enlarge(p picture, scale int) image.Image {
	img := image.NewGray(image.Rect(0, 0, (size+3)*scale, (size+2)*scale))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	for y := 0; y < size*scale; y++ {
		for x := 0; x < size*scale; x++ {
			ink := p[y/scale*size+x/scale]
			img.Set(x+2*scale, y+scale, color.Gray{Y: uint8(255 * (1 - ink))})
		}
	}
	return img
}
