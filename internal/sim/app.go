package sim

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

// pair is a session by both its ends, and what their applications say.
type pair struct {
	tenant         *tenant
	n              int // -1: its client has forgotten it
	owner          *endpoint
	attempt        int // of the handshake
	client, daemon *end
	up, down       talk

	// waits: the handshake came to nothing and is begun anew at reopenAt; patient: or as soon as there is a daemon.
	waits, patient bool
	reopenAt       time.Time
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

// talk returns a new one, that is like no other.
func (w *world) talk() talk {
	w.talks++
	return talk{id: w.talks}
}

// message is the n-th message of a direction: nobody else's, and its length depends on both.
func (w *world) message(t *talk, n int) []byte {
	x := t.id*0x9e3779b97f4a7c15 + uint64(n+1)*0xbf58476d1ce4e5b9
	b := make([]byte, int(x%uint64(w.MaxMessage+1)))
	for i := range b {
		if i%8 == 0 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		b[i] = byte(x >> (8 * (i % 8)))
	}
	return b
}

// end is one end of a session with its application.
type end struct {
	pair            *pair
	endpoint        *endpoint
	machine         *session.Machine
	link            *link // that it is on; nil: none
	sends, receives *talk

	// What the effects said: it opened; there may be something to read; Send was not done and can take no more; how
	// often it ended.
	opened, readable, blocked bool
	endings                   int
	// answered: its peer has answered on this link, or it is the first.
	answered bool
	// The application does nothing before these.
	writeAt, readAt time.Time

	over bool // ended with an error that the application saw
	gone bool // the process is
	// may are the errors that it may end with, and by is until when it has to.
	may []reason.Code
	by  time.Time

	// What the relay received from it since the last trouble, which was at since: RESUME and RESUMED, and sequenced
	// frames that it had received before. highest is the highest sequence ever.
	since           time.Time
	resumes, resent int
	highest         uint64
	heard           time.Time // when it was given something that its peer has proved
}

// apply remembers what an input changed. An application that is never told waits for ever, and the run finds it.
func (x *end) apply(e session.Effects) {
	x.endpoint.world.dirty.end(x)
	if e.Has(session.Opened) {
		x.opened = true
	}
	if e.Has(session.Readable) {
		x.readable = true
	}
	if e.Has(session.Writable) {
		x.blocked = false
	}
	if e.Has(session.EndedClean) {
		x.endings++
	}
	if e.Has(session.EndedUnclean) {
		x.endings++
	}
}

// disown makes the daemon's end of a handshake that its client has forgotten stand for itself: nobody will ever hear
// of it.
func (x *end) disown() {
	if x != nil {
		x.pair = &pair{tenant: x.pair.tenant, n: -1, daemon: x}
		x.sends, x.receives = &x.pair.down, &x.pair.up
	}
}

// receive gives the machine an envelope.
func (x *end) receive(h *envelope.Header, ciphertext []byte) {
	switch h.Type {
	case relayv1.FrameType_FRAME_TYPE_ACK, relayv1.FrameType_FRAME_TYPE_STATUS:
	default:
		x.heard = x.endpoint.world.now
	}
	switch h.Type {
	case relayv1.FrameType_FRAME_TYPE_RESUME, relayv1.FrameType_FRAME_TYPE_RESUMED:
		x.answered = true
	case relayv1.FrameType_FRAME_TYPE_STATUS:
		if s, err := envelope.DecodeStatus(h.Status); err == nil && s.Code == reason.SequenceGap && s.Expected == 0 {
			x.answered = x.machine.State() == session.Handshaking
		}
	}
	x.apply(x.machine.Receive(h, ciphertext, x.endpoint.world.now))
}

// moveTo gives the session a new link.
func (x *end) moveTo(l *link) {
	x.link, x.answered = l, x.machine.State() == session.Handshaking
	x.apply(x.machine.LinkUp(x.endpoint.world.now))
}

// checkSent checks what the end puts on the wire: nothing sequenced on a new link, or while there is no daemon,
// before its peer has answered.
func (x *end) checkSent(message []byte) error {
	var b envelope.Batch
	b.Load(message)
	if err := b.Split(frameLimits); err != nil {
		return err
	}
	for i := range b.Frames() {
		if h := &b.Frames()[i].Header; envelope.Sequenced(h.Type) && h.Sequence > 1 && !x.answered {
			return fmt.Errorf("%s: session %d: %v %d goes out before the peer has answered", x.endpoint.name, x.pair.n,
				h.Type, h.Sequence)
		}
	}
	return nil
}

// canWrite reports whether the application has something to say that Send may take.
func (x *end) canWrite() bool {
	s := x.machine.State() // where it has ended with an error, Send says so
	return (s == session.Open || s == session.Ended) && x.opened && !x.sends.closed && !x.over && !x.gone && !x.blocked &&
		!x.endpoint.world.now.Before(x.writeAt)
}

// canRead reports whether the application wants to read.
func (x *end) canRead() bool {
	return x.readable && !x.finished() && !x.endpoint.world.now.Before(x.readAt)
}

// write lets the application send its next message, or the rest of one, or close, or abort.
func (x *end) write() error {
	w, t := x.endpoint.world, x.sends
	w.dirty.end(x)
	if !t.begun {
		if t.sent == w.Messages {
			x.apply(x.machine.CloseWrite("", "", w.now))
			t.closed = true
			w.note("%s closes its direction of session %d", x.endpoint.name, x.pair.n)
			return nil
		}
		if w.chance(w.Aborts) {
			x.abort()
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
	if done && w.Pause > 0 && w.chance(200) {
		x.writeAt = w.now.Add(w.within(w.Pause))
		w.troubleUntil(x.writeAt)
	}
	return nil
}

// abort ends the session at once; its peer is told, unless that is lost.
func (x *end) abort() {
	w := x.endpoint.world
	w.note("%s aborts session %d", x.endpoint.name, x.pair.n)
	x.apply(x.machine.Abort("", w.now))
	x.over = true
	w.result.Ended++
	w.troubleUntil(w.now)
	peer := x.peer()
	peer.mayEnd(reason.Cancelled)
	if w.Faults > 0 || w.Losses > 0 || w.LinkBytes > 0 { // the RESET may be lost
		peer.mayEnd(reason.SessionUnknown, reason.PeerSilent)
	}
}

// read lets the application receive.
func (x *end) read() error {
	w, t := x.endpoint.world, x.receives
	w.dirty.end(x)
	msg, ok, e, err := x.machine.Next(w.now)
	x.readable = ok
	x.apply(e)
	switch {
	case errors.Is(err, io.EOF):
		if !t.closed || t.delivered != t.sent {
			return fmt.Errorf("%s: end of stream after %d messages of %d, closed %t",
				x.endpoint.name, t.delivered, t.sent, t.closed)
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
	w.result.Delivered++
	if w.Slow > 0 && w.chance(200) {
		x.readAt = w.now.Add(w.within(w.Slow))
		w.troubleUntil(x.readAt)
	}
	return nil
}

// peer is the other end.
func (x *end) peer() *end {
	if x == x.pair.client {
		return x.pair.daemon
	}
	return x.pair.client
}

// mayEnd says that from now on the session may end with one of these: the other end is gone.
func (x *end) mayEnd(codes ...reason.Code) {
	if x == nil || x.settled() {
		return
	}
	x.may = append(x.may, codes...)
	if slices.Contains(codes, reason.PeerSilent) {
		x.by = latest(x.by, x.endpoint.world.now.Add(lifetime))
	}
}

// failed takes the error that the session ended with.
func (x *end) failed(err error) error {
	w, p := x.endpoint.world, x.pair
	if x.over || x.gone {
		return nil
	}
	var why *session.End
	if !errors.As(err, &why) {
		return fmt.Errorf("%s: session %d: %w", x.endpoint.name, p.n, err)
	}
	x.over = true
	w.note("%s: session %d: %v", x.endpoint.name, p.n, err)
	if x == p.daemon && !x.opened {
		return nil // no application ever heard of it
	}
	if x == p.client && !x.opened {
		p.waits = !x.endpoint.stopped
		if x.endpoint.stopped && p.daemon != nil {
			p.daemon.by = latest(p.daemon.by, w.now.Add(lifetime)) // nobody proves himself any more
		}
		switch why.Code() {
		case reason.HandshakeTimeout, reason.PeerAvailable, reason.LinkLost:
			p.patient, p.reopenAt = false, w.now
			return nil
		case reason.PeerUnavailable:
			p.patient, p.reopenAt = true, w.now.Add(daemonPatience)
			return nil
		case reason.Capacity, reason.RateLimited:
			p.patient, p.reopenAt = false, w.now.Add(why.Reason.RetryAfter)
			return nil
		}
	}
	w.result.Ended++
	if why.Code() == reason.PeerSilent && w.now.Sub(x.heard) >= lifetime && !w.now.After(w.trouble.Add(Bound)) {
		// There was trouble for so long that its end is in time, and at the other end as well.
		x.peer().mayEnd(reason.PeerSilent, reason.SessionUnknown, reason.Cancelled)
		return nil
	}
	by := map[reason.Code]session.Party{
		reason.SessionUnknown: session.Peer, reason.PeerSilent: session.Local, reason.PeerRevoked: session.Relay,
		reason.LinkLost: session.Link, reason.Cancelled: session.Peer,
	}
	if why.Code() == reason.LinkLost && x.endpoint.revoked {
		return nil
	}
	if !slices.Contains(x.may, why.Code()) || by[why.Code()] != why.By {
		return fmt.Errorf("%s: session %d ended although nothing ended it: %w", x.endpoint.name, p.n, err)
	}
	if why.Code() == reason.PeerSilent { // it tells its peer, which may have been asking in vain
		x.peer().mayEnd(reason.PeerSilent, reason.SessionUnknown, reason.Cancelled)
	}
	return nil
}

// finished reports whether the application is done with the session, cleanly or not.
func (x *end) finished() bool { return x.over || x.gone || x.sends.closed && x.receives.eof }

// healed reports whether a RESUME of this end means that only a timer healed what went wrong: nothing happened in
// secret, and for longer than anything but a timer takes nothing happened at all. (A daemon may ask whether its CLOSE
// arrived: the tombstone on the other side does not whenever the daemon has a new link.)
func (x *end) healed() bool {
	const atOnce = 4 * time.Second
	w, t, peer := x.endpoint.world, x.pair.tenant, x.peer()
	if peer == nil || peer.machine.State() >= session.Closed {
		return false
	}
	simple := w.Losses == 0 && w.LinkBytes == 0 && w.SessionsPerClient == 0 && w.Slow == 0 && w.Aborts == 0
	return simple && !t.silent && w.now.Sub(t.touched) > atOnce && w.now.Sub(w.start) < 5*time.Minute &&
		x.link != nil && peer.link != nil && peer.link.node == x.link.node
}

// settled reports whether nobody waits for anything any more: not the application, and not its machine for its peer.
func (x *end) settled() bool {
	ended := x.machine.State() >= session.Closed
	return x.gone || ended && (!x.opened || x.finished())
}
