package legacy

import (
	"context"
	"errors"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/legacycrypto"
	"github.com/getviewport/relay/internal/legacysession"
)

// PairConfig is what a client needs to pair, beside the relay's address. The token's scope must be pairing.
type PairConfig struct {
	Config
	// Key is the seed of the client's Ed25519 key, by which the daemon will know it; NewSigningKey draws one. Who keeps it
	// keeps PairingPeerID when pairing anew.
	Key identity.Secret
}

// Pair pairs with the daemon that the relay leads to: it asks for an offer and redeems it, which makes a key that
// only the two ends know, and so a session of profile NoiseIKpsk2 possible. Nothing in it proves that it is that
// daemon: who sits in the middle then, above all the relay, reads everything later. People can compare
// Pairing.TrustAnchor, which proves little: the one in the middle can pass it on.
//
// It waits 10 s for each of two answers, then fails with client.HandshakeTimeout; a refusal is client.NotAuthorised.
// It opens a link of its own and closes it. Whoever calls it again after an error begins anew.
func Pair(ctx context.Context, cfg PairConfig) (Pairing, error) {
	if err := cfg.check(); err != nil {
		return Pairing{}, err
	}
	key, err := signingKeyOf(cfg.Key)
	if err != nil {
		return Pairing{}, err
	}
	p, err := legacycrypto.NewClientPairing(nil)
	if err != nil {
		return Pairing{}, err
	}
	defer p.Wipe()
	l, err := connect(ctx, &cfg.Config, "client", nil)
	if err != nil {
		return Pairing{}, err
	}
	l.start()
	defer l.closeAndWait()
	return pair(ctx, l, p, key)
}

func pair(ctx context.Context, l *link, p *legacycrypto.ClientPairing, key legacycrypto.SigningKey) (Pairing, error) {
	text, err := p.OfferRequest(0)
	if err != nil {
		return Pairing{}, err
	}
	err = ask(ctx, l, p.RequestID(), text, func(frame any) error {
		r, ok := frame.(*legacycrypto.OfferResponse)
		if !ok {
			return errOtherAnswer
		}
		_, err := p.ReadOffer(r)
		return err
	})
	if err != nil {
		return Pairing{}, err
	}
	if text, err = p.Redeem(key); err != nil {
		return Pairing{}, err
	}
	var paired legacycrypto.Paired
	err = ask(ctx, l, p.RequestID(), text, func(frame any) error {
		r, ok := frame.(*legacycrypto.RedeemResponse)
		if !ok {
			return errOtherAnswer
		}
		paired, err = p.Finish(r)
		return err
	})
	if err != nil {
		return Pairing{}, err
	}
	return pairingOf(paired), nil
}

var errOtherAnswer = errors.New("legacy: the answer to another kind of request")

// ask sends a request and returns when read has taken an answer, or refuses one that says no. What else read refuses is
// dropped: the next may be the right one.
func ask(ctx context.Context, l *link, requestID string, text []byte, read func(frame any) error) error {
	a := &answers{frames: make(chan any, 4), failed: make(chan *client.Error, 1)}
	if err := l.await(requestID, a); err != nil {
		return err
	}
	defer l.forget(requestID)
	l.send(text)
	timer := time.NewTimer(legacysession.AnswerTime)
	defer timer.Stop()
	for {
		select {
		case frame := <-a.frames:
			err := read(frame)
			switch {
			case err == nil:
				return nil
			case errors.Is(err, legacycrypto.ErrRefused):
				return &client.Error{Reason: client.NotAuthorised, By: "peer", Text: "the daemon refused to pair"}
			}
			l.log.Warn("dropped the answer to a pairing request", "error", err)
		case why := <-a.failed:
			return why
		case <-l.done:
			return l.err
		case <-timer.C:
			return &client.Error{Reason: client.HandshakeTimeout, By: "local",
				Text: "the daemon did not answer: it may be away, or not let anybody pair"}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answers hands what comes for a request to who waits for it.
type answers struct {
	frames chan any
	failed chan *client.Error
}

func (a *answers) answer(frame any) {
	select {
	case a.frames <- frame:
	default:
	}
}

func (a *answers) fail(why *client.Error) {
	select {
	case a.failed <- why:
	default:
	}
}
