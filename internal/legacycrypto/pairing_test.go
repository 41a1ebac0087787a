package legacycrypto

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

const testAnchor = "0011:2233:4455:6677:8899:aabb:ccdd:eeff:0011:2233:4455:6677:8899:aabb:ccdd:eeff"

// begun is when pairing begins in tests.
var begun = time.UnixMilli(1_700_000_000_123)

func signingKey(t testing.TB, name string) SigningKey {
	t.Helper()
	k, err := GenerateSigningKey(source(name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pairingDaemon(t testing.TB) *PairingDaemon {
	t.Helper()
	d, err := NewPairingDaemon(PairingDaemonConfig{
		Key: signingKey(t, "the daemon's signing key"), DeviceID: "machine 1", TrustAnchor: testAnchor,
		Random: source("the pairing daemon"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func asking(t testing.TB, name string, ttl time.Duration) (*ClientPairing, []byte) {
	t.Helper()
	p, err := NewClientPairing(source(name))
	if err != nil {
		t.Fatal(err)
	}
	request, err := p.OfferRequest(ttl)
	if err != nil {
		t.Fatal(err)
	}
	return p, request
}

func offered(t testing.TB, d *PairingDaemon, request []byte) []byte {
	t.Helper()
	answer, _, err := d.Offer(begun, parse[*OfferRequest](t, request))
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// redeeming is a client that has an offer of d and redeems it.
func redeeming(t testing.TB, d *PairingDaemon) (*ClientPairing, []byte) {
	t.Helper()
	p, request := asking(t, "a client", 0)
	if _, err := p.ReadOffer(parse[*OfferResponse](t, offered(t, d, request))); err != nil {
		t.Fatal(err)
	}
	redeem, err := p.Redeem(signingKey(t, "the client's signing key"))
	if err != nil {
		t.Fatal(err)
	}
	return p, redeem
}

func redeem(t testing.TB, d *PairingDaemon, now time.Time, text []byte) ([]byte, Paired, error) {
	t.Helper()
	return d.Redeem(now, parse[*RedeemRequest](t, text))
}

func TestAClientAndADaemonPairOverTheRelayAndHaveTheSameSecret(t *testing.T) {
	d := pairingDaemon(t)
	p, request := asking(t, "a client", 2*time.Minute)
	offer, err := p.ReadOffer(parse[*OfferResponse](t, offered(t, d, request)))
	if err != nil {
		t.Fatal(err)
	}
	if !offer.CreatedAt.Equal(begun) || !offer.ExpiresAt.Equal(begun.Add(2*time.Minute)) ||
		offer.TrustAnchor != testAnchor || offer.DaemonDeviceID != "machine 1" || !offer.DaemonKey.Equal(d.c.Key.Public()) {
		t.Errorf("offer: got %+v", offer)
	}
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	if !uuid.MatchString(offer.ID) {
		t.Errorf("offer id: got %s, want a UUID", offer.ID)
	}
	clear(offer.DaemonKey) // what is shown is the caller's
	key := signingKey(t, "the client's signing key")
	text, err := p.Redeem(key)
	if err != nil {
		t.Fatal(err)
	}
	answer, atDaemon, err := redeem(t, d, begun.Add(time.Minute), text)
	if err != nil {
		t.Fatal(err)
	}
	atClient, err := p.Finish(parse[*RedeemResponse](t, answer))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(atClient.PSK.Reveal(), atDaemon.PSK.Reveal()) || atClient.PSK.IsZero() {
		t.Error("got two different secrets")
	}
	if atClient.PeerID != atDaemon.PeerID || atClient.PeerID != PeerID(key.Public()) || atClient.OfferID != offer.ID ||
		!atDaemon.Peer.Equal(key.Public()) || !atClient.Peer.Equal(d.c.Key.Public()) {
		t.Errorf("got %+v and %+v", atClient, atDaemon)
	}

	// It is what noise-ikpsk2 asks for.
	c, dc := configs(t, NoiseIKpsk2)
	c.PSK, c.PairingPeerID = atClient.PSK, atClient.PeerID
	h, init := begin(t, c)
	r, err := ReadInit(dc, parse[*Init](t, init))
	if err != nil {
		t.Fatal(err)
	}
	response, daemon, err := r.Respond(atDaemon.PSK, nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := tryResponse(h, response)
	if err != nil {
		t.Fatal(err)
	}
	opens(t, daemon, seal(t, client, "paired"), "paired")
}

func TestPairingRequestsHaveTheOrderAndFormOfTodays(t *testing.T) {
	d := pairingDaemon(t)
	_, request := asking(t, "a client", time.Minute)
	f := fieldsOf(t, request)
	want := fmt.Sprintf(`{"type":"relay_pairing_offer_request",`+
		`"requestId":%q,"clientChannelPublicKey":%q,"ttlSeconds":60}`, f["requestId"], f["clientChannelPublicKey"])
	if string(request) != want {
		t.Errorf("got %s, want %s", request, want)
	}
	if _, request = asking(t, "a client", 0); strings.Contains(string(request), "ttl") {
		t.Errorf("no ttl asked for: got %s", request)
	}
	_, text := redeeming(t, d)
	f = fieldsOf(t, text)
	want = fmt.Sprintf(`{"type":"relay_pairing_redeem_request",`+
		`"requestId":%q,"offerId":%q,"encIv":%q,"encTag":%q,"encCiphertext":%q}`,
		f["requestId"], f["offerId"], f["encIv"], f["encTag"], f["encCiphertext"])
	if string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
}

func TestEveryFieldOfAnOfferThatIsChangedIsRefusedAndTheGenuineOneStillWorks(t *testing.T) {
	d := pairingDaemon(t)
	p, request := asking(t, "a client", 0)
	answer := offered(t, d, request)
	for _, c := range []struct {
		field string
		value any
		want  error
	}{
		{"type", typeRedeemResponse, ErrFrame},
		{"requestId", "another", ErrRequest},
		{"ok", nil, ErrFrame},
		{"ok", "true", ErrFrame},
		{"daemonChannelPublicKey", otherPoint(t), ErrPairing},
		{"daemonChannelPublicKey", "", ErrFrame},
		{"encIv", flip(t, answer, "encIv", 0), ErrPairing},
		{"encIv", "AAAA", ErrFrame},
		{"encTag", flip(t, answer, "encTag", 0), ErrPairing},
		{"encTag", "AAAA", ErrFrame},
		{"encCiphertext", flip(t, answer, "encCiphertext", 9), ErrPairing},
		{"encCiphertext", "", ErrFrame},
	} {
		_, err := tryOffer(p, set(t, answer, c.field, c.value))
		wants(t, fmt.Sprintf("%s=%v", c.field, c.value), err, c.want)
		if p.offer != nil || p.secret != nil {
			t.Errorf("%s: got the pairing changed", c.field)
		}
	}
	refusal := fmt.Appendf(nil, `{"type":"relay_pairing_offer_response","requestId":%q,"ok":false,`+
		`"errorCode":"PAIRING_OFFER_FAILED","error":7}`, p.RequestID())
	_, err := tryOffer(p, refusal)
	wants(t, "refused", err, ErrRefused)
	if _, err := tryOffer(p, answer); err != nil {
		t.Errorf("the genuine one at last: %v", err)
	}
}

func tryOffer(p *ClientPairing, text []byte) (Offer, error) {
	frame, err := Parse(text)
	if err != nil {
		return Offer{}, err
	}
	r, ok := frame.(*OfferResponse)
	if !ok {
		return Offer{}, ErrFrame
	}
	return p.ReadOffer(r)
}

func TestASealedOfferThatIsNoneIsRefusedByItsField(t *testing.T) {
	p, request := asking(t, "a client", 0)
	own := testKey(t, "a daemon's channel key")
	ch, err := newChannel(own, parse[*OfferRequest](t, request).ClientChannel, p.RequestID())
	if err != nil {
		t.Fatal(err)
	}
	genuine := encode(offerText{
		"offer 1", 1, 2, strings.Repeat("5", secretSize), testAnchor, "machine 1",
		publicPEM(signingKey(t, "d").Public()),
	})
	try := func(text []byte) error {
		sealed, err := ch.seal(nil, offerData(p.RequestID()), text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tryOffer(p, encode(offerResponseText{
			typeOfferResponse, p.RequestID(), true, own.Public().String(), sealed.text(),
		}))
		return err
	}
	for _, c := range []struct {
		field string
		value any
	}{
		{"offerId", ""}, {"offerId", "two\nlines"}, {"createdAt", "1"}, {"expiresAt", 0}, {"expiresAt", nil},
		{"redeemSecret", ""}, {"redeemSecret", strings.Repeat("x", secretSize)}, {"redeemSecret", strings.Repeat("5", 31)},
		{"trustAnchor", "0011:2233"}, {"trustAnchor", testAnchor + "\n"},
		{"trustAnchor", strings.ReplaceAll(testAnchor, ":", "")},
		{"daemonDeviceId", " "}, {"daemonDeviceId", "two\nlines"}, {"daemonPublicKey", "none"}, {"daemonPublicKey", nil},
	} {
		err := try(set(t, genuine, c.field, c.value))
		if !errors.Is(err, ErrFrame) || !strings.Contains(err.Error(), c.field) {
			t.Errorf("%s=%v: got %v, want it refused by its name", c.field, c.value, err)
		}
	}
	wants(t, "no object", try([]byte("7")), ErrFrame)
	if err := try(genuine); err != nil {
		t.Errorf("the genuine one at last: %v", err)
	}
}

func TestEveryFieldOfARedemptionThatIsChangedIsRefusedAndTheGenuineOneStillWorks(t *testing.T) {
	d := pairingDaemon(t)
	p, text := redeeming(t, d)
	for _, c := range []struct {
		field string
		value any
		want  error
	}{
		{"requestId", "another", ErrPairing},
		{"offerId", "another", ErrOffer},
		{"encIv", flip(t, text, "encIv", 0), ErrPairing},
		{"encTag", flip(t, text, "encTag", 0), ErrPairing},
		{"encCiphertext", flip(t, text, "encCiphertext", 0), ErrPairing},
	} {
		answer, _, err := redeem(t, d, begun, set(t, text, c.field, c.value))
		wants(t, c.field, err, c.want)
		refused(t, answer)
	}
	for _, c := range []struct {
		field string
		value any
	}{
		{"requestId", nil}, {"requestId", ""}, {"offerId", ""}, {"offerId", "a\nb"}, {"encIv", "AAAA"},
		{"encTag", "AAAA"}, {"encCiphertext", ""},
	} {
		_, err := Parse(set(t, text, c.field, c.value))
		wants(t, fmt.Sprintf("%s=%v", c.field, c.value), err, ErrFrame)
	}

	// What is under the seal, as a client can seal it that has the channel.
	inner := func(change func(*redeemText)) []byte {
		public := publicPEM(p.key.Public())
		f := redeemText{p.secret(), p.offer.TrustAnchor, public, ""}
		f.ClientProof = p.key.sign(clientProof, p.offer.ID, f.RedeemSecret, f.TrustAnchor, public)
		change(&f)
		return resealed(t, p, text, encode(f))
	}
	stranger := signingKey(t, "a stranger")
	for name, c := range map[string]struct {
		change func(*redeemText)
		want   error
	}{
		"another secret, not signed": {func(f *redeemText) { f.RedeemSecret = strings.Repeat("0", 32) }, ErrClientProof},
		"no hex for a secret":        {func(f *redeemText) { f.RedeemSecret = "none" }, ErrFrame},
		"another anchor":             {func(f *redeemText) { f.TrustAnchor = "1" + f.TrustAnchor[1:] }, ErrTrustAnchor},
		"another key":                {func(f *redeemText) { f.ClientPublicKey = publicPEM(stranger.Public()) }, ErrClientProof},
		"no key":                     {func(f *redeemText) { f.ClientPublicKey = "none" }, ErrFrame},
		"a key with a line end":      {func(f *redeemText) { f.ClientPublicKey += "\n" }, ErrFrame},
		"a header in the key": {func(f *redeemText) {
			f.ClientPublicKey = strings.Replace(f.ClientPublicKey, "\n", "\nA: b\n\n", 1)
		}, ErrFrame},
		"another's proof": {func(f *redeemText) { f.ClientProof = stranger.sign("x") }, ErrClientProof},
		"no proof":        {func(f *redeemText) { f.ClientProof = "" }, ErrFrame},
		"a short proof":   {func(f *redeemText) { f.ClientProof = "AAAA" }, ErrClientProof},
	} {
		answer, _, err := redeem(t, d, begun, inner(c.change))
		wants(t, name, err, c.want)
		refused(t, answer)
	}
	if d.offers[p.offer.ID].wrongTries != 0 {
		t.Error("got wrong secrets counted, want none")
	}
	if _, _, err := redeem(t, d, begun, text); err != nil {
		t.Errorf("the genuine one at last: %v", err)
	}
}

func refused(t testing.TB, answer []byte) {
	t.Helper()
	f := fieldsOf(t, answer)
	want := fmt.Sprintf(`{"type":"relay_pairing_redeem_response","requestId":%q,"ok":false,`+
		`"errorCode":"PAIRING_REDEEM_FAILED","error":"the offer could not be redeemed"}`, f["requestId"])
	if string(answer) != want {
		t.Errorf("got %s, want %s", answer, want)
	}
}

// resealed is the frame with another plaintext under its seal.
func resealed(t testing.TB, p *ClientPairing, text, plaintext []byte) []byte {
	t.Helper()
	r := parse[*RedeemRequest](t, text)
	sealed, err := p.channel.seal(nil, redeemData(r.RequestID, r.OfferID), plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return encode(redeemRequestText{typeRedeemRequest, r.RequestID, r.OfferID, sealed.text()})
}

func TestEveryFieldOfTheLastAnswerThatIsChangedIsRefusedAndTheGenuineOneStillWorks(t *testing.T) {
	d := pairingDaemon(t)
	p, text := redeeming(t, d)
	answer, _, err := redeem(t, d, begun, text)
	if err != nil {
		t.Fatal(err)
	}
	signature := fieldsOf(t, answer)["redeemed"].(map[string]any)["serverSignature"].(string)
	try := func(text []byte) error {
		frame, err := Parse(text)
		if err != nil {
			return err
		}
		_, err = p.Finish(frame.(*RedeemResponse))
		return err
	}
	for _, c := range []struct {
		field string
		value any
		want  error
	}{
		{"requestId", "another", ErrRequest},
		{"ok", 1, ErrFrame},
		{"redeemed", nil, ErrFrame},
		{"redeemed", []int{}, ErrFrame},
		{"redeemed.offerId", "another", ErrOtherPairing},
		{"redeemed.peerId", "another", ErrOtherPairing},
		{"redeemed.daemonDeviceId", "another", ErrOtherPairing},
		{"redeemed.daemonPublicKey", publicPEM(signingKey(t, "another").Public()), ErrOtherPairing},
		{"redeemed.daemonPublicKey", "none", ErrFrame},
		{"redeemed.expiresAt", 1_700_000_600_124, ErrServerSignature},
		{"redeemed.expiresAt", "soon", ErrFrame},
		{"redeemed.serverSignature", "A" + signature[1:], ErrServerSignature},
		{"redeemed.serverSignature", "AAAA", ErrServerSignature},
		{"redeemed.serverSignature", "", ErrFrame},
	} {
		wants(t, fmt.Sprintf("%s=%v", c.field, c.value), try(set(t, answer, c.field, c.value)), c.want)
		if p.offer == nil || p.key.IsZero() {
			t.Fatalf("%s: got the pairing ended", c.field)
		}
	}
	refusal := fmt.Appendf(nil, `{"type":"relay_pairing_redeem_response","requestId":%q,"ok":false,`+
		`"errorCode":"NO\u001b[2J","error":%q}`, p.RequestID(), strings.Repeat("x", 5000))
	err = try(refusal)
	wants(t, "refused", err, ErrRefused)
	if strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 400 {
		t.Errorf("a stranger's words: got %q, want them quoted and short", err)
	}
	// Nothing vouches for these, and nothing depends on them.
	answer = set(t, answer, "redeemed.createdAt", nil)
	if err := try(set(t, answer, "redeemed.relayPairingPeerId", "another")); err != nil {
		t.Errorf("the genuine one at last: %v", err)
	}
	wants(t, "once more", try(answer), ErrMisuse)
}
