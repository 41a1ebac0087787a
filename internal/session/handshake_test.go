package session

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

func TestASessionOpensAtTheClientWithResponseAndAtTheDaemonOnlyWithItsFirstData(t *testing.T) {
	p := newPair(t, 1).dial()
	p.transmit(&p.client)
	p.client.script = dropAll // DATA 2 stays away
	p.run()
	if p.client.m.State() != Open || !p.client.fx.Has(Opened) {
		t.Fatalf("client: got state %d, effects %b, want Open", p.client.m.State(), p.client.fx)
	}
	if p.daemon.m.State() != HalfOpen || p.daemon.fx.Has(Opened) {
		t.Fatalf("daemon: got state %d, effects %b, want HalfOpen", p.daemon.m.State(), p.daemon.fx)
	}
	if n, done := p.trySend(&p.daemon, []byte("too early")); n != 0 || done {
		t.Fatalf("a half-open daemon took %d bytes, done %t, want none", n, done)
	}
	p.client.script = nil
	p.tell(&p.client, reason.SequenceGap, 2)
	p.run()
	if p.daemon.m.State() != Open || !p.daemon.fx.Has(Opened|Writable) {
		t.Fatalf("daemon: got state %d, effects %b, want Open", p.daemon.m.State(), p.daemon.fx)
	}
	if got := p.daemon.m.PeerVersion() + p.client.m.PeerVersion(); got != "test 1test 1" {
		t.Errorf("versions: got %q, want both", got)
	}
	if got := p.daemon.m.PeerKey(); got == ([32]byte{}) || p.daemon.m.ID() != p.client.m.ID() {
		t.Errorf("the daemon does not know its peer")
	}
	p.send(&p.daemon, []byte("now"))
	p.send(&p.client, []byte("hello"))
	p.run()
	p.wantReceived(&p.client, "now")
	p.wantReceived(&p.daemon, "hello")
}

func TestBothProfilesOpen(t *testing.T) {
	p := newPair(t, 2)
	p.profile, p.psk = profilePSK, bytes.Repeat([]byte{7}, 32)
	p.open()
	p.send(&p.client, []byte("x"))
	p.run()
	p.wantReceived(&p.daemon, "x")
	if p.daemon.m.Profile() != profilePSK {
		t.Errorf("got profile %v, want IKpsk2", p.daemon.m.Profile())
	}
}

func TestAnotherPSKIsToldAsAFailedHandshakeAfterASecond(t *testing.T) {
	p := newPair(t, 3)
	p.profile, p.psk, p.daemonPSK = profilePSK, bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)
	p.dial().run()
	wantAlive(t, p.client.m)
	p.wait(handshakeGrace)
	wantEnd(t, p.client.m, Local, reason.HandshakeFailed)
	if p.daemon.fx.Has(Opened) {
		t.Error("the daemon opened")
	}
}

func TestAnInitForAnotherDaemonIsAnError(t *testing.T) {
	p := newPair(t, 4).dial()
	f := p.transmitted(p.client.m)[0]
	for name, read := range map[string]func() (*Incoming, error){
		"key": func() (*Incoming, error) { return ReadInit(p.config, p.key(), &f.Header, f.ciphertext, p.random) },
		"target": func() (*Incoming, error) {
			c := p.config
			c.Target = "machine-2"
			return ReadInit(c, p.daemonKey, &f.Header, f.ciphertext, p.random)
		},
		"session": func() (*Incoming, error) {
			h := f.Header
			h.Session = []byte(envelope.SessionID(make([]byte, 16)))
			return ReadInit(p.config, p.daemonKey, &h, f.ciphertext, p.random)
		},
	} {
		if _, err := read(); !errors.Is(err, &reason.Error{Code: reason.HandshakeFailed}) {
			t.Errorf("another %s: got %v, want HANDSHAKE_FAILED", name, err)
		}
	}
	h := f.Header
	h.Sequence = 2
	if _, err := ReadInit(p.config, p.daemonKey, &h, f.ciphertext, p.random); err == nil {
		t.Error("an INIT of sequence 2 was read")
	}
}

