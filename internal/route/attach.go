package route

import (
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// The reasons that links end or are refused with, shared and never changed.
var (
	errNotAttached = reason.New(reason.Internal, "the link is not attached")
	errSerial      = reason.New(reason.Internal, "the link's serial is not above those of the links before it")
	errReplaced    = &reason.Error{Code: reason.Replaced}
	errStale       = &reason.Error{Code: reason.StaleGeneration}
	errConnected   = &reason.Error{Code: reason.DaemonAlreadyConnected}
)

// attach admits a link, refuses it, or lets it wait for the probe of the daemon it would replace.
//
//	newcomer's generation            | no daemon | same install  | another install
//	lower than any admitted          | STALE     | STALE         | STALE
//	equal to the highest             | admitted  | takes over    | the old link is probed
//	higher                           | admitted  | takes over    | takes over
func (t *Target) attach(l *Link) {
	if l.state != fresh || l.serial <= t.serial {
		t.reject(l, errSerial)
		return
	}
	t.serial = l.serial
	switch {
	case l.peer.Role == Client && t.crowded():
		t.refusals.add(LinksPerTarget)
		t.reject(l, t.refusal(LinksPerTarget))
	case l.peer.Role == Client:
		t.admit(l)
	case l.peer.Generation < t.generation:
		t.reject(l, errStale)
	case t.daemon == nil:
		t.admit(l)
	case l.peer.Generation > t.generation || l.peer.sameInstall(t.daemon.peer):
		t.takeOver(l)
	case t.candidate != nil:
		t.reject(l, errConnected)
	default:
		l.state, t.candidate = waiting, l
		t.probeEnd = t.now.Add(t.limits.ProbeTimeout)
		t.at(t.probeEnd)
		t.tellLink(t.daemon, dueProbe)
	}
}

// sameInstall reports whether two daemons are one that has connected again. Legacy ones that name no install are not
// taken for it: they come back at once, and two of them would replace each other in a circle.
func (p Peer) sameInstall(old Peer) bool {
	return p.InstallID == old.InstallID && !(p.Legacy && p.InstallID == "")
}

// crowded reports whether the target has no place for another client: the last one is the daemon's, so that clients
// can't keep it out.
func (t *Target) crowded() bool {
	clients := len(t.links)
	if t.daemon != nil {
		clients--
	}
	return t.limits.LinksPerTarget > 0 && clients >= t.limits.LinksPerTarget-1
}

// takeOver replaces the daemon's link at once. Who waits for the old link's probe lost to a link that is surely alive.
func (t *Target) takeOver(l *Link) {
	if c := t.candidate; c != nil {
		t.candidate = nil
		if c.peer.Generation < l.peer.Generation {
			t.reject(c, errStale)
		} else {
			t.reject(c, errConnected)
		}
	}
	old := t.daemon
	t.drop(old, errReplaced)
	t.effect(CloseLink, old, errReplaced)
	t.admit(l)
}

// giveWay lets the candidate replace the daemon, which was silent.
func (t *Target) giveWay() {
	l := t.candidate
	t.candidate = nil
	t.takeOver(l)
}

// alive refuses the candidate: the daemon's link was heard.
func (t *Target) alive() {
	l := t.candidate
	t.candidate = nil
	t.reject(l, errConnected)
}

// admit attaches a link. A daemon's is announced to all clients, who then send RESUME.
func (t *Target) admit(l *Link) {
	l.state, l.index = attached, len(t.links)
	l.heard, l.sent = t.now, t.now
	t.links = append(t.links, l)
	t.effect(Admitted, l, nil)
	if interval := t.interval(l); interval > 0 {
		t.at(t.now.Add(interval))
	}
	if l.peer.Role == Daemon {
		t.daemon, t.generation, t.generationEnd = l, l.peer.Generation, time.Time{}
		if !l.peer.Legacy {
			t.tellClients(duePeerAvailable)
		}
	}
}

// reject forgets a link that was not admitted.
func (t *Target) reject(l *Link, why *reason.Error) {
	l.state, l.end = ended, why
	t.effect(Refused, l, why)
}

// detach forgets a link that has ended by itself.
func (t *Target) detach(l *Link, why *reason.Error) {
	switch l.state {
	case waiting:
		t.candidate, l.state = nil, ended
	case attached:
		revoked := why != nil && why.Code == reason.PairingRevoked
		if revoked && l.peer.Role == Client {
			t.revokeSessions(l)
		}
		t.leave(l, nil)
		if revoked && l.peer.Role == Daemon {
			t.daemonLeft = time.Time{} // it is not expected back
		}
	default:
		l.state = ended
	}
}

// close ends a link on the machine's own word.
func (t *Target) close(l *Link, why *reason.Error) {
	t.leave(l, why)
	t.effect(CloseLink, l, why)
}

// leave drops a link and lets the others know: when it is the daemon's, who waits for its place gets it, else the
// clients are told.
func (t *Target) leave(l *Link, why *reason.Error) {
	t.drop(l, why)
	if l.peer.Role != Daemon {
		return
	}
	if c := t.candidate; c != nil {
		t.candidate = nil
		t.admit(c)
		return
	}
	if t.generation > 0 {
		t.generationEnd = t.now.Add(t.limits.SessionLifetime)
		t.at(t.generationEnd)
	}
	t.daemonLeft = t.now
	t.tellClients(duePeerUnavailable)
}

// drop forgets an attached link: its bindings, its queue, and what was read from it and not forwarded.
func (t *Target) drop(l *Link, why *reason.Error) {
	for len(l.sessions) > 0 {
		t.unbind(l.sessions[len(l.sessions)-1], Client)
	}
	if l == t.daemon {
		t.daemon = nil
		// Every session, not only those bound here: a client's INIT and RESUME are queued before the daemon binds.
		for _, s := range t.sessions {
			if s.daemon.link == l {
				t.unbind(s, Daemon)
			}
			if s.up.to == l {
				t.discard(&s.up)
			}
		}
	}
	t.leaveLegacy(l)
	t.landed(l)
	last := len(t.links) - 1
	moved := t.links[last]
	t.links[l.index], t.links[last] = moved, nil
	moved.index = l.index
	t.links = t.links[:last]
	// Whoever holds on to the link keeps none of its sessions alive.
	l.state, l.end, l.last, l.statuses, l.due = ended, why, nil, statusRing{}, 0
}

// revokeSessions ends the sessions of a client that was revoked, and has the daemon end them.
func (t *Target) revokeSessions(l *Link) {
	for len(l.sessions) > 0 {
		s := l.sessions[len(l.sessions)-1]
		t.unbind(s, Client)
		t.refuse(s, reason.PeerRevoked)
	}
}
