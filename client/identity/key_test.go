package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretsAppearInNoOutput(t *testing.T) {
	s := open(t)
	id := create(t, s, Daemon)
	pairing := testPairing(t, NoiseIKpsk2)
	peer := testPeer(1)
	type hidden struct { // fields whose methods fmt can't call
		secret  Secret
		id      Identity
		peer    Peer
		pairing Pairing
	}
	values := map[string]any{
		"identity": id, "*identity": &id, "private": id.Private, "*private": &id.Private,
		"pairing": pairing, "*pairing": &pairing, "psk": pairing.PSK(), "peer": peer, "*peer": &peer,
		"peers": []Peer{peer}, "map": map[string]Secret{"a": id.Private},
		"hidden": hidden{id.Private, id, peer, pairing}, "*hidden": &hidden{id.Private, id, peer, pairing},
	}
	pairingID := pairing.ID()
	var marks []string
	for _, b := range [][]byte{bytesOf(id.Private), bytesOf(pairing.PSK()), bytesOf(peer.PSK), pairingID[:]} {
		decimal := strings.Trim(fmt.Sprint(b[:4]), "[]")
		marks = append(marks, string(b[:8]), hex.EncodeToString(b[:8]), base64.RawURLEncoding.EncodeToString(b[:6]),
			base64.StdEncoding.EncodeToString(b[:6]), decimal, strings.ReplaceAll(decimal, " ", ","),
			fmt.Sprintf("%#v", b[:4])[7:20])
	}
	check := func(how, out string) {
		t.Helper()
		for _, mark := range marks {
			if strings.Contains(strings.ToLower(out), strings.ToLower(mark)) {
				t.Errorf("%s: got %q of a secret in %.200q", how, mark, out)
			}
		}
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
			check(name+" "+verb, fmt.Sprintf(verb, v))
		}
		if b, err := json.Marshal(v); err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			check(name+" JSON", string(b))
		}
		var out bytes.Buffer
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		check(name+" slog", out.String())
	}
	if got := fmt.Sprintf("%v %s %#v %x %d", id.Private, id.Private, id.Private, id.Private, id.Private); got !=
		strings.TrimSpace(strings.Repeat("[redacted] ", 5)) {
		t.Errorf("got %q, want [redacted] for every verb", got)
	}
	if b, err := json.Marshal(id.Private); err != nil || string(b) != `"[redacted]"` {
		t.Errorf("got %s (%v), want [redacted] in JSON", b, err)
	}
}

func bytesOf(s Secret) []byte {
	b := s.Reveal()
	return b[:]
}

func TestAKeyHasOneForm(t *testing.T) {
	key := Key{0xfb, 0xff, 31: 1}
	got, err := ParseKey(key.String())
	if err != nil || got != key {
		t.Fatalf("got %v (%v), want %v", got, err, key)
	}
	s := key.String()
	for _, bad := range []string{
		"", s[:42], s + "A", s + "=", s[:20] + "\n" + s[20:], s[:42] + "F", strings.ReplaceAll(s, "-", "+"), " " + s,
	} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("%q was read as a key", bad)
		}
	}
	var out struct{ Key Key }
	b, err := json.Marshal(struct{ Key Key }{key})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil || out.Key != key {
		t.Errorf("through JSON: got %v (%v), want %v", out.Key, err, key)
	}
}

func TestAFingerprintIsTwentySixCharactersOfTheKeysHash(t *testing.T) {
	// SHA-256 of 32 zero bytes begins 66687aadf862bd776c8fc18b8e9f8e20.
	if got, want := (Key{}).Fingerprint(), "mzuhvlpymk6xo3epygfy5h4oea"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSecretsAreComparedByWhatTheyHold(t *testing.T) {
	a, b := NewSecret([32]byte{1}), NewSecret([32]byte{1})
	if !a.Equal(b) || a.Equal(NewSecret([32]byte{2})) || a.Equal(Secret{}) || NewSecret([32]byte{}).Equal(Secret{}) ||
		!(Secret{}).Equal(Secret{}) {
		t.Error("want equal for equal bytes and for none, and else not")
	}
	if !(Secret{}).IsZero() || NewSecret([32]byte{}).IsZero() || (Secret{}).Reveal() != [32]byte{} {
		t.Error("want the zero Secret absent, and one of zero bytes present")
	}
}
