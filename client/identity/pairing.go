package identity

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// PairingIDSize is the length of a pairing id in bytes: the payload of a pairing client's HANDSHAKE_INIT.
const PairingIDSize = 8

const (
	pairingPrefix = "vp1."
	// maxPairing is the longest string: both names of 128 bytes, and a PSK.
	maxPairing = len(pairingPrefix) + (3+128+128+KeySize+PairingIDSize+KeySize)*8/6 + 1
)

var errPairing = errors.New("this is no pairing string: one starts with vp1. and must be copied whole, without spaces")

// Pairing is what a pairing string says: which daemon to reach, its key, and the proof that it was read. It goes from
// the daemon's machine to the client by hand, never through the relay. Only Encode shows it; it prints without its
// secrets.
type Pairing struct {
	// Profile is the handshake that both ends pin.
	Profile Profile
	// Workspace and Target name the daemon.
	Workspace, Target string
	// Daemon is the daemon's public key.
	Daemon Key

	id  func() [PairingIDSize]byte // a closure for the reason given at Secret; nil only in the zero Pairing
	psk Secret                     // absent for NoiseIK
}

// newPairing draws a pairing id and, for NoiseIKpsk2, a PSK.
func newPairing(profile Profile, workspace, target string, daemon Key, random io.Reader) (Pairing, error) {
	var drawn [PairingIDSize + KeySize]byte
	if _, err := io.ReadFull(random, drawn[:]); err != nil {
		return Pairing{}, fmt.Errorf("identity: no randomness for a pairing: %w", err)
	}
	p := Pairing{Profile: profile, Workspace: workspace, Target: target, Daemon: daemon}
	p.hide(drawn[:])
	return p, p.check()
}

// hide takes the id and, for NoiseIKpsk2, the PSK from b.
func (p *Pairing) hide(b []byte) {
	id := [PairingIDSize]byte(b)
	p.id = func() [PairingIDSize]byte { return id }
	if p.Profile == NoiseIKpsk2 {
		p.psk = NewSecret([KeySize]byte(b[PairingIDSize:]))
	}
}

// ID returns the pairing id, by which the daemon finds the pairing. With NoiseIK it alone proves that the string was
// read, so it is a secret like a PSK.
func (p Pairing) ID() [PairingIDSize]byte {
	if p.id == nil {
		return [PairingIDSize]byte{}
	}
	return p.id()
}

// PSK returns the pre-shared key, absent for NoiseIK.
func (p Pairing) PSK() Secret { return p.psk }

// Peer is what a client pins once the daemon has answered. The caller adds Label and PairedAt.
func (p Pairing) Peer() Peer {
	return Peer{Key: p.Daemon, Target: p.Target, Profile: p.Profile, PSK: p.psk}
}

// Format writes everything but the id and the PSK, whatever the verb is.
func (p Pairing) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "pairing with %s of %s (%s, %s)", p.Target, p.Workspace, p.Daemon.Fingerprint(), p.Profile)
}

// String returns what Format writes.
func (p Pairing) String() string { return fmt.Sprint(p) }

// MarshalText returns what Format writes, for logs in JSON. There is no way back.
func (p Pairing) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p Pairing) check() error {
	switch {
	case !p.Profile.valid():
		return fmt.Errorf("identity: pairing: %w", errProfile)
	case !ValidName(p.Workspace), !ValidName(p.Target):
		return errors.New("identity: pairing: workspace and target are 1 to 128 bytes of [A-Za-z0-9._:-]")
	case p.Daemon.IsZero():
		return errors.New("identity: pairing: no daemon key")
	case p.id == nil || p.psk.IsZero() != (p.Profile == NoiseIK):
		return errors.New("identity: pairing: noise-ikpsk2 has a PSK, noise-ik has none")
	}
	return nil
}

// Encode returns the pairing string, at most 446 characters: "vp1." and base64url of u8 profile, u8 length and
// workspace, u8 length and target, 32 bytes of key, 8 of pairing id and, for NoiseIKpsk2, 32 of PSK. Whoever reads it
// may pair.
func (p Pairing) Encode() (string, error) {
	if err := p.check(); err != nil {
		return "", err
	}
	b := make([]byte, 0, maxPairing)
	b = append(b, byte(p.Profile), byte(len(p.Workspace)))
	b = append(b, p.Workspace...)
	b = append(b, byte(len(p.Target)))
	b = append(b, p.Target...)
	b = append(b, p.Daemon[:]...)
	id := p.id()
	b = append(b, id[:]...)
	if p.Profile == NoiseIKpsk2 {
		psk := p.psk.Reveal()
		b = append(b, psk[:]...)
	}
	return pairingPrefix + base64.RawURLEncoding.EncodeToString(b), nil
}

// ParsePairing reads what Encode wrote, and nothing else: two different strings are never the same pairing. A caller
// that takes pasted text trims the space around it first. The error never repeats the string.
func ParsePairing(s string) (Pairing, error) {
	body, ok := strings.CutPrefix(s, pairingPrefix)
	if !ok || len(s) > maxPairing {
		return Pairing{}, errPairing
	}
	b, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil || len(b) == 0 {
		return Pairing{}, errPairing
	}
	p := Pairing{Profile: Profile(b[0])}
	rest := b[1:]
	if p.Workspace, rest, ok = cutName(rest); !ok {
		return Pairing{}, errPairing
	}
	if p.Target, rest, ok = cutName(rest); !ok {
		return Pairing{}, errPairing
	}
	want := KeySize + PairingIDSize
	if p.Profile == NoiseIKpsk2 {
		want += KeySize
	}
	if len(rest) != want {
		return Pairing{}, errPairing
	}
	copy(p.Daemon[:], rest)
	p.hide(rest[KeySize:])
	// Encoding again is the check that counts: names, profile and key are as they must be, and base64 had no other form
	// (Go's decoder skips line breaks and ignores spare bits).
	if again, err := p.Encode(); err != nil || again != s {
		return Pairing{}, errPairing
	}
	return p, nil
}

func cutName(b []byte) (name string, rest []byte, ok bool) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return "", nil, false
	}
	n := int(b[0])
	return string(b[1 : 1+n]), b[1+n:], true
}
