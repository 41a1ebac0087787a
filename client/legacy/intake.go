package legacy

import (
	"context"
	"time"

	"github.com/getviewport/relay/internal/legacycrypto"
	"github.com/getviewport/relay/internal/legacysession"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

const (
	// atOnce is how many key exchanges and pairings are answered at once; more are dropped, and their clients try again.
	atOnce = 32
	// lookupTime is how long PSK and Offers.Paired have; their client waits no longer.
	lookupTime = legacysession.AnswerTime
)

// stray handles a frame that belongs to no session. The reader calls it: it does not block.
func (in *intake) stray(l *link, frame any) {
	var handle func()
	switch f := frame.(type) {
	case *legacycrypto.Init:
		handle = func() { in.init(l, f) }
	case *legacycrypto.OfferRequest:
		handle = func() { in.offer(l, f) }
	case *legacycrypto.RedeemRequest:
		handle = func() { in.redeem(l, f) }
	default:
		return
	}
	select {
	case in.slots <- struct{}{}:
	default:
		l.log.Warn("dropped a key exchange: too many at once")
		return
	}
	l.finished.Go(func() {
		defer func() { <-in.slots }()
		handle()
	})
}

// init answers a key exchange. One that is refused gets no answer: the protocol has none.
func (in *intake) init(l *link, i *legacycrypto.Init) {
	h, err := legacycrypto.ReadInit(in.daemon, i)
	if err != nil {
		l.log.Warn("refused a key exchange", "error", err)
		return
	}
	defer h.Wipe()
	psk, err := in.psk(l, h)
	if err != nil {
		l.log.Warn("refused a key exchange", "error", err)
		return
	}
	if h.PreviousSessionID() != "" {
		err = in.rekey(l, h, psk)
	} else {
		err = in.open(l, h, psk)
	}
	if err != nil {
		l.log.Warn("refused a key exchange", "error", err)
	}
}

func (in *intake) psk(l *link, h *legacycrypto.DaemonHandshake) (legacycrypto.PSK, error) {
	if h.Profile() != legacycrypto.NoiseIKpsk2 || in.cfg.PSK == nil {
		return legacycrypto.PSK{}, nil
	}
	ctx, stop := context.WithTimeout(l.ctx, lookupTime)
	defer stop()
	secret, err := in.cfg.PSK(ctx, h.PairingPeerID())
	if err != nil {
		return legacycrypto.PSK{}, err
	}
	return pskOf(secret)
}

// rekey gives a session that has asked for them new keys.
func (in *intake) rekey(l *link, h *legacycrypto.DaemonHandshake, psk legacycrypto.PSK) error {
	l.mu.Lock()
	m := l.members[h.PreviousSessionID()]
	l.mu.Unlock()
	if m == nil {
		return legacycrypto.ErrPrevious
	}
	var err error
	m.take(func(now time.Time) (e session.Effects) {
		e, err = m.machine.Rekey(h, psk, now)
		return e
	})
	return err
}

// open makes a session.
func (in *intake) open(l *link, h *legacycrypto.DaemonHandshake, psk legacycrypto.PSK) error {
	response, s, err := h.Respond(psk, nil)
	if err != nil {
		return err
	}
	cfg := legacysession.Config{Lifetime: in.cfg.SessionLifetime}
	l.makeRoom(maxSessions)
	m, err := l.add(legacysession.New(s, cfg, response, time.Now()), s.Profile())
	if err != nil {
		return err
	}
	select {
	case in.accepted <- m.session:
	default:
		m.end(session.Local, reason.New(reason.Capacity, "too many sessions wait for Accept"))
	}
	return nil
}

// makeRoom ends the session that is missed least if there are limit of them.
func (l *link) makeRoom(limit int) {
	l.mu.Lock()
	var least *member
	if len(l.members) >= limit {
		for _, m := range l.members {
			if least == nil || m.seen.less(least.seen) {
				least = m
			}
		}
	}
	l.mu.Unlock()
	if least != nil {
		least.end(session.Local, reason.New(reason.Capacity, "too many sessions at once; this one was silent for longest"))
	}
}

// less reports whether a session that is known so is missed less than another.
func (a seen) less(b seen) bool {
	if a.proved != b.proved {
		return !a.proved
	}
	return a.heard.Before(b.heard)
}
