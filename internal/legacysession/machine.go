package legacysession

import (
	"time"

	"github.com/getviewport/relay/internal/legacycrypto"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

const (
	// MaxFrame is the longest text in bytes that a relay of today passes on. It cuts the whole link at a longer one.
	MaxFrame = 1 << 20
	// MaxOut is how many bytes of frames wait for the link before Send takes no more messages.
	MaxOut = 256 << 10
	// MaxIn is how many bytes of messages wait for Next; with more the session ends.
	MaxIn = 4 << 20
	// itemCost is what each frame and message counts for besides its bytes.
	itemCost = 64
	// AnswerTime is how long a daemon has to answer a key exchange.
	AnswerTime = 10 * time.Second
)

// Config is what a session is made with besides its keys.
type Config struct {
	// Client is what a client begins the next key exchange with, when its daemon asks for one; Previous is not used. A
	// daemon leaves it zero.
	Client legacycrypto.ClientConfig
	// Lifetime is how long a session lives without a message or a new key of the peer; 0: for ever.
	Lifetime time.Duration
}

// Machine is one session at one endpoint.
type Machine struct {
	// Static.
	cfg Config
	id  string

	crypt    *legacycrypto.Session
	exchange *legacycrypto.ClientHandshake // a client's, while a new key is on its way
	answerBy time.Time                     // when exchange is given up

	out, in queue
	end     *session.End // nil while the session lives
	told    bool         // the end was an effect
	waiting bool         // Send was not done
	heard   time.Time    // when the peer last showed that it is there
	missed  uint64       // of the keys before
	proved  bool         // the peer has shown that it has the keys
}

// New starts a session with the keys that a key exchange has made. first, if not nil, is the first frame to be sent: a
// daemon's answer to the key exchange.
func New(s *legacycrypto.Session, cfg Config, first []byte, now time.Time) *Machine {
	m := &Machine{cfg: cfg, id: s.ID(), crypt: s, heard: now, proved: s.Confirmed()}
	if first != nil {
		m.out.push(first)
	}
	return m
}

// ID is the session's id, which it keeps when its keys change.
func (m *Machine) ID() string { return m.id }

// SessionID is the id that envelopes have now. Each new key brings another.
func (m *Machine) SessionID() string { return m.crypt.ID() }

// RequestID is that of the key exchange that a client waits for; empty: it waits for none.
func (m *Machine) RequestID() string {
	if m.exchange == nil {
		return ""
	}
	return m.exchange.RequestID()
}

// PairingPeerID is the pairing whose PSK the peer has proved to hold, empty until then and with noise-ik.
func (m *Machine) PairingPeerID() string {
	if !m.proved {
		return ""
	}
	return m.crypt.PairingPeerID()
}

// Proved reports whether the peer has shown that it has the keys: at a client from the start, at a daemon once a
// message came. Before, its peer may be nobody at all, because a handshake can be a replay.
func (m *Machine) Proved() bool { return m.proved }

// Missed is how many messages of the peer are known to be lost.
func (m *Machine) Missed() uint64 { return m.missed + m.crypt.Missed() }

// Heard is when the peer last showed that it is there.
func (m *Machine) Heard() time.Time { return m.heard }

// MaxMessage is the longest message in bytes that Send takes: the one whose frame has MaxFrame.
func (m *Machine) MaxMessage() int { return m.crypt.MaxMessage(MaxFrame) }

// Buffered is how many bytes wait: out, frames for the link; in, messages for Next.
func (m *Machine) Buffered() (out, in int) { return m.out.bytes, m.in.bytes }

// Reachable reports whether there is a link: as long as the session lives.
func (m *Machine) Reachable() bool { return m.end == nil }

// WantsToSend reports whether Transmit has something.
func (m *Machine) WantsToSend() bool { return m.out.len() > 0 }

// Transmit returns the next frame, which the caller then owns and must write to the link, in order; nil: there is none.
func (m *Machine) Transmit() ([]byte, session.Effects) { return m.out.pop(), m.effects() }

// effects is what there is to act on after a step.
func (m *Machine) effects() (e session.Effects) {
	if m.in.len() > 0 || m.end != nil {
		e |= session.Readable
	}
	if m.waiting && (m.end != nil || m.takes()) {
		m.waiting = false
		e |= session.Writable
	}
	if m.WantsToSend() {
		e |= session.WantsToSend
	}
	if m.end != nil && !m.told {
		m.told = true
		e |= session.EndedUnclean
	}
	return e
}

// Err is the *session.End that the session ended with; nil while it lives.
func (m *Machine) Err() error {
	if m.end == nil {
		return nil
	}
	return m.end
}

// Done reports whether the session is over: there is no farewell.
func (m *Machine) Done() bool { return m.end != nil }

// End ends the session. What was received stays readable; what was not sent is dropped.
func (m *Machine) End(by session.Party, why *reason.Error, now time.Time) session.Effects {
	m.finish(by, why)
	return m.effects()
}

// Abort ends the session here, and drops what was received, too. The peer is not told: the protocol has no word for it.
func (m *Machine) Abort(code reason.Code, now time.Time) session.Effects {
	if code == "" {
		code = reason.Cancelled
	}
	m.in = queue{}
	m.finish(session.Local, reason.New(code, ""))
	return m.effects()
}

func (m *Machine) finish(by session.Party, why *reason.Error) {
	if m.end != nil {
		return
	}
	m.end = &session.End{By: by, Reason: why}
	if m.exchange != nil {
		m.exchange.Wipe()
		m.exchange = nil
	}
	m.crypt.Wipe()
	m.out = queue{}
}

// Deadline is when Tick is due; zero: never.
func (m *Machine) Deadline() time.Time {
	if m.end != nil {
		return time.Time{}
	}
	var d time.Time
	if m.cfg.Lifetime > 0 {
		d = m.heard.Add(m.cfg.Lifetime)
	}
	if m.exchange != nil && (d.IsZero() || m.answerBy.Before(d)) {
		d = m.answerBy
	}
	return d
}

// Tick does what has become due. Calling it early does nothing.
func (m *Machine) Tick(now time.Time) session.Effects {
	switch {
	case m.end != nil:
	case m.exchange != nil && !now.Before(m.answerBy):
		// Whether the daemon still has the old key nobody knows: to go on with it could mean to talk to nobody.
		m.finish(session.Local, reason.New(reason.HandshakeTimeout, "the daemon asked for a new key and did not answer"))
	case m.cfg.Lifetime > 0 && now.Sub(m.heard) >= m.cfg.Lifetime:
		m.finish(session.Local, reason.New(reason.PeerSilent, ""))
	}
	return m.effects()
}

// queue is texts in order; bytes is what they count for.
type queue struct {
	items [][]byte
	bytes int
}

func (q *queue) len() int { return len(q.items) }

func (q *queue) push(b []byte) {
	q.items = append(q.items, b)
	q.bytes += len(b) + itemCost
}

func (q *queue) pop() []byte {
	if len(q.items) == 0 {
		return nil
	}
	b := q.items[0]
	q.items[0] = nil
	q.items = q.items[1:]
	q.bytes -= len(b) + itemCost
	return b
}
