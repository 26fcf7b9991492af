package main

import (
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"strings"
)

// size is the side of the pictures that the network was trained on.
const size = 8

// picture holds size×size pixels, row by row: how much of each is ink, from 0 to 1.
type picture [size * size]float32

// String draws the picture with two characters a pixel.
func (p picture) String() string {
	shades := []rune(" ░▒▓█")
	var text strings.Builder
	for i, ink := range p {
		shade := shades[int(math.Round(float64(ink)*float64(len(shades)-1)))]
		text.WriteRune(shade)
		text.WriteRune(shade)
		if i%size == size-1 {
			text.WriteByte('\n')
		}
	}
	return text.String()
}

// readPicture reads a PNG that shows one digit and brings it into the form of the training set: the digit
// fills the height, centred, light ink on a dark ground. A picture of size×size pixels is in that form already.
func readPicture(r io.Reader) (picture, error) {
	img, err := png.Decode(r)
	if err != nil {
		return picture{}, err
	}
	bounds := img.Bounds()
	if bounds.Dx() == size && bounds.Dy() == size {
		return averageInk(img, bounds, false), nil
	}
	dark := darkInk(img)
	box := inkBox(img, dark)
	if box.Empty() {
		return picture{}, errors.New("the picture is blank")
	}
	return averageInk(img, square(box), dark), nil
}

// inkAt tells how much ink a pixel holds; outside of the picture there is none. Transparent pixels count as
// ground.
func inkAt(img image.Image, x, y int, dark bool) float64 {
	if !(image.Point{X: x, Y: y}).In(img.Bounds()) {
		return 0
	}
	_, _, _, alpha := img.At(x, y).RGBA()
	if alpha == 0 {
		return 0
	}
	gray := float64(color.Gray16Model.Convert(img.At(x, y)).(color.Gray16).Y) / math.MaxUint16
	if dark {
		return 1 - gray
	}
	return gray
}

// darkInk tells whether the digit is darker than its ground, which the border of the picture shows.
func darkInk(img image.Image) bool {
	b := img.Bounds()
	var sum float64
	var count int
	add := func(x, y int) {
		sum += inkAt(img, x, y, false)
		count++
	}
	for x := b.Min.X; x < b.Max.X; x++ {
		add(x, b.Min.Y)
		add(x, b.Max.Y-1)
	}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		add(b.Min.X, y)
		add(b.Max.X-1, y)
	}
	return sum/float64(count) > 0.5
}

// inkBox returns the smallest rectangle around all pixels with half the strongest ink or more.
func inkBox(img image.Image, dark bool) image.Rectangle {
	b := img.Bounds()
	strongest := 0.0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			strongest = max(strongest, inkAt(img, x, y, dark))
		}
	}
	var box image.Rectangle
	if strongest < 0.1 {
		return box
	}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if inkAt(img, x, y, dark) >= strongest/2 {
				box = box.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return box
}

// square widens a box to a square around the same centre.
func square(box image.Rectangle) image.Rectangle {
	side := max(box.Dx(), box.Dy())
	left := box.Min.X - (side-box.Dx())/2
	top := box.Min.Y - (side-box.Dy())/2
	return image.Rect(left, top, left+side, top+side)
}

// averageInk shrinks or stretches a square part of a picture to size×size, each pixel the average of the area
// that it covers.
func averageInk(img image.Image, part image.Rectangle, dark bool) picture {
	var p picture
	scale := float64(part.Dx()) / size
	for i := range p {
		left := float64(part.Min.X) + float64(i%size)*scale
		top := float64(part.Min.Y) + float64(i/size)*scale
		var ink, area float64
		for y := int(math.Floor(top)); float64(y) < top+scale; y++ {
			height := min(float64(y+1), top+scale) - max(float64(y), top)
			for x := int(math.Floor(left)); float64(x) < left+scale; x++ {
				width := min(float64(x+1), left+scale) - max(float64(x), left)
				ink += inkAt(img, x, y, dark) * width * height
				area += width * height
			}
		}
		p[i] = float32(ink / area)
	}
	return p
}
