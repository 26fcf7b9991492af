// Command opened times a compiled model of any form.
package main

import (
	"context"
	"os"
	"strconv"
	"strings"

	"github.com/gotvm/gotvm/gotvm"
	"github.com/gotvm/gotvm/scripts/bench/harness"
)

// main takes PATH INPUT DTYPE SHAPE THREADS and answers requests "REPEAT NUMBER". The input is zeros.
func main() {
	path, name, dtype, dims, threads := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	var shape []int64
	for _, dim := range strings.Split(dims, ",") {
		shape = append(shape, harness.Must(strconv.ParseInt(dim, 10, 64)))
	}
	model := harness.Must(gotvm.Open(path))
	session := harness.Must(model.NewSession(gotvm.WithThreads(harness.Must(strconv.Atoi(threads)))))
	harness.Check(session.BindInput(name, harness.Must(gotvm.Empty(shape, dtype))))
	harness.Serve(func(words []string) any {
		return harness.Times(words, func() { harness.Must(session.Run(context.Background(), nil)) })
	})
}
