//go:build !race

package bench

import (
	"fmt"
	"testing"
)

// The race detector makes sync.Pool drop things at random, so this runs without it.

func TestParseGuardAndRouteOfABatchAllocateNothingButTheArrayThatGRPCKeeps(t *testing.T) {
	for _, sessions := range []int{10, 1000} {
		w := newWorld(t, sessions)
		for _, shape := range shapes {
			t.Run(fmt.Sprintf("%d sessions, %s", sessions, shape.name), func(t *testing.T) {
				s := newStamp(shape.frames, shape.size)
				i := 0
				step := func() {
					w.through(s, w.nextSession(i))
					i++
				}
				step()
				// One for each message that is sent, whatever number of frames it has; two more where a small frame
				// came alone and is copied, that it may not keep 16 KiB alive (envelope.Run).
				want := 1.0
				if len(s.bytes) < 1024 {
					want = 3
				}
				if got := testing.AllocsPerRun(500, step); got != want {
					t.Errorf("got %v allocations per batch, want %v", got, want)
				}
			})
		}
		w.check()
	}
}
