package session

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/guard"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/secure"
)

const (
	typeInit     = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT
	typeResponse = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE
	typeData     = relayv1.FrameType_FRAME_TYPE_DATA
	typeClose    = relayv1.FrameType_FRAME_TYPE_CLOSE
	typeAck      = relayv1.FrameType_FRAME_TYPE_ACK
	typeResume   = relayv1.FrameType_FRAME_TYPE_RESUME
	typeResumed  = relayv1.FrameType_FRAME_TYPE_RESUMED
	typeReset    = relayv1.FrameType_FRAME_TYPE_RESET
	typeStatus   = relayv1.FrameType_FRAME_TYPE_STATUS

	profileIK  = relayv1.Profile_PROFILE_NOISE_IK
	profilePSK = relayv1.Profile_PROFILE_NOISE_IKPSK2
)

// start is when every test begins.
var start = time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC)

// frame is an envelope on its way, with bytes of its own.
type frame struct {
	envelope.Header
	ciphertext []byte
}

func (f frame) clone() frame {
	f.ciphertext = bytes.Clone(f.ciphertext)
	return f
}

func sequenced(t relayv1.FrameType) bool {
	return t == typeInit || t == typeResponse || t == typeData || t == typeClose
}

// end is one endpoint of a pair and the lane that leads away from it.
type end struct {
	m  *Machine
	fx Effects // of all inputs so far

	// sent is every envelope that the machine gave to the link, in order.
	sent []frame
	// script decides what the link makes of an envelope before the relay's guard; nil passes all.
	script func(f frame) []frame
	// behind decides what becomes of it between the guard and the peer; nil passes all.
	behind func(f frame) []frame
	guard  guard.Guard
	flight []frame // passed, not delivered

	received [][]byte // what Next gave
	err      error    // what Next failed with
}

// pair is a client and a daemon with a relay's guards between them.
type pair struct {
	t              testing.TB
	now            time.Time
	random         io.Reader
	client, daemon end
	daemonKey      secure.KeyPair
	config         Config // of both unless changed before open
	daemonConfig   *Config
	profile        relayv1.Profile
	psk, daemonPSK []byte
	hold           bool // Next is not called by itself
	holdDaemon     bool
}

func newPair(t testing.TB, seed uint64) *pair {
	t.Helper()
	var key [32]byte
	key[0] = byte(seed)
	key[1] = byte(seed >> 8)
	p := &pair{
		t: t, now: start, random: rand.NewChaCha8(key), profile: profileIK,
		config: Config{Workspace: "ws", Target: "machine-1", Version: "test 1"},
	}
	p.daemonKey = p.key()
	return p
}

func (p *pair) key() secure.KeyPair {
	p.t.Helper()
	k, err := secure.GenerateKeyPair(p.random)
	if err != nil {
		p.t.Fatal(err)
	}
	return k
}

// dial makes the client; nothing is sent.
func (p *pair) dial() *pair {
	p.t.Helper()
	m, err := NewClient(p.config, ClientHandshake{
		Profile: p.profile, Static: p.key(), PeerStatic: p.daemonKey.Public, PSK: p.psk,
	}, p.random, p.now)
	if err != nil {
		p.t.Fatal(err)
	}
	p.client.m = m
	return p
}

// open runs the handshake to its end.
func (p *pair) open() *pair {
	p.t.Helper()
	p.dial().run()
	if p.client.m.State() != Open || p.daemon.m == nil || p.daemon.m.State() != Open {
		p.t.Fatalf("after the handshake: client in state %d (%v)", p.client.m.State(), p.client.m.Err())
	}
	return p
}

// openPair is a pair that is open, with all acks out.
func openPair(t testing.TB, seed uint64) *pair {
	t.Helper()
	p := newPair(t, seed).open()
	p.wait(time.Second)
	p.client.sent, p.daemon.sent = nil, nil
	return p
}

func (p *pair) peer(e *end) *end {
	if e == &p.client {
		return &p.daemon
	}
	return &p.client
}

// did takes the effects of an input and checks the machine.
func (p *pair) did(e *end, fx Effects) {
	p.t.Helper()
	e.fx |= fx
	if err := e.m.Check(); err != nil {
		p.t.Fatalf("%s: %v", p.name(e), err)
	}
	if fx.Has(WantsToSend) != e.m.WantsToSend() && e.m.State() != Ended {
		p.t.Fatalf("%s: effect WantsToSend %t, machine %t", p.name(e), fx.Has(WantsToSend), e.m.WantsToSend())
	}
}

func (p *pair) name(e *end) string {
	if e == &p.client {
		return "client"
	}
	return "daemon"
}

