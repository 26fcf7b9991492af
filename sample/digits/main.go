// Digits says which handwritten digit a picture shows. The model, a small convolutional network compiled by
// TVM, is part of the program: nothing is read from disk but the pictures.
//
//	digits                       show some of the embedded held-out pictures, and the accuracy over all of them
//	digits picture.png…          read digits from PNG files: one digit each, any size, on a plain background
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: digits [picture.png…]")
	}
	flag.Parse()
	if err := run(context.Background(), os.Stdout, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "digits:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, paths []string) error {
	classifier, err := newClassifier()
	if err != nil {
		return err
	}
	defer classifier.Close()
	if len(paths) == 0 {
		return showHeldOut(ctx, w, classifier)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		p, err := readPicture(bytes.NewReader(data))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		digit, confidence, err := classifier.classify(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fmt.Fprintf(w, "%s\n%s→ %d  (%.1f %%)\n\n", path, p, digit, 100*confidence)
	}
	return nil
}

// showHeldOut classifies all pictures that the network never saw in training, and prints every 60th one and
// the accuracy.
func showHeldOut(ctx context.Context, w io.Writer, classifier *classifier) error {
	pictures, labels, err := heldOut()
	if err != nil {
		return err
	}
	right := 0
	for i, p := range pictures {
		digit, confidence, err := classifier.classify(ctx, p)
		if err != nil {
			return fmt.Errorf("held-out picture %d: %w", i, err)
		}
		if digit == labels[i] {
			right++
		}
		if i%60 == 0 {
			fmt.Fprintf(w, "%s→ %d  (%.1f %%), labelled %d\n\n", p, digit, 100*confidence, labels[i])
		}
	}
	fmt.Fprintf(w, "%d of %d held-out pictures are right: %.2f %%\n", right, len(pictures),
		100*float64(right)/float64(len(pictures)))
	return nil
}
