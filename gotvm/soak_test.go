package gotvm_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// TestSoak does all that programs do, right and wrong, from many goroutines while garbage is collected all the time.
// GOTVM_SOAK says for how long: `make soak` lets it run for ten minutes.
func TestSoak(t *testing.T) {
	length := 3 * time.Second
	if text := os.Getenv("GOTVM_SOAK"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	before := settledHandles(t)
	s := newSoak(t)
	watch := s.run(length)
	t.Logf("%s, in %v: %s", watch, length, s.counts())
	if length >= time.Minute && !raceEnabled { // before, the heap has not settled
		watch.check(t, max(0.1, min(0.2, float64(time.Minute)/float64(length))))
	}
	for i := range s.done {
		if s.done[i].Load() == 0 && !t.Failed() {
			t.Errorf("never done: %s", soakActions[i].name)
		}
	}
	s.close()
	s = nil
	eventually(t, "all handles are given back", func() bool { return gotvm.Live() == before })
}

// settledHandles are the handles that are alive when garbage of other tests is gone.
func settledHandles(t *testing.T) gotvm.LiveHandles {
	last, same := gotvm.Live(), 0
	eventually(t, "the number of handles settles", func() bool {
		now := gotvm.Live()
		if now != last {
			same = 0
		}
		last, same = now, same+1
		return same > 20
	})
	return last
}

// soak is what the goroutines share.
type soak struct {
	t           *testing.T
	models      []soakModel
	packages    []soakPackage
	executables []soakExecutable
	relax       *gotvm.Model // of relaxCase
	relaxCase   soakExecutable
	done        []atomic.Int64 // by action
	stop        atomic.Bool
	busy        *gotvm.Session // everybody runs it
	names       []string       // registered for the compiled code
	items       atomic.Int64
}

// soakModel is a model that all goroutines make sessions of, and what its results must be.
type soakModel struct {
	zooCase
	files     gotvm.Files
	blobs     gotvm.Blobs
	model     *gotvm.Model
	reference map[string]referenceTensor
}

// soakPackage is a model in one file.
type soakPackage struct {
	zooCase
	file      string
	reference map[string]referenceTensor
}

// soakExecutable is a Relax model.
type soakExecutable struct {
	relaxCase
	references map[string]referenceTensor
}

const soakGoroutines = 32

func newSoak(t *testing.T) *soak {
	s := &soak{t: t, done: make([]atomic.Int64, len(soakActions))}
	for _, gen := range []string{"tvm0.19", "tvm0.9"} {
		for _, name := range []string{"conv", "dense", "parallel", "workspace", "multi_output", "input_output", "reshape", "bool", "lstm"} {
			c := zooCaseNamed(t, gen, name)
			m, err := gotvm.OpenFiles(c.files())
			if err != nil {
				t.Fatal(err)
			}
			s.models = append(s.models, soakModel{c, c.files(), readBlobs(t, c.files()), m, readReference(t, c.path("reference.params"))})
		}
	}
	for _, c := range zooCases(t) {
		for _, file := range c.Packages {
			s.packages = append(s.packages, soakPackage{c, file, readReference(t, c.path("reference.params"))})
		}
	}
	for _, c := range relaxCases(t) {
		if len(c.Needs) == 0 { // functions of the program
			s.executables = append(s.executables, soakExecutable{c, c.references(t)})
		}
	}
	c := relaxCaseNamed(t, "tvm0.27", "mlp")
	s.relaxCase = soakExecutable{c, c.references(t)}
	s.relax = must(gotvm.Open(c.path(c.Libs["bytecode"])))
	s.busy = must(s.models[2].model.NewSession())
	s.register("test.ints", func(a int, b float64, text string) (int, error) {
		if a != 1 || b != 2.5 || text != "text" {
			return 0, fmt.Errorf("got %d, %v, %q", a, b, text)
		}
		return 42, nil
	})
	s.register("test.item", func(int64) { s.items.Add(1) })
	return s
}

func (s *soak) register(name string, fn any) {
	if err := gotvm.Register(name, fn); err != nil {
		s.t.Fatal(err)
	}
	s.names = append(s.names, name)
}

func (s *soak) close() {
	for _, name := range s.names {
		if err := gotvm.RemoveFunction(name); err != nil {
			s.t.Error(err)
		}
	}
	_ = s.busy.Close()
	_ = s.relax.Close()
	for _, m := range s.models {
		_ = m.model.Close()
	}
}

func (s *soak) counts() string {
	var parts []string
	for i, action := range soakActions {
		parts = append(parts, fmt.Sprintf("%s %d", action.name, s.done[i].Load()))
	}
	return strings.Join(parts, ", ")
}

// run starts all goroutines, and watches the process until the time is over.
func (s *soak) run(length time.Duration) *memoryWatch {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	var wait sync.WaitGroup
	wait.Add(soakGoroutines + 1)
	for g := range soakGoroutines {
		go func() {
			defer wait.Done()
			random := rand.New(rand.NewPCG(uint64(g), 1))
			for !s.stop.Load() {
				i := random.IntN(len(soakActions))
				if err := soakActions[i].do(s, random); err != nil {
					s.t.Errorf("%s: %v", soakActions[i].name, err)
					s.stop.Store(true)
				}
				s.done[i].Add(1)
			}
		}()
	}
	go func() {
		defer wait.Done()
		for !s.stop.Load() {
			runtime.GC()
			time.Sleep(10 * time.Millisecond)
		}
	}()
	watch := &memoryWatch{}
	for end := time.Now().Add(length); time.Now().Before(end) && !s.stop.Load(); time.Sleep(max(length/1000, 10*time.Millisecond)) {
		watch.look()
	}
	s.stop.Store(true)
	wait.Wait()
	return watch
}

// pick is a model by chance.
func (s *soak) pick(random *rand.Rand) *soakModel {
	return &s.models[random.IntN(len(s.models))]
}

// check runs the session and compares what it gives.
func (m *soakModel) check(s *soak, session *gotvm.Session, inputs gotvm.Inputs) error {
	outputs, err := session.Run(context.Background(), inputs)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Dir, err)
	}
	compareOutputs(s.t, outputs, m.reference, m.zooCase)
	for i, output := range outputs {
		if i%2 == 0 { // the others are the collector's
			_ = output.Close()
		}
	}
	return nil
}

// memoryWatch is the process's memory over time, in KiB.
type memoryWatch struct{ resident []int }

func (w *memoryWatch) look() {
	status := must(os.ReadFile("/proc/self/status"))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kib int
	must(fmt.Sscan(rest, &kib))
	w.resident = append(w.resident, kib)
}

// window is the median of a part of the time.
func (w *memoryWatch) window(from, to float64) int {
	n := float64(len(w.resident))
	part := slices.Sorted(slices.Values(w.resident[int(from*n):int(to*n)]))
	return part[len(part)/2]
}

func (w *memoryWatch) String() string {
	return fmt.Sprintf("memory in five parts of the time: %d, %d, %d, %d, %d KiB",
		w.window(0, 0.2), w.window(0.2, 0.4), w.window(0.4, 0.6), w.window(0.6, 0.8), w.window(0.8, 1))
}

// check fails when memory grew after a part of the time: by more than 5 % and 4 MiB from the fifth of the time that
// follows to the last one.
func (w *memoryWatch) check(t *testing.T, after float64) {
	first, last := w.window(after, after+0.2), w.window(0.8, 1)
	if most := first + first*5/100 + 4096; last > most {
		t.Errorf("memory grew: expected %d KiB at most; %s", most, w)
	}
}
