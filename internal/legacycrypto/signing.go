package legacycrypto

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"io"
	"slices"
	"strings"

	"github.com/getviewport/relay/internal/hidden"
)

// spkiPrefix is the SubjectPublicKeyInfo of every Ed25519 key up to the key itself (RFC 8410, section 4).
const spkiPrefix = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"

// SigningKey is an Ed25519 key of a client or a daemon, as pairing uses it. However it is formatted, logged or
// marshalled, nothing of it shows. The zero SigningKey is absent.
type SigningKey struct {
	hidden.Mark
	reveal func() ed25519.PrivateKey
}

// GenerateSigningKey makes a key from 32 bytes of random; nil stands for crypto/rand. It fails with ErrRandom.
func GenerateSigningKey(random io.Reader) (SigningKey, error) {
	var seed [ed25519.SeedSize]byte
	defer clear(seed[:])
	if err := read(random, seed[:]); err != nil {
		return SigningKey{}, err
	}
	return NewSigningKey(ed25519.NewKeyFromSeed(seed[:]))
}

// NewSigningKey takes a key that exists, which it copies. It fails with ErrKey if key has another length, or a public
// half that is not its own: with such a one, signing gives the private half away.
func NewSigningKey(key ed25519.PrivateKey) (SigningKey, error) {
	if len(key) != ed25519.PrivateKeySize {
		return SigningKey{}, because(ErrKey, "a signing key of %d bytes, want %d", len(key), ed25519.PrivateKeySize)
	}
	own := ed25519.NewKeyFromSeed(key.Seed())
	if !own.Equal(key) {
		return SigningKey{}, because(ErrKey, "the public half of the signing key is another's")
	}
	return SigningKey{reveal: func() ed25519.PrivateKey { return own }}, nil
}

// IsZero reports whether k is absent.
func (k SigningKey) IsZero() bool { return k.reveal == nil }

// Public returns the public half, which must not be changed; nil of an absent key.
func (k SigningKey) Public() ed25519.PublicKey {
	if k.IsZero() {
		return nil
	}
	return k.reveal().Public().(ed25519.PublicKey)
}

// Reveal returns a copy of the key, for who stores it; nil of an absent key.
func (k SigningKey) Reveal() ed25519.PrivateKey {
	if k.IsZero() {
		return nil
	}
	return slices.Clone(k.reveal())
}

func (k SigningKey) sign(lines ...string) string {
	return encodeBase64(ed25519.Sign(k.reveal(), []byte(joined(lines))))
}

// verify takes a signature in base64url; it has one form only.
func verify(key ed25519.PublicKey, signature string, lines ...string) bool {
	b, ok := decodeBase64([]byte(signature))
	return ok && len(b) == ed25519.SignatureSize && ed25519.Verify(key, []byte(joined(lines)), b)
}

func joined(lines []string) string { return strings.Join(lines, "\n") }

// publicPEM is the key as the signatures and PSKs of pairing have it: PEM without a line end behind it.
func publicPEM(key ed25519.PublicKey) string {
	block := pem.Block{Type: "PUBLIC KEY", Bytes: append([]byte(spkiPrefix), key...)}
	return strings.TrimSpace(string(pem.EncodeToMemory(&block)))
}

// parsePublicPEM takes exactly what publicPEM makes: a key has one text, for the text is what is signed and hashed.
func parsePublicPEM(text string) (ed25519.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || len(block.Bytes) != len(spkiPrefix)+ed25519.PublicKeySize {
		return nil, because(ErrKey, "not the PEM of an Ed25519 public key")
	}
	key := ed25519.PublicKey(block.Bytes[len(spkiPrefix):])
	if publicPEM(key) != text {
		return nil, because(ErrKey, "not the PEM of an Ed25519 public key in its usual form")
	}
	return key, nil
}

// PeerID is by what a daemon knows a paired client: the SHA-256 of its public key's PEM, in hex.
func PeerID(client ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(publicPEM(client)))
	return hex.EncodeToString(sum[:])
}
