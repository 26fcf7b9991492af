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
	f := convert(b, func(args ...*gotvm.Value) (any, error) {
		return args[0].AsInt64() + args[1].AsInt64(), nil
	})
	run(b, func() error {
		_, err := f.Invoke(10, 20)
		return err
	})
}

// The same by functions with types, which Register adapts: the first two without reflection.
func BenchmarkRegistered(b *testing.B) {
	x := newArray(b, []int64{4}, []float32{1, 2, 3, 4})
	for _, c := range []struct {
		name string
		fn   any
		args []any
	}{
		{"two int64", func(a, b int64) int64 { return a + b }, []any{10, 20}},
		{"float64", func(a float64) float64 { return 2 * a }, []any{0.5}},
		{"two int", func(a, b int) int { return a + b }, []any{10, 20}},
		{"two strings", func(a, b string) bool { return a < b }, []any{"some text", "another text"}},
		{"array", func(x *gotvm.Array) int32 { return x.GetNdim() }, []any{x}},
		{"slice", func(x []float32) int { return len(x) }, []any{x}},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := typed(b, c.fn)
			run(b, func() error {
				_, err := f.Invoke(c.args...)
				return err
			})
		})
	}
}

func BenchmarkCallbackTwoStrings(b *testing.B) {
	f := convert(b, func(args ...*gotvm.Value) (any, error) {
		return args[0].AsStr() < args[1].AsStr(), nil
	})
	run(b, func() error {
		_, err := f.Invoke("some text", "another text")
		return err
	})
}

func BenchmarkCallbackArray(b *testing.B) {
	f := convert(b, func(args ...*gotvm.Value) (any, error) {
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
	f := convert(b, func(...*gotvm.Value) (any, error) { return nil, failure })
	run(b, func() error {
		if _, err := f.Invoke(); !errors.Is(err, failure) {
			return err
		}
		return nil
	})
}

func BenchmarkCallThreeArrays(b *testing.B) {
	f := function(b, load(b, library), "myadd")
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
