package sim

import (
	"errors"
	"fmt"
	"io"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/internal/secure"
	"github.com/getviewport/relay/internal/session"
)

// endpoint is a daemon or a client with its link and sessions: what package client does, without goroutines.
type endpoint struct {
	world     *world
	name      string
	role      route.Role
	static    secure.KeyPair
	daemonKey [32]byte // clients
	link      *link    // nil without one
	sessions  []*end   // whose machine is not done
	replies   [][]byte
	toOpen    int // clients: sessions still to open
	// provedAgain: a client that has been asked for one more session after the faults.
	provedAgain bool
}

func (e *endpoint) config() session.Config {
	return session.Config{
		Workspace: workspace, Target: target, Window: e.world.Window, MaxMessage: e.world.MaxMessage, Lifetime: lifetime,
	}
}

// open starts a session as a client.
func (e *endpoint) open(p *pair) error {
	m, err := session.NewClient(e.config(), session.ClientHandshake{
		Profile: relayv1.Profile_PROFILE_NOISE_IK, Static: e.static, PeerStatic: e.daemonKey,
	}, e.world.random, e.world.now)
	if err != nil {
		return err
	}
	p.client = &end{pair: p, endpoint: e, machine: m, sends: &p.up, receives: &p.down}
	e.sessions = append(e.sessions, p.client)
	e.world.note("%s opens session %d (%.6s)", e.name, p.n, m.ID())
	return nil
}

// receive handles the next message from the relay.
func (e *endpoint) receive() error {
	l := e.link
	message := l.down[0]
	l.down = l.down[1:]
	b := new(envelope.Batch)
	b.Load(message)
	if err := b.Split(frameLimits); err != nil {
		return fmt.Errorf("%s: the relay sent what is no envelope: %w", e.name, err)
	}
	for i := range b.Frames() {
		h := &b.Frames()[i].Header
		if e.world.Loss > 0 && len(h.Session) > 0 && e.world.chance(e.world.Loss) {
			e.world.note("lost on the way to %s: %v %d", e.name, h.Type, h.Sequence)
			continue
		}
		if err := e.frame(h, b.Ciphertext(i)); err != nil {
			return err
		}
	}
	return nil
}

func (e *endpoint) frame(h *envelope.Header, ciphertext []byte) error {
	if len(h.Session) == 0 {
		if h.Type == relayv1.FrameType_FRAME_TYPE_STATUS {
			s, err := envelope.DecodeStatus(h.Status)
			if err != nil {
				return err
			}
			e.world.note("%s is told %s", e.name, s.Code)
			for _, x := range e.sessions {
				x.apply(x.machine.LinkStatus(s, e.world.now))
			}
		}
		return nil
	}
	for _, x := range e.sessions {
		if x.machine.ID() == string(h.Session) {
			x.apply(x.machine.Receive(h, ciphertext, e.world.now))
			return nil
		}
	}
	if e.role != route.Daemon {
		return nil
	}
	switch h.Type {
	case relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT:
		return e.accept(h, ciphertext)
	case relayv1.FrameType_FRAME_TYPE_RESUME:
		e.replies = append(e.replies, session.AppendReset(nil, workspace, target, string(h.Session), reason.SessionUnknown))
	}
	return nil
}

// accept starts a session as a daemon.
func (e *endpoint) accept(h *envelope.Header, ciphertext []byte) error {
	p := e.world.pairOf(string(h.Session))
	if p == nil || p.daemon != nil {
		return nil
	}
	in, err := session.ReadInit(e.config(), e.static, h, ciphertext, e.world.random)
	if err != nil {
		return fmt.Errorf("%s can't read INIT of session %d: %w", e.name, p.n, err)
	}
	m, err := in.Accept(nil, e.world.random, e.world.now)
	if err != nil {
		return err
	}
	p.daemon = &end{pair: p, endpoint: e, machine: m, sends: &p.down, receives: &p.up}
	e.sessions = append(e.sessions, p.daemon)
	e.world.note("%s accepts session %d", e.name, p.n)
	return nil
}

// canSend reports whether anything is due and fits on the wire.
func (e *endpoint) canSend() bool {
	if e.link == nil || e.link.cut || len(e.link.up) >= inFlight {
		return false
	}
	if len(e.replies) > 0 {
		return true
	}
	for _, x := range e.sessions {
		if x.machine.WantsToSend() {
			return true
		}
	}
	return false
}

// send puts one message on the wire.
func (e *endpoint) send() {
	if len(e.replies) > 0 {
		e.link.up = append(e.link.up, e.replies[0])
		e.replies = e.replies[1:]
		return
	}
	var due []*end
	for _, x := range e.sessions {
		if x.machine.WantsToSend() {
			due = append(due, x)
		}
	}
	x := due[e.world.choose.IntN(len(due))]
	out, n := x.machine.Transmit(nil, 600+e.world.choose.IntN(16379-600), e.world.now)
	if n == 0 {
		return
	}
	if e.world.Loss > 0 && e.world.chance(e.world.Loss) {
		e.world.note("lost on the way from %s: %d envelopes", e.name, n)
		return
	}
	e.link.up = append(e.link.up, out)
}

