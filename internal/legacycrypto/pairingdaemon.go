package legacycrypto

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/getviewport/relay/internal/hidden"
)

const (
	// OfferLifetime is the longest that an offer lives, whatever its client asks for: today's daemons forget the
	// channel after it, and with it the offer is worth nothing.
	OfferLifetime = 10 * time.Minute
	// MaxOffers is how many offers wait at once; a newer one displaces the oldest.
	MaxOffers = 2048
	// MaxWrongSecrets is how many wrong secrets lock an offer.
	MaxWrongSecrets = 5
)

// PairingDaemonConfig is what a daemon brings to pairing.
type PairingDaemonConfig struct {
	hidden.Mark

	// Key is the daemon's Ed25519 key.
	Key SigningKey
	// DeviceID names the daemon's machine, at most 255 bytes without control characters.
	DeviceID string
	// TrustAnchor is the SHA-256 that people compare: 16 groups of 4 characters of hex with colons between them.
	TrustAnchor string
	// Random yields keys, ids, secrets and ivs; nil stands for crypto/rand.
	Random io.Reader
}

// PairingDaemon makes offers and redeems them. It keeps them in memory only; a daemon that starts anew has none. Time
// is what its caller says, and never goes back.
type PairingDaemon struct {
	hidden.Mark
	c      PairingDaemonConfig
	offers map[string]*issued
	order  []string // the ids in offers, the oldest first
}

// issued is one offer that waits. It has a channel of its own, because its client's request had.
type issued struct {
	channel    channel
	secret     secret
	created    time.Time
	expires    time.Time
	wrongTries int
}

// NewPairingDaemon fails with ErrMisuse if c is not as it should be.
func NewPairingDaemon(c PairingDaemonConfig) (*PairingDaemon, error) {
	switch {
	case c.Key.IsZero():
		return nil, because(ErrMisuse, "pairing needs a signing key")
	case !validAnchor(c.TrustAnchor):
		return nil, because(ErrMisuse, "the trust anchor is not %d groups of 4 characters of hex", anchorGroups)
	case !validLine(c.DeviceID):
		return nil, because(ErrMisuse, "the device id is blank, too long or has control characters")
	}
	return &PairingDaemon{c: c, offers: map[string]*issued{}}, nil
}

// Offer answers a client's request. The answer is to be sent even if there is an error (ErrRandom, ErrPairing), when it
// refuses; id names the offer for Revoke.
func (d *PairingDaemon) Offer(now time.Time, r *OfferRequest) (answer []byte, id string, err error) {
	answer, id, err = d.offer(now, r)
	if err != nil {
		return encode(refusalText{
			Type: typeOfferResponse, RequestID: r.RequestID, ErrorCode: codeOfferFailed, Error: "no offer could be made",
		}), "", err
	}
	return answer, id, nil
}

func (d *PairingDaemon) offer(now time.Time, r *OfferRequest) (answer []byte, id string, err error) {
	own, err := GeneratePrivateKey(d.c.Random)
	if err != nil {
		return nil, "", err
	}
	ch, err := newChannel(own, r.ClientChannel, r.RequestID)
	if err != nil {
		return nil, "", because(ErrPairing, "the client's channel key is none")
	}
	if id, err = newUUID(d.c.Random); err != nil {
		return nil, "", err
	}
	text, err := newID("", secretSize/2, d.c.Random)
	if err != nil {
		return nil, "", err
	}
	o := &issued{
		channel: ch, secret: newSecret(text), created: now,
		expires: now.Add(min(time.Duration(r.TTLSeconds)*time.Second, OfferLifetime)),
	}
	plaintext := encode(offerText{
		id, o.created.UnixMilli(), o.expires.UnixMilli(), text, d.c.TrustAnchor, d.c.DeviceID,
		publicPEM(d.c.Key.Public()) + "\n",
	})
	defer clear(plaintext)
	sealed, err := ch.seal(d.c.Random, offerData(r.RequestID), plaintext)
	if err != nil {
		return nil, "", err
	}
	d.keep(now, id, o)
	return encode(offerResponseText{
		typeOfferResponse, r.RequestID, true, own.Public().String(), sealed.text(),
	}), id, nil
}

