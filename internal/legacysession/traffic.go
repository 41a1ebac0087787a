package legacysession

import (
	"errors"
	"time"

	"github.com/getviewport/relay/internal/legacycrypto"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

// Send takes msg whole or, while the link has enough to do or a new key is on its way, not at all: then the caller
// calls again after Writable. It keeps nothing of msg.
//
// Errors: the *session.End of the session; a *reason.Error FRAME_INVALID for a message that is empty or no UTF-8,
// which the protocol can't carry, or MESSAGE_TOO_LARGE; nothing was taken then and the session lives.
func (m *Machine) Send(msg []byte, now time.Time) (taken int, done bool, e session.Effects, err error) {
	switch {
	case m.end != nil:
		return 0, false, m.effects(), m.end
	case len(msg) == 0:
		return 0, false, 0, reason.New(reason.FrameInvalid, "a legacy session can't carry an empty message")
	case len(msg) > m.MaxMessage():
		return 0, false, 0, reason.New(reason.MessageTooLarge,
			"the message has %d bytes, at most %d fit", len(msg), m.MaxMessage())
	case !m.takes():
		m.waiting = true
		return 0, false, m.effects(), nil
	}
	text, err := m.crypt.Seal(msg)
	switch {
	case errors.Is(err, legacycrypto.ErrPlaintext):
		return 0, false, 0, reason.New(reason.FrameInvalid, "a legacy session carries UTF-8 only, and the message is none")
	case err != nil:
		m.finish(session.Local, reason.Of(err))
		return 0, false, m.effects(), m.end
	}
	m.out.push(text)
	m.askRekey()
	return len(msg), true, m.effects(), nil
}

// takes reports whether Send can take a message.
func (m *Machine) takes() bool { return m.exchange == nil && m.out.bytes < MaxOut }

// Next returns the next message, which the caller then owns; ok is false while there is none. What was received before
// the end comes before the end's error, which is never io.EOF.
func (m *Machine) Next(now time.Time) (msg []byte, ok bool, e session.Effects, err error) {
	if msg := m.in.pop(); msg != nil {
		return msg, true, 0, nil
	}
	return nil, false, 0, m.Err()
}

// Receive takes a frame of this session that came from the link: an envelope, a daemon's call for a new key, or its
// answer to a key exchange. Whatever does not verify is dropped and changes nothing. Two things are not
// authenticated by the protocol: the call for a new key, and what Rekey takes.
func (m *Machine) Receive(frame any, now time.Time) session.Effects {
	if m.end != nil {
		return 0
	}
	switch f := frame.(type) {
	case *legacycrypto.Envelope:
		m.receive(f, now)
	case *legacycrypto.KeyUpdate:
		if m.exchange == nil && m.crypt.ReadKeyUpdate(f) == nil {
			m.beginExchange(now)
		}
	case *legacycrypto.Response:
		if m.exchange == nil {
			break
		}
		if s, err := m.exchange.Finish(f); err == nil {
			m.exchange = nil
			m.adopt(s, now)
		}
	}
	return m.effects()
}

func (m *Machine) receive(f *legacycrypto.Envelope, now time.Time) {
	msg, err := m.crypt.Open(f)
	if err != nil {
		return
	}
	m.heard, m.proved = now, true
	m.in.push(msg)
	if m.in.bytes > MaxIn {
		m.finish(session.Local, reason.New(reason.SlowConsumer, "the application here did not read what came"))
		return
	}
	m.askRekey()
}

// askRekey has a daemon ask for a new key when it is time.
func (m *Machine) askRekey() {
	if text, due := m.crypt.AskRekey(); due {
		m.out.push(text)
	}
}

// beginExchange begins the exchange of a client's keys. Nothing is sealed until it ends, because the daemon drops what
// comes behind the init.
func (m *Machine) beginExchange(now time.Time) {
	cfg := m.cfg.Client
	cfg.Previous = m.crypt
	exchange, err := legacycrypto.NewClientHandshake(cfg)
	if err == nil {
		var init []byte
		if init, err = exchange.Init(); err == nil {
			m.out.push(init)
			m.exchange, m.answerBy = exchange, now.Add(AnswerTime)
			return
		}
	}
	m.finish(session.Local, reason.Of(err))
}

// Rekey answers the init by which a client wants a new key for this session. It is not proved that the init is the
// client's own (see package legacycrypto). An error means that it was refused; nothing has changed then.
func (m *Machine) Rekey(h *legacycrypto.DaemonHandshake, psk legacycrypto.PSK, now time.Time) (session.Effects, error) {
	if m.end != nil {
		return 0, m.end
	}
	response, s, err := h.Respond(psk, m.crypt)
	if err != nil {
		return 0, err
	}
	m.out.push(response)
	m.adopt(s, now)
	return m.effects(), nil
}

// adopt goes on with new keys.
func (m *Machine) adopt(s *legacycrypto.Session, now time.Time) {
	m.missed += m.crypt.Missed()
	m.crypt, m.heard = s, now
}
