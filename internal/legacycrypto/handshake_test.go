package legacycrypto

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestBothRolesAgreeOnASessionInBothProfiles(t *testing.T) {
	for _, p := range profiles {
		t.Run(string(p), func(t *testing.T) {
			client, daemon := sessions(t, p)
			if client.ID() != daemon.ID() || client.Profile() != p || daemon.Profile() != p ||
				client.Epoch() != 1 || daemon.Epoch() != 1 || client.PairingPeerID() != daemon.PairingPeerID() {
				t.Errorf("got session %s and session %s, epochs %d and %d",
					client.ID(), daemon.ID(), client.Epoch(), daemon.Epoch())
			}
			if id := client.ID(); !regexp.MustCompile("^rs_[0-9a-f]{24}$").MatchString(id) {
				t.Errorf("session id: got %s, want rs_ and 24 characters of hex", id)
			}
			for _, word := range []string{"one", "two", "three"} {
				opens(t, daemon, seal(t, client, word+" up"), word+" up")
				opens(t, client, seal(t, daemon, word+" down"), word+" down")
			}
		})
	}
}

func TestADaemonKnowsWhetherItsClientIsThereByTheFirstEnvelope(t *testing.T) {
	client, daemon := sessions(t, NoiseIKpsk2)
	seal(t, daemon, "to whom it may concern")
	if !client.Confirmed() || daemon.Confirmed() {
		t.Errorf("before: got client %v and daemon %v, want the client alone", client.Confirmed(), daemon.Confirmed())
	}
	opens(t, daemon, seal(t, client, "here"), "here")
	if !daemon.Confirmed() {
		t.Error("after an envelope opened: got a daemon that does not know")
	}
}

func TestADaemonReadsWhatAClientClaimsBeforeItAnswers(t *testing.T) {
	old, _ := asked(t, NoiseIKpsk2)
	c, d := configs(t, NoiseIKpsk2)
	c.Static, c.Previous = testKey(t, "a client that keeps its key"), old
	h, init := begin(t, c)
	r, err := ReadInit(d, parse[*Init](t, init))
	if err != nil {
		t.Fatal(err)
	}
	if r.RequestID() != h.RequestID() || r.Profile() != NoiseIKpsk2 || r.PairingPeerID() != testPeerID ||
		r.PreviousSessionID() != old.ID() || r.Client() != c.Static.Public() {
		t.Errorf("got request %s, %s, peer %s, previous %s, client %s",
			r.RequestID(), r.Profile(), r.PairingPeerID(), r.PreviousSessionID(), r.Client())
	}
}

// otherPoint is a point of the curve that nobody uses here.
func otherPoint(t testing.TB) string { return testKey(t, "somebody else's").Public().String() }

