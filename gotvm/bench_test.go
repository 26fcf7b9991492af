package gotvm_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// crossing is what an empty call into C takes, in nanoseconds.
func crossing() float64 {
	const n = 500_000
	start := time.Now()
	for i := 0; i < n; i++ {
		gotvm.CrossEmpty()
	}
	return float64(time.Since(start).Nanoseconds()) / n
}

// run measures what f does, and reports it as a multiple of an empty call into C.
func run(b *testing.B, f func() error) {
	before := crossing()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	empty := (before + crossing()) / 2
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/empty, "crossings")
}

func BenchmarkCrossing(b *testing.B) {
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		gotvm.CrossEmpty()
	}
}

func BenchmarkCallbackTwoInts(b *testing.B) {
	f := convert(b, func(args ...*gotvm.Value) (interface{}, error) {
		return args[0].AsInt64() + args[1].AsInt64(), nil
	})
	run(b, func() error {
		_, err := f.Invoke(10, 20)
		return err
	})
}

func BenchmarkCallbackArray(b *testing.B) {
	f := convert(b, func(args ...*gotvm.Value) (interface{}, error) {
		return args[0].AsArray().GetNdim(), nil
	})
	x := newArray(b, []int64{4}, []float32{1, 2, 3, 4})
	run(b, func() error {
		_, err := f.Invoke(x)
		return err
	})
}

func BenchmarkError(b *testing.B) {
	failure := errors.New("failed")
	f := convert(b, func(...*gotvm.Value) (interface{}, error) { return nil, failure })
	run(b, func() error {
		if _, err := f.Invoke(); !errors.Is(err, failure) {
			return err
		}
		return nil
	})
}

func BenchmarkCallThreeArrays(b *testing.B) {
	f := function(b, load(b, "testdata/lib/myadd.so"), "myadd")
	x := newArray(b, []int64{4}, []float32{1, 2, 3, 4})
	y := newArray(b, []int64{4}, []float32{1, 2, 3, 4})
	out := newArray(b, []int64{4}, make([]float32, 4))
	run(b, func() error {
		_, err := f.Invoke(x, y, out)
		return err
	})
}

func BenchmarkEmpty(b *testing.B) {
	run(b, func() error {
		x, err := gotvm.Empty([]int64{4})
		if err != nil {
			return err
		}
		return x.Close()
	})
}

func BenchmarkEmptyCollected(b *testing.B) {
	run(b, func() error {
		_, err := gotvm.Empty([]int64{4})
		return err
	})
}

func BenchmarkAsSlice602KB(b *testing.B) {
	x := newArray(b, []int64{1, 3, 224, 224}, make([]float32, 3*224*224))
	run(b, func() error {
		_, err := x.AsSlice()
		return err
	})
}

func BenchmarkDataOf602KB(b *testing.B) {
	x := newArray(b, []int64{1, 3, 224, 224}, make([]float32, 3*224*224))
	run(b, func() error {
		_, err := gotvm.DataOf[float32](x)
		return err
	})
}
