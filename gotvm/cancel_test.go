package gotvm_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gotvm/gotvm/gotvm"
)

// steps is how many operators the model of callbackModel has.
const steps = 100

// callbackModel makes a model of steps operators, each of which calls step. Its outputs are what the first and
// the last one returned.
func callbackModel(t *testing.T, step func() int64) *gotvm.Model {
	t.Helper()
	needModels(t)
	if err := gotvm.Register("test.ints", func(...any) int64 { return step() }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gotvm.RemoveFunction("test.ints") })
	type object = map[string]any
	var nodes, rows, shapes, ids, dtypes []any
	for i := range steps {
		nodes = append(nodes, object{"op": "tvm_op", "name": "step", "inputs": []int{},
			"attrs": object{"func_name": "call_ints", "num_inputs": "0", "num_outputs": "1", "flatten_data": "0"}})
		rows, ids = append(rows, i), append(ids, i)
		shapes, dtypes = append(shapes, []int{1}), append(dtypes, "int64")
	}
	graph, err := json.Marshal(object{
		"nodes": nodes, "arg_nodes": []int{}, "heads": [][]int{{0, 0, 0}, {steps - 1, 0, 0}}, "node_row_ptr": append(rows, steps),
		"attrs": object{"shape": []any{"list_shape", shapes}, "dltype": []any{"list_str", dtypes}, "storage_id": []any{"list_int", ids}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := gotvm.OpenBytes(gotvm.Blobs{Lib: readFile(t, libraryFile("callpacked.so")), Graph: graph})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// checkSteps runs a session of callbackModel to the end.
func checkSteps(t *testing.T, s *gotvm.Session, first, last int64) {
	t.Helper()
	outputs, err := s.Run(context.Background(), nil)
	if err != nil {
		t.Error(err)
		return
	}
	for i, want := range []int64{first, last} {
		if v := must(gotvm.DataOf[int64](outputs[i])); v[0] != want {
			t.Errorf("output %d is %d, want %d", i, v[0], want)
		}
	}
}

func TestCancelInTheMiddle(t *testing.T) {
	var calls int64
	cancel := func() {}
	m := callbackModel(t, func() int64 {
		if calls++; calls == 10 {
			cancel()
			time.Sleep(20 * time.Millisecond) // the flag is set by another goroutine
		}
		return calls
	})
	s := newTestSession(t, m)
	cause := errors.New("the user went away")
	for name, c := range map[string]struct {
		begin func() (context.Context, func())
		want  error
	}{
		"cancel": {func() (context.Context, func()) { return context.WithCancel(context.Background()) }, context.Canceled},
		"cause": {func() (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(context.Background())
			return ctx, func() { cancel(cause) }
		}, cause},
		"deadline": {func() (context.Context, func()) {
			ctx, cancel := context.WithTimeoutCause(context.Background(), 10*time.Millisecond, cause)
			t.Cleanup(cancel)
			return ctx, func() {}
		}, cause},
	} {
		var ctx context.Context
		ctx, cancel = c.begin()
		calls = 0
		outputs, err := s.Run(ctx, nil)
		if !errors.Is(err, c.want) || !errors.Is(err, gotvm.ErrCancelled) || outputs != nil {
			t.Errorf("%s: %v %v", name, outputs, err)
		}
		if want := "gotvm: Run: the run was cancelled: " + c.want.Error(); err != nil && err.Error() != want {
			t.Errorf("%s: %s, want %s", name, err, want)
		}
		if calls < 10 || calls > 10 && name != "deadline" || calls == steps {
			t.Errorf("%s: the run ended after %d steps of %d", name, calls, steps)
		}
		cancel = func() {}
		calls = 0
		checkSteps(t, s, 1, steps)
	}
}

func TestCancelBeforeAndAfter(t *testing.T) {
	var calls int64
	s := newTestSession(t, callbackModel(t, func() int64 { calls++; return calls }))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Run(ctx, nil); !errors.Is(err, context.Canceled) || !errors.Is(err, gotvm.ErrCancelled) {
		t.Error(err)
	}
	if calls != 0 {
		t.Errorf("a cancelled run took %d steps", calls)
	}
	ctx, cancel = context.WithCancel(context.Background())
	outputs, err := s.Run(ctx, nil)
	cancel()
	if err != nil || must(gotvm.DataOf[int64](outputs[1]))[0] != steps {
		t.Error(outputs, err)
	}
	calls = 0
	checkSteps(t, s, 1, steps)
}

// A run that goes on is not cancelled by the error of another that was, in a callback.
func TestCancelledInCallback(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done, end := context.WithCancelCause(context.Background())
	cause := errors.New("only that one")
	end(cause)
	other := newTestSession(t, openCase(t, zooCaseNamed(t, "tvm0.19", "dense")))
	s := newTestSession(t, stepModel(t, func() (int64, error) { return 0, second(other.Run(done, nil)) }))
	_, err := s.Run(ctx, gotvm.Inputs{"x": newArray(t, []int64{1}, []int64{1})})
	expectError(t, err, cause, "call_ints", "only that one")
}

// A cancellation hits its own run or none, never the next one: here it comes at the time of any step, or later.
func TestCancelDoesNotLinger(t *testing.T) {
	var calls, at, cancelled int64
	begin := make(chan context.CancelFunc, 1)
	var cancel context.CancelFunc
	s := newTestSession(t, callbackModel(t, func() int64 {
		if calls++; calls == at {
			begin <- cancel
		}
		return calls
	}))
	go func() {
		for cancel := range begin {
			cancel()
		}
	}()
	const runs = 300
	for range runs {
		var ctx context.Context
		ctx, cancel = context.WithCancel(context.Background())
		calls, at = 0, 1+rand.Int63n(steps)
		_, err := s.Run(ctx, nil)
		cancel()
		if errors.Is(err, gotvm.ErrCancelled) {
			cancelled++
		} else if err != nil {
			t.Fatal(err)
		}
		calls, at = 0, 0
		checkSteps(t, s, 1, steps)
	}
	close(begin)
	t.Logf("%d of %d runs were cancelled", cancelled, runs)
	if cancelled == 0 || cancelled == runs {
		t.Errorf("%d of %d runs were cancelled, want some", cancelled, runs)
	}
}

// Deadlines that pass in the middle of the runs of many sessions of one model.
func TestDeadlinesOfManySessions(t *testing.T) {
	var pause atomic.Bool
	m := callbackModel(t, func() int64 {
		if pause.Load() {
			time.Sleep(time.Millisecond)
		}
		return 42
	})
	const goroutines = 8
	sessions := make([]*gotvm.Session, goroutines)
	for i := range sessions {
		sessions[i] = newTestSession(t, m)
	}
	each := func(do func(s *gotvm.Session)) {
		var wait sync.WaitGroup
		for _, s := range sessions {
			wait.Add(1)
			go func() {
				defer wait.Done()
				do(s)
			}()
		}
		wait.Wait()
	}
	for range 3 {
		pause.Store(true)
		each(func(s *gotvm.Session) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := s.Run(ctx, nil)
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, gotvm.ErrCancelled) {
				t.Error(err)
			}
			if d := time.Since(start); d > steps*time.Millisecond && !emulated() {
				t.Errorf("a run with a deadline of 5 ms took %v, and takes no less to its end", d)
			}
		})
		pause.Store(false)
		each(func(s *gotvm.Session) { checkSteps(t, s, 42, 42) })
	}
}

// endless is a context that cannot end, and does not want to be asked more than that.
type endless struct{ t *testing.T }

func (endless) Deadline() (time.Time, bool) { return time.Time{}, false }
func (endless) Done() <-chan struct{}       { return nil }

func (e endless) Err() error {
	e.t.Error("Err was called")
	return nil
}

func (e endless) Value(any) any {
	e.t.Error("Value was called")
	return nil
}

// Where the context cannot end, a run does nothing for it: it asks no more of it, starts no goroutine and allocates
// nothing but the outputs.
func TestContextsThatCannotEnd(t *testing.T) {
	var during int
	s := newTestSession(t, callbackModel(t, func() int64 {
		during = max(during, runtime.NumGoroutine())
		return 42
	}))
	before := runtime.NumGoroutine()
	if _, err := s.Run(endless{t}, nil); err != nil {
		t.Fatal(err)
	}
	if during > before {
		t.Errorf("%d goroutines before the run, %d during it", before, during)
	}

	if raceEnabled {
		return // it allocates too
	}
	c := zooCaseNamed(t, "tvm0.19", "dense")
	s = newTestSession(t, openCase(t, c))
	if err := s.BindOutput(0, must(gotvm.Empty(c.Outputs[0].Shape))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(context.Background(), inputsOf(t, readReference(t, c.path("reference.params")))); err != nil {
		t.Fatal(err)
	}
	run := func(ctx context.Context) float64 {
		return testing.AllocsPerRun(200, func() {
			if _, err := s.Run(ctx, nil); err != nil {
				t.Fatal(err)
			}
		})
	}
	cancellable, cancel := context.WithCancel(context.Background())
	defer cancel()
	got := []float64{run(context.Background()), run(endless{t}), run(cancellable)}
	t.Logf("allocations: %v with a context of each kind", got)
	if got[0] > 1 || got[1] > 1 || got[2] <= 1 { // 1: the slice of outputs
		t.Errorf("%v allocations with a context of each kind", got)
	}
}
