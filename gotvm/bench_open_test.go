package gotvm_test

import (
	"archive/tar"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

type opener struct {
	name string
	open func() (*gotvm.Model, error)
}

func filePackagings(c zooCase) []opener {
	return []opener{
		{"files", func() (*gotvm.Model, error) { return gotvm.OpenFiles(c.files()) }},
		{"factory", func() (*gotvm.Model, error) { return gotvm.Open(c.path("factory.so")) }},
		{"tar", func() (*gotvm.Model, error) { return gotvm.Open(c.path("package.tar")) }},
		{"aot", func() (*gotvm.Model, error) { return gotvm.Open(c.path("aot.so")) }},
	}
}

// compareOpeners opens a model, makes its first session, and closes both, each way in turns. Each way gets its median
// time and what that is of the time of the first.
func compareOpeners(b *testing.B, ways []opener) {
	times := make([][]time.Duration, len(ways))
	for range b.N {
		for i, way := range ways {
			start := time.Now()
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
			times[i] = append(times[i], time.Since(start))
		}
	}
	var first time.Duration
	for i, way := range ways {
		slices.Sort(times[i])
		median := times[i][b.N/2]
		if i == 0 {
			first = median
		}
		b.ReportMetric(float64(median.Nanoseconds()), way.name+"-ns")
		b.ReportMetric(float64(median)/float64(first), way.name+"/"+ways[0].name)
	}
}

// By packaging: none should take longer than the three files. A tar does, by the copy of mod.so that the dynamic
// linker needs, as it loads no part of a file; BenchmarkOpenBytes has all of them pay for that copy.
func BenchmarkOpen(b *testing.B) {
	compareOpeners(b, filePackagings(zooCaseNamed(b, "tvm0.19", "conv")))
}

// The same of known networks: what the copy adds depends on how much code there is beside the weights.
//
//	GOTVM_MODELS=$PWD/build/models go test -run - -bench OpenModels ./gotvm
func BenchmarkOpenModels(b *testing.B) {
	models := os.Getenv("GOTVM_MODELS")
	if models == "" {
		b.Skip("GOTVM_MODELS is not set: make models fills build/models")
	}
	for _, name := range []string{"mlp", "mobilenet_nchw", "resnet18", "magika", "ocr_cls"} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(models, name, name)
			files := gotvm.Files{Lib: path + ".so", Graph: path + ".json", Params: path + ".params"}
			pack := writePackage(b, files)
			compareOpeners(b, []opener{
				{"files", func() (*gotvm.Model, error) { return gotvm.OpenFiles(files) }},
				{"tar", func() (*gotvm.Model, error) { return gotvm.Open(pack) }},
			})
		})
	}
}

// writePackage makes a package of a model's files.
func writePackage(b *testing.B, files gotvm.Files) string {
	b.Helper()
	blobs, path := readBlobs(b, files), filepath.Join(b.TempDir(), "package.tar")
	writeFile(b, path, makeTar(b, tar.FormatPAX,
		entry{"mod.so", blobs.Lib, tar.TypeReg},
		entry{"mod.json", blobs.Graph, tar.TypeReg},
		entry{"mod.params", blobs.Params, tar.TypeReg}))
	return path
}

// The same of models that are open already, whose libraries are shared.
func BenchmarkOpenAgain(b *testing.B) {
	ways := filePackagings(zooCaseNamed(b, "tvm0.19", "conv"))
	for _, way := range ways {
		m, err := way.open()
		if err != nil {
			b.Fatal(err)
		}
		defer m.Close()
	}
	compareOpeners(b, ways)
}

// From memory.
func BenchmarkOpenBytes(b *testing.B) {
	c := zooCaseNamed(b, "tvm0.19", "conv")
	files := readBlobs(b, c.files())
	factory, pack := gotvm.Blobs{Lib: readFile(b, c.path("factory.so"))}, gotvm.Blobs{Lib: readFile(b, c.path("package.tar"))}
	compareOpeners(b, []opener{
		{"files", func() (*gotvm.Model, error) { return gotvm.OpenBytes(files) }},
		{"factory", func() (*gotvm.Model, error) { return gotvm.OpenBytes(factory) }},
		{"tar", func() (*gotvm.Model, error) { return gotvm.OpenBytes(pack) }},
	})
}
