package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/mem"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/route"
)

const (
	sessionsPerTarget = 16000
	sessionsPerLink   = 250
	// firstSequence takes five bytes, and so do the next 2^34: a batch is written once and then only its numbers.
	firstSequence = 1 << 29
)

// world is machines of the relay with sessions in them, bound at both ends: everything between RecvMsg and SendMsg, in one
// goroutine.
type world struct {
	tb       testing.TB
	targets  []*worldTarget
	sessions []*worldSession
	batch    envelope.Batch
	now      time.Time
}

type worldTarget struct {
	*route.Target
	name   string
	daemon *route.Link
}

type worldSession struct {
	target *worldTarget
	client *route.Link
	id     string
	next   uint64
}

func newWorld(tb testing.TB, sessions int) *world {
	tb.Helper()
	w := &world{tb: tb, now: time.Unix(1_700_000_000, 0)}
	var target *worldTarget
	var client *route.Link
	serial := uint64(0)
	attach := func(role route.Role) *route.Link {
		serial++
		l := route.NewLink(serial, route.Peer{Role: role})
		target.Step(route.Event{Kind: route.Attach, Link: l}, w.now)
		return l
	}
	for i := range sessions {
		if i%sessionsPerTarget == 0 {
			target = &worldTarget{name: fmt.Sprintf("host-%d", i/sessionsPerTarget)}
			target.Target = route.New(route.Config{Workspace: "bench", Target: target.name})
			target.daemon = attach(route.Daemon)
			w.targets = append(w.targets, target)
		}
		if i%sessionsPerTarget%sessionsPerLink == 0 {
			client = attach(route.Client)
		}
		var key [16]byte
		binary.BigEndian.PutUint64(key[:], uint64(i))
		s := &worldSession{target: target, client: client, id: envelope.SessionID(key[:]), next: firstSequence}
		w.sessions = append(w.sessions, s)
		for _, step := range []struct {
			from, to *route.Link
			h        envelope.Header
		}{
			{client, target.daemon, envelope.Header{
				Type: relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT, Sequence: 1, BindKey: key[:],
				Profile: relayv1.Profile_PROFILE_NOISE_IK,
			}},
			{target.daemon, client, envelope.Header{
				Type: relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE, Sequence: 1, Profile: relayv1.Profile_PROFILE_NOISE_IK,
			}},
			// From here on the sequence is a long number.
			{client, target.daemon, envelope.Header{
				Type: relayv1.FrameType_FRAME_TYPE_DATA, Sequence: firstSequence - 1, Resend: true,
			}},
		} {
			h := step.h
			h.Workspace, h.Target, h.Session = []byte("bench"), []byte(target.name), []byte(s.id)
			h.Encoding = relayv1.Encoding_ENCODING_NOISE
			w.batch.Load(envelope.Append(nil, &h, make([]byte, 96)))
			if n := w.pass(target, step.from); n != 1 {
				tb.Fatalf("%v of session %d did not pass", h.Type, i)
			}
			w.take(target, step.to)
		}
	}
	return w
}

// pass is what the hub does with a received batch: parse, guard and route. It returns how many frames passed.
func (w *world) pass(t *worldTarget, from *route.Link) (passed int) {
	if err := w.batch.Split(frameLimits); err != nil {
		w.tb.Fatal(err)
	}
	var run route.Pass
	start := 0
	frames := w.batch.Frames()
	for i := range frames {
		v := t.Sequence(from, &frames[i], w.now)
		if v.End != nil {
			w.tb.Fatal(v.End)
		}
		if !run.Extend(v.Pass) {
			if run.OK() {
				t.Forward(from, run, w.batch.Run(start, i), w.now)
			}
			run, start = v.Pass, i
		}
		if v.Pass.OK() {
			passed++
		}
	}
	if run.OK() {
		t.Forward(from, run, w.batch.Run(start, len(frames)), w.now)
	}
	t.Effects()
	w.batch.Free()
	return passed
}

// take is what a sender does until its queue is empty, without the sending.
func (w *world) take(t *worldTarget, to *route.Link) (frames int) {
	for {
		var o envelope.Outgoing
		if !t.Take(to, batchBytes, &o) {
			return frames
		}
		frames += o.Frames()
		o.Free()
	}
}

// stamp is a received batch whose session and sequences can be written anew.
type stamp struct {
	data      mem.BufferSlice
	bytes     []byte
	frames    int
	session   []int // where each frame has them
	sequence  []int
	nameStart []int
}

