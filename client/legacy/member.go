package legacy

import (
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/internal/legacycrypto"
	"github.com/getviewport/relay/internal/legacysession"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

// member is a session on a link.
type member struct {
	// Static.
	link    *link
	machine *legacysession.Machine // belongs to session: only inside of step
	session *client.Session
	step    func(func(now time.Time) session.Effects) session.Effects

	// What follows is guarded by link.mu.
	queued bool // it is in link.ready
	gone   bool // it is over
	seen   seen // what the machine said after the last step that may change it
}

// seen is what a link needs to know of a machine.
type seen struct {
	id, request string
	proved      bool
	heard       time.Time
	missed      uint64
}

// add puts a session on the link and sends what it has to send. It fails when the link has ended, or has one of this
// id.
func (l *link) add(machine *legacysession.Machine, profile legacycrypto.Profile) (*member, error) {
	m := &member{link: l, machine: machine}
	carrier := client.Carrier{Wants: m.wants, Done: m.over}
	m.session, m.step = client.NewLegacySession(machine, carrier, publicProfile(profile))
	now := look(machine)
	l.mu.Lock()
	switch {
	case l.err != nil:
		l.mu.Unlock()
		return nil, l.err
	case l.members[now.id] != nil:
		l.mu.Unlock()
		return nil, errDoubled
	}
	m.seen = now
	l.members[now.id] = m
	l.mu.Unlock()
	m.step(func(time.Time) session.Effects { return 0 })
	return m, nil
}

var errDoubled = &client.Error{
	Reason: client.HandshakeFailed, By: "peer", Text: "the daemon gave a session the id of another",
}

func look(m *legacysession.Machine) seen {
	return seen{m.SessionID(), m.RequestID(), m.Proved(), m.Heard(), m.Missed()}
}

// take takes a step that may change by what the link knows the session. It knows the new before anybody can answer to
// it.
func (m *member) take(f func(now time.Time) session.Effects) {
	m.step(func(t time.Time) session.Effects {
		e := f(t)
		if !m.link.rename(m, look(m.machine)) {
			e |= m.machine.End(session.Peer, reason.New(reason.HandshakeFailed, "%s", errDoubled.Text), t)
		}
		return e
	})
}

// rename notes how to find a session from now on. It reports false if the new id is another session's. Called with the
// session's lock held.
func (l *link) rename(m *member, now seen) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := m.seen
	if m.gone || now == was {
		return true
	}
	if now.id != was.id {
		if l.members[now.id] != nil {
			return false
		}
		delete(l.members, was.id)
		l.members[now.id] = m
	}
	if was.request != "" && now.request != was.request {
		delete(l.waiting, was.request)
	}
	if now.request != "" {
		l.waiting[now.request] = m
	}
	m.seen = now
	if was.missed == 0 && now.missed > 0 {
		l.log.Warn("messages of a session were lost on their way", "session", short(m.session.ID()), "messages", now.missed)
	}
	return true
}

// answer hands a frame to the session.
func (m *member) answer(frame any) {
	m.take(func(now time.Time) session.Effects { return m.machine.Receive(frame, now) })
}

// fail is for a session that waits for a new key: endAll has ended it.
func (m *member) fail(*client.Error) {}

func (m *member) end(by session.Party, why *reason.Error) {
	m.step(func(now time.Time) session.Effects { return m.machine.End(by, why, now) })
}

func (m *member) transmit() (text []byte) {
	m.step(func(time.Time) (e session.Effects) {
		text, e = m.machine.Transmit()
		return e
	})
	return text
}

// wants puts the session into the turn of those that want to send. Called with its lock held.
func (m *member) wants() {
	l := m.link
	l.mu.Lock()
	if !m.queued && !m.gone && l.err == nil {
		m.queued = true
		l.ready = append(l.ready, m)
	}
	l.mu.Unlock()
	l.wakeWriter()
}

// over takes the session from the link. Called with its lock held.
func (m *member) over() {
	l := m.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.gone {
		return
	}
	m.gone = true
	delete(l.members, m.seen.id)
	delete(l.waiting, m.seen.request)
}

// short is a session's id as logs have it.
func short(id string) string { return id[:min(len(id), 9)] } // "rs_" and 6 characters
