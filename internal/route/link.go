package route

import (
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// Role is an end of sessions.
type Role uint8

// Roles.
const (
	// Daemon serves the target. Down is what it sends.
	Daemon Role = iota + 1
	// Client opens sessions. Up is what it sends.
	Client
)

// String is "daemon" or "client".
func (r Role) String() string {
	if r == Daemon {
		return "daemon"
	}
	return "client"
}

// Peer is what admission says of a link's other end. It holds nothing about people.
type Peer struct {
	Role Role
	// InstallID and Generation decide about takeover, of daemons only. A token without them is install "",
	// generation 0.
	InstallID  string
	Generation uint64
	// RequirePSK: no handshake of this peer weaker than IKpsk2.
	RequirePSK bool
	// Legacy: it speaks the legacy protocol alone. A client of the native one finds no daemon in it.
	Legacy bool
}

// linkState is where a link is in its life, in this order.
type linkState uint8

const (
	fresh    linkState = iota // NewLink; the machine does not know it
	waiting                   // a daemon that waits for another one's probe
	attached                  // in target.links
	ended                     // forgotten by the machine
)

// Link is one stream of a daemon or a client at its target. Everything in it is guarded by the target's mutex.
type Link struct {
	// Static.
	serial uint64
	peer   Peer

	// state, and where it is attached: its place in target.links.
	state linkState
	index int
	// end is why the machine ended or refused the link; nil if it was detached. Only when ended.
	end *reason.Error

	// sessions are those whose client side is bound here, each at its side's index; empty for a daemon's link.
	sessions []*session
	// bound counts the sessions bound here; open those of a client's link that are not over.
	bound, open int
	// legacy has the lanes of a client's legacy frames, nil before the first; owns is what it owns by them.
	legacy *session
	owns   map[*owned]struct{}
	// last is the session of the frame before, to find the next one's without the map. It may be gone.
	last *session

	// heard is when a frame was received last, sent when one was taken last (or the link was attached).
	heard, sent time.Time
	// pinged is when beat sent a HEARTBEAT last.
	pinged time.Time
	// toldUnavailable: the client has been told at least once that no daemon is attached. From then on it is told
	// whenever that changes.
	toldUnavailable bool

	// bucketFull is when the client may send a burst of handshakes again.
	bucketFull time.Time

	// unbound is the session that a client was told last not to have bound here, toldUnbound when.
	unbound     string
	toldUnbound time.Time

	// What the link has to send: due and statuses first, then one run after the other of the lanes that have some.
	due      due
	draining *reason.Error // goes with dueDrain
	statuses statusRing
	active   laneList
	// wire is what Take gave out last, without its bytes: counted until the next Take. wireControl are bytes of it that
	// belong to no session.
	wire        nodeList
	wireControl int64
	// bytes is the memory that the link's lanes keep: reserved, queued and on the wire. Part of target.bytes.
	bytes int64
	// awake: Wake was given out and Take has not come up empty since. True whenever there is something to send.
	awake bool

	in, out Traffic
}

// NewLink returns a link for Attach. serial is its place in the order of admission: draw it under the mutex of the
// target, so that it is above those of all links that were attached before.
func NewLink(serial uint64, p Peer) *Link { return &Link{serial: serial, peer: p} }

// Serial is the link's place in the order of admission.
func (l *Link) Serial() uint64 { return l.serial }

// Peer is what admission says of the link's other end.
func (l *Link) Peer() Peer { return l.peer }

// gone is the reason that whoever still uses an ended link is given.
func (l *Link) gone() *reason.Error {
	if l.end != nil {
		return l.end
	}
	return errNotAttached
}
