package legacy

import (
	"context"
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/legacycrypto"
)

// Pairing is what a pairing leaves at either end. It is worth as much as the relay was honest meanwhile: see the
// package.
type Pairing struct {
	// PeerID names the pairing: DialConfig.PairingPeerID, and what ListenConfig.PSK is asked by.
	PeerID string
	// PSK is the pre-shared key. Both ends have made it; it never was on the wire.
	PSK identity.Secret
	// Peer is the other end's Ed25519 key.
	Peer ed25519.PublicKey
	// DaemonDeviceID and TrustAnchor are the daemon's, by its own account.
	DaemonDeviceID, TrustAnchor string
}

func pairingOf(p legacycrypto.Paired) Pairing {
	return Pairing{
		PeerID: p.PeerID, PSK: identity.NewSecret([identity.KeySize]byte(p.PSK.Reveal())), Peer: p.Peer,
		DaemonDeviceID: p.DaemonDeviceID, TrustAnchor: p.TrustAnchor,
	}
}

// Offers lets clients pair with a daemon through the relay. Whoever has a token of scope pairing gets an offer and
// may redeem it within ten minutes: as with today's daemons, it is the platform that decides who may pair, by whom it
// gives such a token to, and it is the relay's honesty that keeps others out of the middle.
type Offers struct {
	// Key is the seed of the daemon's Ed25519 key; NewSigningKey draws one.
	Key identity.Secret
	// DeviceID names the daemon's machine to its clients; not empty.
	DeviceID string
	// TrustAnchor is the SHA-256 that people compare: 16 groups of 4 characters of hex with colons between them.
	TrustAnchor string
	// Paired stores a pairing, so that ListenConfig.PSK finds it from then on; the client is told after it has returned,
	// and is told nothing if it fails: it has to begin anew. It must return when ctx ends. Several may run at once.
	Paired func(ctx context.Context, p Pairing) error
}

func (o *Offers) start() (*legacycrypto.PairingDaemon, error) {
	key, err := signingKeyOf(o.Key)
	if err != nil {
		return nil, err
	}
	if o.Paired == nil {
		return nil, errors.New("legacy: Offers.Paired has to be set: a pairing that nobody stores is worth nothing")
	}
	return legacycrypto.NewPairingDaemon(legacycrypto.PairingDaemonConfig{
		Key: key, DeviceID: o.DeviceID, TrustAnchor: o.TrustAnchor,
	})
}

// offer answers a client that wants to pair.
func (in *intake) offer(l *link, r *legacycrypto.OfferRequest) {
	if in.pairing == nil {
		return
	}
	in.pairingMu.Lock()
	answer, _, err := in.pairing.Offer(time.Now(), r)
	in.pairingMu.Unlock()
	if err != nil {
		l.log.Warn("refused to offer a pairing", "error", err)
	}
	l.send(answer)
}

// redeem answers a client that redeems an offer.
func (in *intake) redeem(l *link, r *legacycrypto.RedeemRequest) {
	if in.pairing == nil {
		return
	}
	in.pairingMu.Lock()
	answer, paired, err := in.pairing.Redeem(time.Now(), r)
	in.pairingMu.Unlock()
	if err != nil {
		l.log.Warn("refused a pairing", "error", err)
		l.send(answer)
		return
	}
	ctx, stop := context.WithTimeout(l.ctx, lookupTime)
	defer stop()
	if err := in.cfg.Offers.Paired(ctx, pairingOf(paired)); err != nil {
		l.log.Error("could not store a pairing; the client has to begin anew", "error", err)
		return
	}
	l.log.Info("paired with a client", "pairing", paired.PeerID[:8])
	l.send(answer)
}
