package legacycrypto

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/getviewport/relay/internal/reason"
)

func TestHandshakeFramesHaveTheOrderAndFormOfTodays(t *testing.T) {
	c, d := configs(t, NoiseIKpsk2)
	c.Previous, _ = asked(t, NoiseIKpsk2)
	c.Random = source("again")
	h, init := begin(t, c)
	f := fieldsOf(t, init)
	want := fmt.Sprintf(`{"type":"relay_key_exchange_init","version":3,"profile":"noise-ikpsk2","requestId":%q,`+
		`"clientEphemeralPublicKey":%q,"encryptedClientStatic":%q,"pairingPeerId":%q,"previousSessionId":%q}`,
		h.RequestID(), f["clientEphemeralPublicKey"], f["encryptedClientStatic"], testPeerID, c.Previous.ID())
	if string(init) != want {
		t.Errorf("init: got %s, want %s", init, want)
	}
	if id := h.RequestID(); len(id) != len("kex-")+16 || !strings.HasPrefix(id, "kex-") {
		t.Errorf("request id: got %s, want kex- and 16 characters of hex", id)
	}
	_, init = begin(t, func() ClientConfig { c, _ := configs(t, NoiseIK); return c }())
	if bytes.Contains(init, []byte("Id\":\"\"")) || strings.Count(string(init), ":") != 6 {
		t.Errorf("an init with nothing to choose: got %s, want no empty fields", init)
	}

	response, _ := answer(t, d, init, nil)
	f = fieldsOf(t, response)
	want = fmt.Sprintf(`{"type":"relay_key_exchange_response","version":3,"profile":"noise-ik","requestId":%q,`+
		`"daemonPublicKey":%q,"daemonEphemeralPublicKey":%q,"encryptedMetadata":%q,"sessionId":%q,"epoch":1,"proof":%q}`,
		f["requestId"], d.Static.Public(), f["daemonEphemeralPublicKey"], f["encryptedMetadata"], f["sessionId"],
		f["proof"])
	if string(response) != want {
		t.Errorf("response: got %s, want %s", response, want)
	}
}

