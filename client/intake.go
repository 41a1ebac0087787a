package client

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/getviewport/relay/client/identity"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/secure"
	"github.com/getviewport/relay/internal/session"
)

// Bounds on clients that have not proved themselves (docs/protocol.md, End-to-end encryption).
const (
	maxHalfOpen       = 1024
	maxHalfOpenPerKey = 64
	halfOpenSafe      = 30 * time.Second // a half-open session younger than this does not give way
	authoriseAtOnce   = 32               // Authorise calls that run at once; an INIT beyond them is refused
	authoriseTimeout  = 10 * time.Second
	rememberIDs       = 10 * time.Minute // an INIT never replaces a session that was held this recently
	maxRemembered     = 16384
)

// intake turns HANDSHAKE_INITs into sessions for a Listener.
type intake struct {
	// Static.
	listener *Listener
	static   secure.KeyPair
	slots    chan struct{} // held while an INIT is authorised

	// mu guards what follows.
	mu       sync.Mutex
	halfOpen []halfOpen // oldest first; at most maxHalfOpen; those that opened or ended are swept at the next INIT
	seen     map[string]time.Time
	seenList []seen // oldest first; at most maxRemembered, and one for each session that ended since
}

type seen struct {
	id string
	at time.Time
}

type halfOpen struct {
	session *Session
	since   time.Time
}

func newIntake(l *Listener, static secure.KeyPair) *intake {
	return &intake{listener: l, static: static, slots: make(chan struct{}, authoriseAtOnce), seen: make(map[string]time.Time)}
}

// orphan handles a frame of a session that the daemon does not have. The reader calls it: it does not block.
func (in *intake) orphan(h *envelope.Header, ciphertext []byte) {
	switch h.Type {
	case relayv1.FrameType_FRAME_TYPE_RESUME:
		in.refuse(string(h.Session), reason.SessionUnknown)
	case relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT:
		id := string(h.Session)
		if !in.remember(id) {
			return
		}
		select {
		case in.slots <- struct{}{}:
		default:
			in.refuse(id, reason.Capacity)
			return
		}
		// The reader reuses its buffers, so the goroutine gets its own.
		header := *h
		header.Session = []byte(id)
		header.Workspace, header.Target, header.BindKey, header.Status = nil, nil, nil, nil
		message := append([]byte(nil), ciphertext...)
		in.listener.running.Add(1)
		go func() {
			defer in.listener.running.Done()
			defer release(in.slots)
			in.init(&header, message)
		}()
	}
}

// remember notes a session id and reports whether it is new.
func (in *intake) remember(id string) bool {
	now := time.Now()
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.seenList) > 0 {
		oldest := in.seenList[0]
		if len(in.seenList) < maxRemembered && now.Sub(oldest.at) <= rememberIDs {
			break
		}
		in.seenList = in.seenList[1:]
		if in.seen[oldest.id].Equal(oldest.at) { // else it was noted again since
			delete(in.seen, oldest.id)
		}
	}
	if _, known := in.seen[id]; known {
		return false
	}
	in.see(id, now)
	return true
}

// note remembers the id of a session that was held until now.
func (in *intake) note(id string) {
	in.mu.Lock()
	in.see(id, time.Now())
	in.mu.Unlock()
}

// see notes when an id was met. Called with in.mu held.
func (in *intake) see(id string, now time.Time) {
	in.seen[id] = now
	in.seenList = append(in.seenList, seen{id, now})
}

func (in *intake) refuse(id string, code reason.Code) {
	cfg := &in.listener.cfg
	in.listener.keeper.reply(session.AppendReset(nil, cfg.Workspace, cfg.Target, id, code))
}