// linkLost is the endpoint's side of a link's end: in this protocol version's first release its sessions end with it.
func (e *endpoint) linkLost() error {
	e.world.note("%s lost its link", e.name)
	e.link = nil
	e.replies = nil
	for _, x := range e.sessions {
		x.apply(x.machine.Abandon(e.world.now))
		if x.machine.State() != session.Ended {
			return fmt.Errorf("%s lost its link, and session %d did not end", e.name, x.pair.n)
		}
	}
	return nil
}

// reap forgets sessions whose machine has nothing left to do on the wire.
func (e *endpoint) reap() {
	keep := e.sessions[:0]
	for _, x := range e.sessions {
		if !x.machine.Done() {
			keep = append(keep, x)
		}
	}
	clear(e.sessions[len(keep):])
	e.sessions = keep
}

// pair is a session by both its ends, and what their applications say.
type pair struct {
	n              int
	client, daemon *end
	up, down       talk
	faulted        bool // a fault happened while it was alive: it may end with an error
}

// talk is what goes in one direction.
type talk struct {
	id          uint64
	sent        int // messages begun
	delivered   int
	closed, eof bool
	rest        []byte // of the message that Send has begun
	begun       bool
}

// message is the n-th message of a direction: nobody else's, and its length depends on both.
func (w *world) message(t *talk, n int) []byte {
	x := t.id*0x9e3779b97f4a7c15 + uint64(n+1)*0xbf58476d1ce4e5b9
	size := int(x % uint64(w.MaxMessage+1))
	b := make([]byte, size)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

// end is one end of a session with its application.
type end struct {
	pair            *pair
	endpoint        *endpoint
	machine         *session.Machine
	sends, receives *talk
	// What the effects said: there may be something to read; Send was not done and can take no more.
	readable, blocked bool
	over              bool // ended with an error that the application saw
}

// apply remembers what an input changed. An application that is never told waits for ever, and the run finds it.
func (x *end) apply(e session.Effects) {
	if e.Has(session.Readable) {
		x.readable = true
	}
	if e.Has(session.Writable) {
		x.blocked = false
	}
}

// canWrite reports whether the application has something to say that Send may take.
func (x *end) canWrite() bool {
	return x.machine.State() == session.Open && !x.sends.closed && !x.over && !x.blocked
}

// write lets the application send its next message, or the rest of one, or close.
func (x *end) write() error {
	w, t := x.endpoint.world, x.sends
	if !t.begun {
		if t.sent == w.Messages {
			x.apply(x.machine.CloseWrite("", "", w.now))
			t.closed = true
			w.note("%s closes its direction of session %d", x.endpoint.name, x.pair.n)
			return nil
		}
		t.rest, t.begun = w.message(t, t.sent), true
		t.sent++
	}
	n, done, e, err := x.machine.Send(t.rest, w.now)
	x.blocked = !done
	x.apply(e)
	if err != nil {
		return x.failed(err)
	}
	t.rest, t.begun = t.rest[n:], !done
	return nil
}

// read lets the application receive.
func (x *end) read() error {
	w, t := x.endpoint.world, x.receives
	msg, ok, e, err := x.machine.Next(w.now)
	x.readable = ok
	x.apply(e)
	switch {
	case errors.Is(err, io.EOF):
		if !t.closed || t.delivered != t.sent {
			return fmt.Errorf("%s: end of stream after %d messages of %d, closed %t", x.endpoint.name, t.delivered, t.sent, t.closed)
		}
		t.eof = true
		return nil
	case err != nil:
		return x.failed(err)
	case !ok:
		return nil
	}
	if t.delivered >= t.sent || string(msg) != string(w.message(t, t.delivered)) {
		return fmt.Errorf("%s: message %d of session %d is not what was sent", x.endpoint.name, t.delivered, x.pair.n)
	}
	t.delivered++
	return nil
}

// failed notes that the session ended with an error, which only a fault explains.
func (x *end) failed(err error) error {
	if x.over {
		return nil
	}
	if x == x.pair.client && (errors.Is(err, &reason.Error{Code: reason.HandshakeTimeout}) ||
		errors.Is(err, &reason.Error{Code: reason.PeerAvailable})) {
		return x.again()
	}
	x.over = true
	x.endpoint.world.note("%s: session %d: %v", x.endpoint.name, x.pair.n, err)
	if !x.pair.faulted {
		return fmt.Errorf("%s: session %d ended although nothing happened: %w", x.endpoint.name, x.pair.n, err)
	}
	return nil
}

// again begins the handshake anew, with another id and another key, as docs/protocol.md wants of a client that got no
// answer (Handshake and resume 1).
func (x *end) again() error {
	p := x.pair
	p.up, p.down = talk{id: p.up.id}, talk{id: p.down.id}
	p.daemon = nil
	return x.endpoint.open(p)
}

// finished reports whether the application is done with the session, cleanly or not.
func (x *end) finished() bool { return x.over || x.sends.closed && x.receives.eof }