func TestThePairingIDReachesTheDaemon(t *testing.T) {
	p := newPair(t, 5)
	key := p.key()
	m, err := NewClient(p.config, ClientHandshake{
		Profile: profileIK, Static: key, PeerStatic: p.daemonKey.Public, PairingID: []byte("pairing1"),
	}, p.random, p.now)
	if err != nil {
		t.Fatal(err)
	}
	f := p.transmitted(m)[0]
	if len(f.BindKey) != 16 || envelope.SessionID(f.BindKey) != m.ID() || f.Profile != profileIK {
		t.Errorf("INIT: bind key of %d bytes, profile %v", len(f.BindKey), f.Profile)
	}
	in, err := ReadInit(p.config, p.daemonKey, &f.Header, f.ciphertext, p.random)
	if err != nil {
		t.Fatal(err)
	}
	if in.PeerKey() != key.Public {
		t.Error("the daemon reads another key than the client's")
	}
	if string(in.PairingID()) != "pairing1" || in.ID() != m.ID() || in.Profile() != profileIK {
		t.Errorf("got pairing id %q, want pairing1", in.PairingID())
	}
	if _, err := NewClient(p.config, ClientHandshake{
		Profile: profileIK, Static: p.key(), PeerStatic: p.daemonKey.Public, PairingID: []byte("short"),
	}, p.random, p.now); err == nil {
		t.Error("a pairing id of 5 bytes was taken")
	}
}

func TestAHandshakeWithoutAnAnswerEndsAfterTenSeconds(t *testing.T) {
	p := newPair(t, 6).dial()
	p.client.script = dropAll
	p.wait(handshakeTimeout - 1)
	wantAlive(t, p.client.m)
	p.wait(1)
	wantEnd(t, p.client.m, Local, reason.HandshakeTimeout)
	if got := types(p.client.sent); len(got) != 2 || got[1] != relayv1.FrameType_FRAME_TYPE_RESET {
		t.Errorf("sent %v, want one INIT (a handshake is not resumed), and a RESET that frees the relay's entry", got)
	}
	if !p.client.m.Done() {
		t.Error("the machine is not done")
	}
}

func TestAnInitThatTheRelayDroppedIsSentAgainOnItsWord(t *testing.T) {
	p := newPair(t, 16).dial()
	p.client.script = dropAll
	p.run()
	p.client.script = nil
	p.tell(&p.client, reason.SequenceGap, 0) // says nothing that a handshake could act on
	p.tell(&p.client, reason.SequenceGap, 1)
	p.run()
	if f := p.client.sent[1]; f.Type != typeInit || !f.Resend || !bytes.Equal(f.ciphertext, p.client.sent[0].ciphertext) {
		t.Errorf("got %v, resend %t, want the same INIT with resend", f.Type, f.Resend)
	}
	if p.daemon.m.State() != Open {
		t.Errorf("got state %d, want Open", p.daemon.m.State())
	}
}

func TestAHandshakeEndsWithPeerAvailablePeerUnavailableAndTheLink(t *testing.T) {
	for code, input := range map[reason.Code]func(m *Machine) Effects{
		reason.PeerAvailable: func(m *Machine) Effects {
			return m.LinkStatus(envelope.Status{Code: reason.PeerAvailable}, start)
		},
		reason.PeerUnavailable: func(m *Machine) Effects {
			return m.LinkStatus(envelope.Status{Code: reason.PeerUnavailable}, start)
		},
		reason.LinkLost: func(m *Machine) Effects { return m.LinkLost(start) },
	} {
		p := newPair(t, 7).dial()
		p.transmit(&p.client)
		if fx := input(p.client.m); !fx.Has(EndedUnclean | Readable | Writable) {
			t.Errorf("%s: got effects %b, want an end", code, fx)
		}
		by := Relay
		if code == reason.LinkLost {
			by = Link
		}
		wantEnd(t, p.client.m, by, code)
	}
}

func TestARefusalWithoutProofIsBelievedOnlyWhileTheHandshakeIsOpen(t *testing.T) {
	reset := func(m *Machine, code reason.Code) frame {
		return parse(t, AppendReset(nil, "ws", "machine-1", m.ID(), code))[0]
	}
	for _, code := range []reason.Code{
		reason.NotAuthorised, reason.ProfileTooWeak, reason.PairingUnknown, reason.Capacity,
	} {
		p := newPair(t, 8).dial()
		f := p.transmitted(p.client.m)[0]
		in, err := ReadInit(p.config, p.daemonKey, &f.Header, f.ciphertext, p.random)
		if err != nil {
			t.Fatal(err)
		}
		p.give(&p.client, parse(t, in.Refuse(nil, code))[0])
		wantEnd(t, p.client.m, Peer, code)

		p = openPair(t, 9)
		p.give(&p.client, reset(p.client.m, code))
		wantAlive(t, p.client.m)
	}
	for _, code := range []reason.Code{reason.Cancelled, reason.SessionUnknown, reason.DataLost, "ANYTHING"} {
		p := newPair(t, 10).dial()
		p.transmit(&p.client)
		p.give(&p.client, reset(p.client.m, code))
		wantAlive(t, p.client.m)
	}
}

