package bench

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/devplatform"
)

const (
	// sessions are busy at once, each with links of its own.
	sessions = 8
	// batches is how many messages each session sends in a turn.
	batches = 250
)

// BenchmarkForward takes turns between the relay and the bare forwarder, so that both meet the same machine. An operation
// is one turn of each; what counts are the metrics, the CPU time per frame of the one process and of the other.
func BenchmarkForward(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"64B", 64}, {"1KiB", 1 << 10}, {"16KiB", 16 << 10}} {
		b.Run(c.name, func(b *testing.B) { benchmarkForward(b, c.size) })
	}
}

func benchmarkForward(b *testing.B, size int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	platform, err := devplatform.New(devplatform.Config{})
	if err != nil {
		b.Fatal(err)
	}
	if err := platform.Start(ln); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = platform.Close() })
	relay, bare := newSubject(b, "relay", platform, size), newSubject(b, "bare", platform, size)
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
	pairs  []*pair
	used   time.Duration
	frames int
}

func newSubject(b *testing.B, kind string, platform *devplatform.Server, size int) *subject {
	b.Helper()
	s := &subject{child: startChild(b, kind, platform.ValidateURL())}
	for i := range sessions {
		s.pairs = append(s.pairs, connectPair(b, s.addr, platform, i, size))
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
	for _, p := range s.pairs {
		running.Go(func() {
			n, err := p.send(batches)
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
