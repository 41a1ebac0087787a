package legacycrypto

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/getviewport/relay/internal/hidden"
)

const (
	// MaxPlaintext is the longest message in bytes; today's daemons take no more from a local peer. Its frame has
	// about four thirds as many, and a relay of today cuts the whole link at a frame of more than 1,048,576, which is
	// a message of about 786,000.
	MaxPlaintext = 1 << 20
	// RekeyAfter is how many envelopes of either direction a daemon lets pass before it asks for a new key.
	RekeyAfter = 250
	// MaxMessages is how many envelopes a session seals, and how many it opens. AES-GCM with random ivs is sound for
	// 2^32 uses of a key, and both directions share one: at twice 2^28 two ivs are the same with a probability of
	// 2^-39. Today's daemons set no limit, so this one must be where only a peer comes that ignores every call for a
	// new key.
	MaxMessages = 1 << 28
)

type role uint8

const (
	clientSide role = iota + 1
	daemonSide
)

// Session is one epoch of an encrypted session: Seal and Open one envelope each. A new key is a new Session.
//
// Open takes an envelope whose sequence is above every one it opened. Today's relays keep the order of a session, so
// one that comes late was held back, and to take it would hand the application its messages in another order than
// they were sent. What is missing stays missing (Missed).
type Session struct {
	hidden.Mark
	role          role
	id            string
	profile       Profile
	epoch         uint64
	pairingPeerID string
	random        io.Reader

	aead cipher.AEAD  // nil when the session is over
	mark cipher.Block // of own ivs (nextIV); never leaves this Session
	head []byte       // of every frame, up to the sequence
	data []byte       // of associated data, up to the sequence

	sent      uint64 // envelopes sealed; the highest sequence of this side
	received  uint64 // the highest sequence that opened
	missed    uint64
	confirmed bool

	asked    bool // a new key is due, and the client was told
	rekeying bool // a client's: an init that replaces the session is out
}

// start takes the key; the other fields are set.
func (s *Session) start(key [KeySize]byte) error {
	defer clear(key[:])
	var mark [16]byte
	defer clear(mark[:])
	if err := read(s.random, mark[:]); err != nil {
		return err
	}
	s.aead, s.mark = newAEAD(key), newBlock(mark[:])
	epoch := strconv.FormatUint(s.epoch, 10)
	s.data = []byte("viewport-relay-envelope-v2|" + string(s.profile) + "|" + s.id + "|" + epoch + "|")
	s.head = []byte(`{"type":"e2ee","version":` + strconv.Itoa(envelopeVersion) + `,"profile":"` + string(s.profile) +
		`","sessionId":` + string(encode(s.id)) + `,"epoch":` + epoch + `,"seq":`)
	return nil
}

// ID is the session's id. Whoever shows it to people shows its first characters only.
func (s *Session) ID() string { return s.id }

// Profile is the key exchange that made the session.
func (s *Session) Profile() Profile { return s.profile }

// Epoch is 1 for a new session and one more for each new key.
func (s *Session) Epoch() uint64 { return s.epoch }

// PairingPeerID names the pairing whose PSK the client holds; "" with noise-ik, where the client is nobody.
func (s *Session) PairingPeerID() string { return s.pairingPeerID }

// Confirmed reports whether the peer has proved that it holds the key: for a client from the start, for a daemon from
// the first envelope that opened. Before, the client may be a replay of an old init, and there is nobody who could
// read.
func (s *Session) Confirmed() bool { return s.confirmed }

// Missed is how many envelopes of the peer never came, or too late: the holes in the sequence of those that opened.
// They are lost, and the protocol has no way to ask for them.
func (s *Session) Missed() uint64 { return s.missed }

// Seal encrypts one message, which must be UTF-8 and of 1 to MaxPlaintext bytes, and returns the frame. It fails with
// ErrPlaintext, ErrTooLong, ErrEnded, ErrRekeying, ErrExhausted and ErrRandom, and then uses no sequence up.
func (s *Session) Seal(plaintext []byte) ([]byte, error) {
	switch {
	case s.aead == nil:
		return nil, ErrEnded
	case s.rekeying:
		return nil, ErrRekeying
	case s.sent >= MaxMessages:
		return nil, ErrExhausted
	case len(plaintext) > MaxPlaintext:
		return nil, because(ErrTooLong, "%d bytes, want at most %d", len(plaintext), MaxPlaintext)
	case len(plaintext) == 0:
		return nil, because(ErrPlaintext, "it is empty")
	case !utf8.Valid(plaintext):
		return nil, because(ErrPlaintext, "it is not UTF-8, and its receiver would change it")
	}
	seq := s.sent + 1
	iv, err := s.nextIV(seq)
	if err != nil {
		return nil, err
	}
	sealed := s.aead.Seal(nil, iv[:], plaintext, s.associatedData(seq))
	s.sent = seq
	return s.frame(seq, iv[:], sealed), nil
}

// MaxMessage is the longest plaintext whose frame has at most limit bytes, whatever its sequence is; at most
// MaxPlaintext, and 0 where none fits.
func (s *Session) MaxMessage(limit int) int {
	room := limit - len(s.head) - frameRest - base64url.EncodedLen(ivSize) - base64url.EncodedLen(tagSize)
	return min(max(0, base64url.DecodedLen(room)), MaxPlaintext)
}

// frameRest is how long a frame is besides its head, iv, tag and ciphertext.
const frameRest = len(`18446744073709551615,"iv":"","tag":"","ciphertext":""}`)

