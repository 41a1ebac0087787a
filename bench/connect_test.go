package bench

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/devplatform"
)

// BenchmarkConnect is what a link costs from its TCP handshake to its end: HTTP/2, admission of a token by JWKS, attach
// and detach. Peers connect as fast as the machine lets them, four at once, in turns at the relay and at the bare
// forwarder; what counts is the CPU time of the process.
func BenchmarkConnect(b *testing.B) {
	for _, algorithm := range []string{devplatform.RS256, devplatform.ES256} {
		b.Run(algorithm, func(b *testing.B) {
			n := scaled(1000)
			platform := startPlatform(b)
			kinds := []string{"relay", "bare"}
			var processes []*child
			for _, kind := range kinds {
				processes = append(processes, startChild(b, childSpec{Kind: kind, JWKSURL: platform.JWKSURL()}))
			}
			used, took := make([]time.Duration, len(kinds)), make([]time.Duration, len(kinds))
			for i := range b.N {
				all := clients(b, platform, algorithm, i*n, (i+1)*n)
				for k, process := range processes {
					cpu, start := process.cpu(), time.Now()
					if err := comeAndGo(process.addr, all); err != nil {
						b.Fatal(err)
					}
					took[k] += time.Since(start)
					used[k] += process.cpu() - cpu
				}
			}
			connects := float64(b.N * n)
			for k, kind := range kinds {
				b.ReportMetric(used[k].Seconds()*1000/connects, kind+"-cpu-ms/connect")
				b.ReportMetric(connects/took[k].Seconds(), kind+"-connects/s")
			}
			b.ReportMetric(float64(used[0])/float64(used[1]), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// comeAndGo connects each of all, four at once, and disconnects it when it was admitted.
func comeAndGo(addr string, all []who) error {
	var mu sync.Mutex
	var failed error
	var running sync.WaitGroup
	next := make(chan who)
	for range 4 {
		running.Go(func() {
			for w := range next {
				l, err := openLean(addr, nil, w)
				if err == nil {
					err = l.leave()
				}
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
	}
	for _, w := range all {
		next <- w
	}
	close(next)
	running.Wait()
	return failed
}
