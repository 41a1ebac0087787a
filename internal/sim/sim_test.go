package sim

import (
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds = flag.Uint64("seeds", 500, "how many seeds to play")
	first = flag.Uint64("first", 0, "the first seed; with -seeds=1 it replays a failure")
)

// tally is the sum of many results.
type tally struct {
	mu  sync.Mutex
	sum Result
}

func (a *tally) add(r Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.sum
	s.Steps += r.Steps
	s.Virtual += r.Virtual
	for k, n := range r.Faults {
		s.Faults[k] += n
	}
	s.Lost += r.Lost
	s.Delivered += r.Delivered
	s.Ended += r.Ended
	s.Handshakes += r.Handshakes
	s.Resumes += r.Resumes
	s.Frames += r.Frames
	s.Needed += r.Needed
	s.Dropped += r.Dropped
	s.Recovery = max(s.Recovery, r.Recovery)
	s.MaxResumes = max(s.MaxResumes, r.MaxResumes)
	s.MaxResent = max(s.MaxResent, r.MaxResent)
}

func (a *tally) faults() string {
	s := ""
	for k, n := range a.sum.Faults {
		s += fmt.Sprintf(" %d %v", n, Kind(k))
	}
	return s
}

// TestEverySeedKeepsThePromises plays seeds on as many cores as -parallel allows.
func TestEverySeedKeepsThePromises(t *testing.T) {
	var all tally
	var next, failed atomic.Uint64
	began := time.Now()
	t.Run("seeds", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for {
					i := next.Add(1) - 1
					if i >= *seeds || failed.Load() >= 5 {
						return
					}
					seed := *first + i
					r, err := Run(seed, Draw(seed))
					if err != nil {
						failed.Add(1)
						t.Errorf("%v\nreplay it: go test ./internal/sim -run TestEverySeed -seeds=1 -first=%d", err, seed)
						continue
					}
					all.add(r)
				}
			})
		}
	})
	s := all.sum
	t.Logf("%d seeds, %.0f/s: %d steps, %v of virtual time, %d handshakes, %d messages, %d sessions ended with an error",
		*seeds, float64(*seeds)/time.Since(began).Seconds(), s.Steps, s.Virtual, s.Handshakes, s.Delivered, s.Ended)
	t.Logf("what happened:%s, %d envelopes lost", all.faults(), s.Lost)
	t.Logf("%d RESUME and RESUMED, %d sequenced frames for %d, %d dropped", s.Resumes, s.Frames, s.Needed, s.Dropped)
	t.Logf("after the last trouble at most %v, %d RESUMEs and %d resends", s.Recovery, s.MaxResumes, s.MaxResent)
	if *seeds < 300 || failed.Load() > 0 {
		return
	}
	for k, n := range s.Faults {
		if n == 0 {
			t.Errorf("%v never happened: the seeds cover too little", Kind(k))
		}
	}
	if s.Lost == 0 || s.Ended == 0 || s.Dropped == 0 || s.Resumes == 0 {
		t.Error("the seeds cover too little")
	}
}

func TestASeedReplaysExactly(t *testing.T) {
	for seed := range uint64(10) {
		a, err := Run(seed, Draw(seed))
		if err != nil {
			t.Fatal(err)
		}
		b, err := Run(seed, Draw(seed))
		if err != nil {
			t.Fatal(err)
		}
		if a != b {
			t.Errorf("seed %d: got %+v, then %+v", seed, a, b)
		}
	}
}
