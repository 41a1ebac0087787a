package legacycrypto

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAnOfferIsGoodOnceForItsTimeAndForFiveWrongSecrets(t *testing.T) {
	d := pairingDaemon(t)
	_, text := redeeming(t, d)
	_, _, err := redeem(t, d, begun.Add(OfferLifetime), text)
	wants(t, "after ten minutes", err, ErrOffer)
	if _, _, err := redeem(t, d, begun.Add(OfferLifetime-time.Millisecond), text); err != nil {
		t.Errorf("just before: %v", err)
	}
	_, _, err = redeem(t, d, begun, text)
	wants(t, "a second time", err, ErrOffer)

	p, text := redeeming(t, d)
	secret := p.secret
	for i := range MaxWrongSecrets {
		p.secret = newSecret(fmt.Sprintf("%032d", i))
		wrong, err := p.Redeem(p.key)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = redeem(t, d, begun, wrong)
		wants(t, fmt.Sprint("wrong secret ", i), err, ErrSecret)
	}
	p.secret = secret
	right, err := p.Redeem(p.key)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = redeem(t, d, begun, right)
	wants(t, "the right one after five wrong ones", err, ErrOfferLocked)
	_, _, err = redeem(t, d, begun, text)
	wants(t, "the first one", err, ErrOfferLocked)

	p, text = redeeming(t, d)
	d.Revoke(p.offer.ID)
	d.Revoke(p.offer.ID)
	_, _, err = redeem(t, d, begun, text)
	wants(t, "revoked", err, ErrOffer)
}

func TestAnOfferLivesAsLongAsAskedButNoLongerThanTenMinutes(t *testing.T) {
	for _, c := range []struct{ ask, want time.Duration }{
		{0, 10 * time.Minute}, {30 * time.Second, 30 * time.Second}, {time.Hour, 10 * time.Minute},
	} {
		p, request := asking(t, "a client", c.ask)
		offer, err := tryOffer(p, offered(t, pairingDaemon(t), request))
		if err != nil || offer.ExpiresAt.Sub(offer.CreatedAt) != c.want {
			t.Errorf("%v: got %v, %v, want %v", c.ask, offer.ExpiresAt.Sub(offer.CreatedAt), err, c.want)
		}
	}
	_, request := asking(t, "a client", time.Minute)
	for _, ttl := range []any{29, 3601, 0, -60, 60.5, "60"} {
		_, err := Parse(set(t, request, "ttlSeconds", ttl))
		wants(t, fmt.Sprint("ttl ", ttl), err, ErrFrame)
	}
	p, err := NewClientPairing(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, ttl := range []time.Duration{-time.Second, time.Second, 2 * time.Hour} {
		_, err := p.OfferRequest(ttl)
		wants(t, fmt.Sprint("asking for ", ttl), err, ErrMisuse)
	}
}

func TestADaemonKeeps2048OffersAndForgetsTheOldest(t *testing.T) {
	d := pairingDaemon(t)
	_, request := asking(t, "somebody", 0)
	r := parse[*OfferRequest](t, request)
	var ids []string
	for i := range MaxOffers + 2 {
		_, id, err := d.Offer(begun.Add(time.Duration(i)*time.Millisecond), r)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if len(d.offers) != MaxOffers || len(d.order) != MaxOffers {
		t.Errorf("got %d offers in %d places, want %d", len(d.offers), len(d.order), MaxOffers)
	}
	if d.offers[ids[1]] != nil || d.offers[ids[2]] == nil || d.offers[ids[len(ids)-1]] == nil {
		t.Error("got another one than the oldest displaced")
	}
	// What is too old makes room first.
	if _, _, err := d.Offer(begun.Add(OfferLifetime+time.Second), r); err != nil {
		t.Fatal(err)
	}
	if want := MaxOffers + 2 - 1001 + 1; len(d.offers) != want || len(d.order) != want {
		t.Errorf("after ten minutes and a second: got %d offers in %d places, want %d", len(d.offers), len(d.order), want)
	}
}

func TestADaemonWithoutRandomnessRefusesToPair(t *testing.T) {
	d := pairingDaemon(t)
	d.c.Random = strings.NewReader("short")
	_, request := asking(t, "a client", 0)
	answer, id, err := d.Offer(begun, parse[*OfferRequest](t, request))
	wants(t, "an offer", err, ErrRandom)
	want := fmt.Sprintf(`{"type":"relay_pairing_offer_response","requestId":%q,"ok":false,`+
		`"errorCode":"PAIRING_OFFER_FAILED","error":"no offer could be made"}`, fieldsOf(t, request)["requestId"])
	if string(answer) != want || id != "" || len(d.offers) != 0 {
		t.Errorf("got %s, want %s", answer, want)
	}
}

func TestPairingCantBeMisused(t *testing.T) {
	good := pairingDaemon(t).c
	for name, change := range map[string]func(*PairingDaemonConfig){
		"no key":                  func(c *PairingDaemonConfig) { c.Key = SigningKey{} },
		"no anchor":               func(c *PairingDaemonConfig) { c.TrustAnchor = "" },
		"an anchor of no hex":     func(c *PairingDaemonConfig) { c.TrustAnchor = "x" + testAnchor[1:] },
		"no device":               func(c *PairingDaemonConfig) { c.DeviceID = "" },
		"a device of two lines":   func(c *PairingDaemonConfig) { c.DeviceID = "a\nb" },
		"a device without an end": func(c *PairingDaemonConfig) { c.DeviceID = strings.Repeat("x", maxID+1) },
	} {
		bad := good
		change(&bad)
		_, err := NewPairingDaemon(bad)
		wants(t, name, err, ErrMisuse)
	}
	p, request := asking(t, "a client", 0)
	_, err := p.OfferRequest(0)
	wants(t, "a second request", err, ErrMisuse)
	_, err = p.Redeem(signingKey(t, "c"))
	wants(t, "redeeming without an offer", err, ErrMisuse)
	_, err = p.Finish(&RedeemResponse{RequestID: p.RequestID()})
	wants(t, "finishing without an offer", err, ErrMisuse)
	answer := offered(t, pairingDaemon(t), request)
	if _, err := tryOffer(p, answer); err != nil {
		t.Fatal(err)
	}
	_, err = tryOffer(p, answer)
	wants(t, "a second offer", err, ErrMisuse)
	_, err = p.Redeem(SigningKey{})
	wants(t, "redeeming without a key", err, ErrMisuse)
	if _, err := p.Redeem(signingKey(t, "c")); err != nil {
		t.Fatal(err)
	}
	_, err = p.Redeem(signingKey(t, "another"))
	wants(t, "redeeming with another key", err, ErrMisuse)
	_, err = NewClientPairing(strings.NewReader(""))
	wants(t, "no randomness", err, ErrRandom)
}

func TestASigningKeyIsOneOrRefused(t *testing.T) {
	key := signingKey(t, "k").Reveal()
	if again, err := NewSigningKey(key); err != nil || !again.Public().Equal(key.Public()) {
		t.Errorf("a key that exists: got %v", err)
	}
	mixed := append(key[:32:32], signingKey(t, "other").Public()...)
	for name, bad := range map[string]ed25519.PrivateKey{
		"none": nil, "short": key[:32], "another's public half": mixed,
	} {
		_, err := NewSigningKey(bad)
		wants(t, name, err, ErrKey)
	}
	_, err := GenerateSigningKey(strings.NewReader("short"))
	wants(t, "no randomness", err, ErrRandom)
	if (SigningKey{}).Reveal() != nil || (SigningKey{}).Public() != nil {
		t.Error("an absent key: got one")
	}
}
