package sim

import (
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

// link is a stream between an endpoint and the relay. It delivers in order. When it breaks, what is in flight is lost
// from some point on, and each side that sees it does so when it has handled what still came.
type link struct {
	endpoint *endpoint
	node     *node
	machine  *route.Link

	// up and down are messages in flight, at most inFlight each.
	up, down [][]byte
	// broken: what enters is lost. endpointSees and relaySees say who is told.
	broken, endpointSees, relaySees bool
	lostUp, lostDown                int // messages that entered since: nobody takes them, so they fill the wire
	// frozen is until when nothing arrives at either side.
	frozen time.Time
	// why is what the relay ended it with; nil if it just broke.
	why *reason.Error

	// The endpoint's side.

	heard, sent time.Time
	replies     [][]byte // envelopes that belong to no session
	beat        bool     // a heartbeat is due

	// The relay's side.

	admitted  bool
	forgotten bool // the machine does not know it any more; the reader may still have something in its hand
	detached  bool // the reader has ended
	lag       time.Time
	held      *envelope.Batch // sequenced, not forwarded
	passes    []route.Pass
	awake     bool
	passed    map[string]uint64 // by session: the sequence that was sent to the endpoint last
}

// breakAt breaks the link: of what is in flight so many messages still arrive.
func (l *link) breakAt(up, down int, endpointSees, relaySees bool) {
	l.endpointSees, l.relaySees = l.endpointSees || endpointSees, l.relaySees || relaySees
	if l.broken {
		return
	}
	l.broken = true
	l.up, l.down = l.up[:up], l.down[:down]
}

// closedBy ends the link in an orderly way: the other side sees it, unless the link is broken already.
func (l *link) closedByRelay(why *reason.Error) {
	if l.why == nil {
		l.why = why
	}
	l.breakAt(l.some(l.up), l.some(l.down), !l.broken, false)
}

func (l *link) closedByEndpoint() {
	up := len(l.up)
	if l.endpoint.world.chance(500) { // it did not linger
		up = l.some(l.up)
	}
	l.breakAt(up, 0, false, !l.broken)
}

// some draws how many of the messages in flight arrive.
func (l *link) some(inFlight [][]byte) int { return l.endpoint.world.choose.IntN(len(inFlight) + 1) }

func (l *link) roomUp() bool   { return len(l.up)+l.lostUp < inFlight }
func (l *link) roomDown() bool { return len(l.down)+l.lostDown < inFlight }

func (l *link) pushUp(message []byte) {
	switch w := l.endpoint.world; {
	case l.broken:
		l.lostUp++
	case w.alter != nil:
		if message = w.alter(l, true, message); len(message) == 0 {
			return
		}
		fallthrough
	default:
		l.up = append(l.up, message)
	}
}

func (l *link) pushDown(message []byte) {
	switch w := l.endpoint.world; {
	case l.broken:
		l.lostDown++
	case w.alter != nil:
		if message = w.alter(l, false, message); len(message) == 0 {
			return
		}
		fallthrough
	default:
		l.down = append(l.down, message)
	}
}

// stands reports whether anything may arrive now.
func (l *link) stands() bool { return !l.endpoint.world.now.Before(l.frozen) }

// pop takes the first message.
func pop(q *[][]byte) []byte {
	m := (*q)[0]
	(*q)[0] = nil
	*q = (*q)[1:]
	return m
}