func TestAForgedResponseDoesNotKeepTheTrueOneOut(t *testing.T) {
	p := newPair(t, 11)
	p.daemon.behind = func(f frame) []frame {
		if f.Type != typeResponse {
			return []frame{f}
		}
		forged, short, second := f.clone(), f.clone(), f.clone()
		second.Sequence = 2
		forged.ciphertext[40] ^= 1
		short.ciphertext = short.ciphertext[:10]
		return []frame{second, forged, short, f}
	}
	p.dial()
	p.transmit(&p.client)
	p.give(&p.daemon, p.client.flight[0])
	p.client.flight = nil
	p.transmit(&p.daemon)
	for i, f := range p.daemon.flight {
		if p.client.m.State() != Handshaking {
			t.Fatalf("open after forged response %d", i-1)
		}
		p.give(&p.client, f)
	}
	if p.client.m.State() != Open {
		t.Errorf("got state %d after the true response, want Open", p.client.m.State())
	}
}

func TestADaemonRefusesAfterResponseWithAnEncryptedClose(t *testing.T) {
	p := newPair(t, 12).dial()
	p.transmit(&p.client)
	p.give(&p.daemon, p.client.flight[0])
	p.client.flight = nil
	p.did(&p.daemon, p.daemon.m.CloseWrite("NOT_AUTHORISED", "no such key", p.now))
	p.run()
	if p.daemon.fx.Has(Opened) {
		t.Error("a refused client opened the session at the daemon")
	}
	if p.client.err != io.EOF {
		t.Fatalf("client: got %v, want io.EOF", p.client.err)
	}
	if code, text, ok := p.client.m.PeerClose(); code != "NOT_AUTHORISED" || text != "no such key" || !ok {
		t.Errorf("got %q %q, want the refusal", code, text)
	}
}

func TestParametersThatAreMalformedEndTheSession(t *testing.T) {
	for name, plaintext := range map[string][]byte{"no flags": nil, "more to come": {flagMore}, "no message": {0, 0xff}} {
		q := newPair(t, 17).dial()
		q.transmit(&q.client)
		q.give(&q.daemon, q.client.flight[0])
		q.client.flight = nil
		q.transmit(&q.daemon)
		q.give(&q.client, q.daemon.flight[0])
		// What the client would have sent as DATA 2 was sealed already: the daemon is given another plaintext.
		if q.daemon.m.firstData(plaintext) {
			t.Errorf("%s: taken", name)
		}
		wantEnd(t, q.daemon.m, Local, reason.DecryptFailed)
	}
}

func TestAHalfOpenSessionEndsAfterTenMinutes(t *testing.T) {
	p := newPair(t, 13).dial()
	p.transmit(&p.client)
	p.client.script = dropAll
	p.run()
	p.wait(halfOpenLifetime - time.Second)
	wantAlive(t, p.daemon.m)
	p.wait(time.Second)
	wantEnd(t, p.daemon.m, Local, reason.PeerSilent)
}

func TestASecondInitOfTheSessionChangesNothing(t *testing.T) {
	p := openPair(t, 14)
	again := newPair(t, 14).dial()
	again.transmit(&again.client)
	p.give(&p.daemon, again.client.flight[0])
	p.send(&p.client, []byte("still here"))
	p.run()
	p.wantReceived(&p.daemon, "still here")
}

func TestTheSmallerLimitsCount(t *testing.T) {
	p := newPair(t, 15)
	p.config.Window, p.config.MaxMessage = 200_000, 50_000
	c := p.config
	c.Window, c.MaxMessage = 1<<20, 20_000
	p.daemonConfig = &c
	p.open()
	for _, e := range []*end{&p.client, &p.daemon} {
		if e.m.window != 200_000 || e.m.MaxMessage() != 20_000 {
			t.Errorf("%s: got window %d and max-message %d, want 200000 and 20000", p.name(e), e.m.window, e.m.MaxMessage())
		}
	}
}
