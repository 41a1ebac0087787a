package legacycrypto

import (
	"errors"
	"fmt"
	"testing"
)

// asked are both ends of a session whose daemon has asked for a new key.
func asked(t testing.TB, p Profile) (client, daemon *Session) {
	t.Helper()
	client, daemon = sessions(t, p)
	daemon.sent = RekeyAfter - 1
	opens(t, client, seal(t, daemon, "the one that is too many"), "the one that is too many")
	frame, due := daemon.AskRekey()
	if !due {
		t.Fatal("got no call for a new key")
	}
	if err := client.ReadKeyUpdate(parse[*KeyUpdate](t, frame)); err != nil {
		t.Fatal(err)
	}
	return client, daemon
}

func TestADaemonAsksForANewKeyOnceAfter250EnvelopesOfEitherDirection(t *testing.T) {
	for _, byDaemon := range []bool{true, false} {
		client, daemon := sessions(t, NoiseIK)
		var asks []int
		var frame []byte
		for i := 1; i <= 2*RekeyAfter; i++ {
			if byDaemon {
				seal(t, daemon, "x")
			} else {
				opens(t, daemon, seal(t, client, "x"), "x")
			}
			if f, due := daemon.AskRekey(); due {
				asks, frame = append(asks, i), f
			}
		}
		if len(asks) != 1 || asks[0] != 250 {
			t.Fatalf("got it asked after %v, want after 250 and once", asks)
		}
		want := fmt.Sprintf(`{"type":"relay_key_update_required","sessionId":%q,"nextEpoch":2,`+
			`"reason":"message_threshold"}`, daemon.ID())
		if string(frame) != want {
			t.Errorf("got %s, want %s", frame, want)
		}
		if _, due := client.AskRekey(); due {
			t.Error("got a client that asks")
		}
	}
}

func TestANewKeyTakesTheSessionOnInTheNextEpoch(t *testing.T) {
	for _, p := range profiles {
		old, oldDaemon := asked(t, p)
		if !old.RekeyDue() {
			t.Fatal("got no rekey due")
		}
		c, d := configs(t, p)
		c.Previous, c.Random, d.Random = old, source("second client"), source("second daemon")
		toTheOld := seal(t, old, "sent before")
		h, init := begin(t, c)
		if got := fieldsOf(t, init)["previousSessionId"]; got != old.ID() {
			t.Errorf("previousSessionId: got %v, want %s", got, old.ID())
		}

		// Between init and response nothing new goes out, but what the daemon had sent still opens.
		_, err := old.Seal([]byte("would be lost"))
		wants(t, "sealing meanwhile", err, ErrRekeying)
		fromTheOld := seal(t, oldDaemon, "sent before the response")
		response, daemon := answer(t, d, init, oldDaemon)
		opens(t, old, fromTheOld, "sent before the response")

		// The daemon has dropped the old session at once.
		refuses(t, oldDaemon, toTheOld, ErrEnded)
		_, err = oldDaemon.Seal([]byte("x"))
		wants(t, "the daemon's old session", err, ErrEnded)

		client, err := h.Finish(parse[*Response](t, response))
		if err != nil {
			t.Fatal(err)
		}
		_, err = old.Seal([]byte("x"))
		wants(t, "the client's old session", err, ErrEnded)
		refuses(t, old, fromTheOld, ErrEnded)
		if client.Epoch() != 2 || daemon.Epoch() != 2 || client.ID() == old.ID() || client.RekeyDue() ||
			daemon.RekeyDue() {
			t.Errorf("got epochs %d and %d", client.Epoch(), daemon.Epoch())
		}
		refuses(t, daemon, toTheOld, ErrSession)
		frame := seal(t, client, "up")
		if e := parse[*Envelope](t, frame); e.Seq != 1 || e.Epoch != 2 {
			t.Errorf("the first envelope: got sequence %d and epoch %d, want 1 and 2", e.Seq, e.Epoch)
		}
		opens(t, daemon, frame, "up")
		opens(t, client, seal(t, daemon, "down"), "down")
	}
}

