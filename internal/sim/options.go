package sim

import (
	"math/rand/v2"
	"time"
)

// Kind is a kind of fault.
type Kind uint8

// Faults.
const (
	// Cut: a link breaks; what is in flight is lost from some point on, and both ends see it.
	Cut Kind = iota
	// HalfOpen: a link breaks and one end, or neither, sees it: to the other it is silent from then on.
	HalfOpen
	// Freeze: a link stands still for a while, perhaps for too long.
	Freeze
	// Offline: an endpoint's network goes away for a while.
	Offline
	// Kill: the relay is killed, and started again after a while; nothing of its state is left.
	Kill
	// Crash: the same, but no endpoint sees its link end.
	Crash
	// Drain: the relay is replaced by another one, serves who is still there for 25 s, and ends.
	Drain
	// LoseQueue: the relay loses what it has queued for a link, without a word.
	LoseQueue
	// Expire: the relay ends a link whose token has expired.
	Expire
	// Renew: an endpoint opens a second link before the token of the first expires, and closes the first.
	Renew
	// Fight: a daemon of another install wants the target, and gets it if the one that is there does not answer.
	Fight
	// RestartDaemon: the daemon's process starts over without its keys.
	RestartDaemon
	// RestartClient: a client's process starts over.
	RestartClient
	// Revoke: a client is revoked.
	Revoke

	numKinds
)

// String is the kind's name.
func (k Kind) String() string {
	return [numKinds]string{"cut", "half-open", "freeze", "offline", "kill", "crash", "drain", "lose-queue", "expire",
		"renew", "fight", "restart-daemon", "restart-client", "revoke"}[k]
}

// Options say what happens in a run.
type Options struct {
	// Tenants is how many workspaces share the relay; Clients how many clients each has; SessionsEach how many sessions
	// each of those opens. The tenants' sessions have the same ids.
	Tenants, Clients, SessionsEach int
	// Messages is how many messages each side of a session sends.
	Messages int
	// Window is viewport-session-window, MaxMessage the longest message, both in bytes.
	Window, MaxMessage int
	// LinkBytes is the relay's budget of a link, SessionsPerClient how many open sessions one may have; 0: the defaults.
	LinkBytes         int64
	SessionsPerClient int
	// Pause is how long an application says nothing between two messages, at most; Slow how long it does not read.
	Pause, Slow time.Duration
	// Aborts is how many of 1,000 messages an application aborts the session instead of sending.
	Aborts int
	// Faults is how many faults happen, each of one of Kinds.
	Faults int
	Kinds  []Kind
	// Losses is how many envelopes are lost silently, doubled or swapped while they are on their way: no real link does
	// that, but the path between two nodes of a relay may, and so may a relay that runs out of memory. Loss, Double and
	// Swap are how many of 1,000.
	Losses, Loss, Double, Swap int
}

// smallFrom is the first seed of a small world: ten of them play in the time of one other, and most of what can go wrong
// goes wrong between two endpoints and a few messages.
const smallFrom = 10_000_000

// Draw makes options from a seed, so that many seeds cover many shapes; from smallFrom on small ones.
func Draw(seed uint64) Options {
	o := draw(seed)
	if seed >= smallFrom {
		o.Tenants, o.SessionsEach = 1, 1
		o.Clients = min(o.Clients, 1+int(seed/7%5/4))
		o.Messages = 1 + o.Messages%4
		o.MaxMessage = min(o.MaxMessage, 16_001)
		o.SessionsPerClient = min(o.SessionsPerClient, 1)
		o.Faults = min(o.Faults, 1+o.Faults%5)
	}
	return o
}

func draw(seed uint64) Options {
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(of ...time.Duration) time.Duration { return of[r.IntN(len(of))] }
	o := Options{
		Tenants: 1, Clients: 1 + r.IntN(3), SessionsEach: 1 + r.IntN(2), Messages: 1 + r.IntN(12),
		Window:     []int{1, 20_000, 131_072}[r.IntN(3)],
		MaxMessage: []int{100, 16_001, 40_000}[r.IntN(3)],
	}
	if r.IntN(5) == 0 {
		o.Tenants, o.Clients = 2, 1
	}
	if r.IntN(4) == 0 {
		o.Pause = pick(time.Second, 20*time.Second, 90*time.Second)
	}
	if r.IntN(5) == 0 {
		o.Slow = pick(time.Second, 20*time.Second)
	}
	if r.IntN(6) == 0 {
		o.LinkBytes = 40_000
	}
	if r.IntN(6) == 0 {
		o.SessionsPerClient = o.SessionsEach
	}
	network := []Kind{Cut, Cut, HalfOpen, Freeze, Offline, LoseQueue}
	relay := []Kind{Kill, Kill, Crash, Drain, Expire, Renew, Renew, Cut}
	switch seed % 5 {
	case 1:
		o.Faults, o.Kinds = 1+r.IntN(12), network
	case 2:
		o.Faults, o.Kinds = 1+r.IntN(12), relay
	case 3:
		o.Losses, o.Loss = 1+r.IntN(100), 1+r.IntN(60)
		o.Double, o.Swap = r.IntN(30), r.IntN(30)
		o.SessionsPerClient = 0 // what frees a place may be lost
		o.Faults, o.Kinds = r.IntN(3), []Kind{Cut, Renew, Kill}
	case 4:
		o.Faults = 1 + r.IntN(12)
		o.Kinds = append(append([]Kind{Fight, RestartDaemon, RestartClient, Revoke}, network...), relay...)
		if r.IntN(3) == 0 {
			o.Aborts = 1 + r.IntN(60)
		}
	}
	return o
}