func (s *Session) frame(seq uint64, iv, sealed []byte) []byte {
	ciphertext, tag := sealed[:len(sealed)-tagSize], sealed[len(sealed)-tagSize:]
	out := make([]byte, 0, len(s.head)+frameRest+base64url.EncodedLen(ivSize)+base64url.EncodedLen(tagSize)+
		base64url.EncodedLen(len(ciphertext)))
	out = strconv.AppendUint(append(out, s.head...), seq, 10)
	out = base64url.AppendEncode(append(out, `,"iv":"`...), iv)
	out = base64url.AppendEncode(append(out, `","tag":"`...), tag)
	out = base64url.AppendEncode(append(out, `","ciphertext":"`...), ciphertext)
	return append(out, `"}`...)
}

func (s *Session) associatedData(seq uint64) []byte {
	return strconv.AppendUint(s.data[:len(s.data):len(s.data)], seq, 10)
}

const randomSize = ivSize / 2

// nextIV makes the iv of an own envelope: six random bytes, and six that a key of this Session makes of them and of
// the sequence. To anybody else these are 12 random bytes, no likelier to come twice.
//
// By them the Session knows its own envelopes when they come back, and need not remember one. That is sound: one that
// opens was sealed with this key by the peer or here; sequence and iv are under its seal, so nobody can change them;
// and of those that were sealed here each carries the mark of its sequence. It costs an honest peer one envelope in
// 2^48.
func (s *Session) nextIV(seq uint64) (iv [ivSize]byte, err error) {
	if err := read(s.random, iv[:randomSize]); err != nil {
		return iv, err
	}
	s.sign(&iv, seq)
	return iv, nil
}

// sign replaces the second half of iv by the mark that belongs to the first.
func (s *Session) sign(iv *[ivSize]byte, seq uint64) {
	var block [16]byte
	binary.BigEndian.PutUint64(block[:8], seq)
	copy(block[8:], iv[:randomSize])
	s.mark.Encrypt(block[:], block[:])
	copy(iv[randomSize:], block[:])
}

func (s *Session) isOwn(e *Envelope) bool {
	iv := e.IV
	s.sign(&iv, e.Seq)
	return e.Seq <= s.sent && subtle.ConstantTimeCompare(iv[:], e.IV[:]) == 1
}

// Open decrypts an envelope; the plaintext is the caller's. It fails with ErrEnded, ErrSession, ErrProfile, ErrEpoch,
// ErrReplay, ErrExhausted, ErrDecrypt and ErrReflected, and then has changed nothing: only what decrypted moves the
// sequence, so that no forgery can shut out what is genuine.
func (s *Session) Open(e *Envelope) ([]byte, error) {
	switch {
	case s.aead == nil:
		return nil, ErrEnded
	case e.SessionID != s.id:
		return nil, ErrSession
	case e.Profile != s.profile:
		return nil, ErrProfile
	case e.Epoch != s.epoch:
		return nil, because(ErrEpoch, "it is of %d, want %d", e.Epoch, s.epoch)
	case e.Seq <= s.received:
		return nil, because(ErrReplay, "it is %d, and %d was opened", e.Seq, s.received)
	case e.Seq > MaxMessages:
		return nil, ErrExhausted
	case len(e.Ciphertext) == 0:
		return nil, because(ErrPlaintext, "it is empty")
	}
	sealed := append(append(make([]byte, 0, len(e.Ciphertext)+tagSize), e.Ciphertext...), e.Tag[:]...)
	plaintext, err := s.aead.Open(sealed[:0], e.IV[:], sealed, s.associatedData(e.Seq))
	if err != nil {
		return nil, ErrDecrypt
	}
	// Asked last, so that it is a fact and not what somebody wrote into an iv.
	if s.isOwn(e) {
		clear(plaintext)
		return nil, ErrReflected
	}
	s.missed += e.Seq - s.received - 1
	s.received, s.confirmed = e.Seq, true
	return plaintext, nil
}

// AskRekey returns the frame by which a daemon asks its client for a new key, once, when RekeyAfter envelopes have
// passed in either direction. The session goes on until the client's init comes, if it ever does.
func (s *Session) AskRekey() (frame []byte, due bool) {
	if s.role != daemonSide || s.aead == nil || s.asked || max(s.sent, s.received) < RekeyAfter {
		return nil, false
	}
	s.asked = true
	return encode(keyUpdateText{typeKeyUpdate, s.id, s.epoch + 1, "message_threshold"}), true
}

// ReadKeyUpdate takes a daemon's call for a new key; RekeyDue then says so. It fails with ErrMisuse on a daemon's
// side (clients can't ask), ErrEnded, ErrSession and ErrEpoch. The call is not authenticated: forged, it makes the
// client try in vain.
func (s *Session) ReadKeyUpdate(u *KeyUpdate) error {
	switch {
	case s.role != clientSide:
		return because(ErrMisuse, "only a client is asked for a new key")
	case s.aead == nil:
		return ErrEnded
	case u.SessionID != s.id:
		return ErrSession
	case u.NextEpoch != s.epoch+1:
		return because(ErrEpoch, "the next is said to be %d, want %d", u.NextEpoch, s.epoch+1)
	}
	s.asked = true
	return nil
}

// RekeyDue reports whether the daemon has asked for a new key.
func (s *Session) RekeyDue() bool { return s.asked }

// mayRekey says whether a session of this profile and pairing can take the place of s.
func (s *Session) mayRekey(p Profile, pairingPeerID string) error {
	switch {
	case s.aead == nil:
		return ErrEnded
	case s.rekeying:
		return ErrRekeying
	case s.profile != p:
		return ErrProfile
	case s.pairingPeerID != pairingPeerID:
		return because(ErrPrevious, "it is of another pairing")
	case !s.asked:
		return because(ErrPrevious, "the daemon has not asked for a new key")
	}
	return nil
}

// Wipe ends the session: nothing seals or opens any more. The key goes with the collector.
func (s *Session) Wipe() { s.aead, s.mark = nil, nil }
