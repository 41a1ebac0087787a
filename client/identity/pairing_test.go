package identity

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func testPairing(t testing.TB, profile Profile) Pairing {
	t.Helper()
	random := bytes.NewReader([]byte(strings.Repeat("\x91\xa2~qWxYz", 5)))
	p, err := newPairing(profile, "acme", "host-1", Key{0xfb, 0xff, 3}, random)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func encoded(t testing.TB, p Pairing) string {
	t.Helper()
	s, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAPairingStringSaysWhatTheProtocolLaysDown(t *testing.T) {
	p := testPairing(t, NoiseIKpsk2)
	id, psk := p.ID(), p.PSK().Reveal()
	want := slices.Concat([]byte{2, 4}, []byte("acme"), []byte{6}, []byte("host-1"), p.Daemon[:], id[:], psk[:])
	if got := encoded(t, p); got != "vp1."+base64.RawURLEncoding.EncodeToString(want) {
		t.Errorf("got %s, want vp1. and %x", got, want)
	}
	p = testPairing(t, NoiseIK)
	want = slices.Concat([]byte{1, 4}, []byte("acme"), []byte{6}, []byte("host-1"), p.Daemon[:], id[:])
	if got := encoded(t, p); got != "vp1."+base64.RawURLEncoding.EncodeToString(want) {
		t.Errorf("got %s, want vp1. and %x", got, want)
	}
}

func TestAPairingStringIsReadBackAsItWas(t *testing.T) {
	for _, profile := range []Profile{NoiseIK, NoiseIKpsk2} {
		want := testPairing(t, profile)
		got, err := ParsePairing(encoded(t, want))
		if err != nil {
			t.Fatal(err)
		}
		if got.Profile != want.Profile || got.Workspace != want.Workspace || got.Target != want.Target ||
			got.Daemon != want.Daemon || got.ID() != want.ID() || !got.PSK().Equal(want.PSK()) {
			t.Errorf("got %v, want %v", got, want)
		}
		peer := got.Peer()
		peer.PairedAt = start
		if err := peer.check(); err != nil {
			t.Errorf("what a client pins: %v", err)
		}
	}
}

func TestTheLongestPairingStringIsRead(t *testing.T) {
	p := testPairing(t, NoiseIKpsk2)
	p.Workspace, p.Target = strings.Repeat("w", 128), strings.Repeat("t", 128)
	s := encoded(t, p)
	if len(s) != maxPairing {
		t.Errorf("got %d characters, want %d", len(s), maxPairing)
	}
	if _, err := ParsePairing(s); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotExactlyAPairingStringIsRefusedAndNotRepeated(t *testing.T) {
	good := encoded(t, testPairing(t, NoiseIKpsk2))
	raw, err := base64.RawURLEncoding.DecodeString(good[4:])
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(b []byte) []byte) string {
		return "vp1." + base64.RawURLEncoding.EncodeToString(change(slices.Clone(raw)))
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, good[len(good)-1])
	noWorkspace := slices.Concat([]byte{raw[0], 0}, raw[6:])
	for name, s := range map[string]string{
		"nothing":                "",
		"the prefix alone":       "vp1.",
		"another version":        "vp2." + good[4:],
		"the prefix in capitals": "VP1." + good[4:],
		"space before":           " " + good,
		"a line break after":     good + "\n",
		"a line break inside":    good[:40] + "\r\n" + good[40:],
		"padding":                good + "=",
		"the other base64":       strings.NewReplacer("-", "+", "_", "/").Replace(good),
		"spare bits":             good[:len(good)-1] + alphabet[last+1:last+2],
		"cut":                    good[:len(good)-4],
		"a byte more":            changed(func(b []byte) []byte { return append(b, 0) }),
		"no PSK":                 changed(func(b []byte) []byte { return b[:len(b)-32] }),
		"a PSK for IK":           changed(func(b []byte) []byte { b[0] = 1; return b }),
		"profile 0":              changed(func(b []byte) []byte { b[0] = 0; return b }),
		"profile 3":              changed(func(b []byte) []byte { b[0] = 3; return b }),
		"no workspace":           changed(func([]byte) []byte { return noWorkspace }),
		"a slash in a name":      changed(func(b []byte) []byte { b[2] = '/'; return b }),
		"a name past the end":    changed(func(b []byte) []byte { b[6] = 255; return b }),
		"no key":                 changed(func(b []byte) []byte { clear(b[13:45]); return b }),
		"very long":              good + strings.Repeat("A", 1<<20),
	} {
		if p, err := ParsePairing(s); err == nil {
			t.Errorf("%s: got %v, want an error", name, p)
		} else if len(s) > 10 && strings.Contains(err.Error(), s[5:10]) {
			t.Errorf("%s: the error repeats the string: %v", name, err)
		}
	}
}

func FuzzPairing(f *testing.F) {
	f.Add("vp1.")
	f.Add(encoded(f, testPairing(f, NoiseIK)))
	f.Add(encoded(f, testPairing(f, NoiseIKpsk2)))
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePairing(s)
		if err != nil {
			return
		}
		if again, err := p.Encode(); err != nil || again != s {
			t.Errorf("got %q (%v), want the one form that was read: %q", again, err, s)
		}
		if !ValidName(p.Workspace) || !ValidName(p.Target) || p.Daemon.IsZero() ||
			p.PSK().IsZero() != (p.Profile == NoiseIK) {
			t.Errorf("got %v, want nothing that can't be", p)
		}
	})
}

