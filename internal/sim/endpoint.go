package sim

import (
	"errors"
	"fmt"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/internal/secure"
	"github.com/getviewport/relay/internal/session"
)

const (
	// rememberIDs is how long a daemon refuses an id after the end of its session.
	rememberIDs = 10 * time.Minute
	// daemonPatience is how long a client waits before it opens a session again that met no daemon, if nothing changes.
	daemonPatience = 30 * time.Second
	// batchBytes is the longest message of an endpoint, but for one envelope.
	batchBytes = 16379
)

// endpoint is a daemon or a client with its links and sessions: what package client does, without goroutines.
// connect.go has its links.
type endpoint struct {
	world     *world
	tenant    *tenant
	name      string
	role      route.Role
	number    int
	static    secure.KeyPair
	daemonKey [32]byte // clients
	// generation goes with a daemon's token.
	generation uint64

	// Links: what has not ended for it, oldest first. current is the one that the sessions are on, dialing one that is
	// not admitted yet; both are in links.
	links            []*link
	current, dialing *link
	dialBy           time.Time
	backoff          backoff
	connectAt        time.Time // not before
	moveAt           time.Time // when a second link is to be opened; zero: not at all
	offline          time.Time // until when its network is away
	revoked          bool
	stopped          bool // there will be no link any more

	sessions   []*end // whose machine is not done
	remembered []memory

	toOpen int // clients: sessions still to open
	// provedAgain: a client that has been asked for one more session after the faults.
	provedAgain bool
}

type memory struct {
	id string
	at time.Time
}

func (e *endpoint) config() session.Config {
	return session.Config{
		Workspace: e.tenant.workspace, Target: target, Window: e.world.Window, MaxMessage: e.world.MaxMessage,
		Lifetime: lifetime,
	}
}

// open starts a session as a client.
func (e *endpoint) open(p *pair) error {
	p.attempt++
	w := e.world
	m, err := session.NewClient(e.config(), session.ClientHandshake{
		Profile: relayv1.Profile_PROFILE_NOISE_IK, Static: e.static, PeerStatic: e.daemonKey,
	}, w.source("session", e.number, p.n, p.attempt), w.now)
	if err != nil {
		return err
	}
	p.reopenAt, p.waits = time.Time{}, false
	p.daemon.disown()
	p.up, p.down = w.talk(), w.talk()
	p.daemon = nil
	p.client = &end{pair: p, endpoint: e, machine: m, link: e.current, sends: &p.up, receives: &p.down, heard: w.now,
		answered: true}
	e.sessions = append(e.sessions, p.client)
	w.result.Handshakes++
	w.note("%s opens session %d (%.6s)", e.name, p.n, m.ID())
	return nil
}

// session finds a session that is not done.
func (e *endpoint) session(id []byte) *end {
	for _, x := range e.sessions {
		if x.machine.ID() == string(id) {
			return x
		}
	}
	return nil
}

