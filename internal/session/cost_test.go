package session

import (
	"testing"

	"github.com/getviewport/relay/internal/envelope"
)

// pusher sends full frames with one always in flight, as a push does.
type pusher struct {
	*pair
	payload []byte
	dst     []byte
	ack     envelope.Header
}

func newPusher(t testing.TB) *pusher {
	p := newPair(t, 300).open()
	p.wait(ackDelay)
	q := &pusher{pair: p, payload: message(maxFragment), dst: make([]byte, 0, 64<<10)}
	q.ack.Type = typeAck
	q.push()
	return q
}

// push sends one frame and takes the ack of the one before.
func (q *pusher) push() {
	m := q.client.m
	if _, done, _, err := m.Send(q.payload, q.now); !done || err != nil {
		q.t.Fatalf("not sent: %v", err)
	}
	q.dst, _ = m.Transmit(q.dst[:0], 16379, q.now)
	q.ack.Ack, q.ack.Consumed = m.out.sentMax-1, m.out.sentMax-1
	m.Receive(&q.ack, nil, q.now)
}

func TestAPushAllocatesNothingPerFrameAtItsSender(t *testing.T) {
	q := newPusher(t)
	q.push()
	if n := testing.AllocsPerRun(200, q.push); n != 0 {
		t.Errorf("got %v allocations a frame, want 0", n)
	}
}

// sealed makes n frames that the daemon has not received.
func (q *pusher) sealed(n int) []frame {
	frames := make([]frame, 0, n)
	for range n {
		q.push()
		frames = append(frames, parse(q.t, q.dst)[0])
	}
	return frames
}

func (q *pusher) take(f *frame) {
	m := q.daemon.m
	m.Receive(&f.Header, f.ciphertext, q.now)
	if _, ok, _, _ := m.Next(q.now); !ok {
		q.t.Fatalf("frame %d gave no message", f.Sequence)
	}
	if m.WantsToSend() {
		q.dst, _ = m.Transmit(q.dst[:0], 16379, q.now)
	}
}

func TestAPushAllocatesItsReceiversMessageAndNoMore(t *testing.T) {
	const n = 200
	p := newPair(t, 300).open()
	p.wait(ackDelay)
	q := &pusher{pair: p, payload: message(maxFragment), dst: make([]byte, 0, 64<<10)}
	q.ack.Type = typeAck
	frames := q.sealed(n + 1)
	i := 0
	if got := testing.AllocsPerRun(n, func() { q.take(&frames[i]); i++ }); got > 1 {
		t.Errorf("got %v allocations a frame, want 1: the message that its reader owns", got)
	}
}

func BenchmarkSend(b *testing.B) {
	q := newPusher(b)
	b.SetBytes(maxFragment)
	b.ReportAllocs()
	for b.Loop() {
		q.push()
	}
}

func BenchmarkReceive(b *testing.B) {
	p := newPair(b, 300).open()
	p.wait(ackDelay)
	q := &pusher{pair: p, payload: message(maxFragment), dst: make([]byte, 0, 64<<10)}
	q.ack.Type = typeAck
	b.SetBytes(maxFragment)
	b.ReportAllocs()
	var frames []frame
	for i := 0; i < b.N; i++ {
		if len(frames) == 0 {
			b.StopTimer()
			frames = q.sealed(256)
			b.StartTimer()
		}
		q.take(&frames[0])
		frames = frames[1:]
	}
}
