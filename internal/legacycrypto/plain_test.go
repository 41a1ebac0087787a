package legacycrypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// plain is a peer that was written from the description of the wire alone, with nothing of this package: the other
// end in a checkout without the public vectors.
type plain struct {
	t        testing.TB
	ck, h, k []byte
}

func plainMAC(key []byte, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

func plainGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func (p *plain) mixHash(x []byte) {
	sum := sha256.Sum256([]byte(string(p.h) + string(x)))
	p.h = sum[:]
}

func (p *plain) mixKey(x []byte) {
	temp := plainMAC(p.ck, x)
	p.ck = plainMAC(temp, []byte{1})
	p.k = plainMAC(temp, p.ck, []byte{2})
}

func (p *plain) mixPSK(psk []byte) {
	temp := plainMAC(p.ck, psk)
	p.ck = plainMAC(temp, []byte{1})
	th := plainMAC(temp, p.ck, []byte{2})
	p.k = plainMAC(temp, th, []byte{3})
	p.mixHash(th)
}

func (p *plain) seal(text []byte) []byte {
	c := plainGCM(p.k).Seal(nil, make([]byte, 12), text, p.h)
	p.mixHash(c)
	return c
}

func (p *plain) open(c []byte) []byte {
	text, err := plainGCM(p.k).Open(nil, make([]byte, 12), c, p.h)
	if err != nil {
		p.t.Fatal("the other implementation can't open what ours sealed")
	}
	p.mixHash(c)
	return text
}

func (p *plain) start(profile string, daemon []byte) {
	name := map[string]string{
		"noise-ik": "Noise_IK_P256_AESGCM_SHA256", "noise-ikpsk2": "Noise_IKpsk2_P256_AESGCM_SHA256",
	}[profile]
	p.h = []byte(name + strings.Repeat("\x00", 32-len(name)))
	p.ck = p.h
	p.mixHash([]byte("viewport-relay-noise-v3"))
	p.mixHash(daemon)
}

func (p *plain) sessionKey(profile, session string, epoch int) []byte {
	temp := plainMAC(p.ck)
	k1 := plainMAC(temp, []byte{1})
	k2 := plainMAC(temp, k1, []byte{2})
	info := fmt.Sprintf("viewport-relay-session-v3|%s|%s|%d", profile, session, epoch)
	key, err := hkdf.Key(sha256.New, append(k1, k2...), p.h, info, 32)
	if err != nil {
		p.t.Fatal(err)
	}
	return key
}

func plainKey(t testing.TB, fill byte) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.P256().NewPrivateKey([]byte(strings.Repeat(string(rune(fill)), 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func plainDH(t testing.TB, k *ecdh.PrivateKey, public []byte) []byte {
	t.Helper()
	p, err := ecdh.P256().NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	x, err := k.ECDH(p)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// plainFields reads a frame the way JavaScript does.
func plainFields(t testing.TB, text []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func unb64(t testing.TB, v any) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(v.(string))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// plainEnvelope opens one with the session's key.
func plainEnvelope(t testing.TB, key []byte, text []byte) string {
	t.Helper()
	f := plainFields(t, text)
	data := fmt.Sprintf("viewport-relay-envelope-v2|%s|%s|%v|%v", f["profile"], f["sessionId"], f["epoch"], f["seq"])
	sealed := append(unb64(t, f["ciphertext"]), unb64(t, f["tag"])...)
	got, err := plainGCM(key).Open(nil, unb64(t, f["iv"]), sealed, []byte(data))
	if err != nil {
		t.Fatalf("the other implementation can't open %s", text)
	}
	return string(got)
}

func plainSealed(key []byte, profile, session string, epoch, seq int, text string) []byte {
	iv := []byte("twelve bytes")
	data := fmt.Sprintf("viewport-relay-envelope-v2|%s|%s|%d|%d", profile, session, epoch, seq)
	c := plainGCM(key).Seal(nil, iv, []byte(text), []byte(data))
	return fmt.Appendf(nil, `{"type":"e2ee","version":2,"profile":%q,"sessionId":%q,"epoch":%d,"seq":%d,`+
		`"iv":%q,"tag":%q,"ciphertext":%q}`,
		profile, session, epoch, seq, b64(iv), b64(c[len(c)-16:]), b64(c[:len(c)-16]))
}

func TestOurDaemonServesAClientWrittenByAStranger(t *testing.T) {
	for _, profile := range profiles {
		t.Run(string(profile), func(t *testing.T) {
			_, d := configs(t, profile)
			static := d.Static.Public()
			c, e := plainKey(t, 'c'), plainKey(t, 'e')
			p := &plain{t: t}
			p.start(string(profile), static[:])
			p.mixHash(e.PublicKey().Bytes())
			p.mixKey(plainDH(t, e, static[:]))
			sealed := p.seal(c.PublicKey().Bytes())
			p.mixKey(plainDH(t, c, static[:]))
			init := map[string]any{
				"type": "relay_key_exchange_init", "version": 3, "profile": profile, "requestId": "a browser's <1>",
				"clientEphemeralPublicKey": b64(e.PublicKey().Bytes()), "encryptedClientStatic": b64(sealed),
			}
			if profile == NoiseIKpsk2 {
				init["pairingPeerId"] = testPeerID
			}
			text, err := json.Marshal(init)
			if err != nil {
				t.Fatal(err)
			}
			response, daemon := answer(t, d, text, nil)

			f := plainFields(t, response)
			p.mixHash(unb64(t, f["daemonEphemeralPublicKey"]))
			p.mixKey(plainDH(t, e, unb64(t, f["daemonEphemeralPublicKey"])))
			p.mixKey(plainDH(t, c, unb64(t, f["daemonEphemeralPublicKey"])))
			if profile == NoiseIKpsk2 {
				p.mixPSK(testPSK(t).Reveal())
			}
			want := fmt.Sprintf(`{"sessionId":%q,"epoch":1}`, f["sessionId"])
			if got := p.open(unb64(t, f["encryptedMetadata"])); string(got) != want {
				t.Errorf("metadata: got %s, want %s", got, want)
			}
			if got := f["proof"]; got != b64(p.h) || f["requestId"] != "a browser's <1>" {
				t.Errorf("response: got proof %v and request %v", got, f["requestId"])
			}
			key := p.sessionKey(string(profile), f["sessionId"].(string), 1)
			opens(t, daemon, plainSealed(key, string(profile), f["sessionId"].(string), 1, 1, "up"), "up")
			if got := plainEnvelope(t, key, seal(t, daemon, "dówn")); got != "dówn" {
				t.Errorf("envelope: got %q", got)
			}
		})
	}
}

func TestOurClientTalksToADaemonWrittenByAStranger(t *testing.T) {
	for _, profile := range profiles {
		t.Run(string(profile), func(t *testing.T) {
			s, d := plainKey(t, 's'), plainKey(t, 'd')
			c, _ := configs(t, profile)
			c.Daemon = PublicKey(s.PublicKey().Bytes())
			h, init := begin(t, c)

			f := plainFields(t, init)
			e := unb64(t, f["clientEphemeralPublicKey"])
			p := &plain{t: t}
			p.start(string(profile), s.PublicKey().Bytes())
			p.mixHash(e)
			p.mixKey(plainDH(t, s, e))
			static := p.open(unb64(t, f["encryptedClientStatic"]))
			p.mixKey(plainDH(t, s, static))
			p.mixHash(d.PublicKey().Bytes())
			p.mixKey(plainDH(t, d, e))
			p.mixKey(plainDH(t, d, static))
			if profile == NoiseIKpsk2 {
				p.mixPSK(testPSK(t).Reveal())
			}
			sealed := p.seal([]byte(`{"sessionId":"rs_0123456789abcdef01234567","epoch":1}`))
			text := fmt.Appendf(nil, `{"type":"relay_key_exchange_response","version":3,"profile":%q,"requestId":%q,`+
				`"daemonPublicKey":"","daemonEphemeralPublicKey":%q,"encryptedMetadata":%q,`+
				`"sessionId":"rs_0123456789abcdef01234567","epoch":1,"proof":%q}`,
				profile, f["requestId"], b64(d.PublicKey().Bytes()), b64(sealed), b64(p.h))
			client, err := h.Finish(parse[*Response](t, text))
			if err != nil {
				t.Fatal(err)
			}
			key := p.sessionKey(string(profile), "rs_0123456789abcdef01234567", 1)
			opens(t, client, plainSealed(key, string(profile), client.ID(), 1, 1, "down"), "down")
			if got := plainEnvelope(t, key, seal(t, client, "up")); got != "up" {
				t.Errorf("envelope: got %q", got)
			}
		})
	}
}
