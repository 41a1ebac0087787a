package identity

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// redacted is what a secret prints as.
const redacted = "[redacted]"

// KeySize is the length of a public key, a private key and a PSK in bytes.
const KeySize = 32

// Key is an X25519 public key: who a peer is. It is no secret.
type Key [KeySize]byte

var errKey = errors.New("a key is 32 bytes in base64url without padding: 43 characters")

// ParseKey reads what Key.String wrote, and nothing else.
func ParseKey(s string) (Key, error) {
	b, err := decode32(s)
	return Key(b), err
}

// String returns the key in base64url without padding.
func (k Key) String() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

// IsZero reports whether k is no key at all.
func (k Key) IsZero() bool { return k == Key{} }

// MarshalText returns String.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *Key) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKey(string(text))
	return err
}

// Fingerprint is the key as people compare it, on the phone or side by side: the first 16 bytes of its SHA-256 as 26
// characters of [a-z2-7].
func (k Key) Fingerprint() string {
	sum := sha256.Sum256(k[:])
	return fingerprintEncoding.EncodeToString(sum[:16])
}

var fingerprintEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Secret is a private key or a PSK. It prints as "[redacted]" wherever it is put: the bytes lie in a closure, because
// fmt can't call the methods of an unexported field and then prints what it finds there, behind a pointer too (with a
// verb that does not fit). The zero Secret is absent. Compare with Equal.
type Secret struct{ reveal func() [KeySize]byte }

// NewSecret returns a Secret that holds b.
func NewSecret(b [KeySize]byte) Secret { return Secret{func() [KeySize]byte { return b }} }

// Reveal returns the bytes, all zero if s is absent. What is done with them no longer is this package's to guard.
func (s Secret) Reveal() [KeySize]byte {
	if s.reveal == nil {
		return [KeySize]byte{}
	}
	return s.reveal()
}

// IsZero reports whether s is absent.
func (s Secret) IsZero() bool { return s.reveal == nil }

// Equal reports, in constant time, whether both hold the same bytes or both are absent.
func (s Secret) Equal(other Secret) bool {
	a, b := s.Reveal(), other.Reveal()
	return s.IsZero() == other.IsZero() && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Format writes "[redacted]" whatever the verb is.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns "[redacted]", for logs in JSON. There is no way back.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// encode returns the secret as it is written to disk, empty if it is absent.
func (s Secret) encode() string {
	if s.IsZero() {
		return ""
	}
	b := s.Reveal()
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// decodeSecret reads what encode wrote. Its error never says what it read.
func decodeSecret(s string) (Secret, error) {
	if s == "" {
		return Secret{}, nil
	}
	b, err := decode32(s)
	if err != nil {
		return Secret{}, err
	}
	return NewSecret(b), nil
}

// decode32 accepts the one canonical form: Go's decoder alone would skip line breaks.
func decode32(s string) (out [KeySize]byte, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != KeySize || base64.RawURLEncoding.EncodeToString(b) != s {
		return out, errKey
	}
	return [KeySize]byte(b), nil
}

// Profile is a Noise handshake; the numbers are those of viewport.relay.v1.Profile.
type Profile uint8

// Profiles.
const (
	// NoiseIK authenticates both by their static keys.
	NoiseIK Profile = 1
	// NoiseIKpsk2 also by a secret that both got at pairing.
	NoiseIKpsk2 Profile = 2
)

var errProfile = errors.New("a profile is noise-ik or noise-ikpsk2")

// ParseProfile reads "noise-ik" or "noise-ikpsk2".
func ParseProfile(s string) (Profile, error) {
	for _, p := range []Profile{NoiseIK, NoiseIKpsk2} {
		if s == p.String() {
			return p, nil
		}
	}
	return 0, errProfile
}

// String returns "noise-ik", "noise-ikpsk2" or, for what is neither, "profile N".
func (p Profile) String() string {
	switch p {
	case NoiseIK:
		return "noise-ik"
	case NoiseIKpsk2:
		return "noise-ikpsk2"
	}
	return fmt.Sprintf("profile %d", uint8(p))
}

func (p Profile) valid() bool { return p == NoiseIK || p == NoiseIKpsk2 }

// ValidName reports whether s can name a workspace or a target: 1 to 128 bytes of [A-Za-z0-9._:-].
func ValidName(s string) bool {
	if len(s) == 0 || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}
