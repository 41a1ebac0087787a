// Package legacyrate says how often today's daemons, browsers and workers may do something in a minute: upgrades to
// WebSocket, and the frames of the legacy bridge. Native frames are not counted here; credit bounds those.
//
// It remembers a bounded number of keys for each limit, those that were used last; one that was forgotten starts anew.
// What it knows outlives links, so that who connects again gains nothing. It has no clock and closes nothing: times
// come from the caller, and so does what follows from a refusal.
package legacyrate

import (
	"net/netip"
	"strings"
	"time"

	"github.com/getviewport/relay/server/internal/quota"
)

// Limit is how often one key may do something, and how many keys are remembered.
type Limit struct {
	// PerMinute is how often a key may. 0 or below: as often as it likes, and nothing is counted or remembered.
	PerMinute int
	// Keys is how many keys are remembered; of more, the one that was not used for longest is forgotten. Below 1: 1.
	Keys int
}

// Limits are the limits of a relay. The zero Limits limit nothing; see Default.
type Limits struct {
	// Upgrade is for all upgrades from an address, KeyExchange and Pairing for what a client sends from an address. They
	// have fixed windows of a minute: the first of a key begins one, and so does the first at least a minute later.
	Upgrade, KeyExchange, Pairing Limit
	// Client is for what a client sends of E2EE and viewer presence, Workspace for what all clients of a workspace do.
	// They have token buckets: full at first, a minute from empty to full, and no fuller.
	Client, Workspace Limit
	// Daemon is for what a daemon or a worker sends, a token bucket too.
	Daemon Limit
}

// Default returns the limits of today's relays.
func Default() Limits {
	return Limits{
		Upgrade: Limit{120, 50_000}, KeyExchange: Limit{60, 20_000}, Pairing: Limit{30, 20_000},
		Client: Limit{240, 20_000}, Workspace: Limit{1200, 10_000}, Daemon: Limit{2400, 10_000},
	}
}

// Client is who sends a client's frames.
type Client struct {
	// Workspace is where the client is admitted, ID its client id, which is unique there only. A client without one is
	// all of them without one at its address.
	Workspace, ID string
	// Address is where it connects from. One IPv6 network of 64 bits is one address.
	Address netip.Addr
}

// Peer is who sends the frames of a daemon or of a worker.
type Peer struct {
	// Workspace is where the peer is admitted.
	Workspace string
	// Target is a daemon's and empty for a worker, Executor is a worker's and empty for a daemon.
	Target, Executor string
}

// Rates are the counts of a process. Make it with New; it is safe for concurrent use.
type Rates struct {
	upgrades               *table[address, window]
	keyExchanges, pairings *table[Client, window]
	// clients is locked before workspaces.
	clients    *table[Client, bucket]
	workspaces *table[workspace, bucket]
	daemons    *table[Peer, bucket]
}

// New returns counts at zero.
func New(l Limits) *Rates {
	return &Rates{
		upgrades: newTable[address, window](l.Upgrade), keyExchanges: newTable[Client, window](l.KeyExchange),
		pairings: newTable[Client, window](l.Pairing), clients: newTable[Client, bucket](l.Client),
		workspaces: newTable[workspace, bucket](l.Workspace), daemons: newTable[Peer, bucket](l.Daemon),
	}
}

// Upgrade counts an upgrade from an address. 0: it may go on; else it is one too many, and this is when to come back.
func (r *Rates) Upgrade(from netip.Addr, now time.Time) time.Duration {
	return count(r.upgrades, address{quota.Network(from)}, now)
}

// KeyExchange counts a client's KeyExchangeInit, and reports whether it may pass.
func (r *Rates) KeyExchange(c Client, now time.Time) bool {
	c.Address = quota.Network(c.Address)
	return count(r.keyExchanges, c, now) == 0
}

// Pairing counts a client's pairing request, and reports whether it may pass.
func (r *Rates) Pairing(c Client, now time.Time) bool {
	c.Address = quota.Network(c.Address)
	return count(r.pairings, c, now) == 0
}

// Runtime counts an E2EE frame or viewer presence of a client, and reports whether it may pass. What one of the two
// limits refuses is not counted by the other. Where a client with an id connects from doesn't matter.
func (r *Rates) Runtime(c Client, now time.Time) bool {
	if c.ID == "" {
		c.Address = quota.Network(c.Address)
	} else {
		c.Address = netip.Addr{}
	}
	if r.clients.perMinute <= 0 && r.workspaces.perMinute <= 0 {
		return true
	}
	// Both stay locked until both were asked: else two could pass where one may.
	r.clients.mu.Lock()
	defer r.clients.mu.Unlock()
	r.workspaces.mu.Lock()
	defer r.workspaces.mu.Unlock()
	client, all := r.clients.at(c, now), r.workspaces.at(workspace(c.Workspace), now)
	switch {
	case !client.holds(r.clients.refill, now):
		r.clients.refused++
		return false
	case !all.holds(r.workspaces.refill, now):
		r.workspaces.refused++
		return false
	}
	client.take(r.clients.refill, now)
	all.take(r.workspaces.refill, now)
	return true
}

// Daemon counts a frame of a daemon or of a worker, and returns for how long its link must not be read after it. The
// frame itself is good: whoever sends too much is slowed down, and neither loses a frame nor its link. 0: read on.
// It is a minute at most.
func (r *Rates) Daemon(p Peer, now time.Time) time.Duration {
	t := r.daemons
	if t.perMinute <= 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := t.at(p, now).borrow(t.refill, now)
	if wait > 0 {
		t.refused++
	}
	return wait
}

// Count is what became of one limit.
type Count struct {
	// Keys are remembered now.
	Keys int
	// Refused is how often the limit refused since the start; Daemon: how often it made a reader wait.
	Refused uint64
}

// Counts are the Count of each limit of Limits.
type Counts struct{ Upgrade, KeyExchange, Pairing, Client, Workspace, Daemon Count }

// Counts returns the counts as they are now.
func (r *Rates) Counts() Counts {
	return Counts{
		Upgrade: r.upgrades.count(), KeyExchange: r.keyExchanges.count(), Pairing: r.pairings.count(),
		Client: r.clients.count(), Workspace: r.workspaces.count(), Daemon: r.daemons.count(),
	}
}

// address and workspace are keys of what counts by one thing alone.
type (
	address   struct{ netip.Addr }
	workspace string
)

// A key that is remembered has memory of its own: an id may be a part of a whole token, or of a platform's answer.

func (a address) own() address { return a } // quota.Network leaves no zone, which would be a string

func (w workspace) own() workspace { return workspace(strings.Clone(string(w))) }

func (c Client) own() Client {
	return Client{strings.Clone(c.Workspace), strings.Clone(c.ID), c.Address}
}

func (p Peer) own() Peer {
	return Peer{strings.Clone(p.Workspace), strings.Clone(p.Target), strings.Clone(p.Executor)}
}
