package gotvm_test

import (
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

// Opening a model, making its first session, and closing both, by packaging: none may cost more than the three files.
func BenchmarkOpen(b *testing.B) {
	c := zooCaseNamed(b, "tvm0.19", "conv")
	blobs := readBlobs(b, c.files())
	factory, pack := readFile(b, c.path("factory.so")), readFile(b, c.path("package.tar"))
	for _, way := range []struct {
		name string
		open func() (*gotvm.Model, error)
	}{
		{"files", func() (*gotvm.Model, error) { return gotvm.OpenFiles(c.files()) }},
		{"factory", func() (*gotvm.Model, error) { return gotvm.Open(c.path("factory.so")) }},
		{"tar", func() (*gotvm.Model, error) { return gotvm.Open(c.path("package.tar")) }},
		{"aot", func() (*gotvm.Model, error) { return gotvm.Open(c.path("aot.so")) }},
		{"bytes/files", func() (*gotvm.Model, error) { return gotvm.OpenBytes(blobs) }},
		{"bytes/factory", func() (*gotvm.Model, error) { return gotvm.OpenBytes(gotvm.Blobs{Lib: factory}) }},
		{"bytes/tar", func() (*gotvm.Model, error) { return gotvm.OpenBytes(gotvm.Blobs{Lib: pack}) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			for range b.N {
				m, err := way.open()
				if err != nil {
					b.Fatal(err)
				}
				s, err := m.NewSession()
				if err != nil {
					b.Fatal(err)
				}
				_ = s.Close()
				_ = m.Close()
			}
		})
	}
}
