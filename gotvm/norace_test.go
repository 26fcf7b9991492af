//go:build !race

package gotvm_test

const raceEnabled = false
