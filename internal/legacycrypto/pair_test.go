package legacycrypto

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

const testPeerID = "3f0c5a"

var profiles = []Profile{NoiseIK, NoiseIKpsk2}

// source is randomness that is the same in every run.
func source(name string) *rand.ChaCha8 {
	var seed [32]byte
	copy(seed[:], name)
	return rand.NewChaCha8(seed)
}

func testKey(t testing.TB, name string) PrivateKey {
	t.Helper()
	k, err := GeneratePrivateKey(source(name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func testPSK(t testing.TB) PSK {
	t.Helper()
	psk, err := NewPSK(bytes.Repeat([]byte("psk!"), KeySize/4))
	if err != nil {
		t.Fatal(err)
	}
	return psk
}

// configs are both sides of a key exchange.
func configs(t testing.TB, p Profile) (ClientConfig, DaemonConfig) {
	t.Helper()
	static := testKey(t, "the daemon's static key")
	c := ClientConfig{Profile: p, Daemon: static.Public(), Random: source("client")}
	if p == NoiseIKpsk2 {
		c.PSK, c.PairingPeerID = testPSK(t), testPeerID
	}
	return c, DaemonConfig{Static: static, Required: NoiseIK, Random: source("daemon")}
}

// parse reads a frame that must be well-formed and a T.
func parse[T any](t testing.TB, text []byte) T {
	t.Helper()
	frame, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	f, ok := frame.(T)
	if !ok {
		t.Fatalf("%s: got a %T", text, frame)
	}
	return f
}

// begin is a client that has sent its init, and that init.
func begin(t testing.TB, c ClientConfig) (*ClientHandshake, []byte) {
	t.Helper()
	h, err := NewClientHandshake(c)
	if err != nil {
		t.Fatal(err)
	}
	init, err := h.Init()
	if err != nil {
		t.Fatal(err)
	}
	return h, init
}

// answer is what a daemon makes of an init.
func answer(t testing.TB, d DaemonConfig, init []byte, previous *Session) ([]byte, *Session) {
	t.Helper()
	h, err := ReadInit(d, parse[*Init](t, init))
	if err != nil {
		t.Fatal(err)
	}
	psk := PSK{}
	if h.Profile() == NoiseIKpsk2 {
		psk = testPSK(t)
	}
	response, s, err := h.Respond(psk, previous)
	if err != nil {
		t.Fatal(err)
	}
	return response, s
}

// sessions are both ends of a new session.
func sessions(t testing.TB, p Profile) (client, daemon *Session) {
	t.Helper()
	c, d := configs(t, p)
	h, init := begin(t, c)
	response, daemon := answer(t, d, init, nil)
	client, err := h.Finish(parse[*Response](t, response))
	if err != nil {
		t.Fatal(err)
	}
	return client, daemon
}

func seal(t testing.TB, s *Session, plaintext string) []byte {
	t.Helper()
	frame, err := s.Seal([]byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// opens wants the frame to give the plaintext.
func opens(t testing.TB, s *Session, frame []byte, want string) {
	t.Helper()
	got, err := s.Open(parse[*Envelope](t, frame))
	if err != nil || string(got) != want {
		t.Fatalf("%s: got %q, %v, want %q", frame, got, err, want)
	}
}

// refuses wants Open to fail with want and to leave everything as it was.
func refuses(t testing.TB, s *Session, frame []byte, want error) {
	t.Helper()
	sent, received, missed, confirmed := s.sent, s.received, s.missed, s.confirmed
	got, err := s.Open(parse[*Envelope](t, frame))
	if !errors.Is(err, want) || got != nil {
		t.Errorf("%s: got %q, %v, want %v", frame, got, err, want)
	}
	if sent != s.sent || received != s.received || missed != s.missed || confirmed != s.confirmed {
		t.Errorf("%s was refused: got the session changed", frame)
	}
}

// object reads a frame into its fields; set writes it with one of them changed, or without it where value is nil.
func fieldsOf(t testing.TB, text []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

func set(t testing.TB, text []byte, path string, value any) []byte {
	t.Helper()
	whole := fieldsOf(t, text)
	at, names := whole, strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		at = at[name].(map[string]any)
	}
	last := names[len(names)-1]
	if _, there := at[last]; !there && value == nil {
		t.Fatalf("%s: no field %s", text, path)
	}
	at[last] = value
	if value == nil {
		delete(at, last)
	}
	return encode(whole)
}

// flip is the base64url in the field with bit 0 of its byte n changed.
func flip(t testing.TB, text []byte, field string, n int) string {
	t.Helper()
	b, ok := decodeBase64([]byte(fieldsOf(t, text)[field].(string)))
	if !ok {
		t.Fatalf("%s: %s is not base64url", text, field)
	}
	b[n] ^= 1
	return encodeBase64(b)
}

// wants checks an error's identity, and that its text is its own.
func wants(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}
