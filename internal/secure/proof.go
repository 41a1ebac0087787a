package secure

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

const (
	proofLabel = "viewport-relay/1 resume"

	infoClient = "client"
	infoDaemon = "daemon"
)

// Proof is what a RESUME, RESUMED or RESET claims, and its proof covers.
type Proof struct {
	Type relayv1.FrameType
	// Session is the session id, at most 255 bytes.
	Session string
	// First is the envelope's sequence: the lowest that the sender still holds.
	First uint64
	// Ack, Consumed and Attempt are the envelope's fields.
	Ack, Consumed, Attempt uint64
	// Code is the status code of a RESET, so that a relay can't turn one end into another; empty otherwise.
	Code string
}

// SetResumeSecret derives the keys of the proofs from the 32 bytes that the daemon made for this session. They differ
// by role, so a proof cannot be reflected, and by handshake, so none is good in another session.
func (c *Channel) SetResumeSecret(secret []byte) error {
	if len(secret) != KeySize {
		return misuse("a resume secret of %d bytes, want %d", len(secret), KeySize)
	}
	if c.send.aead == nil {
		return misuse("the channel is wiped")
	}
	own, peer := infoDaemon, infoClient
	if c.initiator {
		own, peer = peer, own
	}
	for _, k := range []struct {
		key  *[KeySize]byte
		info string
	}{{&c.own, own}, {&c.peer, peer}} {
		derived, err := hkdf.Key(sha256.New, secret, c.binding, k.info, KeySize)
		if err != nil {
			return fmt.Errorf("secure: deriving a resume key: %w", err)
		}
		copy(k.key[:], derived)
		clear(derived)
	}
	c.hasResumeKeys = true
	return nil
}

// Prove makes the proof of the own role. Without resume keys (none set, or wiped), or for another type than the three,
// it is all zeros, which no peer accepts.
func (c *Channel) Prove(p Proof) [sha256.Size]byte {
	if !c.hasResumeKeys || !p.proved() {
		return [sha256.Size]byte{}
	}
	return p.mac(&c.own)
}

// Verify says whether mac is the peer's proof of p, in time that does not depend on where they differ. It changes
// nothing; without resume keys nothing verifies.
func (c *Channel) Verify(p Proof, mac []byte) bool {
	if !c.hasResumeKeys || !p.proved() {
		return false
	}
	want := p.mac(&c.peer)
	return hmac.Equal(want[:], mac)
}

// proved says whether frames of the type carry a proof. Their numbers fit a byte.
func (p Proof) proved() bool {
	switch p.Type {
	case relayv1.FrameType_FRAME_TYPE_RESUME, relayv1.FrameType_FRAME_TYPE_RESUMED, relayv1.FrameType_FRAME_TYPE_RESET:
		return true
	}
	return false
}

// mac is HMAC-SHA-256 over label, type u8, session id behind its u16 length, first, ack, consumed and attempt u64, and
// the code behind its u16 length.
func (p Proof) mac(key *[KeySize]byte) [sha256.Size]byte {
	b := make([]byte, 0, len(proofLabel)+1+2+len(p.Session)+4*8+2+len(p.Code))
	b = append(b, proofLabel...)
	b = append(b, byte(p.Type))
	b = appendString(b, p.Session)
	for _, v := range [...]uint64{p.First, p.Ack, p.Consumed, p.Attempt} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = appendString(b, p.Code)
	h := hmac.New(sha256.New, key[:])
	h.Write(b)
	return [sha256.Size]byte(h.Sum(nil))
}
