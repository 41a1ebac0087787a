package bench

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/devplatform"
)

const (
	// turnBatches is how many messages all sessions of a subject together send in a turn.
	turnBatches = 2000
)

// BenchmarkForward takes turns between the relay and the bare forwarder, so that both meet the same machine. An operation
// is one turn of each; what counts are the metrics, the CPU time per frame of the one process and of the other.
func BenchmarkForward(b *testing.B) {
	for _, sessions := range []int{1, 50} {
		for _, size := range []int{64, 1 << 10, 16 << 10} {
			b.Run(fmt.Sprintf("%d-sessions/%s", sessions, sizeName(size)), func(b *testing.B) {
				benchmarkForward(b, sessions, size)
			})
		}
	}
}

func sizeName(size int) string {
	if size < 1<<10 {
		return fmt.Sprintf("%dB", size)
	}
	return fmt.Sprintf("%dKiB", size>>10)
}

func benchmarkForward(b *testing.B, sessions, size int) {
	platform := startPlatform(b)
	open := func(addr string, n int) sender {
		p := openPair(b, addr, platform, n, size)
		go p.receive()
		return p
	}
	compare(b, newSubject(b, "relay", platform, sessions, open), newSubject(b, "bare", platform, sessions, open))
}

// compare has a relay and a bare forwarder take turns.
func compare(b *testing.B, relay, bare *subject) {
	b.ResetTimer()
	for range b.N {
		relay.turn()
		bare.turn()
	}
	b.StopTimer()
	b.ReportMetric(relay.perFrame(), "relay-µs/frame")
	b.ReportMetric(bare.perFrame(), "bare-µs/frame")
	b.ReportMetric(relay.perFrame()/bare.perFrame(), "ratio")
	b.ReportMetric(0, "ns/op")
}

// subject is a process under measurement with its peers.
type subject struct {
	*child
	senders []sender
	used    time.Duration
	frames  int
}

// newSubject starts a process and opens so many sessions at its address, numbered from 0.
func newSubject(
	b *testing.B, kind string, platform *devplatform.Server, sessions int, open func(addr string, n int) sender,
) *subject {
	b.Helper()
	s := &subject{child: startChild(b, childSpec{Kind: kind, JWKSURL: platform.JWKSURL()})}
	for n := range sessions {
		s.senders = append(s.senders, open(s.addr, n))
	}
	return s
}

// turn has all sessions send at once.
func (s *subject) turn() {
	s.b.Helper()
	before := s.cpu()
	var mu sync.Mutex
	var failed error
	var running sync.WaitGroup
	for _, p := range s.senders {
		running.Go(func() {
			n, err := p.send(max(1, turnBatches/len(s.senders)))
			mu.Lock()
			defer mu.Unlock()
			s.frames += n
			failed = errors.Join(failed, err)
		})
	}
	running.Wait()
	if failed != nil {
		s.b.Fatal(failed)
	}
	s.used += s.cpu() - before
}

func (s *subject) perFrame() float64 {
	return float64(s.used.Nanoseconds()) / 1000 / float64(s.frames)
}
