package legacycrypto

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"io"

	"github.com/getviewport/relay/internal/hidden"
)

// KeySize is the length in bytes of private keys, PSKs and session keys; PublicKeySize that of public keys.
const (
	KeySize       = 32
	PublicKeySize = 65
)

// PublicKey is a P-256 point in SEC1's uncompressed form: 0x04, x, y. One that a function of this package returned is
// on the curve; the zero PublicKey is none.
type PublicKey [PublicKeySize]byte

// NewPublicKey takes 65 bytes and checks the point. It fails with ErrKey.
func NewPublicKey(b []byte) (PublicKey, error) {
	if len(b) != PublicKeySize {
		return PublicKey{}, because(ErrKey, "a public key of %d bytes, want %d", len(b), PublicKeySize)
	}
	k := PublicKey(b)
	if _, err := k.point(); err != nil {
		return PublicKey{}, err
	}
	return k, nil
}

// ParsePublicKey reads the base64url form without padding, as in a token's daemonPublicKey. It fails with ErrKey.
func ParsePublicKey(text string) (PublicKey, error) {
	b, ok := decodeBase64([]byte(text))
	if !ok {
		return PublicKey{}, because(ErrKey, "the public key is not base64url without padding")
	}
	return NewPublicKey(b)
}

// String returns the base64url form, 87 characters.
func (k PublicKey) String() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

// IsZero reports whether k is no key at all.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

func (k PublicKey) point() (*ecdh.PublicKey, error) {
	p, err := ecdh.P256().NewPublicKey(k[:])
	if err != nil {
		return nil, because(ErrKey, "not an uncompressed point of P-256")
	}
	return p, nil
}

// PrivateKey is a P-256 private key. However it is formatted, logged or marshalled, nothing of it shows. The zero
// PrivateKey is absent.
type PrivateKey struct {
	hidden.Mark
	reveal func() *ecdh.PrivateKey
}

// GeneratePrivateKey makes a key from random, 32 bytes as a rule; nil stands for crypto/rand. It fails with ErrRandom.
func GeneratePrivateKey(random io.Reader) (PrivateKey, error) {
	var b [KeySize]byte
	defer clear(b[:])
	// One in 2^32 is above the group's order. More than a few in a row are a broken source.
	for range 8 {
		if err := read(random, b[:]); err != nil {
			return PrivateKey{}, err
		}
		if k, err := NewPrivateKey(b[:]); err == nil {
			return k, nil
		}
	}
	return PrivateKey{}, because(ErrRandom, "the source yields no private key of P-256")
}

// NewPrivateKey takes the scalar, big-endian; one of which leading zeros were cut is padded. It fails with ErrKey.
func NewPrivateKey(scalar []byte) (PrivateKey, error) {
	if len(scalar) < 1 || len(scalar) > KeySize {
		return PrivateKey{}, because(ErrKey, "a private key of %d bytes, want 1 to %d", len(scalar), KeySize)
	}
	var padded [KeySize]byte
	defer clear(padded[:])
	copy(padded[KeySize-len(scalar):], scalar)
	k, err := ecdh.P256().NewPrivateKey(padded[:])
	if err != nil {
		return PrivateKey{}, because(ErrKey, "the private key is zero or not below the order of P-256")
	}
	return PrivateKey{reveal: func() *ecdh.PrivateKey { return k }}, nil
}

// ParsePrivateKey reads the base64url form without padding, as in a daemon's relay identity. It fails with ErrKey.
func ParsePrivateKey(text string) (PrivateKey, error) {
	b, ok := decodeBase64([]byte(text))
	defer clear(b)
	if !ok {
		return PrivateKey{}, because(ErrKey, "the private key is not base64url without padding")
	}
	return NewPrivateKey(b)
}

// IsZero reports whether k is absent.
func (k PrivateKey) IsZero() bool { return k.reveal == nil }

// Public returns the public half; of an absent key it is the zero PublicKey.
func (k PrivateKey) Public() PublicKey {
	if k.IsZero() {
		return PublicKey{}
	}
	return PublicKey(k.reveal().PublicKey().Bytes())
}

// Reveal returns the scalar, 32 bytes, for who stores the key; nil of an absent key.
func (k PrivateKey) Reveal() []byte {
	if k.IsZero() {
		return nil
	}
	return k.reveal().Bytes()
}

// shared is ECDH: the x-coordinate, 32 bytes.
func (k PrivateKey) shared(peer PublicKey) ([]byte, error) {
	p, err := peer.point()
	if err != nil {
		return nil, err
	}
	x, err := k.reveal().ECDH(p)
	if err != nil {
		return nil, because(ErrKey, "the keys can't be combined")
	}
	return x, nil
}

// PSK is the 32 bytes that both ends derived when they paired. However it is formatted, logged or marshalled, nothing
// of it shows. The zero PSK is absent.
type PSK struct {
	hidden.Mark
	reveal func() [KeySize]byte
}

// NewPSK takes exactly 32 bytes that are not all zeros. It fails with ErrKey.
func NewPSK(b []byte) (PSK, error) {
	if len(b) != KeySize {
		return PSK{}, because(ErrKey, "a PSK of %d bytes, want %d", len(b), KeySize)
	}
	k := [KeySize]byte(b)
	if k == ([KeySize]byte{}) {
		return PSK{}, because(ErrKey, "a PSK of zeros only, which is one that somebody forgot to set")
	}
	return PSK{reveal: func() [KeySize]byte { return k }}, nil
}

// IsZero reports whether the PSK is absent.
func (p PSK) IsZero() bool { return p.reveal == nil }

// Reveal returns the 32 bytes, for who stores them; nil of an absent PSK.
func (p PSK) Reveal() []byte {
	if p.IsZero() {
		return nil
	}
	k := p.reveal()
	return k[:]
}

// read fills b from random; nil stands for crypto/rand.
func read(random io.Reader, b []byte) error {
	if random == nil {
		random = rand.Reader
	}
	if _, err := io.ReadFull(random, b); err != nil {
		return because(ErrRandom, "%v", err)
	}
	return nil
}
