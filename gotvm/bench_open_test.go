package gotvm_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// Opening a model, making its first session, and closing both, by packaging, in turns. Each gets its median time and
// what that is of the time of the three files: it should not be more, but for a tar by the copy of mod.so that the
// dynamic linker needs, as it loads no part of a file.
func BenchmarkOpen(b *testing.B) {
	c := zooCaseNamed(b, "tvm0.19", "conv")
	blobs := readBlobs(b, c.files())
	factory, pack := readFile(b, c.path("factory.so")), readFile(b, c.path("package.tar"))
	ways := []struct {
		name  string
		open  func() (*gotvm.Model, error)
		times []time.Duration
	}{
		{name: "files", open: func() (*gotvm.Model, error) { return gotvm.OpenFiles(c.files()) }},
		{name: "factory", open: func() (*gotvm.Model, error) { return gotvm.Open(c.path("factory.so")) }},
		{name: "tar", open: func() (*gotvm.Model, error) { return gotvm.Open(c.path("package.tar")) }},
		{name: "aot", open: func() (*gotvm.Model, error) { return gotvm.Open(c.path("aot.so")) }},
		{name: "bytes/files", open: func() (*gotvm.Model, error) { return gotvm.OpenBytes(blobs) }},
		{name: "bytes/factory", open: func() (*gotvm.Model, error) { return gotvm.OpenBytes(gotvm.Blobs{Lib: factory}) }},
		{name: "bytes/tar", open: func() (*gotvm.Model, error) { return gotvm.OpenBytes(gotvm.Blobs{Lib: pack}) }},
	}
	for range b.N {
		for i := range ways {
			start := time.Now()
			m, err := ways[i].open()
			if err != nil {
				b.Fatal(err)
			}
			s, err := m.NewSession()
			if err != nil {
				b.Fatal(err)
			}
			_ = s.Close()
			_ = m.Close()
			ways[i].times = append(ways[i].times, time.Since(start))
		}
	}
	for i := range ways {
		slices.Sort(ways[i].times)
		median := ways[i].times[b.N/2]
		b.ReportMetric(float64(median.Nanoseconds()), ways[i].name+"-ns")
		b.ReportMetric(float64(median)/float64(ways[0].times[b.N/2]), ways[i].name+"/files")
	}
}
