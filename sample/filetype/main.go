// Filetype tells the types of files by what is in them, with magika's model: a network that Google trained to know 214
// types. Its answers are those of the magika command. README.md says how to make the model.
//
//	filetype [-model build/models/magika/magika-relax.so] file…
//
// A line for each file gives the type and its group. Where the network was asked its score follows, from 0 to 1; where
// the score is too low to trust, so does what the network took the file for:
//
//	LICENSE: Generic text document (text) 0.9998
//	go.mod: Generic text document (text), perhaps Fortran (document) 0.4290
//	build: A directory (inode)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

func main() {
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: filetype [-model model.so] file…")
		flag.PrintDefaults()
	}
	library := flag.String("model", "build/models/magika/magika-relax.so", "the compiled model, with its config beside it")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(context.Background(), os.Stdout, *library, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "filetype:", err)
		os.Exit(1)
	}
}

// run prints the types of the files in their order, as soon as they are known. A file that cannot be read is left out,
// and is in the error.
func run(ctx context.Context, w io.Writer, library string, paths []string) error {
	config, err := readConfig(library)
	if err != nil {
		return err
	}
	model, err := openModel(library)
	if err != nil {
		return err
	}
	defer model.Close()

	type answer struct {
		verdict verdict
		err     error
	}
	answers := make([]chan answer, len(paths))
	for i := range answers {
		answers[i] = make(chan answer, 1)
	}

	// A detector for each processor: they take the next path that nobody has taken.
	var next atomic.Int64
	var working sync.WaitGroup
	defer func() {
		next.Store(int64(len(paths))) // after an error nothing is left to take
		working.Wait()
	}()
	for range min(runtime.GOMAXPROCS(0), len(paths)) {
		detector, err := newDetector(model, config)
		if err != nil {
			return err
		}
		working.Add(1)
		go func() {
			defer working.Done()
			defer detector.Close()
			for i := next.Add(1) - 1; i < int64(len(paths)); i = next.Add(1) - 1 {
				verdict, err := detector.detect(ctx, paths[i])
				answers[i] <- answer{verdict, err}
			}
		}()
	}

	var failed []error
	for i, path := range paths {
		answer := <-answers[i]
		if answer.err != nil {
			failed = append(failed, answer.err)
			continue
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", path, config.describe(answer.verdict)); err != nil {
			return errors.Join(append(failed, err)...)
		}
	}
	return errors.Join(failed...)
}
