package route_test

import (
	"fmt"
	"testing"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/route"
)

// traffic is a number of open sessions, spread over targets, and a frame to send on each.
type traffic struct {
	targets []*route.Target
	up      []flow
	run     envelope.Run
	now     time.Time
}

// flow is the up direction of a session.
type flow struct {
	target         *route.Target
	client, daemon *route.Link
	frame          envelope.Frame
}

// perTarget is how many sessions a target of the benchmark has.
const perTarget = 12500

func newTraffic(t testing.TB, sessions int) *traffic {
	tr := &traffic{now: time.Unix(0, 0)}
	for len(tr.up) < sessions {
		n := min(perTarget, sessions-len(tr.up))
		m := route.New(route.Config{
			Workspace: workspace, Target: target, Limits: route.Limits{SessionsPerClient: perTarget},
		})
		d, c := route.NewLink(1, route.Peer{Role: route.Daemon}), route.NewLink(2, route.Peer{Role: route.Client})
		m.Step(route.Event{Kind: route.Attach, Link: d}, tr.now)
		m.Step(route.Event{Kind: route.Attach, Link: c}, tr.now)
		tr.targets = append(tr.targets, m)
		for i := range n {
			tr.open(t, m, c, d, fmt.Sprint("s", i))
		}
	}
	h := tr.up[0].frame.Header
	tr.run = envelope.RunOf(envelope.Append(nil, &h, make([]byte, h.CiphertextLen)), 1)
	return tr
}

// open does a session's handshake, and leaves the links' queues empty.
func (tr *traffic) open(t testing.TB, m *route.Target, c, d *route.Link, name string) {
	h := envelope.Header{
		Type: relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT, Encoding: relayv1.Encoding_ENCODING_NOISE, Sequence: 1,
		Workspace: []byte(workspace), Target: []byte(target), Session: []byte(sessionID(name)), BindKey: bindKey(name),
	}
	init := envelope.Frame{Header: h, Size: 200}
	h.Type, h.BindKey = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE, nil
	response := envelope.Frame{Header: h, Size: 200}
	for _, x := range []struct {
		from, to *route.Link
		frame    *envelope.Frame
	}{{c, d, &init}, {d, c, &response}} {
		v := m.Sequence(x.from, x.frame, tr.now)
		if !v.Pass.OK() {
			t.Fatalf("%s of %s was dropped", x.frame.Header.Type, name)
		}
		m.Forward(x.from, v.Pass, envelope.RunOf([]byte{10, 0}, 1), tr.now)
		for {
			var o envelope.Outgoing
			if !m.Take(x.to, 16384, &o) {
				break
			}
		}
	}
	h.Type, h.Sequence, h.CiphertextLen = relayv1.FrameType_FRAME_TYPE_DATA, 1, 64
	tr.up = append(tr.up, flow{m, c, d, envelope.Frame{Header: h, Size: 160}})
}

// send takes one frame of a session all the way: what the hub does for a batch of one.
func (tr *traffic) send(t testing.TB, f *flow, o *envelope.Outgoing) {
	f.frame.Header.Sequence++
	v := f.target.Sequence(f.client, &f.frame, tr.now)
	if v.End != nil || !v.Pass.OK() {
		t.Fatalf("dropped %d: %v", f.frame.Header.Sequence, v.End)
	}
	f.target.Forward(f.client, v.Pass, tr.run, tr.now)
	f.target.Effects()
	if !f.target.Take(f.daemon, 16384, o) {
		t.Fatal("nothing to take")
	}
}

// TestAFrameDoesNotAllocate: beside the array of buffers that a message for gRPC is made of, which is fresh by design.
func TestAFrameDoesNotAllocate(t *testing.T) {
	tr := newTraffic(t, 20)
	var o envelope.Outgoing
	for i := range tr.up {
		tr.send(t, &tr.up[i], &o)
	}
	i := 0
	got := testing.AllocsPerRun(1000, func() {
		o = envelope.Outgoing{}
		tr.send(t, &tr.up[i%len(tr.up)], &o)
		i++
	})
	want := testing.AllocsPerRun(1000, func() {
		o = envelope.Outgoing{}
		o.Add(tr.run)
	})
	if got != want {
		t.Errorf("got %v allocations a frame, want those of its message, %v", got, want)
	}
	for _, m := range tr.targets {
		if err := m.Check(); err != nil {
			t.Error(err)
		}
	}
}

// TestADroppedFrameDoesNotAllocate, so that who sends what is dropped costs no more than who keeps the rules.
func TestADroppedFrameDoesNotAllocate(t *testing.T) {
	tr := newTraffic(t, 1)
	f := &tr.up[0]
	f.frame.Header.Sequence = 1 // a replay
	f.target.Sequence(f.client, &f.frame, tr.now)
	if got := testing.AllocsPerRun(1000, func() { f.target.Sequence(f.client, &f.frame, tr.now) }); got != 0 {
		t.Errorf("got %v allocations a dropped frame, want 0", got)
	}
}

// BenchmarkFrame is Sequence, Forward and Take of one frame. The work is the same for any number of sessions; what
// "all" adds to "the same 10" is that nothing of a session is in the processor's cache.
func BenchmarkFrame(b *testing.B) {
	for _, bb := range []struct {
		name           string
		sessions, used int
	}{
		{"of 10 sessions", 10, 10},
		{"of 100000 sessions, the same 10", 100_000, 10},
		{"of 100000 sessions, all", 100_000, 100_000},
	} {
		b.Run(bb.name, func(b *testing.B) {
			tr := newTraffic(b, bb.sessions)
			step := bb.sessions / bb.used
			var o envelope.Outgoing
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				o = envelope.Outgoing{}
				tr.send(b, &tr.up[i%bb.used*step], &o)
				i++
			}
		})
	}
}

// BenchmarkBatch is a batch of 64 frames of one session, merged into one run.
func BenchmarkBatch(b *testing.B) {
	tr := newTraffic(b, 10)
	f := &tr.up[0]
	h := f.frame.Header
	var bytes []byte
	for range 64 {
		bytes = envelope.Append(bytes, &h, make([]byte, h.CiphertextLen))
	}
	run := envelope.RunOf(bytes, 64)
	b.ReportAllocs()
	for b.Loop() {
		var pass route.Pass
		for range 64 {
			f.frame.Header.Sequence++
			v := f.target.Sequence(f.client, &f.frame, tr.now)
			if !pass.Extend(v.Pass) {
				pass = v.Pass
			}
		}
		if pass.Frames() != 64 {
			b.Fatalf("%d frames in a run", pass.Frames())
		}
		f.target.Forward(f.client, pass, run, tr.now)
		f.target.Effects()
		var o envelope.Outgoing
		f.target.Take(f.daemon, 16384, &o)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/frame")
}
