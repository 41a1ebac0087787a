package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
)

// BenchmarkLatency is the time that a frame and its echo take through an otherwise idle process, there and back, in
// turns between the relay and the bare forwarder. It is wall time: others on the machine show in p99 above all.
func BenchmarkLatency(b *testing.B) {
	for _, size := range []int{64, 1 << 10} {
		b.Run(sizeName(size), func(b *testing.B) {
			platform := startPlatform(b)
			trips := scaled(200)
			kinds := []string{"relay", "bare"}
			var pairs []*pair
			for _, kind := range kinds {
				process := startChild(b, childSpec{Kind: kind, JWKSURL: platform.JWKSURL()})
				pairs = append(pairs, openPair(b, process.addr, platform, 0, size))
			}
			took := make([][]time.Duration, len(kinds))
			for range b.N {
				for i, p := range pairs {
					for range trips {
						start := time.Now()
						if err := p.trip(); err != nil {
							b.Fatal(err)
						}
						took[i] = append(took[i], time.Since(start))
					}
				}
			}
			for i, kind := range kinds {
				slices.Sort(took[i])
				for _, percent := range []int{50, 99} {
					d := took[i][(len(took[i])-1)*percent/100]
					b.ReportMetric(float64(d.Nanoseconds())/1000, fmt.Sprintf("%s-p%d-µs", kind, percent))
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// trip sends a frame up and one down.
func (p *pair) trip() error {
	h := p.header(relayv1.FrameType_FRAME_TYPE_DATA, p.next)
	p.next++
	for _, way := range [][2]stream{{p.client, p.daemon}, {p.daemon, p.client}} {
		var o envelope.Outgoing
		o.Add(envelope.RunOf(envelope.Append(nil, &h, p.ciphertext), 1))
		if err := way[0].SendMsg(&o); err != nil {
			return err
		}
		var got envelope.Batch
		if err := way[1].RecvMsg(&got); err != nil {
			return err
		}
		if err := got.Split(frameLimits); err != nil {
			return err
		}
		if f := got.Frames()[0].Header; f.Type != h.Type || f.Sequence != h.Sequence {
			return fmt.Errorf("got %v %d, want %v %d", f.Type, f.Sequence, h.Type, h.Sequence)
		}
		got.Free()
	}
	return nil
}