// parse reads what Transmit appended, with the generated code, and checks that a relay takes it.
func parse(t testing.TB, b []byte) []frame {
	t.Helper()
	var relayed envelope.Batch
	relayed.Load(bytes.Clone(b))
	if err := relayed.Split(envelope.Limits{MaxEnvelope: 2 << 20, MaxBatch: 64 << 10}); err != nil {
		t.Fatalf("a relay refuses what was transmitted: %v", err)
	}
	relayed.Free()
	var batch relayv1.EnvelopeBatch
	if err := proto.Unmarshal(b, &batch); err != nil {
		t.Fatalf("what was transmitted is no batch: %v", err)
	}
	frames := make([]frame, 0, len(batch.Envelopes))
	for _, v := range batch.Envelopes {
		h := envelope.Header{
			Type: v.Type, Profile: v.Profile, Encoding: v.Encoding, Resend: v.Resend,
			Workspace: []byte(v.WorkspaceId), Target: []byte(v.RuntimeTargetId), Session: []byte(v.SessionId),
			BindKey: v.BindKey, Sequence: v.Sequence, Ack: v.Ack, Consumed: v.Consumed, ResumeAttempt: v.ResumeAttempt,
		}
		if v.Timestamp != nil {
			h.Timestamp = envelope.Timestamp{Present: true, Seconds: v.Timestamp.Seconds, Nanos: v.Timestamp.Nanos}
		}
		if v.Status != nil {
			b, err := proto.Marshal(v.Status)
			if err != nil {
				t.Fatal(err)
			}
			h.Status = b
		}
		frames = append(frames, frame{h, v.Ciphertext})
	}
	return frames
}

// transmitted is what a machine sends now, at most one batch.
func (p *pair) transmitted(m *Machine) []frame {
	p.t.Helper()
	b, _ := m.Transmit(nil, 16379, p.now)
	return parse(p.t, b)
}

// transmit lets a machine send one batch up to the relay.
func (p *pair) transmit(e *end) {
	p.t.Helper()
	const limit = 16379
	b, n := e.m.Transmit(nil, limit, p.now)
	if len(b) == 0 {
		p.t.Fatalf("%s: wants to send and appends nothing", p.name(e))
	}
	frames := parse(p.t, b)
	if n != len(frames) {
		p.t.Fatalf("%s: Transmit counts %d envelopes, appended %d", p.name(e), n, len(frames))
	}
	if len(b) > limit && len(frames) > 1 {
		p.t.Fatalf("%s: a batch of %d bytes and %d envelopes, limit %d", p.name(e), len(b), len(frames), limit)
	}
	for _, f := range frames {
		e.sent = append(e.sent, f)
		out := []frame{f}
		if e.script != nil {
			out = e.script(f)
		}
		for _, f := range out {
			p.relay(e, f)
		}
	}
	if err := e.m.Check(); err != nil {
		p.t.Fatalf("%s: %v", p.name(e), err)
	}
}

// relay is the guard of the sender's side.
func (p *pair) relay(e *end, f frame) {
	p.t.Helper()
	if sequenced(f.Type) {
		v := e.guard.Step(guard.Event{
			Sequence: f.Sequence, Resend: f.Resend, Handshake: f.Type == typeInit || f.Type == typeResponse,
		}, p.now)
		if v.Purge {
			kept := e.flight[:0]
			for _, q := range e.flight {
				if !sequenced(q.Type) || q.Sequence < f.Sequence {
					kept = append(kept, q)
				}
			}
			e.flight = kept
		}
		if v.Tell != "" {
			p.tell(e, v.Tell, v.Expected)
		}
		if !v.Pass {
			return
		}
	}
	out := []frame{f}
	if e.behind != nil {
		out = e.behind(f)
	}
	e.flight = append(e.flight, out...)
}

// tell gives a machine a STATUS about its session.
func (p *pair) tell(e *end, code reason.Code, expected uint64) {
	p.t.Helper()
	b, err := proto.Marshal(&relayv1.Status{Code: string(code), ExpectedSequence: expected})
	if err != nil {
		p.t.Fatal(err)
	}
	p.give(e, frame{envelope.Header{Type: typeStatus, Session: []byte(p.client.m.ID()), Status: b}, nil})
}

// give hands a machine an envelope, and destroys the bytes afterwards: it must not keep them.
func (p *pair) give(e *end, f frame) {
	p.t.Helper()
	if e.m == nil {
		p.accept(f)
		return
	}
	f = f.clone()
	status := bytes.Clone(f.Status)
	h := f.Header
	h.Status = status
	p.did(e, e.m.Receive(&h, f.ciphertext, p.now))
	for i := range f.ciphertext {
		f.ciphertext[i] ^= 0xa5
	}
	for i := range status {
		status[i] = 'x'
	}
}

// accept is the daemon's driver.
func (p *pair) accept(f frame) {
	p.t.Helper()
	if f.Type != typeInit {
		return
	}
	c := p.config
	if p.daemonConfig != nil {
		c = *p.daemonConfig
	}
	in, err := ReadInit(c, p.daemonKey, &f.Header, f.ciphertext, p.random)
	if err != nil {
		p.t.Fatalf("ReadInit: %v", err)
	}
	psk := p.psk
	if p.daemonPSK != nil {
		psk = p.daemonPSK
	}
	if p.daemon.m, err = in.Accept(psk, p.random, p.now); err != nil {
		p.t.Fatalf("Accept: %v", err)
	}
}

