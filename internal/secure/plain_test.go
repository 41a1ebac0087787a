package secure

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

// plainHandshake is Noise IK and IKpsk2 written a second time from the Noise specification, with the standard library
// only: what docs/vectors says is checked against it as well as against flynn/noise. It checks nothing it reads.
type plainHandshake struct {
	t         *testing.T
	h, ck, k  []byte
	n         uint64
	initiator bool

	s, e             *ecdh.PrivateKey // own
	rs, re           *ecdh.PublicKey  // the peer's
	psk              []byte           // nil: IK
	sendKey, readKey []byte
}

func newPlainHandshake(t *testing.T, initiator bool, prologue, s, e, rs, psk []byte) *plainHandshake {
	t.Helper()
	p := &plainHandshake{t: t, initiator: initiator, psk: psk, s: plainPrivate(t, s), e: plainPrivate(t, e)}
	name := "Noise_IK_25519_AESGCM_SHA256" // shorter than a hash: padded with zeros
	if psk != nil {
		name = "Noise_IKpsk2_25519_AESGCM_SHA256"
	}
	p.h = append([]byte(name), make([]byte, 32-len(name))...)
	p.ck = append([]byte(nil), p.h...)
	p.mixHash(prologue)
	responder := p.s.PublicKey()
	if initiator {
		p.rs = plainPublic(t, rs)
		responder = p.rs
	}
	p.mixHash(responder.Bytes())
	return p
}

func (p *plainHandshake) message1(payload []byte) []byte {
	m := append([]byte(nil), p.writeE()...)
	p.mixDH(p.e, p.rs)
	m = append(m, p.seal(p.s.PublicKey().Bytes())...)
	p.mixDH(p.s, p.rs)
	return append(m, p.seal(payload)...)
}

func (p *plainHandshake) readMessage1(m []byte) []byte {
	p.readE(m[:32])
	p.mixDH(p.s, p.re)
	p.rs = plainPublic(p.t, p.open(m[32:80]))
	p.mixDH(p.s, p.rs)
	return p.open(m[80:])
}

func (p *plainHandshake) message2(payload []byte) []byte {
	m := append([]byte(nil), p.writeE()...)
	p.mixDH(p.e, p.re)
	p.mixDH(p.e, p.rs)
	p.mixPSK()
	m = append(m, p.seal(payload)...)
	p.split()
	return m
}

func (p *plainHandshake) readMessage2(m []byte) []byte {
	p.readE(m[:32])
	p.mixDH(p.e, p.re)
	p.mixDH(p.s, p.re)
	p.mixPSK()
	payload := p.open(m[32:])
	p.split()
	return payload
}

func (p *plainHandshake) writeE() []byte {
	e := p.e.PublicKey().Bytes()
	p.mixHash(e)
	if p.psk != nil {
		p.mixKey(e)
	}
	return e
}

func (p *plainHandshake) readE(e []byte) {
	p.re = plainPublic(p.t, e)
	p.mixHash(e)
	if p.psk != nil {
		p.mixKey(e)
	}
}

func (p *plainHandshake) mixHash(data []byte) {
	sum := sha256.Sum256(append(append([]byte(nil), p.h...), data...))
	p.h = sum[:]
}

func (p *plainHandshake) mixDH(private *ecdh.PrivateKey, public *ecdh.PublicKey) {
	shared, err := private.ECDH(public)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mixKey(shared)
}

func (p *plainHandshake) mixKey(material []byte) {
	out := plainHKDF(p.t, p.ck, material, 2)
	p.ck, p.k, p.n = out[0], out[1], 0
}

func (p *plainHandshake) mixPSK() {
	if p.psk == nil {
		return
	}
	out := plainHKDF(p.t, p.ck, p.psk, 3)
	p.ck = out[0]
	p.mixHash(out[1])
	p.k, p.n = out[2], 0
}

func (p *plainHandshake) seal(plaintext []byte) []byte {
	c := plainGCM(p.t, p.k).Seal(nil, plainNonce(p.n), plaintext, p.h)
	p.mixHash(c)
	p.n++
	return c
}

func (p *plainHandshake) open(ciphertext []byte) []byte {
	plaintext, err := plainGCM(p.t, p.k).Open(nil, plainNonce(p.n), ciphertext, p.h)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mixHash(ciphertext)
	p.n++
	return plaintext
}

func (p *plainHandshake) split() {
	out := plainHKDF(p.t, p.ck, nil, 2)
	p.sendKey, p.readKey = out[0], out[1]
	if !p.initiator {
		p.sendKey, p.readKey = p.readKey, p.sendKey
	}
}

// plainHKDF is Noise's HKDF, which is RFC 5869 with empty info.
func plainHKDF(t *testing.T, ck, material []byte, outputs int) [][]byte {
	t.Helper()
	b, err := hkdf.Key(sha256.New, material, ck, "", 32*outputs)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for ; len(b) > 0; b = b[32:] {
		out = append(out, b[:32:32])
	}
	return out
}

func plainGCM(t *testing.T, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return gcm
}

func plainNonce(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 4), n) }

func plainPrivate(t *testing.T, b []byte) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func plainPublic(t *testing.T, b []byte) *ecdh.PublicKey {
	t.Helper()
	k, err := ecdh.X25519().NewPublicKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
