package legacycrypto

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

// FuzzParse feeds texts to Parse: what it accepts is well-formed, does not refer to the text, and is read from its
// fields alone, whatever their order.
func FuzzParse(f *testing.F) {
	for _, text := range seeds(f) {
		f.Add(text)
	}
	f.Add([]byte(`{"type":"relay_key_update_required","sessionId":"rs_1","nextEpoch":2,"reason":"message_threshold"}`))
	f.Add([]byte(`{"type":"relay_pairing_offer_response","requestId":"1","ok":false,"errorCode":"PAIRING_OFFER_FAILED"}`))
	f.Add([]byte(`{"type":"relay_pairing_redeem_response","requestId":"1","ok":true,"redeemed":null}`))
	f.Add([]byte(`{"type":"e2ee","version":2,"seq":1e0,"seq":1}`))
	f.Add([]byte(`{"type":"relay_status"}`))
	f.Add([]byte(`[{}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		received := bytes.Clone(text)
		frame, err := Parse(text)
		if !bytes.Equal(text, received) {
			t.Fatal("got the text changed")
		}
		if err != nil {
			if frame != nil || !errors.Is(err, ErrFrame) && !errors.Is(err, ErrOtherType) &&
				!errors.Is(err, ErrVersion) && !errors.Is(err, ErrFrameTooLarge) {
				t.Fatalf("refused: got %T and %v", frame, err)
			}
			return
		}
		wellFormed(t, frame)
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(received, &fields); err != nil {
			t.Fatal(err)
		}
		clear(text)
		again, err := Parse(encode(fields))
		if err != nil || !reflect.DeepEqual(again, frame) {
			t.Fatalf("the same fields in another order: got %+v, %v, want %+v", again, err, frame)
		}
	})
}

// wellFormed wants what Parse promises.
func wellFormed(t testing.TB, frame any) {
	t.Helper()
	ids := func(ids ...string) {
		for _, id := range ids {
			if !validID(id) {
				t.Fatalf("%T: got id %q", frame, id)
			}
		}
	}
	numbers := func(numbers ...uint64) {
		for _, n := range numbers {
			if n < 1 || n > maxNumber {
				t.Fatalf("%T: got number %d", frame, n)
			}
		}
	}
	points := func(k PublicKey) {
		if _, err := k.point(); err != nil {
			t.Fatalf("%T: got key %x", frame, k)
		}
	}
	switch f := frame.(type) {
	case *Envelope:
		ids(f.SessionID)
		numbers(f.Epoch, f.Seq)
		if !f.Profile.Known() || len(f.Ciphertext) == 0 {
			t.Fatalf("got %+v", f)
		}
	case *Init:
		ids(f.RequestID)
		points(f.ClientEphemeral)
		if !f.Profile.Known() || (f.Profile == NoiseIKpsk2) != (f.PairingPeerID != "") {
			t.Fatalf("got %+v", f)
		}
	case *Response:
		ids(f.RequestID, f.SessionID)
		numbers(f.Epoch)
		points(f.DaemonEphemeral)
	case *KeyUpdate:
		ids(f.SessionID)
		numbers(f.NextEpoch)
	case *OfferRequest:
		ids(f.RequestID)
		points(f.ClientChannel)
		if f.TTLSeconds < minTTL || f.TTLSeconds > maxTTL {
			t.Fatalf("got %+v", f)
		}
	case *OfferResponse:
		ids(f.RequestID)
		if f.Refused == nil {
			points(f.DaemonChannel)
		}
	case *RedeemRequest:
		ids(f.RequestID, f.OfferID)
	case *RedeemResponse:
		ids(f.RequestID)
		if f.Refused == nil {
			ids(f.Redeemed.OfferID, f.Redeemed.PeerID, f.Redeemed.DaemonDeviceID)
			numbers(uint64(f.Redeemed.ExpiresAt))
			if len(f.Redeemed.DaemonKey) != 32 {
				t.Fatalf("got %+v", f)
			}
		}
	default:
		t.Fatalf("got a %T", frame)
	}
}

// seeds are one genuine frame of each kind.
func seeds(t testing.TB) (texts [][]byte) {
	for _, p := range profiles {
		c, d := configs(t, p)
		h, init := begin(t, c)
		response, _ := answer(t, d, init, nil)
		client, err := tryResponse(h, response)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, init, response, seal(t, client, "message"))
	}
	daemon := pairingDaemon(t)
	p, request := asking(t, "a client", 0)
	offer := offered(t, daemon, request)
	if _, err := tryOffer(p, offer); err != nil {
		t.Fatal(err)
	}
	text, err := p.Redeem(signingKey(t, "the client's signing key"))
	if err != nil {
		t.Fatal(err)
	}
	redeemed, _, err := redeem(t, daemon, begun, text)
	if err != nil {
		t.Fatal(err)
	}
	return append(texts, request, offer, text, redeemed)
}

// FuzzReadInit feeds inits to a daemon: it answers or refuses, and never with a session for less than it requires.
func FuzzReadInit(f *testing.F) {
	for _, p := range profiles {
		c, _ := configs(f, p)
		_, init := begin(f, c)
		for _, required := range []bool{false, true} {
			f.Add(required, init)
			f.Add(required, set(f, init, "previousSessionId", "rs_000000000000000000000000"))
			f.Add(required, set(f, init, "clientEphemeralPublicKey", otherPoint(f)))
		}
	}
	_, d := configs(f, NoiseIK)
	psk := testPSK(f)
	f.Fuzz(func(t *testing.T, requirePSK bool, text []byte) {
		frame, err := Parse(text)
		i, ok := frame.(*Init)
		if err != nil || !ok {
			return
		}
		d := d
		d.Random = nil
		if requirePSK {
			d.Required = NoiseIKpsk2
		}
		h, err := ReadInit(d, i)
		if err != nil {
			if h != nil {
				t.Fatal("refused: got a handshake")
			}
			return
		}
		if requirePSK && h.Profile() != NoiseIKpsk2 {
			t.Fatal("got a weaker profile than is required")
		}
		response, s, err := h.Respond(psk, nil)
		if (err != nil) != (h.PreviousSessionID() != "") {
			t.Fatalf("a response to an accepted init: %v", err)
		}
		if err == nil {
			r := parse[*Response](t, response)
			if r.SessionID != s.ID() || r.RequestID != i.RequestID {
				t.Fatalf("got %+v", r)
			}
		}
	})
}

// FuzzFinish feeds responses to a client: only the genuine one is accepted, and no other keeps it out.
func FuzzFinish(f *testing.F) {
	for _, p := range profiles {
		c, d := configs(f, p)
		_, init := begin(f, c)
		response, _ := answer(f, d, init, nil)
		f.Add(p == NoiseIKpsk2, response)
		f.Add(p == NoiseIK, response)
		f.Add(p == NoiseIK, set(f, response, "epoch", 2))
		f.Add(p == NoiseIKpsk2, set(f, response, "proof", flip(f, response, "proof", 0)))
		f.Add(p == NoiseIKpsk2, set(f, response, "daemonEphemeralPublicKey", otherPoint(f)))
	}
	f.Fuzz(func(t *testing.T, withPSK bool, text []byte) {
		frame, err := Parse(text)
		r, ok := frame.(*Response)
		if err != nil || !ok {
			return
		}
		p := NoiseIK
		if withPSK {
			p = NoiseIKpsk2
		}
		c, d := configs(t, p)
		h, init := begin(t, c)
		response, _ := answer(t, d, init, nil)
		genuine := parse[*Response](t, response)
		s, err := h.Finish(r)
		if err == nil {
			if !reflect.DeepEqual(r, genuine) {
				t.Fatalf("a forged response: got %+v accepted, want only %+v", r, genuine)
			}
			return
		}
		if s != nil {
			t.Fatal("refused: got a session")
		}
		if _, err := h.Finish(genuine); err != nil {
			t.Fatalf("the genuine response afterwards: %v", err)
		}
	})
}

// FuzzOpen feeds envelopes to a session that has sent some and opened one: only genuine ones open, and no other keeps
// them out.
func FuzzOpen(f *testing.F) {
	client, daemon := sessions(f, NoiseIK)
	opens(f, daemon, seal(f, client, "one"), "one")
	two, three, own := seal(f, client, "two"), seal(f, client, "three"), seal(f, daemon, "own 1")
	own2 := seal(f, daemon, "own 2")
	genuine := []*Envelope{parse[*Envelope](f, two), parse[*Envelope](f, three)}
	for _, text := range [][]byte{
		two, three, own, own2, set(f, two, "seq", 3), set(f, two, "seq", 1000), set(f, two, "epoch", 2),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		frame, err := Parse(text)
		e, ok := frame.(*Envelope)
		if err != nil || !ok {
			return
		}
		s := *daemon
		plaintext, err := s.Open(e)
		if err == nil {
			if !reflect.DeepEqual(e, genuine[0]) && !reflect.DeepEqual(e, genuine[1]) {
				t.Fatalf("a forged envelope: got %+v opened as %q", e, plaintext)
			}
			return
		}
		if plaintext != nil || s.received != daemon.received || s.missed != daemon.missed {
			t.Fatalf("refused with %v: got %q or the session changed", err, plaintext)
		}
		opens(t, &s, two, "two")
		opens(t, &s, three, "three")
	})
}

// FuzzPairingClient feeds answers to a client that pairs: only the genuine ones are accepted, and no other keeps them
// out.
func FuzzPairingClient(f *testing.F) {
	all := seeds(f)
	request, offer, redemption, redeemed := all[6], all[7], all[8], all[9]
	f.Add(offer)
	f.Add(redeemed)
	f.Add(set(f, offer, "daemonChannelPublicKey", otherPoint(f)))
	f.Add(set(f, redeemed, "redeemed.expiresAt", 1))
	f.Add(set(f, redeemed, "ok", false))
	genuineOffer, genuine := parse[*OfferResponse](f, offer), parse[*RedeemResponse](f, redeemed)
	f.Fuzz(func(t *testing.T, text []byte) {
		frame, err := Parse(text)
		if err != nil {
			return
		}
		p, again := asking(t, "a client", 0)
		if !bytes.Equal(again, request) {
			t.Fatal("got another request in another run")
		}
		if r, ok := frame.(*OfferResponse); ok {
			if _, err := p.ReadOffer(r); err == nil {
				if !reflect.DeepEqual(r, genuineOffer) {
					t.Fatalf("a forged offer: got %+v accepted", r)
				}
				return
			}
		}
		if _, err := p.ReadOffer(genuineOffer); err != nil {
			t.Fatalf("the genuine offer afterwards: %v", err)
		}
		again, err = p.Redeem(signingKey(t, "the client's signing key"))
		if err != nil || !bytes.Equal(again, redemption) {
			t.Fatalf("got another redemption in another run: %v", err)
		}
		if r, ok := frame.(*RedeemResponse); ok {
			if _, err := p.Finish(r); err == nil {
				if !reflect.DeepEqual(r, genuine) {
					t.Fatalf("a forged answer: got %+v accepted", r)
				}
				return
			}
		}
		if _, err := p.Finish(genuine); err != nil {
			t.Fatalf("the genuine answer afterwards: %v", err)
		}
	})
}

// FuzzPairingDaemon feeds plaintexts under a good seal to a daemon: only the client that knows the secret and signs is
// paired, and no other attempt uses the offer up.
func FuzzPairingDaemon(f *testing.F) {
	p, text := redeeming(f, pairingDaemon(f))
	genuine, err := p.channel.open(redeemData(p.requestID, p.offer.ID), parse[*RedeemRequest](f, text).Sealed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(genuine)
	f.Add(set(f, genuine, "redeemSecret", "00000000000000000000000000000000"))
	f.Add(set(f, genuine, "clientProof", "AAAA"))
	f.Add(set(f, genuine, "trustAnchor", "x"))
	want, _, err := parseRedeem(genuine)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, plaintext []byte) {
		d := pairingDaemon(t)
		p, text := redeeming(t, d)
		if len(plaintext) == 0 || len(plaintext) > maxSealed {
			return
		}
		_, paired, err := redeem(t, d, begun, resealed(t, p, text, plaintext))
		if err == nil {
			if got, _, err := parseRedeem(plaintext); err != nil || got != want {
				t.Fatalf("a forged redemption: got %+v accepted", got)
			}
			return
		}
		if !paired.PSK.IsZero() || paired.PeerID != "" {
			t.Fatalf("refused with %v: got a peer", err)
		}
		if _, _, err := redeem(t, d, begun, text); err != nil {
			t.Fatalf("the genuine redemption afterwards: %v", err)
		}
	})
}

// FuzzSealed feeds texts to the parsers of what lies under a seal.
func FuzzSealed(f *testing.F) {
	f.Add([]byte(`{"sessionId":"rs_1","epoch":1}`))
	const secret = "0123456789abcdef0123456789ABCDEF"
	public := publicPEM(signingKey(f, "d").Public())
	f.Add(encode(offerText{"offer", 1, 2, secret, testAnchor, "machine", public + "\n"}))
	f.Add(encode(redeemText{secret, testAnchor, public, "AAAA"}))
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := parseMetadata(text); err == nil && (!validID(m.SessionID) || m.Epoch == 0) {
			t.Fatalf("metadata: got %+v", m)
		}
		o, key, err := parseOffer(text)
		if err == nil && (len(key) != 32 || !validLine(o.OfferID) || !validLine(o.DaemonDeviceID) ||
			!validAnchor(o.TrustAnchor) || !isHex(o.RedeemSecret, secretSize) || o.CreatedAt < 1 || o.ExpiresAt < 1) {
			t.Fatalf("offer: got %+v", o)
		}
		r, key, err := parseRedeem(text)
		if err == nil && (publicPEM(key) != r.ClientPublicKey || !validLine(r.TrustAnchor) ||
			!isHex(r.RedeemSecret, secretSize)) {
			t.Fatalf("redemption: got %+v", r)
		}
	})
}
