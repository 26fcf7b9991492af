package harness

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Serve answers requests, lines of words on standard input, with lines of JSON, until the input ends.
func Serve(answer func(words []string) any) {
	out := json.NewEncoder(os.Stdout)
	Check(out.Encode("ready"))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		Check(out.Encode(answer(strings.Fields(lines.Text()))))
	}
}

// Times answers a request "REPEAT NUMBER": nanoseconds that one call took, on average over NUMBER calls, REPEAT times.
func Times(words []string, call func()) []float64 {
	var repeat, number int
	_, err := fmt.Sscan(strings.Join(words, " "), &repeat, &number)
	Check(err)
	for range max(number, 2) { // warms caches up, and wakes workers
		call()
	}
	times := make([]float64, repeat)
	for i := range times {
		start := time.Now()
		for range number {
			call()
		}
		times[i] = float64(time.Since(start).Nanoseconds()) / float64(number)
	}
	return times
}

// Operation is a named thing to measure.
type Operation struct {
	Name string
	Call func()
}

// Operations answers "NAME REPEAT NUMBER" for several operations. Where one is called "crossing", it is measured
// before and after.
func Operations(operations []Operation) func(words []string) any {
	named := make(map[string]func())
	for _, o := range operations {
		named[o.Name] = o.Call
	}
	return func(words []string) any {
		call, crossing := named[words[0]], named["crossing"]
		if call == nil {
			Check(fmt.Errorf("there is no operation %q", words[0]))
		}
		measureCrossing := func() []float64 {
			if crossing == nil {
				return nil
			}
			return Times([]string{"9", "5000"}, crossing)
		}
		crossings := measureCrossing()
		times := Times(words[1:], call)
		crossings = append(crossings, measureCrossing()...)
		return map[string]any{"ns": times, "crossing_ns": crossings, "allocs": allocations(call)}
	}
}

// allocations is how many objects one call allocates.
func allocations(call func()) float64 {
	const n = 1000
	before := mallocs()
	for range n {
		call()
	}
	return float64((mallocs()-before)/(n/10)) / 10
}

// Runner runs a model that it holds; close ends it.
type Runner struct {
	Run   func()
	Close func()
}

// Many answers "SESSIONS SECONDS": how many runs per second as many goroutines make, each with a runner of its own,
// and how many threads the process had meanwhile.
func Many(words []string, open func() Runner) any {
	var count int
	var seconds float64
	_, err := fmt.Sscan(strings.Join(words, " "), &count, &seconds)
	Check(err)
	var ready sync.WaitGroup
	ready.Add(count)
	start, rates := make(chan struct{}), make(chan float64)
	var deadline time.Time
	for range count {
		go func() {
			r := open()
			r.Run()
			ready.Done()
			<-start
			rates <- runsUntil(deadline, r.Run) / seconds
			r.Close()
		}()
	}
	ready.Wait()
	deadline = time.Now().Add(time.Duration(seconds * 1e9))
	close(start)
	threads := 0
	for ; time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		threads = max(threads, Threads())
	}
	var rate float64
	for range count {
		rate += <-rates
	}
	return map[string]any{"rate": rate, "threads": threads}
}

// runsUntil runs until the deadline, and counts the last run by its part that lay before.
func runsUntil(deadline time.Time, run func()) float64 {
	runs := 0.0
	for {
		begin := time.Now()
		run()
		if end := time.Now(); end.Before(deadline) {
			runs++
		} else {
			return runs + max(0, float64(deadline.Sub(begin))/float64(end.Sub(begin)))
		}
	}
}

// Idle runs once each 10 ms for 2 s, and says how much processor time that took.
func Idle(run func()) any {
	const period, runs = 10 * time.Millisecond, 200
	for range 20 {
		run()
	}
	time.Sleep(100 * time.Millisecond)
	before, next := CPU(), time.Now()
	for range runs {
		run()
		next = next.Add(period)
		time.Sleep(time.Until(next))
	}
	return map[string]any{"cpu_ms": float64((CPU() - before).Microseconds()) / 1000, "runs": runs}
}

// Arrays makes 3,000 short-lived arrays of 0.57 MiB, fills them, and says how much memory the process needed at most.
func Arrays(fill func(shape []int64, data []float32)) any {
	shape := []int64{1, 3, 224, 224} // a picture
	data := make([]float32, Count(shape))
	before := PeakRSS()
	for range 3000 {
		fill(shape, data)
	}
	return map[string]any{"before_mib": float64(before) / 1024, "peak_mib": float64(PeakRSS()) / 1024}
}

// First prints the first result: its elements, at most ten; then the most memory that was needed for it.
func First(output []float32) {
	fmt.Println(output[:min(len(output), 10)])
	fmt.Println(PeakRSS())
}
