package secure

import (
	"bytes"
	"testing"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

const (
	ik     = relayv1.Profile_PROFILE_NOISE_IK
	ikpsk2 = relayv1.Profile_PROFILE_NOISE_IKPSK2

	resume  = relayv1.FrameType_FRAME_TYPE_RESUME
	resumed = relayv1.FrameType_FRAME_TYPE_RESUMED
	reset   = relayv1.FrameType_FRAME_TYPE_RESET
)

// fill is 32 bytes that start at b and count up: keys for tests.
func fill(b byte) (k [KeySize]byte) {
	for i := range k {
		k[i] = b + byte(i)
	}
	return k
}

func keyPair(t testing.TB, private [KeySize]byte) KeyPair {
	t.Helper()
	k, err := KeyPairFromPrivate(private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// configs are both sides of a handshake with the fixed keys of docs/vectors; the PSK is the initiator's.
func configs(t testing.TB, p Profile) (client, daemon HandshakeConfig) {
	t.Helper()
	ephemeralClient, ephemeralDaemon, psk := fill(0x20), fill(0x60), fill(0xa0)
	prologue := Prologue("acme", "build-7", "xzc4wjqfx43l5ppgqscbukhq7u")
	daemon = HandshakeConfig{
		Profile: p, Static: keyPair(t, fill(0x40)), Prologue: prologue, Random: bytes.NewReader(ephemeralDaemon[:]),
	}
	client = HandshakeConfig{
		Profile: p, Static: keyPair(t, fill(0x01)), PeerStatic: daemon.Static.Public,
		Prologue: prologue, Random: bytes.NewReader(ephemeralClient[:]),
	}
	if p == ikpsk2 {
		client.PSK = psk[:]
	}
	return client, daemon
}

// pair is both ends of a session after a handshake with the same keys every time, and with resume keys.
func pair(t testing.TB, p Profile) (client, daemon *Channel) {
	t.Helper()
	cc, dc := configs(t, p)
	return pairOf(t, cc, dc)
}

func pairOf(t testing.TB, cc, dc HandshakeConfig) (client, daemon *Channel) {
	t.Helper()
	i, r := newInitiator(t, cc), newResponder(t, dc)
	m1, err := i.Init(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.ReadInit(m1); err != nil {
		t.Fatal(err)
	}
	m2, daemon, err := r.Respond(cc.PSK, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, client, err = i.Finish(m2); err != nil {
		t.Fatal(err)
	}
	secret := fill(0xc0)
	for _, ch := range []*Channel{client, daemon} {
		if err := ch.SetResumeSecret(secret[:]); err != nil {
			t.Fatal(err)
		}
	}
	return client, daemon
}

func newInitiator(t testing.TB, c HandshakeConfig) *Initiator {
	t.Helper()
	i, err := NewInitiator(c)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func newResponder(t testing.TB, c HandshakeConfig) *Responder {
	t.Helper()
	r, err := NewResponder(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func data(sequence uint64) FrameInfo {
	return FrameInfo{
		Type: relayv1.FrameType_FRAME_TYPE_DATA, Encoding: relayv1.Encoding_ENCODING_NOISE,
		Sequence: sequence, Seconds: 1_700_000_000, Nanos: 42,
	}
}

func seal(t testing.TB, ch *Channel, f FrameInfo, plaintext string) []byte {
	t.Helper()
	c, err := ch.Seal(nil, f, []byte(plaintext))
	if err != nil {
		t.Fatalf("sealing %d: %v", f.Sequence, err)
	}
	return c
}

func opens(t testing.TB, ch *Channel, f FrameInfo, ciphertext []byte, want string) {
	t.Helper()
	got, err := ch.Open(nil, f, ciphertext)
	if err != nil {
		t.Fatalf("opening %d: %v", f.Sequence, err)
	}
	if string(got) != want {
		t.Fatalf("opening %d: got %q, want %q", f.Sequence, got, want)
	}
}