func newStamp(frames, size int) *stamp {
	s := &stamp{frames: frames}
	id := envelope.SessionID(make([]byte, 16))
	var message []byte
	for i := range frames {
		h := envelope.Header{
			Workspace: []byte("bench"), Target: []byte("host-0"), Session: []byte(id), Sequence: uint64(firstSequence + i),
			Type: relayv1.FrameType_FRAME_TYPE_DATA, Encoding: relayv1.Encoding_ENCODING_NOISE, Ack: 1, Consumed: 1,
			Timestamp: envelope.Timestamp{Present: true, Seconds: 1_700_000_000, Nanos: 123_456_789},
		}
		start := len(message)
		message = envelope.Append(message, &h, make([]byte, size))
		s.session = append(s.session, start+bytes.Index(message[start:], []byte(id)))
		s.sequence = append(s.sequence, start+bytes.Index(message[start:], binary.AppendUvarint(nil, h.Sequence)))
		s.nameStart = append(s.nameStart, start+bytes.Index(message[start:], []byte("host-0")))
	}
	pool := mem.DefaultBufferPool()
	buf := pool.Get(max(16<<10, len(message))) // as gRPC reads an HTTP/2 frame
	*buf = (*buf)[:copy(*buf, message)]
	s.bytes, s.data = *buf, mem.BufferSlice{mem.NewBuffer(buf, pool)}
	return s
}

// of makes the batch the next one of a session.
func (s *stamp) of(ws *worldSession) {
	for i := range s.frames {
		copy(s.bytes[s.nameStart[i]:], ws.target.name)
		copy(s.bytes[s.session[i]:], ws.id)
		binary.PutUvarint(s.bytes[s.sequence[i]:], ws.next)
		ws.next++
	}
}

// through runs the batch through the relay's part of the path.
func (w *world) through(s *stamp, ws *worldSession) {
	s.of(ws)
	if err := (envelope.Codec{}).Unmarshal(s.data, &w.batch); err != nil {
		w.tb.Fatal(err)
	}
	if n := w.pass(ws.target, ws.client); n != s.frames {
		w.tb.Fatalf("got %d frames through, want %d", n, s.frames)
	}
	if n := w.take(ws.target, ws.target.daemon); n != s.frames {
		w.tb.Fatalf("took %d frames, want %d", n, s.frames)
	}
}

// nextSession is the session of turn i: neighbours in time are far apart in memory, as with many busy peers.
func (w *world) nextSession(i int) *worldSession {
	return w.sessions[i*7919%len(w.sessions)]
}

var shapes = []struct {
	name         string
	frames, size int
}{{"1x64B", 1, 64}, {"100x64B", 100, 64}, {"1x1KiB", 1, 1 << 10}, {"15x1KiB", 15, 1 << 10}}

// BenchmarkPath is parse, guard, route and take, per frame, beside the parse alone; in CPU time, since others may want the
// machine too.
func BenchmarkPath(b *testing.B) {
	perFrame := func(b *testing.B, frames int, before time.Duration) {
		used := cpuTime() - before
		b.ReportMetric(float64(used.Nanoseconds())/float64(b.N)/float64(frames), "cpu-ns/frame")
		b.ReportMetric(0, "ns/op")
	}
	for _, shape := range shapes {
		b.Run("parse/"+shape.name, func(b *testing.B) {
			s := newStamp(shape.frames, shape.size)
			var batch envelope.Batch
			b.ReportAllocs()
			before := cpuTime()
			for b.Loop() {
				if err := (envelope.Codec{}).Unmarshal(s.data, &batch); err != nil {
					b.Fatal(err)
				}
				if err := batch.Split(frameLimits); err != nil {
					b.Fatal(err)
				}
				batch.Free()
			}
			perFrame(b, shape.frames, before)
		})
	}
	for _, sessions := range []int{10, 1000, 10_000, 100_000} {
		w := newWorld(b, sessions)
		for _, shape := range shapes {
			b.Run(fmt.Sprintf("all/%d-sessions/%s", sessions, shape.name), func(b *testing.B) {
				s := newStamp(shape.frames, shape.size)
				b.ReportAllocs()
				before, i := cpuTime(), 0
				for b.Loop() {
					w.through(s, w.nextSession(i))
					i++
				}
				perFrame(b, shape.frames, before)
			})
		}
		w.check()
	}
}

func (w *world) check() {
	w.tb.Helper()
	for _, t := range w.targets {
		if err := t.Check(); err != nil {
			w.tb.Error(err)
		}
	}
}