func TestEveryFieldOfAnInitThatIsChangedIsRefusedByItsName(t *testing.T) {
	for _, p := range profiles {
		c, d := configs(t, p)
		_, init := begin(t, c)
		other := NoiseIKpsk2
		if p == NoiseIKpsk2 {
			other = NoiseIK
		}
		for _, c := range []struct {
			field string
			value any
			want  error
			says  string
		}{
			{"type", nil, ErrFrame, "type"},
			{"type", "relay_status", ErrOtherType, ""},
			{"version", nil, ErrFrame, "version"},
			{"version", 2, ErrVersion, "version 2, want 3"},
			{"version", "3", ErrFrame, "version"},
			{"profile", "noise-xx", ErrFrame, "profile"},
			{"profile", other, ErrHandshake, ""},
			{"requestId", nil, ErrFrame, "requestId"},
			{"requestId", " ", ErrFrame, "requestId"},
			{"requestId", strings.Repeat("x", 256), ErrFrame, "requestId"},
			{"clientEphemeralPublicKey", nil, ErrFrame, "clientEphemeralPublicKey"},
			{"clientEphemeralPublicKey", flip(t, init, "clientEphemeralPublicKey", 64), ErrFrame, "not an uncompressed point"},
			{"clientEphemeralPublicKey", otherPoint(t), ErrHandshake, ""},
			{"encryptedClientStatic", nil, ErrFrame, "encryptedClientStatic"},
			{"encryptedClientStatic", flip(t, init, "encryptedClientStatic", 0), ErrHandshake, ""},
			{"encryptedClientStatic", flip(t, init, "encryptedClientStatic", 80), ErrHandshake, ""},
			{"encryptedClientStatic", "AAAA", ErrFrame, "encryptedClientStatic: 3 bytes, want 81"},
			{"previousSessionId", "rs_000000000000000000000000", ErrPrevious, ""},
			{"previousSessionId", 1, ErrFrame, "previousSessionId"},
		} {
			text := set(t, init, c.field, c.value)
			if c.field == "profile" && c.value == NoiseIKpsk2 {
				text = set(t, text, "pairingPeerId", testPeerID)
			}
			err := tryInit(d, text, testPSK(t))
			what := string(p) + ", " + c.field
			wants(t, what, err, c.want)
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: got %v, want it to say %q", what, err, c.says)
			}
		}
	}
	c, d := configs(t, NoiseIKpsk2)
	_, init := begin(t, c)
	for _, value := range []any{nil, "", 7, "  "} {
		wants(t, "pairingPeerId", tryInit(d, set(t, init, "pairingPeerId", value), testPSK(t)), ErrFrame)
	}
	wants(t, "a pairing that the daemon does not know", tryInit(d, init, PSK{}), ErrPSK)
}

func tryInit(d DaemonConfig, text []byte, psk PSK) error {
	frame, err := Parse(text)
	if err != nil {
		return err
	}
	h, err := ReadInit(d, frame.(*Init))
	if err != nil {
		return err
	}
	_, _, err = h.Respond(psk, nil)
	return err
}