// receive handles the next message that l brought.
func (e *endpoint) receive(l *link) error {
	w := e.world
	message := pop(&l.down)
	if len(l.down) > 0 && w.loses(w.Swap) {
		message, l.down[0] = l.down[0], message
		w.note("two messages to %s change places", e.name)
	}
	l.heard = w.now
	b := new(envelope.Batch)
	b.Load(message)
	if err := b.Split(frameLimits); err != nil {
		return fmt.Errorf("%s: the relay sent what is no envelope: %w", e.name, err)
	}
	for i := range b.Frames() {
		h := &b.Frames()[i].Header
		times := 1
		if len(h.Session) > 0 {
			switch {
			case w.loses(w.Loss):
				w.note("lost on the way to %s: %v %d", e.name, h.Type, h.Sequence)
				times = 0
			case w.loses(w.Double):
				w.note("doubled on the way to %s: %v %d", e.name, h.Type, h.Sequence)
				times = 2
			}
		}
		for range times {
			if err := e.frame(l, h, b.Ciphertext(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// loses draws whether the path between two nodes of the relay is at fault.
func (w *world) loses(n int) bool {
	if n == 0 || w.lossesLeft == 0 || !w.chance(n) {
		return false
	}
	w.lossesLeft--
	w.result.Lost++
	w.troubleUntil(w.now)
	return true
}

func (e *endpoint) frame(l *link, h *envelope.Header, ciphertext []byte) error {
	if len(h.Session) == 0 {
		return e.linkFrame(l, h)
	}
	if x := e.session(h.Session); x != nil {
		if x.link == l { // else it is what an older link still brings
			x.receive(h, ciphertext)
		}
		return nil
	}
	if e.role != route.Daemon {
		return nil
	}
	switch h.Type {
	case relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT:
		return e.accept(h, ciphertext)
	case relayv1.FrameType_FRAME_TYPE_RESUME:
		e.reply(session.AppendReset(nil, e.tenant.workspace, target, string(h.Session), reason.SessionUnknown))
	}
	return nil
}

// linkFrame handles a frame about the whole link.
func (e *endpoint) linkFrame(l *link, h *envelope.Header) error {
	var s envelope.Status
	if len(h.Status) > 0 {
		var err error
		if s, err = envelope.DecodeStatus(h.Status); err != nil {
			return err
		}
	}
	switch {
	case h.Type == relayv1.FrameType_FRAME_TYPE_HEARTBEAT:
		l.beat = l.beat || s.Code == reason.Probe
		return nil
	case h.Type != relayv1.FrameType_FRAME_TYPE_STATUS:
		return nil
	}
	e.world.note("%s is told %s", e.name, s.Code)
	e.tenant.touched = e.world.now
	switch s.Code {
	case reason.Draining:
		if l == e.current {
			e.moveAt = e.world.now.Add(s.RetryAfter)
		}
		return nil
	case reason.PeerAvailable:
		e.reopen()
	}
	for _, x := range e.sessions {
		if x.link == l {
			if s.Code == reason.PeerAvailable || s.Code == reason.PeerUnavailable {
				x.answered = false
			}
			x.apply(x.machine.LinkStatus(s, e.world.now))
		}
	}
	return nil
}

// reopen lets handshakes that met no daemon begin anew.
func (e *endpoint) reopen() {
	for _, p := range e.tenant.pairs {
		if p.owner == e && p.waits && p.patient {
			p.reopenAt = e.world.now
		}
	}
}

// reply queues an envelope that belongs to no session here, if there is a link.
func (e *endpoint) reply(b []byte) {
	if e.current != nil && len(e.current.replies) < 256 {
		e.current.replies = append(e.current.replies, b)
	}
}

// accept starts a session as a daemon.
func (e *endpoint) accept(h *envelope.Header, ciphertext []byte) error {
	id := string(h.Session)
	if e.current == nil || e.remembers(id) {
		return nil
	}
	w := e.world
	in, err := session.ReadInit(e.config(), e.static, h, ciphertext, w.source("daemon", id, w.steps))
	if errors.Is(err, &reason.Error{Code: reason.HandshakeFailed}) && e == e.tenant.intruder {
		return nil // it is not for its key
	}
	if err != nil {
		return fmt.Errorf("%s can't read INIT of session %.6s: %w", e.name, id, err)
	}
	m, err := in.Accept(nil, w.source("answer", id, w.steps), w.now)
	if err != nil {
		return err
	}
	p := e.tenant.pairOf(id)
	if p == nil || p.daemon != nil {
		p = &pair{tenant: e.tenant, n: -1}
	}
	p.daemon = &end{pair: p, endpoint: e, machine: m, link: e.current, sends: &p.down, receives: &p.up, heard: w.now,
		answered: true}
	if p.client == nil || p.client.gone {
		p.daemon.by = w.now.Add(lifetime) // nobody proves himself
	}
	if e.tenant.intruder != nil {
		p.displaced() // it may be at the next relay already
	}
	e.sessions = append(e.sessions, p.daemon)
	w.note("%s accepts session %d (%.6s)", e.name, p.n, id)
	return nil
}

// remembers reports whether a session with this id ended here not long ago.
func (e *endpoint) remembers(id string) bool {
	for len(e.remembered) > 0 && e.world.now.Sub(e.remembered[0].at) > rememberIDs {
		e.remembered = e.remembered[1:]
	}
	for _, m := range e.remembered {
		if m.id == id {
			return true
		}
	}
	return false
}

// canSend reports whether anything is due on l and fits on the wire.
func (e *endpoint) canSend(l *link) bool {
	if l == e.dialing || !l.roomUp() {
		return false
	}
	if l.beat || len(l.replies) > 0 {
		return true
	}
	for _, x := range e.sessions {
		if x.link == l && x.machine.WantsToSend() {
			return true
		}
	}
	return false
}

// send puts one message on the wire.
func (e *endpoint) send(l *link) error {
	w := e.world
	if l.beat {
		l.beat = false
		l.replies = append(l.replies, envelope.AppendHeartbeat(nil, e.tenant.workspace, target, false))
	}
	if len(l.replies) > 0 {
		l.sent = w.now
		l.pushUp(pop(&l.replies))
		return nil
	}
	due := 0
	for _, x := range e.sessions {
		if x.link == l && x.machine.WantsToSend() {
			due++
		}
	}
	k := w.choose.IntN(due)
	for _, x := range e.sessions {
		if x.link != l || !x.machine.WantsToSend() {
			continue
		}
		if k == 0 {
			return e.transmit(x, 600+w.choose.IntN(batchBytes-600))
		}
		k--
	}
	return nil
}

// transmit sends one message of a session on its link.
func (e *endpoint) transmit(x *end, limit int) error {
	w := e.world
	out, n := x.machine.Transmit(nil, limit, w.now)
	w.dirty.end(x)
	if n == 0 {
		return nil
	}
	x.link.sent = w.now
	if w.loses(w.Loss) {
		w.note("lost on the way from %s: %d envelopes", e.name, n)
		return nil
	}
	x.link.pushUp(out)
	return x.checkSent(out)
}

// reap forgets sessions whose machine has nothing left to do on the wire.
func (e *endpoint) reap() {
	keep := e.sessions[:0]
	for _, x := range e.sessions {
		if !x.machine.Done() {
			keep = append(keep, x)
		} else if e.role == route.Daemon {
			e.remembered = append(e.remembered, memory{x.machine.ID(), e.world.now})
		}
	}
	clear(e.sessions[len(keep):])
	e.sessions = keep
}
