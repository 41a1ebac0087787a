package route

import (
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// Target is the machine. Make it with New. It is not safe for concurrent use: the hub has a mutex for each.
type Target struct {
	// Static.
	workspace, target string
	limits            Limits
	share             int64 // bytes that a lane may hold of sequenced frames, and again of others
	budget            *Budget
	drops             *Drops
	refusals          *Refusals

	// now is the latest time of an event or frame; Take, which has none, uses it. It never goes back, though callers
	// may read the clock before they wait for the mutex.
	now time.Time
	// effects have not been given out yet.
	effects []Effect
	// due is at or before the time when a Tick has something to do; zero: none has.
	due time.Time

	// links are attached, each at its index. daemon is the daemon's among them, nil without one.
	links  []*Link
	daemon *Link
	// serial is the highest of a link that attached.
	serial uint64
	// candidate waits until probeEnd for daemon to be silent; nil: nobody waits. Never without a daemon.
	candidate *Link
	probeEnd  time.Time
	// generation is the highest of a daemon that was admitted, remembered until generationEnd (zero while daemon is
	// set).
	generation    uint64
	generationEnd time.Time
	// daemonLeft is when the last daemon's link ended without a successor; zero: none did, or it was revoked.
	daemonLeft time.Time

	// sessions by id. Each that is over is in closed, each other one without a client's link in lost; both lists are in
	// the order of session.due.
	sessions     map[string]*session
	closed, lost sessionList
	legacy       legacy

	// bytes is the sum of the links' bytes: this target's part of budget.
	bytes int64
	// free are nodes for reuse, at most maxFree.
	free nodeList
}

// New returns the machine of a target without links.
func New(c Config) *Target {
	limits := c.Limits.WithDefaults()
	t := &Target{
		workspace: c.Workspace, target: c.Target, limits: limits, share: Share(limits.SessionWindow),
		budget: c.Budget, drops: c.Drops, refusals: c.Refusals, sessions: make(map[string]*session),
		legacy: newLegacy(),
	}
	if t.budget == nil {
		t.budget = NewBudget(limits.ProcessBytes)
	}
	if t.drops == nil {
		t.drops = new(Drops)
	}
	if t.refusals == nil {
		t.refusals = new(Refusals)
	}
	return t
}

// Step takes an event at the time now and returns the effects, valid until the next call of Step or Effects.
func (t *Target) Step(ev Event, now time.Time) []Effect {
	t.clock(now)
	switch ev.Kind {
	case Attach:
		t.attach(ev.Link)
	case Detach:
		t.detach(ev.Link, ev.Reason)
	case Tick:
		t.tick()
	case Drain:
		t.drain(ev.Link, ev.Reason)
	}
	return t.Effects()
}

// Effects returns what Sequence and Forward want done and what Step has not returned yet, valid until the next call of
// Step or Effects. Call it before the mutex is released, or a link sleeps on a full queue.
func (t *Target) Effects() []Effect {
	e := t.effects
	t.effects = t.effects[:0]
	return e
}

// Deadline is when Tick is due at the latest; zero: never. It may be early: then Tick finds a later one. It only moves
// in Step, Sequence and Forward.
func (t *Target) Deadline() time.Time { return t.due }

// Idle reports whether the target holds nothing that a new one would not: the hub may forget it.
func (t *Target) Idle() bool {
	return len(t.links) == 0 && t.candidate == nil && len(t.sessions) == 0 && t.generation == 0
}

func (t *Target) clock(now time.Time) {
	if now.After(t.now) {
		t.now = now
	}
}

// at makes sure that a Tick comes no later than when.
func (t *Target) at(when time.Time) {
	if t.due.IsZero() || when.Before(t.due) {
		t.due = when
	}
}

func (t *Target) effect(k EffectKind, l *Link, why *reason.Error) {
	t.effects = append(t.effects, Effect{Kind: k, Link: l, Reason: why})
}

// wake makes the sender of l take what there is.
func (t *Target) wake(l *Link) {
	if !l.awake {
		l.awake = true
		t.effect(Wake, l, nil)
	}
}
