package route

import (
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// session is what the relay remembers of a session.
type session struct {
	id string

	// client and daemon are its sides; up is the direction from client to daemon, down the other.
	client, daemon side
	up, down       lane

	// closes has a bit (1 << Role) for each side whose CLOSE passed. over: both have, or a RESET passed, or the relay
	// ended it; then refused says with what code, and nothing of it passes any more.
	closes  uint8
	over    bool
	refused reason.Code
	// forgotten: the target does not know it any more; a link's last may still point here.
	forgotten bool

	// list is closed, lost or nil; due when the session is forgotten unless it leaves the list.
	list       *sessionList
	prev, next *session
	due        time.Time
}

// side is one end of a session.
type side struct {
	// link is the one that the side is bound to, nil if none; index its place in the sessions of a client's link.
	link  *Link
	index int
	// serial is the highest of a link that was ever bound: what comes on a lower one of a client is dropped.
	serial uint64
	// told is when the side was told last that the session was refused, or a daemon that it isn't bound.
	told time.Time
}

func (s *session) side(r Role) *side {
	if r == Client {
		return &s.client
	}
	return &s.daemon
}

// from is the lane of what side r sends; the lane of what it receives is from the other role.
func (s *session) from(r Role) *lane {
	if r == Client {
		return &s.up
	}
	return &s.down
}

func (s *session) to(r Role) *lane {
	if r == Client {
		return &s.down
	}
	return &s.up
}

// find looks a session up, first by the link's last one.
func (t *Target) find(l *Link, id []byte) *session {
	if s := l.last; s != nil && s.id == string(id) && !s.forgotten {
		return s
	}
	s := t.sessions[string(id)]
	if s != nil {
		l.last = s
	}
	return s
}

// open makes an entry for a client's session, or returns nil and the limit that is in the way.
func (t *Target) open(l *Link, id []byte) (*session, Limit) {
	limit := t.over(l)
	if limit == NoLimit && t.daemon != nil {
		limit = t.over(t.daemon)
	}
	switch {
	case l.open >= t.limits.SessionsPerClient:
		return nil, SessionsPerLink
	case limit != NoLimit:
		return nil, limit
	case len(t.sessions) >= t.limits.SessionsPerTarget && !t.evict():
		return nil, SessionsPerTarget
	}
	s := &session{id: string(id)}
	s.up.session, s.down.session = s, s
	t.sessions[s.id] = s
	l.last = s
	return s, NoLimit
}

// evict makes room for a session: the oldest that is over or whose client is away is forgotten, unless something of it
// is still queued. Both can come back by a RESUME, as after a restart of the relay.
func (t *Target) evict() bool {
	for _, q := range []*sessionList{&t.closed, &t.lost} {
		if s := q.head; s != nil && s.up.cost+s.up.loose+s.down.cost+s.down.loose == 0 {
			t.forget(s)
			return true
		}
	}
	return false
}

// bind makes l the link of a side. The sender's next sequence is unset; what its old link brought and has not been
// forwarded, and what was queued for the old link, is void.
func (t *Target) bind(s *session, l *Link) {
	role := l.peer.Role
	t.unbind(s, role)
	s.from(role).guard.Unset()
	sd := s.side(role)
	sd.link, sd.serial = l, l.serial
	l.bound++
	if role == Client {
		sd.index = len(l.sessions)
		l.sessions = append(l.sessions, s)
		if !s.over {
			l.open++
			t.unlist(s)
		}
	}
}

// unbind takes a side off its link, if it has one.
func (t *Target) unbind(s *session, role Role) {
	sd := s.side(role)
	l := sd.link
	if l == nil {
		return
	}
	t.revoke(s.from(role))
	if in := s.to(role); in.to == l {
		t.discard(in)
	}
	sd.link = nil
	l.bound--
	if role == Client {
		last := len(l.sessions) - 1
		moved := l.sessions[last]
		l.sessions[sd.index], l.sessions[last] = moved, nil
		moved.client.index = sd.index
		l.sessions = l.sessions[:last]
		if !s.over {
			l.open--
			t.enlist(s, &t.lost, t.limits.SessionLifetime)
		}
	}
}

// refuse ends a session: both sides are told why, now and whenever they come back to it.
func (t *Target) refuse(s *session, code reason.Code) {
	for _, sd := range []*side{&s.client, &s.daemon} {
		if sd.link != nil {
			sd.told = t.now
			t.tell(sd.link, code, s.id, 0)
		}
	}
	t.finish(s)
	s.refused = code
	t.unbind(s, Client)
	t.unbind(s, Daemon)
	t.discard(&s.up)
	t.discard(&s.down)
}

// finish marks a session as over: it is forgotten when nothing passes any more.
func (t *Target) finish(s *session) {
	if !s.over && s.client.link != nil {
		s.client.link.open--
	}
	s.over = true
	t.enlist(s, &t.closed, t.limits.ClosedLifetime)
}

// forget takes a session out of the target.
func (t *Target) forget(s *session) {
	t.unbind(s, Client)
	t.unbind(s, Daemon)
	t.discard(&s.up)
	t.discard(&s.down)
	t.unlist(s)
	s.forgotten = true
	delete(t.sessions, s.id)
}
