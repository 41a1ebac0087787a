// Package route is the machine of one runtime target at the relay: its links and which of them is the daemon's, its
// sessions and which link each side is bound to, the guard of each direction, the queue of each link, and what all that
// may cost (docs/protocol.md: Sequencing, Flow control, Links, binding, takeover).
//
// It is pure: no I/O, goroutine or clock. Package hub holds the mutex around a Target and moves what the machine
// queues; package envelope parses frames and owns their bytes. Nothing here knows a transport, a token or a key.
//
// A frame takes two calls: Sequence decides and reserves what it will cost, Forward queues its bytes. Between the two
// the mutex may be released; what happens meanwhile is settled by Forward. Take moves queued bytes into a message.
package route

import (
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// Config is what a Target is made of.
type Config struct {
	// Workspace and Target name it; every envelope must carry both.
	Workspace, Target string
	// Limits bound it.
	Limits Limits
	// Budget is the process's, shared by all targets. Nil: a budget of Limits.ProcessBytes of its own.
	Budget *Budget
	// Drops counts dropped frames, shared by all targets. Nil: its own.
	Drops *Drops
	// Refusals counts what Limits refused, shared by all targets. Nil: its own.
	Refusals *Refusals
}

// Limits are all bounds of a target. A zero field means its default, except LinksPerTarget, HandshakesPerSecond and
// Heartbeat, which are off.
type Limits struct {
	// SessionWindow is viewport-session-window in bytes: a session's share of a link's queue is
	// 2 × max(SessionWindow, 16,273) + 4 KiB in each direction. Default 1 MiB.
	SessionWindow int
	// LinksPerTarget is how many links may be attached; the last place is kept for the daemon. 0: no limit.
	LinksPerTarget int
	// HandshakesPerSecond is how many HANDSHAKE_INIT a client link may send in the long run, HandshakeBurst how many at
	// once after a pause. 0: no limit.
	HandshakesPerSecond, HandshakeBurst int
	// SessionsPerClient is how many open sessions a client link may have. Default 256.
	SessionsPerClient int
	// SessionsPerTarget is how many sessions a target remembers, closed ones included. Default 16,384.
	SessionsPerTarget int
	// LinkBytes is a link's budget in bytes of memory that its queue keeps. Beyond it no session is opened on the link,
	// and those there are may queue 32 KiB each. Default 64 MiB.
	LinkBytes int64
	// ProcessBytes is the same for all links of the process, for whoever makes the Budget. Default 1 GiB.
	ProcessBytes int64
	// Heartbeat is viewport-heartbeat: a HEARTBEAT goes out after so long without sending, and a link that was silent
	// for three times as long is dead. 0: off. To a legacy link one goes out after 30 s at the latest.
	Heartbeat time.Duration
	// SessionLifetime is how long a session whose client side has no link is remembered, and for how long after the
	// last daemon link its generation is. Default 10 minutes.
	SessionLifetime time.Duration
	// ClosedLifetime is how long a session is remembered after the last frame when it is over. Default 10 minutes, as
	// long as an endpoint keeps a tombstone: one whose last ack was lost comes back with RESUME, and if that is lost again after
	// a minute and more.
	ClosedLifetime time.Duration
	// ProbeTimeout is how long a daemon link may be silent when another install wants its place. Default 2 s.
	ProbeTimeout time.Duration
}

// WithDefaults returns l with its zero fields filled in.
func (l Limits) WithDefaults() Limits {
	or(&l.SessionWindow, 1<<20)
	or(&l.SessionsPerClient, 256)
	or(&l.SessionsPerTarget, 16384)
	or(&l.LinkBytes, 64<<20)
	or(&l.ProcessBytes, 1<<30)
	or(&l.SessionLifetime, 10*time.Minute)
	or(&l.ClosedLifetime, 10*time.Minute)
	or(&l.ProbeTimeout, 2*time.Second)
	return l
}

func or[T int | int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// EventKind says what happened.
type EventKind uint8

// Events.
const (
	// Attach: a link was admitted. Link is new (NewLink), with a serial above that of every link before it.
	// Answered by Admitted or Refused, for a daemon perhaps only after a probe.
	Attach EventKind = iota + 1
	// Detach: Link has ended, or no longer waits. Reason PAIRING_REVOKED of a client link also forgets its sessions
	// and tells the daemon. A link that the machine closed may be detached again.
	Detach
	// Tick: Deadline has come.
	Tick
	// Drain: Link, or every link if it is nil, is told Reason (DRAINING with RetryAfter) by STATUS. Nothing ends; a link
	// that waits for its admission is refused with Reason.
	Drain
)

// Event is something that happened to a target.
type Event struct {
	Kind   EventKind
	Link   *Link
	Reason *reason.Error
}

// EffectKind says what is to be done.
type EffectKind uint8

// Effects.
const (
	// Wake: Link has something to send again. Call Take until it returns false.
	Wake EffectKind = iota + 1
	// Admitted: Link is attached.
	Admitted
	// Refused: Link, which wanted to attach, is refused for Reason. The machine has forgotten it.
	Refused
	// CloseLink: end Link's transport with Reason. The machine has forgotten it and discarded its queue.
	CloseLink
)

// Effect is something that the machine wants done.
type Effect struct {
	Kind   EffectKind
	Link   *Link
	Reason *reason.Error
}

// Verdict is what becomes of a received frame.
type Verdict struct {
	// Pass is for Forward; one that goes nowhere (Pass.OK false) when the frame was dropped or was for the relay.
	Pass Pass
	// End ends the link with this reason, after what passed before was forwarded. The caller then detaches it. It is
	// shared: never change it.
	End *reason.Error
	// NoPeer: a legacy frame of a client was dropped because no daemon is attached.
	NoPeer bool
}
