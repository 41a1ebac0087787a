package legacycrypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"strconv"
)

// prologue is mixed in before the daemon's static key.
const prologue = "viewport-relay-noise-v3"

// symmetric is the state of one handshake: Noise's SymmetricState over P-256, AES-256-GCM and SHA-256, with what makes
// a Noise library unusable here: message 1 has no payload, not even an empty one; with psk2 ephemeral keys are hashed
// and not mixed into the key as well; and what Split gives becomes one key. It is a plain value: a copy is a second
// state, which is how a message that does not verify leaves no trace.
//
// A key encrypts once before the next replaces it. So the counter of the nonce, whose bytes would stand in another
// order than Noise has them, is always zero, and none is kept.
type symmetric struct {
	chain, hash, key [sha256.Size]byte
}

func newSymmetric(p Profile, daemon PublicKey) *symmetric {
	s := &symmetric{}
	copy(s.hash[:], p.noiseName())
	s.chain = s.hash
	s.mixHash([]byte(prologue))
	s.mixHash(daemon[:])
	return s
}

func (s *symmetric) wipe() { *s = symmetric{} }

func (s *symmetric) mixHash(data []byte) {
	h := sha256.New()
	h.Write(s.hash[:])
	h.Write(data)
	h.Sum(s.hash[:0])
}

// mixDH mixes in the secret that the two keys share.
func (s *symmetric) mixDH(private PrivateKey, public PublicKey) error {
	x, err := private.shared(public)
	if err != nil {
		return err
	}
	defer clear(x)
	s.mixKey(x)
	return nil
}

func (s *symmetric) mixKey(input []byte) {
	var out [2][sha256.Size]byte
	expand(s.chain, input, out[:])
	s.chain, s.key = out[0], out[1]
}

func (s *symmetric) mixKeyAndHash(psk PSK) {
	secret := psk.reveal()
	defer clear(secret[:])
	var out [3][sha256.Size]byte
	expand(s.chain, secret[:], out[:])
	s.mixHash(out[1][:])
	s.chain, s.key = out[0], out[2]
}

// seal encrypts with the current key, which must not have encrypted before; the tag follows the ciphertext.
func (s *symmetric) seal(plaintext []byte) []byte {
	sealed := newAEAD(s.key).Seal(nil, make([]byte, ivSize), plaintext, s.hash[:])
	s.mixHash(sealed)
	return sealed
}

// open is the reverse of seal. It fails with ErrHandshake; the state is then as before.
func (s *symmetric) open(sealed []byte) ([]byte, error) {
	plaintext, err := newAEAD(s.key).Open(nil, make([]byte, ivSize), sealed, s.hash[:])
	if err != nil {
		return nil, ErrHandshake
	}
	s.mixHash(sealed)
	return plaintext, nil
}

// split gives the two keys at the end of Noise, which only go into sessionKey.
func (s *symmetric) split() (out [2][sha256.Size]byte) {
	expand(s.chain, nil, out[:])
	return out
}

// sessionKey is the one key of both directions. s is spent.
func (s *symmetric) sessionKey(p Profile, session string, epoch uint64) (key [KeySize]byte) {
	defer s.wipe()
	halves := s.split()
	both := slices.Concat(halves[0][:], halves[1][:])
	defer clear(both)
	info := "viewport-relay-session-v3|" + string(p) + "|" + session + "|" + strconv.FormatUint(epoch, 10)
	return deriveKey(both, s.hash[:], info)
}

// expand is Noise's HKDF (section 4.3) with as many outputs as out has.
func expand(chain [sha256.Size]byte, input []byte, out [][sha256.Size]byte) {
	mac := hmac.New(sha256.New, chain[:])
	mac.Write(input)
	var secret [sha256.Size]byte
	mac.Sum(secret[:0])
	defer clear(secret[:])
	for i := range out {
		mac = hmac.New(sha256.New, secret[:])
		if i > 0 {
			mac.Write(out[i-1][:])
		}
		mac.Write([]byte{byte(i + 1)})
		mac.Sum(out[i][:0])
	}
}

// deriveKey is HKDF of RFC 5869 with SHA-256 and one block of output.
func deriveKey(secret, salt []byte, info string) [KeySize]byte {
	key, err := hkdf.Key(sha256.New, secret, salt, info, KeySize)
	if err != nil {
		panic(err) // 32 bytes are never too many
	}
	defer clear(key)
	return [KeySize]byte(key)
}

func newAEAD(key [KeySize]byte) cipher.AEAD {
	aead, err := cipher.NewGCM(newBlock(key[:]))
	if err != nil {
		panic(err) // AES always has 16-byte blocks
	}
	return aead
}

func newBlock(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only lengths that are keys come here
	}
	return block
}
