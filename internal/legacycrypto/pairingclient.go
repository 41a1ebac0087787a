package legacycrypto

import (
	"crypto/ed25519"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/getviewport/relay/internal/hidden"
)

// Offer is what a daemon offers to a client that wants to pair, by the daemon's own account. People can compare
// TrustAnchor with what the daemon's machine shows; a match does not mean that nobody was in the middle.
type Offer struct {
	ID                   string
	CreatedAt, ExpiresAt time.Time // by the daemon's clock
	TrustAnchor          string
	DaemonDeviceID       string
	DaemonKey            ed25519.PublicKey
}

// ClientPairing is the client's side of one pairing over the relay. What it yields is worth as much as the relay is
// honest meanwhile: see the package's comment.
type ClientPairing struct {
	hidden.Mark
	random    io.Reader
	own       PrivateKey
	requestID string // of the last request

	channel channel // once there is an offer
	offer   *Offer
	secret  secret     // the offer's
	key     SigningKey // once it is being redeemed; absent before
}

// NewClientPairing starts a pairing. random yields keys, request ids and ivs; nil stands for crypto/rand. It fails with
// ErrRandom.
func NewClientPairing(random io.Reader) (*ClientPairing, error) {
	own, err := GeneratePrivateKey(random)
	if err != nil {
		return nil, err
	}
	return &ClientPairing{random: random, own: own}, nil
}

// RequestID names the last request to relay and daemon: the answer to it has the same.
func (p *ClientPairing) RequestID() string { return p.requestID }

// OfferRequest returns the frame that asks for an offer which lives for ttl (whole seconds, 30 to 3600; 0: the daemon's
// own, 10 minutes). It works once. It fails with ErrMisuse and ErrRandom.
func (p *ClientPairing) OfferRequest(ttl time.Duration) ([]byte, error) {
	seconds := int(ttl / time.Second)
	if ttl != 0 && (seconds < minTTL || seconds > maxTTL) {
		return nil, because(ErrMisuse, "an offer lives for %d to %d s", minTTL, maxTTL)
	}
	if p.requestID != "" {
		return nil, because(ErrMisuse, "an offer is asked for once")
	}
	id, err := newID("pair-", 8, p.random)
	if err != nil {
		return nil, err
	}
	p.requestID = id
	return encode(offerRequestText{typeOfferRequest, id, p.own.Public().String(), seconds}), nil
}

// ReadOffer reads the daemon's answer. It fails with ErrMisuse, ErrRequest, ErrRefused, ErrPairing and ErrFrame;
// nothing has changed then, and the next answer can be tried.
func (p *ClientPairing) ReadOffer(r *OfferResponse) (Offer, error) {
	switch {
	case p.requestID == "" || p.offer != nil:
		return Offer{}, because(ErrMisuse, "an offer is read once, after it was asked for")
	case r.RequestID != p.requestID:
		return Offer{}, ErrRequest
	case r.Refused != nil:
		return Offer{}, r.Refused.err()
	}
	ch, err := newChannel(p.own, r.DaemonChannel, p.requestID)
	if err != nil {
		return Offer{}, because(ErrPairing, "the daemon's channel key is none")
	}
	text, err := ch.open(offerData(p.requestID), r.Sealed)
	if err != nil {
		return Offer{}, err
	}
	defer clear(text)
	f, key, err := parseOffer(text)
	if err != nil {
		return Offer{}, err
	}
	p.channel, p.secret = ch, newSecret(f.RedeemSecret)
	p.offer = &Offer{
		f.OfferID, time.UnixMilli(f.CreatedAt), time.UnixMilli(f.ExpiresAt), f.TrustAnchor, f.DaemonDeviceID, key,
	}
	shown := *p.offer
	shown.DaemonKey = slices.Clone(key)
	return shown, nil
}

// Redeem returns the frame that redeems the offer for the client's key, which proves itself. When no answer came it
// can be called again, with the same key; the answer to the frame before is then refused. It fails with ErrMisuse and
// ErrRandom.
func (p *ClientPairing) Redeem(key SigningKey) ([]byte, error) {
	switch {
	case p.offer == nil || key.IsZero():
		return nil, because(ErrMisuse, "an offer is redeemed after it was read, with a key")
	case !p.key.IsZero() && !p.key.Public().Equal(key.Public()):
		return nil, because(ErrMisuse, "an offer is redeemed with one key")
	}
	id, err := newID("pair-", 8, p.random)
	if err != nil {
		return nil, err
	}
	public := publicPEM(key.Public())
	text := encode(redeemText{
		p.secret(), p.offer.TrustAnchor, public,
		key.sign(clientProof, p.offer.ID, p.secret(), p.offer.TrustAnchor, public),
	})
	defer clear(text)
	sealed, err := p.channel.seal(p.random, redeemData(id, p.offer.ID), text)
	if err != nil {
		return nil, err
	}
	p.requestID, p.key = id, key
	return encode(redeemRequestText{typeRedeemRequest, id, p.offer.ID, sealed.text()}), nil
}

// Finish reads the daemon's answer. It fails with ErrMisuse, ErrRequest, ErrRefused, ErrOtherPairing and
// ErrServerSignature; nothing has changed then, and the next answer can be tried.
func (p *ClientPairing) Finish(r *RedeemResponse) (Paired, error) {
	got := &r.Redeemed
	switch {
	case p.key.IsZero():
		return Paired{}, because(ErrMisuse, "a pairing is finished once, after the offer was redeemed")
	case r.RequestID != p.requestID:
		return Paired{}, ErrRequest
	case r.Refused != nil:
		return Paired{}, r.Refused.err()
	}
	client, peerID := p.key.Public(), PeerID(p.key.Public())
	switch {
	case got.OfferID != p.offer.ID:
		return Paired{}, because(ErrOtherPairing, "it is of another offer")
	case got.PeerID != peerID:
		return Paired{}, because(ErrOtherPairing, "it is of another client")
	case got.DaemonDeviceID != p.offer.DaemonDeviceID || !got.DaemonKey.Equal(p.offer.DaemonKey):
		return Paired{}, because(ErrOtherPairing, "it is of another daemon than the offer")
	case !verify(p.offer.DaemonKey, got.ServerSignature, serverLines(got.OfferID, peerID, p.offer.TrustAnchor,
		got.ExpiresAt)...):
		return Paired{}, ErrServerSignature
	}
	paired := Paired{
		PeerID: peerID, PSK: derivePSK(p.secret(), p.offer.ID, p.offer.TrustAnchor, client, p.offer.DaemonKey),
		Peer: slices.Clone(p.offer.DaemonKey), OfferID: p.offer.ID,
		DaemonDeviceID: p.offer.DaemonDeviceID, TrustAnchor: p.offer.TrustAnchor,
	}
	p.Wipe()
	return paired, nil
}

// serverLines is what the daemon signs.
func serverLines(offerID, peerID, anchor string, expiresAt int64) []string {
	return []string{serverProof, offerID, peerID, anchor, strconv.FormatInt(expiresAt, 10)}
}

// Wipe gives the pairing up and forgets its keys, as far as Go lets it. One that succeeds is wiped without being asked.
func (p *ClientPairing) Wipe() {
	p.own, p.key, p.channel, p.secret, p.offer = PrivateKey{}, SigningKey{}, channel{}, nil, nil
}
