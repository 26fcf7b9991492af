package gotvm_test

import (
	"math"
	"testing"

	"github.com/gotvm/gotvm/gotvm"
)

func TestFloat16RoundTrip(t *testing.T) {
	for i := 0; i < 1<<16; i++ {
		h := gotvm.Float16(i)
		f := h.Float32()
		if f != f {
			if back := gotvm.NewFloat16(f); back.Float32() == back.Float32() {
				t.Fatalf("%#04x: a NaN became %#04x", i, uint16(back))
			}
		} else if back := gotvm.NewFloat16(f); back != h {
			t.Fatalf("%#04x is %v and back %#04x", i, f, uint16(back))
		}
	}
}

// Each number between two neighbours must round to the nearer one, and to the even one from the middle.
func TestFloat16Rounding(t *testing.T) {
	for i := uint16(0); i < 0x7c00; i++ {
		low := float64(gotvm.Float16(i).Float32())
		high := float64(gotvm.Float16(i + 1).Float32())
		if i+1 == 0x7c00 {
			high = 65536
		}
		middle := float32((low + high) / 2)
		even := i + i&1
		for _, c := range []struct {
			f    float32
			want uint16
		}{
			{middle, even},
			{math.Nextafter32(middle, 0), i},
			{math.Nextafter32(middle, math.MaxFloat32), i + 1},
		} {
			if got := gotvm.NewFloat16(c.f); uint16(got) != c.want {
				t.Fatalf("%v rounds to %#04x, not %#04x", c.f, uint16(got), c.want)
			}
			if got := gotvm.NewFloat16(-c.f); uint16(got) != c.want|0x8000 {
				t.Fatalf("%v rounds to %#04x, not %#04x", -c.f, uint16(got), c.want|0x8000)
			}
		}
	}
	if h := gotvm.NewFloat16(float32(math.Inf(1))); h != 0x7c00 {
		t.Errorf("infinity is %#04x", uint16(h))
	}
	if h := gotvm.NewFloat16(1e30); h != 0x7c00 {
		t.Errorf("1e30 is %#04x, not infinity", uint16(h))
	}
}

func TestBFloat16(t *testing.T) {
	for i := 0; i < 1<<16; i++ {
		h := gotvm.BFloat16(i)
		f := h.Float32()
		if f != f {
			if back := gotvm.NewBFloat16(f); back.Float32() == back.Float32() {
				t.Fatalf("%#04x: a NaN became %#04x", i, uint16(back))
			}
		} else if back := gotvm.NewBFloat16(f); back != h {
			t.Fatalf("%#04x is %v and back %#04x", i, f, uint16(back))
		}
	}
	for _, c := range []struct{ bits, want uint32 }{
		{0x3f808000, 0x3f80}, // a tie, to even
		{0x3f818000, 0x3f82},
		{0x3f808001, 0x3f81},
		{0x3f807fff, 0x3f80},
		{0x7f7fffff, 0x7f80}, // beyond the largest: infinity
		{0x7f800001, 0x7fc0}, // a NaN whose upper bits alone are infinity
	} {
		if got := gotvm.NewBFloat16(math.Float32frombits(c.bits)); uint32(got) != c.want {
			t.Errorf("%#08x rounds to %#04x, not %#04x", c.bits, uint16(got), c.want)
		}
	}
}

func TestHalfStrings(t *testing.T) {
	if s := gotvm.NewFloat16(1.5).String(); s != "1.5" {
		t.Error(s)
	}
	if s := gotvm.NewBFloat16(-0.25).String(); s != "-0.25" {
		t.Error(s)
	}
}
