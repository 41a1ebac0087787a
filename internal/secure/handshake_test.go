package secure

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"
)

func TestADaemonLearnsWhoAsksBeforeItChoosesThePSK(t *testing.T) {
	cc, dc := configs(t, ikpsk2)
	i, r := newInitiator(t, cc), newResponder(t, dc)
	m1, err := i.Init([]byte("pairing8"))
	if err != nil {
		t.Fatal(err)
	}
	peer, payload, err := r.ReadInit(m1)
	equal(t, "the client's key", peer[:], cc.Static.Public[:], err)
	equal(t, "the pairing id", payload, []byte("pairing8"), nil)

	for name, psk := range map[string][]byte{"none": nil, "short": make([]byte, 16), "zeros": make([]byte, KeySize)} {
		if _, _, err := r.Respond(psk, nil); !errors.Is(err, ErrMisuse) {
			t.Errorf("psk %s: got %v, want ErrMisuse", name, err)
		}
	}
	m2, daemon, err := r.Respond(cc.PSK, []byte("parameters"))
	if err != nil {
		t.Fatal(err)
	}
	payload, client, err := i.Finish(m2)
	equal(t, "the parameters", payload, []byte("parameters"), err)
	opens(t, daemon, data(2), seal(t, client, data(2), "up"), "up")
	opens(t, client, data(2), seal(t, daemon, data(2), "down"), "down")
}

