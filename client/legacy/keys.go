package legacy

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/legacycrypto"
)

// Identity is a daemon's static key of one workspace, as today's daemons keep it in
// ~/.viewport/relay-identities/<workspace>.json. It prints without its private key. It is of another kind than those of
// package identity, and neither can take the other's place.
type Identity struct {
	// DeviceID is a name that the daemon gave its machine. It goes nowhere.
	DeviceID string
	// CreatedAt is when the key was drawn.
	CreatedAt time.Time
	// Private is the scalar on P-256, 32 bytes, big-endian.
	Private identity.Secret
}

type identityFile struct {
	DeviceID   string `json:"deviceId"`
	CreatedAt  int64  `json:"createdAt"` // Unix time in milliseconds
	Algorithm  string `json:"algorithm"`
	PublicKey  string `json:"publicKey"`
	PrivateKey string `json:"privateKey"`
}

var errIdentity = errors.New("legacy: this is no identity of a daemon: it needs algorithm p256, and a privateKey on " +
	"P-256 whose publicKey is the one beside it")

// NewIdentity draws a key. deviceID may be empty.
func NewIdentity(deviceID string) (Identity, error) {
	k, err := legacycrypto.GeneratePrivateKey(nil)
	if err != nil {
		return Identity{}, err
	}
	return Identity{
		DeviceID: deviceID, CreatedAt: time.Now().UTC().Truncate(time.Millisecond),
		Private: identity.NewSecret([identity.KeySize]byte(k.Reveal())),
	}, nil
}

// ParseIdentity reads the text of an identity file, today's daemons' or AppendFile's. Where those daemons silently
// draw a new key, because the file is damaged or its halves are not of one pair, it fails. The error repeats nothing
// of text.
func ParseIdentity(text []byte) (Identity, error) {
	var f identityFile
	if err := json.Unmarshal(text, &f); err != nil || f.Algorithm != "p256" {
		return Identity{}, errIdentity
	}
	k, err := legacycrypto.ParsePrivateKey(f.PrivateKey)
	if err != nil || k.Public().String() != f.PublicKey {
		return Identity{}, errIdentity
	}
	return Identity{
		DeviceID: f.DeviceID, CreatedAt: time.UnixMilli(f.CreatedAt).UTC(),
		Private: identity.NewSecret([identity.KeySize]byte(k.Reveal())),
	}, nil
}

// AppendFile appends the text of an identity file to dst: the private key in the clear. Whoever stores it does so where
// nobody else can read (mode 0600).
func (id Identity) AppendFile(dst []byte) ([]byte, error) {
	k, err := id.key()
	if err != nil {
		return dst, err
	}
	text, err := json.MarshalIndent(identityFile{
		id.DeviceID, id.CreatedAt.UnixMilli(), "p256", k.Public().String(), base64.RawURLEncoding.EncodeToString(k.Reveal()),
	}, "", "  ")
	if err != nil {
		return dst, err
	}
	return append(append(dst, text...), '\n'), nil
}

// Public is the public half, in the form in which clients get it (daemonPublicKey); empty if id has no key.
func (id Identity) Public() string {
	k, err := id.key()
	if err != nil {
		return ""
	}
	return k.Public().String()
}

func (id Identity) key() (legacycrypto.PrivateKey, error) {
	if id.Private.IsZero() {
		return legacycrypto.PrivateKey{}, errors.New("legacy: the Identity has no key; NewIdentity draws one")
	}
	b := id.Private.Reveal()
	defer clear(b[:])
	return legacycrypto.NewPrivateKey(b[:])
}

// NewSigningKey draws an Ed25519 key for pairing: its seed, as ed25519.PrivateKey.Seed returns it.
func NewSigningKey() (identity.Secret, error) {
	k, err := legacycrypto.GenerateSigningKey(nil)
	if err != nil {
		return identity.Secret{}, err
	}
	return identity.NewSecret([identity.KeySize]byte(k.Reveal().Seed())), nil
}

func signingKeyOf(seed identity.Secret) (legacycrypto.SigningKey, error) {
	if seed.IsZero() {
		return legacycrypto.SigningKey{}, errors.New("legacy: there is no signing key; NewSigningKey draws one")
	}
	b := seed.Reveal()
	defer clear(b[:])
	return legacycrypto.NewSigningKey(ed25519.NewKeyFromSeed(b[:]))
}