func TestADaemonRekeysOnlyASessionThatItAskedAbout(t *testing.T) {
	old, oldDaemon := asked(t, NoiseIKpsk2)
	c, d := configs(t, NoiseIKpsk2)
	c.Previous = old
	_, init := begin(t, c)
	respond := func(text []byte, previous *Session) error {
		h, err := ReadInit(d, parse[*Init](t, text))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = h.Respond(testPSK(t), previous)
		return err
	}
	_, fresh := sessions(t, NoiseIKpsk2)
	fresh.id = old.ID()
	_, ik := asked(t, NoiseIK)
	ik.id = old.ID()
	gone, other := *oldDaemon, *oldDaemon
	gone.Wipe()
	other.id = "rs_other"
	for name, c := range map[string]struct {
		text     []byte
		previous *Session
		want     error
	}{
		"unknown":                    {init, nil, ErrPrevious},
		"not asked":                  {init, fresh, ErrPrevious},
		"another profile":            {init, ik, ErrProfile},
		"another pairing":            {set(t, init, "pairingPeerId", "somebody else"), oldDaemon, ErrPrevious},
		"over":                       {init, &gone, ErrEnded},
		"another than the client's":  {init, &other, ErrMisuse},
		"a client's":                 {init, old, ErrMisuse},
		"one that nobody asked for":  {set(t, init, "previousSessionId", nil), oldDaemon, ErrMisuse},
		"none, by JavaScript's null": {set(t, init, "previousSessionId", ""), oldDaemon, ErrMisuse},
	} {
		wants(t, name, respond(c.text, c.previous), c.want)
		if frame, err := oldDaemon.Seal([]byte("x")); err != nil || frame == nil {
			t.Fatalf("%s: got the old session ended: %v", name, err)
		}
	}
	if err := respond(init, oldDaemon); err != nil {
		t.Errorf("the genuine one at last: %v", err)
	}
}

func TestAClientRekeysOnlyWhenItsDaemonAskedAndTheDaemonKeepsCount(t *testing.T) {
	client, daemon := sessions(t, NoiseIK)
	c, d := configs(t, NoiseIK)
	c.Previous = client
	_, err := NewClientHandshake(c)
	wants(t, "nobody asked", err, ErrPrevious)

	for name, u := range map[string]struct {
		KeyUpdate
		want error
	}{
		"another session": {KeyUpdate{"rs_other", 2}, ErrSession},
		"this epoch":      {KeyUpdate{client.ID(), 1}, ErrEpoch},
		"a later epoch":   {KeyUpdate{client.ID(), 3}, ErrEpoch},
	} {
		wants(t, name, client.ReadKeyUpdate(&u.KeyUpdate), u.want)
		if client.RekeyDue() {
			t.Errorf("%s: got a rekey due", name)
		}
	}
	wants(t, "asked of a daemon", daemon.ReadKeyUpdate(&KeyUpdate{daemon.ID(), 2}), ErrMisuse)

	client, _ = asked(t, NoiseIK)
	c.Previous = client
	h, init := begin(t, c)
	for _, m := range []struct {
		sealed, id string
		epoch      uint64
		want       error
	}{
		{`{"sessionId":"rs_new","epoch":1}`, "rs_new", 1, ErrEpoch},
		{`{"sessionId":"rs_new","epoch":3}`, "rs_new", 3, ErrEpoch},
		{fmt.Sprintf(`{"sessionId":%q,"epoch":2}`, client.ID()), client.ID(), 2, ErrMetadata},
	} {
		_, err := tryResponse(h, metadataOf(t, d, init, m.sealed, m.id, m.epoch))
		wants(t, m.sealed, err, m.want)
		if client.aead == nil {
			t.Fatalf("%s: got the old session ended", m.sealed)
		}
	}
	if _, err := NewClientHandshake(c); !errors.Is(err, ErrRekeying) {
		t.Errorf("a second rekey at once: got %v", err)
	}
	if _, err := tryResponse(h, metadataOf(t, d, init, `{"sessionId":"rs_new","epoch":2}`, "rs_new", 2)); err != nil {
		t.Errorf("the genuine one at last: %v", err)
	}

	psk, _ := configs(t, NoiseIKpsk2)
	psk.Previous, _ = asked(t, NoiseIK)
	_, err = NewClientHandshake(psk)
	wants(t, "another profile", err, ErrProfile)
	_, psk.Previous = asked(t, NoiseIKpsk2)
	_, err = NewClientHandshake(psk)
	wants(t, "a daemon's session", err, ErrMisuse)
}

func TestAClientThatGivesUpARekeyCanGoOnWithTheOldKey(t *testing.T) {
	old, oldDaemon := asked(t, NoiseIK)
	c, _ := configs(t, NoiseIK)
	c.Previous = old
	h, _ := begin(t, c)
	h.Wipe()
	opens(t, oldDaemon, seal(t, old, "still here"), "still here")
}
