package route

import (
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

// This file routes legacy frames in envelopes (docs/protocol.md, Legacy frames in envelopes). They have no session at the
// relay: a client's request has an owner until it is answered, and a session id has one until it is silent for long. All
// frames between a client's link and the daemon go in the order in which they came, on one lane each way; what finds no
// room there ends the client's link, because nobody would send it again.

const (
	// legacyQueue is how many bytes of legacy frames may be queued between a client's link and the daemon, each way.
	legacyQueue = 4 << 20
	// requestLifetime is how long a request may take to be answered, ownerLifetime for how long a session may be silent.
	requestLifetime = 2 * time.Minute
	ownerLifetime   = 30 * time.Minute
	// maxOwned bounds what a target remembers of each kind, maxOwnedPerLink what a link owns of all.
	maxOwned        = 4096
	maxOwnedPerLink = 256
)

var (
	errEvents = reason.New(reason.FrameInvalid, "session events are not for envelopes")
	errSlow   = &reason.Error{Code: reason.SlowConsumer}
)

// legacy is what a target remembers for legacy frames.
type legacy struct {
	exchanges, pairings, sessions owners
}

func newLegacy() legacy {
	return legacy{
		exchanges: owners{lifetime: requestLifetime}, pairings: owners{lifetime: requestLifetime},
		sessions: owners{sessions: true, lifetime: ownerLifetime},
	}
}

// path is what a client's link has for legacy frames: its lanes are those of a session that is in no table.
func (l *Link) path() *session {
	if l.legacy == nil {
		s := &session{}
		s.up.session, s.down.session = s, s
		l.legacy = s
	}
	return l.legacy
}

// sequenceLegacy is Sequence for a legacy frame of l.
func (t *Target) sequenceLegacy(l *Link, h *envelope.Header) Verdict {
	if len(h.Session) == 0 {
		return Verdict{End: errSessionID}
	}
	switch h.Type {
	case relayv1.FrameType_FRAME_TYPE_EVENT_SUBSCRIBE, relayv1.FrameType_FRAME_TYPE_EVENT_UNSUBSCRIBE,
		relayv1.FrameType_FRAME_TYPE_EVENT, relayv1.FrameType_FRAME_TYPE_PRESENCE:
		return Verdict{End: errEvents}
	}
	if l.peer.Role == Client {
		return t.legacyUp(l, h)
	}
	return t.legacyDown(l, h)
}

// legacyUp decides about a client's frame.
func (t *Target) legacyUp(l *Link, h *envelope.Header) Verdict {
	var requests *owners
	switch h.Type {
	case relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT:
		requests = &t.legacy.exchanges
	case relayv1.FrameType_FRAME_TYPE_PAIRING_REQUEST:
		requests = &t.legacy.pairings
	case relayv1.FrameType_FRAME_TYPE_DATA:
	default:
		return Verdict{End: errDirection}
	}
	if t.daemon == nil {
		t.drops.add(DropNoPeer, 1)
		if !l.peer.Legacy {
			t.tellLink(l, duePeerUnavailable)
		}
		return Verdict{NoPeer: true}
	}
	if h.Type == relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT {
		// A legacy link has rates of its own, which its bridge counts.
		if !l.peer.Legacy && !t.mayShake(l) {
			t.refuseSession(l, h, HandshakesPerSecond, DropRate)
			return Verdict{}
		}
		if t.tooWeak(l.peer, t.daemon, h) {
			t.refuseFrame(l, h, reason.ProfileTooWeak, DropProfile)
			return Verdict{}
		}
	}
	if requests != nil {
		if o := t.findOwned(requests, h.Session); o == nil {
			t.own(requests, h.Session, l)
		} else if o.link != l {
			t.drops.add(DropConflict, 1) // whoever asked first gets the answer
			return Verdict{}
		}
		return t.passLegacy(l, &l.path().up, t.daemon, h)
	}
	o := t.findOwned(&t.legacy.sessions, h.Session)
	switch {
	case o == nil || o.link != l:
		t.drops.add(DropUnbound, 1)
		return Verdict{}
	case !o.up.Step(h.Epoch, h.Sequence):
		t.drops.add(DropReplay, 1)
		return Verdict{}
	}
	return t.passLegacy(l, &l.path().up, t.daemon, h)
}

// legacyDown decides about a daemon's frame.
func (t *Target) legacyDown(l *Link, h *envelope.Header) Verdict {
	var o *owned
	switch h.Type {
	case relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE:
		if o = t.findOwned(&t.legacy.exchanges, h.Request); o == nil {
			break
		}
		t.disown(o)
		if t.tooWeak(l.peer, o.link, h) {
			t.drops.add(DropProfile, 1)
			return Verdict{}
		}
		t.own(&t.legacy.sessions, h.Session, o.link)
	case relayv1.FrameType_FRAME_TYPE_PAIRING_RESPONSE:
		if o = t.findOwned(&t.legacy.pairings, h.Session); o != nil {
			t.disown(o)
		}
	case relayv1.FrameType_FRAME_TYPE_DATA:
		o = t.findOwned(&t.legacy.sessions, h.Session)
		if o != nil && !o.down.Step(h.Epoch, h.Sequence) {
			t.drops.add(DropReplay, 1)
			return Verdict{}
		}
	case relayv1.FrameType_FRAME_TYPE_KEY_UPDATE:
		o = t.findOwned(&t.legacy.sessions, h.Session)
	default:
		return Verdict{End: errDirection}
	}
	if o == nil {
		t.drops.add(DropUnknown, 1)
		return Verdict{}
	}
	return t.passLegacy(l, &o.link.path().down, o.link, h)
}

// passLegacy takes a frame to the lane of a client's link. Where it finds no room, that link ends.
func (t *Target) passLegacy(l *Link, ln *lane, to *Link, h *envelope.Header) Verdict {
	if ln.to != to {
		t.discard(ln)
		ln.to = to
	}
	cost := int64(h.CiphertextLen) + frameCost
	if ln.loose+cost <= legacyQueue && t.affords(ln, ln.loose+cost, cost) {
		return Verdict{Pass: t.reserve(ln, 0, cost)}
	}
	t.drops.add(DropShare, 1)
	if l.peer.Role == Client {
		return Verdict{End: errSlow}
	}
	t.close(to, errSlow)
	return Verdict{}
}

// Deliver queues a legacy frame of the relay's own, or one that is for several links, for l, and takes over r. Where it
// finds no room, l ends.
func (t *Target) Deliver(l *Link, r envelope.Run, now time.Time) {
	t.clock(now)
	if l.state != attached {
		t.drops.add(DropDiscarded, r.Frames())
		r.Free()
		return
	}
	ln := &l.path().down
	ln.to = l
	cost := int64(r.Bytes()) + frameCost
	if ln.loose+cost > legacyQueue || !t.affords(ln, ln.loose+cost, cost) {
		t.drops.add(DropShare, r.Frames())
		r.Free()
		t.close(l, errSlow)
		return
	}
	ln.loose += cost
	frames := r.Frames()
	mem := max(cost, int64(r.Pinned()))
	t.charge(l, mem-cost)
	t.enqueue(ln, r, 0, frames, cost, mem)
}

// Heard notes that l's peer has shown that it is there by other means than a frame.
func (t *Target) Heard(l *Link, now time.Time) {
	t.clock(now)
	if l.state != attached {
		return
	}
	l.heard = t.now
	if l == t.daemon && t.candidate != nil {
		t.alive()
	}
}

// leaveLegacy forgets what legacy frames need of l, which has ended.
func (t *Target) leaveLegacy(l *Link) {
	for o := range l.owns {
		t.disown(o)
	}
	if s := l.legacy; s != nil {
		t.discard(&s.up)
		t.discard(&s.down)
	}
	if l.peer.Role != Daemon {
		return
	}
	// The keys of its sessions are gone with it, and so are its answers.
	for _, in := range []*owners{&t.legacy.exchanges, &t.legacy.pairings, &t.legacy.sessions} {
		t.disownAll(in)
	}
	for _, c := range t.links {
		if c.legacy != nil && c.legacy.up.to == l {
			t.discard(&c.legacy.up)
		}
	}
}