// init answers one HANDSHAKE_INIT.
func (in *intake) init(h *envelope.Header, message []byte) {
	cfg, k := &in.listener.cfg, in.listener.keeper
	l := k.current()
	if l == nil {
		return // the answer would go nowhere; the client begins anew
	}
	incoming, err := session.ReadInit(l.sessionConfig(), in.static, h, message, rand.Reader)
	if err != nil {
		// It is not for our key, or no handshake at all: whoever sent it learns nothing.
		return
	}
	ctx, stop := context.WithTimeout(k.ctx, authoriseTimeout)
	defer stop()
	caller := Caller{
		Key: incoming.PeerKey(), Profile: identity.Profile(incoming.Profile()),
		PairingID: incoming.PairingID(), SessionID: incoming.ID(),
	}
	permission, err := cfg.Authorise(ctx, caller)
	if err != nil {
		code := NotAuthorised
		_ = errors.As(err, &code)
		cfg.Log.Warn("refused a client", "client", caller.Key.Fingerprint(), "reason", string(code), "error", err)
		k.reply(incoming.Refuse(nil, reason.Code(code)))
		return
	}
	if caller.Profile != permission.Profile || cfg.RequirePSK && caller.Profile != identity.NoiseIKpsk2 {
		k.reply(incoming.Refuse(nil, reason.ProfileTooWeak))
		return
	}
	var psk []byte
	if !permission.PSK.IsZero() {
		b := permission.PSK.Reveal()
		psk = b[:]
	}
	m, err := incoming.Accept(psk, rand.Reader, time.Now())
	if err != nil {
		cfg.Log.Error("could not answer a client", "client", caller.Key.Fingerprint(), "error", err)
		k.reply(incoming.Refuse(nil, reason.NotAuthorised))
		return
	}
	s := newSession(k, m, func(s *Session) { in.opened(s, permission.Confirmed) })
	if !in.admitHalfOpen(s) {
		k.reply(incoming.Refuse(nil, reason.Capacity))
		return
	}
	if k.add(s) == nil {
		s.start()
	}
}

// admitHalfOpen counts s among the half-open ones; at a limit the oldest gives way if it is old enough.
func (in *intake) admitHalfOpen(s *Session) bool {
	admitted, victim := in.giveWay(s, time.Now())
	if victim != nil {
		victim.Abort() // without in.mu, which its end may take
	}
	return admitted
}

// giveWay is admitHalfOpen without the end of the session that gave way.
func (in *intake) giveWay(s *Session, now time.Time) (admitted bool, victim *Session) {
	in.mu.Lock()
	defer in.mu.Unlock()
	keep := in.halfOpen[:0]
	oldestOfKey, ofKey := -1, 0
	for _, h := range in.halfOpen {
		if isClosed(h.session.opened) || isClosed(h.session.over) {
			continue
		}
		if h.session.peer == s.peer {
			if ofKey++; oldestOfKey < 0 {
				oldestOfKey = len(keep)
			}
		}
		keep = append(keep, h)
	}
	clear(in.halfOpen[len(keep):])
	in.halfOpen = keep
	at := -1
	switch {
	case ofKey >= maxHalfOpenPerKey:
		at = oldestOfKey
	case len(keep) >= maxHalfOpen:
		at = 0
	}
	if at >= 0 {
		old := in.halfOpen[at]
		if now.Sub(old.since) < halfOpenSafe {
			return false, nil
		}
		in.halfOpen = append(in.halfOpen[:at], in.halfOpen[at+1:]...)
		victim = old.session
	}
	in.halfOpen = append(in.halfOpen, halfOpen{s, now})
	return true, victim
}

// opened runs once the client has proved itself; s.mu is held, so the rest goes to a goroutine.
func (in *intake) opened(s *Session, confirmed func() error) {
	in.listener.running.Add(1)
	go func() {
		defer in.listener.running.Done()
		if confirmed != nil {
			if err := confirmed(); err != nil {
				in.listener.cfg.Log.Warn("refused a client", "client", s.peer.Fingerprint(), "error", err)
				_ = s.CloseWithError(string(NotAuthorised), "the daemon does not accept this client")
				return
			}
		}
		select {
		case in.listener.accepted <- s:
		default:
			s.Abort()
		}
	}()
}