// read takes what there is to read.
func (p *pair) read(e *end) {
	p.t.Helper()
	for {
		msg, ok, fx, err := e.m.Next(p.now)
		p.did(e, fx|e.want())
		if !ok {
			e.err = err
			return
		}
		e.received = append(e.received, msg)
	}
}

// want is the level of WantsToSend, for calls that return without effects.
func (e *end) want() Effects {
	if e.m.WantsToSend() {
		return WantsToSend
	}
	return 0
}

// run moves envelopes until both sides are quiet, without time passing.
func (p *pair) run() {
	p.t.Helper()
	for range 100_000 {
		busy := false
		for _, e := range []*end{&p.client, &p.daemon} {
			if e.m != nil && e.m.WantsToSend() {
				p.transmit(e)
				busy = true
			}
		}
		for _, e := range []*end{&p.client, &p.daemon} {
			for len(e.flight) > 0 {
				f := e.flight[0]
				e.flight = e.flight[1:]
				p.give(p.peer(e), f)
				busy = true
			}
			if e.m != nil && !p.hold && !(p.holdDaemon && e == &p.daemon) {
				p.read(e)
			}
		}
		if !busy {
			return
		}
	}
	p.t.Fatal("the pair does not come to rest")
}

// wait lets time pass from deadline to deadline.
func (p *pair) wait(d time.Duration) {
	p.t.Helper()
	until := p.now.Add(d)
	for range 100_000 {
		p.run()
		at := until
		for _, e := range []*end{&p.client, &p.daemon} {
			if e.m == nil {
				continue
			}
			if due := e.m.Deadline(); !due.IsZero() {
				at = earliest(at, latest(due, p.now))
			}
		}
		p.now = at
		for _, e := range []*end{&p.client, &p.daemon} {
			if e.m == nil {
				continue
			}
			p.did(e, e.m.Tick(p.now)|e.want())
			if due := e.m.Deadline(); !due.IsZero() && !due.After(p.now) {
				p.t.Fatalf("%s: after Tick the deadline is still %v ago", p.name(e), p.now.Sub(due))
			}
		}
		if !p.now.Before(until) {
			p.run()
			return
		}
	}
	p.t.Fatal("time does not pass")
}

// send gives a message to a machine, and reads at the peer while it is blocked.
func (p *pair) send(e *end, msg []byte) {
	p.t.Helper()
	for range 10_000 {
		n, done, fx, err := e.m.Send(msg, p.now)
		if err != nil {
			p.t.Fatalf("%s: Send: %v", p.name(e), err)
		}
		p.did(e, fx)
		if done {
			return
		}
		msg = msg[n:]
		p.wait(30 * time.Millisecond)
	}
	p.t.Fatalf("%s: Send is not done", p.name(e))
}

// trySend sends without waiting and returns how many bytes were taken and whether that was all.
func (p *pair) trySend(e *end, msg []byte) (int, bool) {
	p.t.Helper()
	n, done, fx, err := e.m.Send(msg, p.now)
	if err != nil {
		p.t.Fatalf("%s: Send: %v", p.name(e), err)
	}
	p.did(e, fx)
	return n, done
}

// types are the types of what was sent.
func types(frames []frame) []relayv1.FrameType {
	var t []relayv1.FrameType
	for _, f := range frames {
		t = append(t, f.Type)
	}
	return t
}

// of are the frames of a type.
func of(frames []frame, t relayv1.FrameType) []frame {
	var some []frame
	for _, f := range frames {
		if f.Type == t {
			some = append(some, f)
		}
	}
	return some
}

// count is how many of a type were sent.
func count(frames []frame, t relayv1.FrameType) int { return len(of(frames, t)) }

// dropAll drops everything, as a dead path does.
func dropAll(frame) []frame { return nil }

// wantEnd checks that a machine ended unclean.
func wantEnd(t testing.TB, m *Machine, by Party, code reason.Code) {
	t.Helper()
	var end *End
	if !errors.As(m.Err(), &end) {
		t.Fatalf("got state %d and error %v, want an end %s with %s", m.State(), m.Err(), by, code)
	}
	if end.By != by || end.Code() != code {
		t.Fatalf("got %q, want an end %s with %s", end, by, code)
	}
	if !errors.Is(m.Err(), &reason.Error{Code: code}) {
		t.Fatalf("errors.Is does not find %s in %v", code, m.Err())
	}
}

// wantAlive checks that a session goes on.
func wantAlive(t testing.TB, m *Machine) {
	t.Helper()
	if m.Err() != nil || m.State() == Ended {
		t.Fatalf("got state %d and error %v, want a session that goes on", m.State(), m.Err())
	}
}

// wantReceived checks what an endpoint has read.
func (p *pair) wantReceived(e *end, want ...string) {
	p.t.Helper()
	if len(e.received) != len(want) {
		p.t.Fatalf("%s received %d messages, want %d", p.name(e), len(e.received), len(want))
	}
	for i := range want {
		if string(e.received[i]) != want[i] {
			p.t.Fatalf("%s: message %d is %.40q, want %.40q", p.name(e), i, e.received[i], want[i])
		}
	}
}
