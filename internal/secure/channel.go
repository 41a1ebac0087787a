package secure

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math"

	"github.com/flynn/noise"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/hidden"
)

const (
	// firstSequence is the first that a transport frame has; 1 is the handshake message of its direction.
	firstSequence = 2
	// epochFrames is how many frames a key lives.
	epochFrames = 1 << 16
)

// Channel seals and opens the frames of one session, and makes and checks its proofs. It knows its role. Both
// directions go strictly by sequence, from 2 on, one by one: a sequence is sealed once and opened once, so neither a
// nonce nor a frame is ever used twice. Not safe for concurrent use.
type Channel struct {
	hidden.Mark
	send, receive direction

	binding       []byte        // handshake hash: names the session to both ends, but is no secret
	initiator     bool          // the role
	own, peer     [KeySize]byte // keys of the proofs, by who makes them
	hasResumeKeys bool          // SetResumeSecret was called

	nonce [12]byte // scratch, here so that no frame allocates its own
	ad    [adSize]byte
}

// direction is one direction's place: the sequence that is next, and the key of that sequence's epoch or of the one
// before when next is the first of its epoch. So there is never a key but the one in use: the old is overwritten when
// the first frame of the next epoch is sealed or verifies.
type direction struct {
	next  uint64
	epoch uint64
	key   [KeySize]byte
	aead  cipher.AEAD // of key; nil when wiped
}

func newChannel(initiator bool, binding []byte, up, down *noise.CipherState) *Channel {
	c := &Channel{initiator: initiator, binding: append([]byte(nil), binding...)}
	if !initiator {
		up, down = down, up
	}
	c.send.start(up)
	c.receive.start(down)
	return c
}

func (d *direction) start(cs *noise.CipherState) {
	d.next, d.key = firstSequence, cs.UnsafeKey()
	d.aead = newAEAD(&d.key)
	*cs = noise.CipherState{}
}

// check says whether f may be the next frame of the direction.
func (d *direction) check(f FrameInfo) error {
	switch {
	case d.aead == nil:
		return misuse("the channel is wiped")
	case f.Type != relayv1.FrameType_FRAME_TYPE_DATA && f.Type != relayv1.FrameType_FRAME_TYPE_CLOSE:
		return misuse("frame type %d is not sealed", int32(f.Type))
	case f.Encoding != relayv1.Encoding_ENCODING_NOISE:
		return misuse("encoding %d is not sealed", int32(f.Encoding))
	case d.next > MaxSequence:
		return ErrEnded
	case f.Sequence != d.next:
		return ErrSequence
	}
	return nil
}

// Seal appends the sealed frame, the plaintext's length and Overhead, to dst; with room in dst it allocates nothing but
// the key of a new epoch. plaintext may lie exactly where it is sealed to (dst[len(dst):]), else it must not overlap
// that. Seal fails, and uses nothing up, unless f.Sequence is the next one: what was sealed is kept and sent again as it
// is, never sealed again.
func (c *Channel) Seal(dst []byte, f FrameInfo, plaintext []byte) ([]byte, error) {
	d := &c.send
	if err := d.check(f); err != nil {
		return nil, err
	}
	if len(plaintext) > MaxMessage-Overhead {
		return nil, misuse("a plaintext of %d bytes, want at most %d", len(plaintext), MaxMessage-Overhead)
	}
	if epochOf(f.Sequence) != d.epoch {
		d.key = nextKey(d.aead)
		d.aead = newAEAD(&d.key)
		d.epoch++
	}
	d.next++
	return d.aead.Seal(dst, c.nonceOf(f.Sequence), plaintext, AssociatedData(c.ad[:0], f)), nil
}

// Open appends the plaintext to dst. ciphertext may lie exactly where it is opened to (dst[len(dst):]), else it must
// not overlap that; what lies there is overwritten even when Open fails. When it fails the channel is as it was before,
// and the frame that is really next still opens.
//
// Frames open in order only, so the receiver is never more than one key epoch behind, and a forged sequence cannot make
// it compute rekey after rekey: it tries the next epoch's key on that epoch's first frame alone, and keeps it only if
// the frame verifies.
func (c *Channel) Open(dst []byte, f FrameInfo, ciphertext []byte) ([]byte, error) {
	d := &c.receive
	if err := d.check(f); err != nil {
		return nil, err
	}
	if len(ciphertext) < Overhead || len(ciphertext) > MaxMessage {
		return nil, ErrFrame
	}
	if epochOf(f.Sequence) != d.epoch {
		return c.openNextEpoch(dst, f, ciphertext)
	}
	plaintext, err := d.aead.Open(dst, c.nonceOf(f.Sequence), ciphertext, AssociatedData(c.ad[:0], f))
	if err != nil {
		return nil, ErrFrame
	}
	d.next++
	return plaintext, nil
}

func (c *Channel) openNextEpoch(dst []byte, f FrameInfo, ciphertext []byte) ([]byte, error) {
	d := &c.receive
	key := nextKey(d.aead)
	defer clear(key[:])
	aead := newAEAD(&key)
	plaintext, err := aead.Open(dst, c.nonceOf(f.Sequence), ciphertext, AssociatedData(c.ad[:0], f))
	if err != nil {
		return nil, ErrFrame
	}
	d.key, d.aead = key, aead
	d.epoch++
	d.next++
	return plaintext, nil
}

// Wipe clears every key as far as Go lets it (the expanded ones inside crypto/aes go with the collector). Nothing
// seals, opens, proves or verifies afterwards.
func (c *Channel) Wipe() {
	c.send, c.receive = direction{}, direction{}
	clear(c.binding)
	clear(c.own[:])
	clear(c.peer[:])
	c.hasResumeKeys = false
}

// nonceOf is valid until the next call.
func (c *Channel) nonceOf(sequence uint64) []byte {
	return putNonce(&c.nonce, sequence-firstSequence)
}

// putNonce writes n as Noise does for AESGCM (section 12.3): four zero bytes and n, big-endian.
func putNonce(nonce *[12]byte, n uint64) []byte {
	binary.BigEndian.PutUint64(nonce[4:], n)
	return nonce[:]
}

func epochOf(sequence uint64) uint64 { return (sequence - firstSequence) / epochFrames }

// nextKey is Noise's REKEY (sections 4.2 and 11.3): the first 32 bytes of 32 zeros sealed with the last nonce.
func nextKey(aead cipher.AEAD) [KeySize]byte {
	var nonce [12]byte
	sealed := aead.Seal(nil, putNonce(&nonce, math.MaxUint64), make([]byte, KeySize), nil)
	key := [KeySize]byte(sealed)
	clear(sealed)
	return key
}

func newAEAD(key *[KeySize]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // 32 bytes are always a key
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES always has 16-byte blocks
	}
	return aead
}
