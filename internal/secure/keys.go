package secure

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
)

// KeyPair is an X25519 key pair. However it is formatted, logged or marshalled, only the public half shows. Copies are
// the owner's to clear.
type KeyPair struct {
	Public, Private [KeySize]byte
}

// GenerateKeyPair makes a key pair from 32 bytes of random; nil stands for crypto/rand.
func GenerateKeyPair(random io.Reader) (KeyPair, error) {
	if random == nil {
		random = rand.Reader
	}
	var private [KeySize]byte
	if _, err := io.ReadFull(random, private[:]); err != nil {
		return KeyPair{}, fmt.Errorf("secure: reading randomness for a key: %w", err)
	}
	return KeyPairFromPrivate(private)
}

// KeyPairFromPrivate computes the public half. Any 32 bytes are a private key (RFC 7748, section 5 clamps them) except
// all zeros, which is a key that somebody forgot to set.
func KeyPairFromPrivate(private [KeySize]byte) (KeyPair, error) {
	if private == ([KeySize]byte{}) {
		return KeyPair{}, misuse("the private key is all zeros")
	}
	key, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		return KeyPair{}, misuse("the private key is not an X25519 key")
	}
	return KeyPair{Public: [KeySize]byte(key.PublicKey().Bytes()), Private: private}, nil
}

// String shows the public key.
func (k KeyPair) String() string {
	return "x25519:" + base64.RawURLEncoding.EncodeToString(k.Public[:])
}

// Format implements [fmt.Formatter]: every verb shows what String does.
func (k KeyPair) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// GoString implements [fmt.GoStringer]; it shows the public key.
func (k KeyPair) GoString() string { return k.String() }

// LogValue implements [slog.LogValuer]; it shows the public key.
func (k KeyPair) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText implements [encoding.TextMarshaler]; it shows the public key. Package identity has a form of its own for
// keys on disk.
func (k KeyPair) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// checkStatic refuses a peer's static key of low order, and one that is not in its canonical form. X25519 ignores the
// top bit and reduces modulo p = 2^255 − 19, so that one private key could otherwise show several public names, and a
// name is what peers are authorised, counted and revoked by.
func checkStatic(public []byte) error {
	if !canonical(public) {
		return ErrPublicKey
	}
	return checkOrder(public)
}

// checkOrder refuses the public keys for which every shared secret is all zeros (RFC 7748, section 6.1). flynn/noise
// refuses them as well, but in the middle of a message, which leaves its state spoilt: asking first lets a forged
// message be dropped as if it had never come. A clamped private key is a multiple of 8, so any one of them tells.
func checkOrder(public []byte) error {
	point, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return ErrPublicKey
	}
	scalar, err := ecdh.X25519().NewPrivateKey(make([]byte, KeySize))
	if err != nil {
		return ErrPublicKey
	}
	if _, err := scalar.ECDH(point); err != nil {
		return ErrPublicKey
	}
	return nil
}

// canonical says whether the little-endian number is below p = 2^255 − 19.
func canonical(public []byte) bool {
	if len(public) != KeySize || public[31] > 0x7f {
		return false
	}
	if public[31] < 0x7f || public[0] < 0xed {
		return true
	}
	for _, b := range public[1:31] {
		if b != 0xff {
			return true
		}
	}
	return false
}
