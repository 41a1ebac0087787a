package sim

import (
	"flag"
	"fmt"
	"testing"
)

var (
	seeds = flag.Uint64("seeds", 300, "how many seeds to play")
	first = flag.Uint64("first", 0, "the first seed; with -seeds=1 it replays a failure")
)

func TestEverySeedKeepsThePromises(t *testing.T) {
	var sum Result
	for seed := *first; seed < *first+*seeds; seed++ {
		r, err := Run(seed, Draw(seed))
		if err != nil {
			t.Fatalf("%v\nreplay it: go test ./internal/sim -run TestEverySeed -seeds=1 -first=%d", err, seed)
		}
		sum.Steps += r.Steps
		sum.Cuts += r.Cuts
		sum.Restarts += r.Restarts
		sum.Delivered += r.Delivered
		sum.Ended += r.Ended
		sum.Dropped += r.Dropped
	}
	t.Logf("%d seeds: %d steps, %d messages delivered, %d cuts, %d restarts, %d sessions ended with an error, %d frames dropped",
		*seeds, sum.Steps, sum.Delivered, sum.Cuts, sum.Restarts, sum.Ended, sum.Dropped)
	if *seeds >= 100 && (sum.Cuts == 0 || sum.Restarts == 0 || sum.Ended == 0 || sum.Dropped == 0) {
		t.Errorf("the seeds cover too little: %+v", sum)
	}
}

func TestASeedReplaysExactly(t *testing.T) {
	for seed := range uint64(9) {
		a, err := Run(seed, Draw(seed))
		if err != nil {
			t.Fatal(err)
		}
		b, err := Run(seed, Draw(seed))
		if err != nil {
			t.Fatal(err)
		}
		if a != b {
			t.Errorf("seed %d: got %s, then %s", seed, fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b))
		}
	}
}
