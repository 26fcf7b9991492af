package harness

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// PeakRSS is the most memory that this process has had, in KiB.
func PeakRSS() int {
	status, err := os.ReadFile("/proc/self/status")
	Check(err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int
	_, err = fmt.Sscan(rest, &kib)
	Check(err)
	return kib
}

// Threads is how many threads of the operating system this process has.
func Threads() int {
	tasks, err := os.ReadDir("/proc/self/task")
	Check(err)
	return len(tasks)
}

// CPU is the processor time that this process has used, in all its threads.
func CPU() time.Duration {
	var usage syscall.Rusage
	Check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// Check ends the program when err is not nil.
func Check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Must is Check for a call with a result.
func Must[T any](v T, err error) T {
	Check(err)
	return v
}

// mallocs is how many objects have been allocated.
func mallocs() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Mallocs
}