func TestAKeyIsTakenInItsUncompressedFormOnly(t *testing.T) {
	c, _ := configs(t, NoiseIK)
	_, init := begin(t, c)
	point := decoded(t, fieldsOf(t, init)["clientEphemeralPublicKey"].(string))
	compressed := append([]byte{2 + point[64]&1}, point[1:33]...)
	hybrid := append([]byte{6 + point[64]&1}, point[1:]...)
	for name, b := range map[string][]byte{
		"compressed": compressed, "hybrid": hybrid, "infinity": {0}, "zeros": make([]byte, 65),
		"longer": append(point, 0),
	} {
		if _, err := Parse(set(t, init, "clientEphemeralPublicKey", encodeBase64(b))); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
		if _, err := NewPublicKey(b); !errors.Is(err, ErrKey) {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
}

func TestAClientWhoseSealedKeyIsNoPointIsRefused(t *testing.T) {
	c, d := configs(t, NoiseIK)
	h, init := begin(t, c)
	state := newSymmetric(NoiseIK, c.Daemon)
	e := h.ephemeral.Public()
	state.mixHash(e[:])
	if err := state.mixDH(h.ephemeral, c.Daemon); err != nil {
		t.Fatal(err)
	}
	notOnTheCurve := append([]byte{4}, make([]byte, 64)...)
	err := tryInit(d, set(t, init, "encryptedClientStatic", encodeBase64(state.seal(notOnTheCurve))), PSK{})
	wants(t, "a static key that is none", err, ErrHandshake)
}

func TestEveryFieldOfAResponseThatIsChangedIsRefusedAndTheGenuineOneStillWorks(t *testing.T) {
	for _, p := range profiles {
		c, d := configs(t, p)
		h, init := begin(t, c)
		response, daemon := answer(t, d, init, nil)
		other := NoiseIKpsk2
		if p == NoiseIKpsk2 {
			other = NoiseIK
		}
		for _, c := range []struct {
			field string
			value any
			want  error
		}{
			{"type", "relay_key_exchange_init", ErrFrame},
			{"version", 2, ErrVersion},
			{"profile", other, ErrProfile},
			{"profile", nil, ErrFrame},
			{"requestId", "kex-0000000000000000", ErrRequest},
			{"requestId", nil, ErrFrame},
			{"daemonEphemeralPublicKey", otherPoint(t), ErrHandshake},
			{"daemonEphemeralPublicKey", flip(t, response, "daemonEphemeralPublicKey", 1), ErrFrame},
			{"daemonEphemeralPublicKey", nil, ErrFrame},
			{"encryptedMetadata", flip(t, response, "encryptedMetadata", 3), ErrHandshake},
			{"encryptedMetadata", "AAAA", ErrFrame},
			{"encryptedMetadata", encodeBase64(make([]byte, 16)), ErrHandshake},
			{"sessionId", "rs_000000000000000000000000", ErrMetadata},
			{"sessionId", nil, ErrFrame},
			{"epoch", 2, ErrMetadata},
			{"epoch", 0, ErrFrame},
			{"epoch", "1", ErrFrame},
			{"proof", flip(t, response, "proof", 31), ErrProof},
			{"proof", "AAAA", ErrFrame},
		} {
			before := *h.state
			s, err := tryResponse(h, set(t, response, c.field, c.value))
			wants(t, string(p)+", "+c.field, err, c.want)
			if s != nil || *h.state != before {
				t.Errorf("%s, %s: got the handshake changed", p, c.field)
			}
		}
		// What nothing vouches for is ignored.
		s, err := tryResponse(h, set(t, response, "daemonPublicKey", otherPoint(t)))
		if err != nil {
			t.Fatalf("%s: the genuine response at last: %v", p, err)
		}
		opens(t, daemon, seal(t, s, "up"), "up")
		if _, err := tryResponse(h, response); !errors.Is(err, ErrMisuse) {
			t.Errorf("the same response again: got %v, want misuse", err)
		}
	}
}

func tryResponse(h *ClientHandshake, text []byte) (*Session, error) {
	frame, err := Parse(text)
	if err != nil {
		return nil, err
	}
	r, ok := frame.(*Response)
	if !ok {
		return nil, ErrFrame
	}
	return h.Finish(r)
}

// metadataOf is a response of a daemon that holds every key and seals what it likes.
func metadataOf(t testing.TB, d DaemonConfig, init []byte, sealed, id string, epoch uint64) []byte {
	t.Helper()
	h, err := ReadInit(d, parse[*Init](t, init))
	if err != nil {
		t.Fatal(err)
	}
	ephemeral := testKey(t, "the daemon's ephemeral key")
	e := ephemeral.Public()
	h.state.mixHash(e[:])
	for _, public := range []PublicKey{h.init.ClientEphemeral, h.client} {
		if err := h.state.mixDH(ephemeral, public); err != nil {
			t.Fatal(err)
		}
	}
	r := Response{Profile: h.init.Profile, RequestID: h.init.RequestID, DaemonEphemeral: e, SessionID: id, Epoch: epoch}
	r.EncryptedMetadata = h.state.seal([]byte(sealed))
	r.Proof = h.state.hash
	return r.text(d.Static.Public())
}

func TestAClientBelievesOnlySealedMetadataThatMakeSense(t *testing.T) {
	c, d := configs(t, NoiseIK)
	h, init := begin(t, c)
	for _, m := range []struct {
		sealed, id string
		epoch      uint64
		want       error
	}{
		{`{"sessionId":"rs_b","epoch":1}`, "rs_a", 1, ErrMetadata},
		{`{"sessionId":"rs_a","epoch":2}`, "rs_a", 1, ErrMetadata},
		{`{"sessionId":"rs_a","epoch":2}`, "rs_a", 2, ErrEpoch},
		{`{"sessionId":"rs_a","epoch":"1"}`, "rs_a", 1, ErrFrame},
		{`{"sessionId":"rs_a"}`, "rs_a", 1, ErrFrame},
		{`{"epoch":1}`, "rs_a", 1, ErrFrame},
		{`[]`, "rs_a", 1, ErrFrame},
		{`null`, "rs_a", 1, ErrFrame},
		{``, "rs_a", 1, ErrFrame},
	} {
		_, err := tryResponse(h, metadataOf(t, d, init, m.sealed, m.id, m.epoch))
		wants(t, m.sealed, err, m.want)
	}
	sealed := `{"sessionId":"rs_0","epoch":9,"epoch":1,"sessionId":"rs_a","later":true}`
	if _, err := tryResponse(h, metadataOf(t, d, init, sealed, "rs_a", 1)); err != nil {
		t.Errorf("duplicates, of which the last counts, and a field of a later version: got %v", err)
	}
}

func TestAWrongPSKOrDaemonKeyShowsAtTheClient(t *testing.T) {
	c, d := configs(t, NoiseIKpsk2)
	psk, err := NewPSK([]byte(strings.Repeat("else", KeySize/4)))
	if err != nil {
		t.Fatal(err)
	}
	c.PSK = psk
	h, init := begin(t, c)
	response, _ := answer(t, d, init, nil)
	_, err = tryResponse(h, response)
	wants(t, "another PSK", err, ErrHandshake)

	c, d = configs(t, NoiseIK)
	_, init = begin(t, c)
	d.Static = testKey(t, "an impostor's")
	wants(t, "a daemon with another key", tryInit(d, init, PSK{}), ErrHandshake)
}

func TestADaemonThatRequiresPairingRefusesWhoDidNot(t *testing.T) {
	c, d := configs(t, NoiseIK)
	d.Required = NoiseIKpsk2
	_, init := begin(t, c)
	wants(t, "noise-ik", tryInit(d, init, PSK{}), ErrProfileTooWeak)

	c, d = configs(t, NoiseIKpsk2)
	d.Required = NoiseIK
	_, init = begin(t, c)
	if err := tryInit(d, init, testPSK(t)); err != nil {
		t.Errorf("more than is required: got %v", err)
	}
}

func TestAHandshakeCantBeMisused(t *testing.T) {
	c, d := configs(t, NoiseIK)
	psk, _ := configs(t, NoiseIKpsk2)
	for name, change := range map[string]func(*ClientConfig){
		"no profile":              func(c *ClientConfig) { c.Profile = "" },
		"a PSK with noise-ik":     func(c *ClientConfig) { c.PSK = psk.PSK },
		"a peer with noise-ik":    func(c *ClientConfig) { c.PairingPeerID = testPeerID },
		"no PSK with noise-ikpsk": func(c *ClientConfig) { *c = psk; c.PSK = PSK{} },
		"no peer with it":         func(c *ClientConfig) { *c = psk; c.PairingPeerID = "" },
		"a blank peer":            func(c *ClientConfig) { *c = psk; c.PairingPeerID = " " },
	} {
		bad := c
		change(&bad)
		_, err := NewClientHandshake(bad)
		wants(t, name, err, ErrMisuse)
	}
	bad := c
	bad.Daemon = PublicKey{}
	_, err := NewClientHandshake(bad)
	wants(t, "no daemon key", err, ErrKey)
	bad = c
	bad.Random = strings.NewReader("too short")
	_, err = NewClientHandshake(bad)
	wants(t, "no randomness", err, ErrRandom)

	h, err := NewClientHandshake(c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Finish(&Response{})
	wants(t, "a response before the init", err, ErrMisuse)
	init, err := h.Init()
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Init()
	wants(t, "a second init", err, ErrMisuse)
	h.Wipe()
	h.Wipe()
	_, err = h.Finish(&Response{})
	wants(t, "a response after Wipe", err, ErrMisuse)

	for name, config := range map[string]DaemonConfig{
		"no static key": {Required: NoiseIK}, "no required profile": {Static: d.Static},
	} {
		_, err = ReadInit(config, parse[*Init](t, init))
		wants(t, name, err, ErrMisuse)
	}
	r, err := ReadInit(d, parse[*Init](t, init))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Respond(PSK{}, nil); err != nil {
		t.Fatal(err)
	}
	_, _, err = r.Respond(PSK{}, nil)
	wants(t, "a second response", err, ErrMisuse)
}
