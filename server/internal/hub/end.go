package hub

import (
	"sync/atomic"
	"time"

	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/server/internal/revocation"
)

// This file is how the relay ends a link that its peer wants to keep: because it was revoked, or its token has expired.

// The reasons of such ends, shared and never changed.
var (
	errRevoked = &reason.Error{Code: reason.PairingRevoked}
	errExpired = &reason.Error{Code: reason.TokenExpired}
)

// Ends counts the links that the relay has ended for a reason of this file.
type Ends struct{ Revoked, Expired atomic.Uint64 }

// Ends counts the links that were revoked while they lived, and those whose tokens have expired.
func (h *Hub) Ends() *Ends { return &h.ends }

// Names are what the link is known by on the list of revocations.
func (i *Info) Names() revocation.Names {
	return revocation.Names{Workspace: i.Workspace, Target: i.Target, InstallID: i.Peer.InstallID, TokenID: i.TokenID}
}

// Bar refuses the links of which revoked is true, with PAIRING_REVOKED. It is asked under the mutex of the link's target
// and must not come back to the hub. Call it before the first Attach.
func (h *Hub) Bar(revoked func(revocation.Names) bool) { h.revoked = revoked }

// ExpireAfter is how long a link may outlive its token. Call it before the first Attach.
func (h *Hub) ExpireAfter(grace time.Duration) { h.grace = grace }

// Revoke ends every link that matches, those that wait for a probe included, with PAIRING_REVOKED, and returns how many.
// If Bar's function was true of them before the call, none of them is attached after it.
func (h *Hub) Revoke(matches func(revocation.Names) bool) (ended int) {
	for _, t := range h.all() {
		ended += h.retireExpelled(&h.ends.Revoked, t.expelWhere(errRevoked, func(l *Link) bool { return matches(l.Names()) }))
	}
	return ended
}

// Revoke ends the link with PAIRING_REVOKED: the platform has revoked its token.
func (l *Link) Revoke() {
	l.hub.retireExpelled(&l.hub.ends.Revoked, l.target.expelWhere(errRevoked, func(x *Link) bool { return x == l }))
}

// retireExpelled keeps the counts of links that were expelled, and counts them. Called without a target's mutex.
func (h *Hub) retireExpelled(count *atomic.Uint64, all []expelled) (ended int) {
	if len(all) == 0 {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range all {
		add(&h.endedIn, x.stats.In)
		add(&h.endedOut, x.stats.Out)
		if x.first {
			ended++
		}
	}
	count.Add(uint64(ended))
	return ended
}

// expelled is what is left of a link.
type expelled struct {
	stats route.LinkStats
	first bool // nothing else had ended it before
}

// expelWhere expels the links that are chosen.
func (t *target) expelWhere(why *reason.Error, chosen func(*Link) bool) (all []expelled) {
	now := t.lock()
	defer t.unlock(now)
	for _, l := range t.links {
		if chosen(l) {
			all = append(all, t.expel(l, why, now))
		}
	}
	return all
}

// expel takes l out of the target, at once, and has its transport end with why. Called with t.mu held.
func (t *target) expel(l *Link, why *reason.Error, now time.Time) expelled {
	x := expelled{first: true}
	if l.admitted {
		// Before the machine's step: whoever sees that the machine has forgotten the link sees why.
		x.first = l.finish(why)
	} else {
		l.verdict <- why
	}
	t.remove(l, why, now)
	x.stats = l.machine.Stats()
	return x
}

// remove takes l out of the target. Called with t.mu held.
func (t *target) remove(l *Link, why *reason.Error, now time.Time) {
	l.detached = true
	delete(t.links, l.machine)
	for _, channel := range l.channels {
		t.unsubscribe(l, channel)
	}
	l.channels = nil
	t.act(t.machine.Step(route.Event{Kind: route.Detach, Link: l.machine, Reason: why}, now))
	if t.hub.closed.Load() != nil && l.Peer.Role == route.Daemon {
		t.follow(now)
	}
}

// ends reports whether the link is to end when its token expires. A legacy one is not: its peer would lose all its
// sessions, and cannot do anything about it.
func (l *Link) ends() bool { return !l.Expires.IsZero() && !l.Peer.Legacy }

// expireAt makes sure that l ends when its time is up. Called with t.mu held.
func (t *target) expireAt(l *Link) {
	if !l.ends() {
		return
	}
	if at := l.Expires.Add(t.hub.grace); t.expiry.IsZero() || at.Before(t.expiry) {
		t.expiry = at
	}
}

// expire expels the links whose time is up. Called with t.mu held.
func (t *target) expire(now time.Time) (all []expelled) {
	if t.expiry.IsZero() || now.Before(t.expiry) {
		return nil
	}
	t.expiry = time.Time{}
	for _, l := range t.links {
		if !l.ends() || now.Before(l.Expires.Add(t.hub.grace)) {
			t.expireAt(l)
		} else {
			all = append(all, t.expel(l, errExpired, now))
		}
	}
	return all
}

// deadline is when tick is due at the latest; zero: never.
func (t *target) deadline() time.Time {
	due := t.machine.Deadline()
	if due.IsZero() || !t.expiry.IsZero() && t.expiry.Before(due) {
		return t.expiry
	}
	return due
}