func (d *PairingDaemon) keep(now time.Time, id string, o *issued) {
	d.order = slices.DeleteFunc(d.order, func(id string) bool {
		expired := !now.Before(d.offers[id].expires)
		if expired {
			delete(d.offers, id)
		}
		return expired
	})
	if len(d.order) >= MaxOffers {
		d.Revoke(d.order[0])
	}
	d.offers[id] = o
	d.order = append(d.order, id)
}

// Revoke forgets an offer; of an unknown one nothing happens.
func (d *PairingDaemon) Revoke(id string) {
	if _, ok := d.offers[id]; ok {
		delete(d.offers, id)
		d.order = slices.DeleteFunc(d.order, func(other string) bool { return other == id })
	}
}

// Redeem answers a client that redeems an offer. Without an error the client is paired, the offer used up, and the
// caller stores what Paired says before it sends the answer. With one (ErrOffer, ErrOfferLocked, ErrPairing,
// ErrFrame, ErrTrustAnchor, ErrClientProof, ErrSecret) the answer refuses, and is to be sent too; the offer is as
// before, except that a wrong secret is counted.
func (d *PairingDaemon) Redeem(now time.Time, r *RedeemRequest) (answer []byte, paired Paired, err error) {
	redeemed, paired, err := d.redeem(now, r)
	if err != nil {
		return encode(refusalText{
			Type: typeRedeemResponse, RequestID: r.RequestID, ErrorCode: codeRedeemFailed,
			Error: "the offer could not be redeemed",
		}), Paired{}, err
	}
	return encode(redeemResponseText{typeRedeemResponse, r.RequestID, true, redeemed}), paired, nil
}

func (d *PairingDaemon) redeem(now time.Time, r *RedeemRequest) (f redeemedText, paired Paired, err error) {
	o, ok := d.offers[r.OfferID]
	switch {
	case !ok || !now.Before(o.expires):
		return f, paired, ErrOffer
	case o.wrongTries >= MaxWrongSecrets:
		return f, paired, ErrOfferLocked
	}
	text, err := o.channel.open(redeemData(r.RequestID, r.OfferID), r.Sealed)
	if err != nil {
		return f, paired, err
	}
	defer clear(text)
	got, client, err := parseRedeem(text)
	if err != nil {
		return f, paired, err
	}
	switch {
	case got.TrustAnchor != d.c.TrustAnchor:
		return f, paired, ErrTrustAnchor
	case !verify(client, got.ClientProof, clientProof, r.OfferID, got.RedeemSecret, got.TrustAnchor, got.ClientPublicKey):
		return f, paired, ErrClientProof
	case subtle.ConstantTimeCompare([]byte(got.RedeemSecret), []byte(o.secret())) != 1:
		o.wrongTries++
		return f, paired, ErrSecret
	}
	paired = Paired{
		PeerID: PeerID(client), PSK: derivePSK(o.secret(), r.OfferID, d.c.TrustAnchor, client, d.c.Key.Public()),
		Peer: client, OfferID: r.OfferID, DaemonDeviceID: d.c.DeviceID, TrustAnchor: d.c.TrustAnchor,
	}
	expires := o.expires.UnixMilli()
	f = redeemedText{
		r.OfferID, o.created.UnixMilli(), expires, paired.PeerID, d.c.DeviceID, publicPEM(d.c.Key.Public()) + "\n",
		paired.PeerID, d.c.Key.sign(serverLines(r.OfferID, paired.PeerID, d.c.TrustAnchor, expires)...),
	}
	d.Revoke(r.OfferID)
	return f, paired, nil
}

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID(random io.Reader) (string, error) {
	var b [16]byte
	if err := read(random, b[:]); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:]), nil
}