func TestARequestIdComesBackAsItCame(t *testing.T) {
	for _, id := range []string{"kex-1", `<&>"\`, " spaced ", "日本\u2028語", strings.Repeat("x", maxID)} {
		c, d := configs(t, NoiseIK)
		h, err := NewClientHandshake(c)
		if err != nil {
			t.Fatal(err)
		}
		h.requestID = id
		init, err := h.Init()
		if err != nil {
			t.Fatal(err)
		}
		response, _ := answer(t, d, init, nil)
		if _, err := tryResponse(h, response); err != nil {
			t.Errorf("%q: got %v", id, err)
		}
		if strings.Contains(id, "<") && !bytes.Contains(response, []byte("<&>")) {
			t.Errorf("%q: got %s, want <, > and & as JavaScript writes them", id, response)
		}
	}
}

func TestAFrameIsReadAsJavaScriptReadsIt(t *testing.T) {
	client, daemon := sessions(t, NoiseIK)
	frame := string(seal(t, client, "one"))
	// Unknown fields do no harm, of duplicates the last counts, names are exact, and an escape is its character.
	text := strings.Replace(frame, `{"type"`,
		"\n"+`{"seq":77,"SEQ":5,"Type":"relay_status","later":{"type":[1]},"\u0074ype"`, 1)
	text = strings.Replace(text, `"e2ee"`, `"\u00652ee"`, 1)
	if iv := fieldsOf(t, []byte(frame))["iv"].(string); iv != "" {
		text = strings.Replace(text, iv, fmt.Sprintf(`\u%04x`, iv[0])+iv[1:], 1)
	}
	opens(t, daemon, []byte(text), "one")

	frame = string(seal(t, client, "two"))
	for name, text := range map[string]string{
		"an array":            "[" + frame + "]",
		"a scalar":            `"e2ee"`,
		"null":                "null",
		"nothing":             "",
		"two objects":         frame + frame,
		"a comment":           "/**/" + frame,
		"a byte order mark":   "\ufeff" + frame,
		"another case":        strings.Replace(frame, `"seq"`, `"Seq"`, 1),
		"a point":             strings.Replace(frame, `"seq":2`, `"seq":2.0`, 1),
		"an exponent":         strings.Replace(frame, `"seq":2`, `"seq":2e0`, 1),
		"null for a string":   strings.Replace(frame, `"noise-ik"`, `null`, 1),
		"a line break":        strings.Replace(frame, `"iv":"`, `"iv":"\n`, 1),
		"padding":             strings.Replace(frame, `","ciphertext"`, `==","ciphertext"`, 1),
		"another last value":  strings.Replace(frame, `"}`, `","ciphertext":""}`, 1),
		"the other alphabet":  strings.Replace(frame, `"iv":"`, `"iv":"++++","x":"`, 1),
		"no type":             strings.Replace(frame, `"type"`, `"kind"`, 1),
		"spare bits of a tag": setTag(t, frame),
	} {
		if _, err := Parse([]byte(text)); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: got %v, want it malformed", name, err)
		}
	}
	if _, err := Parse([]byte("null")); !strings.Contains(err.Error(), "not a JSON object") {
		t.Errorf("null: got %v, want it to say what it is not", err)
	}
	opens(t, daemon, []byte(frame), "two")
}

// setTag is the frame with a bit set that base64url of 16 bytes has no use for.
func setTag(t testing.TB, frame string) string {
	tag := fieldsOf(t, []byte(frame))["tag"].(string)
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, tag[len(tag)-1])
	return strings.Replace(frame, tag, tag[:len(tag)-1]+string(alphabet[last|1]), 1)
}

func TestAFrameThatIsTooLongIsNotReadAtAll(t *testing.T) {
	_, err := Parse(bytes.Repeat([]byte("x"), MaxFrame+1))
	wants(t, "longer than any", err, ErrFrameTooLarge)
	c, _ := configs(t, NoiseIK)
	_, init := begin(t, c)
	_, err = Parse(set(t, init, "later", strings.Repeat("x", maxControl)))
	wants(t, "an init with too much in it", err, ErrFrameTooLarge)
	if _, err = Parse(set(t, init, "later", strings.Repeat("x", maxControl/2))); err != nil {
		t.Errorf("an init with much in it: got %v", err)
	}
}

func TestAFrameOfSomebodyElseIsToldFromABrokenOne(t *testing.T) {
	for _, text := range []string{
		`{"type":"relay_status","code":"DAEMON_UNAVAILABLE"}`, `{"type":"viewport.session_events.subscribe/v1"}`,
		`{"type":""}`,
	} {
		_, err := Parse([]byte(text))
		wants(t, text, err, ErrOtherType)
	}
	_, err := Parse([]byte(`{"type":"relay_key_exchange_init","version":2,"profile":"noise-ik","requestId":"1"}`))
	wants(t, "key exchange v2", err, ErrVersion)
}

func TestEveryErrorHasACodeOfTheTable(t *testing.T) {
	for _, err := range []error{
		ErrMisuse, ErrRandom, ErrKey, ErrFrame, ErrFrameTooLarge, ErrOtherType, ErrVersion, ErrProfileTooWeak, ErrRequest,
		ErrHandshake, ErrProof, ErrMetadata, ErrPSK, ErrPrevious, ErrSession, ErrProfile, ErrEpoch, ErrReplay, ErrDecrypt,
		ErrReflected, ErrPlaintext, ErrTooLong, ErrExhausted, ErrRekeying, ErrEnded, ErrPairing, ErrOffer, ErrOfferLocked,
		ErrTrustAnchor, ErrClientProof, ErrSecret, ErrServerSignature, ErrOtherPairing, ErrRefused,
	} {
		r := reason.Of(because(err, "more"))
		if _, known := reason.Lookup(r.Code); !known || r.Text == "" {
			t.Errorf("%v: got reason %s", err, r.Code)
		}
	}
	wants(t, "the reason of a weak profile", ErrProfileTooWeak, &reason.Error{Code: reason.ProfileTooWeak})
}

func TestAPrivateKeyIsReadAsTodaysDaemonsStoreIt(t *testing.T) {
	// Leading zeros may be cut.
	short, err := NewPrivateKey([]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	long, err := ParsePrivateKey(encodeBase64(append(make([]byte, 31), 7)))
	if err != nil {
		t.Fatal(err)
	}
	if short.Public() != long.Public() || !bytes.Equal(short.Reveal(), long.Reveal()) || len(short.Reveal()) != KeySize {
		t.Error("a key with zeros in front: got another key without them")
	}
	parsed, err := ParsePublicKey(short.Public().String())
	if err != nil || parsed != short.Public() || parsed.IsZero() {
		t.Errorf("a public key's text: got %v, %v", parsed, err)
	}
	order := elliptic.P256().Params().N.Bytes()
	for name, b := range map[string][]byte{
		"none": nil, "zero": make([]byte, 32), "the order": order, "too long": make([]byte, 33),
	} {
		_, err := NewPrivateKey(b)
		wants(t, name, err, ErrKey)
	}
	for _, text := range []string{"Bw==", "B w", "Bw\n", "B"} {
		_, err := ParsePrivateKey(text)
		wants(t, text, err, ErrKey)
		_, err = ParsePublicKey(text)
		wants(t, text, err, ErrKey)
	}
	for _, b := range [][]byte{nil, make([]byte, 31), make([]byte, 32), make([]byte, 33)} {
		_, err := NewPSK(b)
		wants(t, fmt.Sprint("a PSK of zeros, ", len(b)), err, ErrKey)
	}
	_, err = GeneratePrivateKey(bytes.NewReader(bytes.Repeat([]byte{0xff}, 1024)))
	wants(t, "a source that yields no key", err, ErrRandom)
	_, err = GeneratePrivateKey(strings.NewReader("short"))
	wants(t, "a source that ends", err, ErrRandom)
	var none PrivateKey
	if none.Reveal() != nil || !none.Public().IsZero() || (PSK{}).Reveal() != nil {
		t.Error("an absent key: got one")
	}
	a, err := GeneratePrivateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := GeneratePrivateKey(nil); err != nil || a.Public() == b.Public() {
		t.Errorf("two keys of crypto/rand: got the same, %v", err)
	}
}