func TestAHandshakeNeedsTheSameKeysOnBothSides(t *testing.T) {
	other := fill(0x77)
	stranger := keyPair(t, other)
	elsewhere := Prologue("acme2", "build-7", "s")
	for _, p := range []Profile{ik, ikpsk2} {
		for name, c := range map[string]struct {
			change    func(cc, dc *HandshakeConfig)
			psk       []byte // the daemon's, when another
			atMessage int
		}{
			"another daemon":     {change: func(_, dc *HandshakeConfig) { dc.Static = stranger }, atMessage: 1},
			"another workspace":  {change: func(_, dc *HandshakeConfig) { dc.Prologue = elsewhere }, atMessage: 1},
			"no prologue":        {change: func(_, dc *HandshakeConfig) { dc.Prologue = nil }, atMessage: 1},
			"the other profile":  {change: func(_, dc *HandshakeConfig) { dc.Profile ^= ik ^ ikpsk2 }, atMessage: 1},
			"a pin of another's": {change: func(cc, _ *HandshakeConfig) { cc.PeerStatic = stranger.Public }, atMessage: 1},
			"another psk":        {change: func(_, _ *HandshakeConfig) {}, psk: other[:], atMessage: 2},
		} {
			if c.psk != nil && p == ik {
				continue
			}
			t.Run(p.String()+"/"+name, func(t *testing.T) {
				cc, dc := configs(t, p)
				c.change(&cc, &dc)
				i, r := newInitiator(t, cc), newResponder(t, dc)
				m1, err := i.Init(nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _, err = r.ReadInit(m1)
				if c.atMessage == 1 {
					if !errors.Is(err, ErrHandshake) {
						t.Fatalf("message 1: got %v, want ErrHandshake", err)
					}
					return
				}
				psk := c.psk
				if psk == nil {
					psk = cc.PSK
				}
				m2, _, err := r.Respond(psk, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := i.Finish(m2); !errors.Is(err, ErrHandshake) {
					t.Fatalf("message 2: got %v, want ErrHandshake", err)
				}
			})
		}
	}
}

// lowOrder are the encodings of the points whose multiples by a private key are zero, the last five beyond p.
var lowOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func TestPublicKeysOfLowOrderAreRefusedWhereverTheyComeFrom(t *testing.T) {
	for _, text := range lowOrder {
		point, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		cc, dc := configs(t, ik)
		pinned := cc
		pinned.PeerStatic = [KeySize]byte(point)
		if _, err := NewInitiator(pinned); !errors.Is(err, ErrPublicKey) {
			t.Errorf("%s pinned: got %v, want ErrPublicKey", text, err)
		}
		// Ephemeral in message 1, by who knows how to seal the rest: every shared secret would be known.
		forged := append(bytes.Clone(point), make([]byte, 64)...)
		if _, _, err := newResponder(t, dc).ReadInit(forged); !errors.Is(err, ErrHandshake) {
			t.Errorf("%s in message 1: got %v, want ErrHandshake", text, err)
		}
		// Static in message 1: a genuine Noise message with that key.
		cc.Static.Public = [KeySize]byte(point)
		m1 := forgeInit(t, cc, dc)
		if _, _, err := newResponder(t, dc).ReadInit(m1); err == nil {
			t.Errorf("%s as static key: got no error", text)
		}
		cc, _ = configs(t, ik)
		i := newInitiator(t, cc)
		if _, err := i.Init(nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := i.Finish(forged); !errors.Is(err, ErrPublicKey) {
			t.Errorf("%s in message 2: got %v, want ErrPublicKey", text, err)
		}
	}
}

// forgeInit is a message 1 whose static key is c.Static.Public whatever the private key is; its shared secret with the
// daemon is computed from the daemon's side, as X25519 gives it.
func forgeInit(t *testing.T, c, dc HandshakeConfig) []byte {
	t.Helper()
	ephemeral := fill(0x33)
	p := newPlainHandshake(t, true, c.Prologue, c.Static.Private[:], ephemeral[:], c.PeerStatic[:], nil)
	m := append([]byte(nil), p.writeE()...)
	p.mixDH(p.e, p.rs)
	m = append(m, p.seal(c.Static.Public[:])...)
	shared, err := plainPrivate(t, dc.Static.Private[:]).ECDH(plainPublic(t, c.Static.Public[:]))
	if err != nil {
		shared = make([]byte, KeySize) // what a careless implementation mixes for a point of low order
	}
	p.mixKey(shared)
	return append(m, p.seal(nil)...)
}

func TestAClientHasOneNameOnly(t *testing.T) {
	cc, dc := configs(t, ik)
	if _, _, err := newResponder(t, dc).ReadInit(forgeInit(t, cc, dc)); err != nil {
		t.Fatalf("its own name: got %v, want it accepted", err)
	}
	cc.Static.Public[31] |= 0x80 // the same point to X25519
	if _, _, err := newResponder(t, dc).ReadInit(forgeInit(t, cc, dc)); !errors.Is(err, ErrPublicKey) {
		t.Errorf("its name with the top bit set: got %v, want ErrPublicKey", err)
	}
	nine := [KeySize]byte{9}
	beyond := [KeySize]byte{0: 0xed + 9, 31: 0x7f} // p + 9
	for i := 1; i < 31; i++ {
		beyond[i] = 0xff
	}
	if !canonical(nine[:]) || canonical(beyond[:]) {
		t.Errorf("9 is canonical: got %v, want true; p + 9: got %v, want false", canonical(nine[:]), canonical(beyond[:]))
	}
}

func TestAForgedResponseDoesNotStopTheGenuineOne(t *testing.T) {
	for _, p := range []Profile{ik, ikpsk2} {
		t.Run(p.String(), func(t *testing.T) {
			cc, dc := configs(t, p)
			i, r := newInitiator(t, cc), newResponder(t, dc)
			m1, err := i.Init(nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := r.ReadInit(m1); err != nil {
				t.Fatal(err)
			}
			m2, _, err := r.Respond(cc.PSK, []byte("parameters"))
			if err != nil {
				t.Fatal(err)
			}
			forged := [][]byte{nil, m1, make([]byte, 64), make([]byte, MaxMessage+1), append(bytes.Clone(m2), 0)}
			for at := range m2 {
				bad := bytes.Clone(m2)
				bad[at] ^= 1
				forged = append(forged, m2[:at], bad)
			}
			for _, bad := range forged {
				if _, _, err := i.Finish(bad); !errors.Is(err, ErrHandshake) && !errors.Is(err, ErrPublicKey) {
					t.Fatalf("forged %x: got %v, want it refused", bad, err)
				}
			}
			payload, _, err := i.Finish(m2)
			equal(t, "payload", payload, []byte("parameters"), err)
			if _, _, err := i.Finish(m2); !errors.Is(err, ErrMisuse) {
				t.Errorf("again: got %v, want ErrMisuse", err)
			}
		})
	}
}

func TestNoByteOfMessage1CanBeChanged(t *testing.T) {
	cc, dc := configs(t, ik)
	m1, err := newInitiator(t, cc).Init([]byte("pairing8"))
	if err != nil {
		t.Fatal(err)
	}
	for at := range m1 {
		bad := bytes.Clone(m1)
		bad[at] ^= 1
		for _, m := range [][]byte{bad, m1[:at]} {
			if _, _, err := newResponder(t, dc).ReadInit(m); !errors.Is(err, ErrHandshake) {
				t.Fatalf("byte %d: got %v, want ErrHandshake", at, err)
			}
		}
	}
}

func TestAHandshakeRefusesWhatCanNeverBeRight(t *testing.T) {
	cc, dc := configs(t, ikpsk2)
	zeros := make([]byte, KeySize)
	initiator := func(change func(*HandshakeConfig)) error {
		c := cc
		change(&c)
		_, err := NewInitiator(c)
		return err
	}
	responder := func(change func(*HandshakeConfig)) error {
		c := dc
		change(&c)
		_, err := NewResponder(c)
		return err
	}
	fresh, _ := configs(t, ik)
	i, r := newInitiator(t, fresh), newResponder(t, dc)
	_, _, finishFirst := i.Finish(make([]byte, 64))
	_, _, respondFirst := r.Respond(cc.PSK, nil)
	_, tooLong := i.Init(make([]byte, MaxMessage-Message1Overhead+1))
	_, longest := i.Init(make([]byte, MaxMessage-Message1Overhead))
	_, initTwice := i.Init(nil)
	i.Wipe()
	i.Wipe()
	_, _, wiped := i.Finish(make([]byte, 64))
	_, zeroKey := KeyPairFromPrivate([KeySize]byte{})
	_, _, spent := func() ([]byte, *Channel, error) {
		if _, _, err := r.ReadInit(zeros); !errors.Is(err, ErrHandshake) {
			t.Errorf("a short message 1: got %v, want ErrHandshake", err)
		}
		_, _, err := r.ReadInit(zeros)
		return nil, nil, err
	}()
	if longest != nil {
		t.Errorf("the longest payload: got %v, want none", longest)
	}
	for name, err := range map[string]error{
		"no profile":              initiator(func(c *HandshakeConfig) { c.Profile, c.PSK = 0, nil }),
		"no static key":           initiator(func(c *HandshakeConfig) { c.Static = KeyPair{} }),
		"no psk for IKpsk2":       initiator(func(c *HandshakeConfig) { c.PSK = nil }),
		"a psk of zeros":          initiator(func(c *HandshakeConfig) { c.PSK = zeros }),
		"a psk for IK":            initiator(func(c *HandshakeConfig) { c.Profile = ik }),
		"a responder with a pin":  responder(func(c *HandshakeConfig) { c.PeerStatic = cc.PeerStatic }),
		"a responder with a psk":  responder(func(c *HandshakeConfig) { c.PSK = cc.PSK }),
		"Finish before Init":      finishFirst,
		"Respond before ReadInit": respondFirst,
		"a payload too long":      tooLong,
		"Init twice":              initTwice,
		"Finish after Wipe":       wiped,
		"ReadInit after a failed": spent,
		"a private key of zeros":  zeroKey,
	} {
		if !errors.Is(err, ErrMisuse) {
			t.Errorf("%s: got %v, want ErrMisuse", name, err)
		}
	}
}

func TestWithoutRandomnessThereIsNoHandshakeAndNoKey(t *testing.T) {
	cc, dc := configs(t, ik)
	m1, err := newInitiator(t, cc).Init(nil)
	if err != nil {
		t.Fatal(err)
	}
	cc.Random, dc.Random = bytes.NewReader(nil), bytes.NewReader(make([]byte, 31))
	i, r := newInitiator(t, cc), newResponder(t, dc)
	if _, err := i.Init(nil); !errors.Is(err, io.EOF) {
		t.Errorf("Init: got %v, want EOF", err)
	}
	if _, _, err := r.ReadInit(m1); err != nil {
		t.Fatal(err)
	}
	if _, ch, err := r.Respond(nil, nil); !errors.Is(err, io.ErrUnexpectedEOF) || ch != nil {
		t.Errorf("Respond: got %v, want unexpected EOF", err)
	}
	if _, err := GenerateKeyPair(bytes.NewReader(nil)); !errors.Is(err, io.EOF) {
		t.Errorf("GenerateKeyPair: got %v, want EOF", err)
	}
}

func TestKeysComeFromCryptoRandWhenNothingElseIsGiven(t *testing.T) {
	a, err := GenerateKeyPair(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := GenerateKeyPair(nil)
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		t.Fatal("two generated key pairs: got the same, want different ones")
	}
	cc, dc := configs(t, ik)
	cc.Random, dc.Random, cc.Static, dc.Static, cc.PeerStatic = nil, nil, a, b, b.Public
	client, daemon := pairOf(t, cc, dc)
	opens(t, daemon, data(2), seal(t, client, data(2), "hello"), "hello")
}
