//go:build race

package main

// raceFlags build the binary under test as this test is built.
var raceFlags = []string{"-race"}