func TestAPairingStringFromOneProcessServesOneClientOnceInAnother(t *testing.T) {
	s := open(t)
	_, command := daemonFiles(t, s)
	peers, running := daemonFiles(t, s)
	made, err := command.Create("host-1", NoiseIKpsk2, "Ann's phone", start)
	if err != nil {
		t.Fatal(err)
	}
	if id := create(t, s, Daemon); made.Daemon != id.Public || made.Workspace != "acme" || made.Target != "host-1" {
		t.Errorf("got %v, want the daemon's own key and names", made)
	}
	for range 2 { // looking uses nothing up
		profile, psk, err := running.Find("host-1", made.ID(), start)
		if err != nil || profile != NoiseIKpsk2 || !psk.Equal(made.PSK()) {
			t.Fatalf("got %v (%v), want the pairing's profile and PSK", profile, err)
		}
	}
	client := Key{7}
	peer, err := running.Redeem("host-1", made.ID(), client, start.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	want := Peer{
		Key: client, Target: "host-1", Profile: NoiseIKpsk2, PSK: made.PSK(), Label: "Ann's phone",
		PairedAt: start.Add(time.Minute),
	}
	wantPeer(t, peer, want)
	pinned, found, err := peers.ByKey("host-1", client)
	if !found || err != nil {
		t.Fatalf("got %v %v, want the client pinned", found, err)
	}
	wantPeer(t, pinned, want)
	if _, _, err := running.Find("host-1", made.ID(), start); !errors.Is(err, ErrPairingUnknown) {
		t.Errorf("found again: got %v, want ErrPairingUnknown", err)
	}
	if _, err := running.Redeem("host-1", made.ID(), Key{8}, start); !errors.Is(err, ErrPairingUnknown) {
		t.Errorf("used again: got %v, want ErrPairingUnknown", err)
	}
	b, err := os.ReadFile(running.file.path())
	if err != nil || bytes.Contains(b, []byte(made.PSK().encode())) {
		t.Errorf("the PSK still lies in the file of what waits (%v)", err)
	}
}

func TestOfProcessesThatRedeemOneStringAtOnceOneSucceeds(t *testing.T) {
	s := open(t)
	peers, pairings := daemonFiles(t, s)
	made, err := pairings.Create("host-1", NoiseIKpsk2, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	printed := processes(t, 8, "IDENTITY_TEST_HOME="+s.home, "IDENTITY_TEST_PAIRING="+encoded(t, made))
	winners := slices.DeleteFunc(printed, func(key string) bool { return key == "" })
	all, err := peers.List()
	if err != nil || len(winners) != 1 || len(all) != 1 || all[0].Key.String() != winners[0] {
		t.Errorf("got winners %v and peers %v (%v), want one and the same", winners, all, err)
	}
}

func TestAPairingStringLastsTenMinutes(t *testing.T) {
	_, pairings := daemonFiles(t, open(t))
	made, err := pairings.Create("host-1", NoiseIK, "", start)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after time.Duration
		want  error
	}{
		{0, nil},
		{PairingLifetime - time.Nanosecond, nil},
		{PairingLifetime, ErrPairingUnknown},
		{24 * time.Hour, ErrPairingUnknown},
		{-time.Second, ErrPairingUnknown}, // the clock was set back: nobody knows how old it is
	} {
		if _, _, err := pairings.Find("host-1", made.ID(), start.Add(c.after)); !errors.Is(err, c.want) {
			t.Errorf("after %v: got %v, want %v", c.after, err, c.want)
		}
	}
	_, err = pairings.Redeem("host-1", made.ID(), Key{7}, start.Add(PairingLifetime))
	if !errors.Is(err, ErrPairingUnknown) {
		t.Errorf("redeemed too late: got %v, want ErrPairingUnknown", err)
	}
}

func TestAPairingStringServesItsTargetOnly(t *testing.T) {
	_, pairings := daemonFiles(t, open(t))
	made, err := pairings.Create("host-1", NoiseIKpsk2, "", start)
	if err != nil {
		t.Fatal(err)
	}
	other := made.ID()
	other[0] ^= 1
	for _, c := range []struct {
		target string
		id     [8]byte
	}{{"host-2", made.ID()}, {"host-1", other}, {"host-1", [8]byte{}}} {
		if _, _, err := pairings.Find(c.target, c.id, start); !errors.Is(err, ErrPairingUnknown) {
			t.Errorf("%s %x: got %v, want ErrPairingUnknown", c.target, c.id, err)
		}
		if _, err := pairings.Redeem(c.target, c.id, Key{7}, start); !errors.Is(err, ErrPairingUnknown) {
			t.Errorf("%s %x: redeemed with %v, want ErrPairingUnknown", c.target, c.id, err)
		}
	}
}

func TestOnlySixteenStringsWaitAndOldOnesMakeRoom(t *testing.T) {
	_, pairings := daemonFiles(t, open(t))
	for range MaxPairings {
		if _, err := pairings.Create("host-1", NoiseIKpsk2, "", start); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pairings.Create("host-1", NoiseIKpsk2, "", start.Add(9*time.Minute)); err == nil ||
		!strings.Contains(err.Error(), "1m0s") {
		t.Errorf("got %v, want an error that says when the first ends", err)
	}
	if _, err := pairings.Create("host-1", NoiseIKpsk2, "", start.Add(PairingLifetime)); err != nil {
		t.Errorf("after they ended: %v", err)
	}
	if all, err := pairings.read(start.Add(PairingLifetime)); err != nil || len(all) != 1 {
		t.Errorf("got %d (%v), want 1: old ones are dropped", len(all), err)
	}
}

func TestAClientThatCannotBePinnedUsesNoStringUp(t *testing.T) {
	_, pairings := daemonFiles(t, open(t))
	made, err := pairings.Create("host-1", NoiseIKpsk2, "", start)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pairings.Redeem("host-1", made.ID(), Key{}, start); err == nil {
		t.Error("a client without a key was pinned")
	}
	if _, _, err := pairings.Find("host-1", made.ID(), start); err != nil {
		t.Errorf("got %v, want the string still there", err)
	}
}

func TestPairingsThatCannotBeAreNotMade(t *testing.T) {
	_, pairings := daemonFiles(t, open(t))
	for _, c := range []struct {
		target  string
		profile Profile
		label   string
	}{{"a/b", NoiseIK, ""}, {"", NoiseIK, ""}, {"host-1", 0, ""}, {"host-1", 3, ""}, {"host-1", NoiseIK, "\n"}} {
		if p, err := pairings.Create(c.target, c.profile, c.label, start); err == nil {
			t.Errorf("got %v, want an error", p)
		}
	}
}
