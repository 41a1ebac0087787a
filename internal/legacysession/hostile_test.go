package legacysession

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/getviewport/relay/internal/legacycrypto"
)

// feed is what a relay can do: hand a text to an end. What is no frame does not even reach the machine.
func (e *ends) feed(m *Machine, text []byte) {
	if f, err := legacycrypto.Parse(text); err == nil {
		m.Receive(f, e.now)
	}
}

// state is everything of a machine that shows.
func state(m *Machine) string {
	out, in := m.Buffered()
	return fmt.Sprint(m.SessionID(), m.RequestID(), m.Proved(), m.Heard(), m.Missed(), out, in, m.Err(), m.Deadline())
}

func TestARelayCanDoNothingToASessionButDropItsEnvelopes(t *testing.T) {
	e := open(t, ik, 0)
	e.send(e.up, "one")
	one := transmit(e.up)
	e.send(e.down, "eins")
	eins := transmit(e.down)
	e.feed(e.down, one)
	e.feed(e.up, eins)
	e.want(e.down, "one")
	e.want(e.up, "eins")
	e.send(e.up, "two")
	two := transmit(e.up)

	envelope := parse[*legacycrypto.Envelope](t, two)
	tag := []byte(base64.RawURLEncoding.EncodeToString(envelope.Tag[:]))
	short := []byte(base64.RawURLEncoding.EncodeToString(envelope.Tag[:4]))
	forged := func(change func(f *legacycrypto.Envelope)) func() {
		f := *envelope
		f.Ciphertext = bytes.Clone(f.Ciphertext)
		change(&f)
		return func() { e.down.Receive(&f, e.now) }
	}
	attacks := map[string]func(){
		"replay":         func() { e.feed(e.down, one) },
		"reflection":     func() { e.feed(e.up, two) },
		"old reflection": func() { e.feed(e.down, eins) },
		"4-byte tag":     func() { e.feed(e.down, bytes.Replace(two, tag, short, 1)) },
		"no tag":         func() { e.feed(e.down, bytes.Replace(two, tag, nil, 1)) },
		"flipped bit":    forged(func(f *legacycrypto.Envelope) { f.Ciphertext[0] ^= 1 }),
		"far ahead":      forged(func(f *legacycrypto.Envelope) { f.Seq = 1000 }),
		"farther ahead":  forged(func(f *legacycrypto.Envelope) { f.Seq = 2000 }),
		"other epoch":    forged(func(f *legacycrypto.Envelope) { f.Epoch = 2 }),
		"other profile":  forged(func(f *legacycrypto.Envelope) { f.Profile = psk2 }),
		"other session":  forged(func(f *legacycrypto.Envelope) { f.SessionID = "rs_0" }),
		"garbage":        func() { e.feed(e.down, []byte("{")) },
		"call to a daemon": func() {
			e.down.Receive(&legacycrypto.KeyUpdate{SessionID: e.down.SessionID(), NextEpoch: 2}, e.now)
		},
		"call for another epoch": func() {
			e.up.Receive(&legacycrypto.KeyUpdate{SessionID: e.up.SessionID(), NextEpoch: 3}, e.now)
		},
		"answer to nothing": func() { e.up.Receive(&legacycrypto.Response{SessionID: e.up.SessionID()}, e.now) },
	}
	for name, attack := range attacks {
		up, down := state(e.up), state(e.down)
		attack()
		if state(e.up) != up || state(e.down) != down {
			t.Errorf("%s changed something:\n%s\n%s\n%s\n%s", name, up, state(e.up), down, state(e.down))
		}
	}
	// None of it hurts what is genuine.
	e.feed(e.down, two)
	e.want(e.down, "two")
	e.send(e.down, "zwei")
	e.deliver(e.down, e.up)
	e.want(e.up, "zwei")
}

func TestWhatComesLateIsDroppedAndCounted(t *testing.T) {
	e := open(t, ik, 0)
	var texts [][]byte
	for i := range 3 {
		e.send(e.up, fmt.Sprint(i))
		texts = append(texts, transmit(e.up))
	}
	for _, i := range []int{2, 0, 1} {
		e.feed(e.down, texts[i])
	}
	e.want(e.down, "2")
	e.wantNothing(e.down)
	if e.down.Missed() != 2 {
		t.Errorf("%d are said to be missing, want 2", e.down.Missed())
	}
	e.ask()
	e.deliver(e.up, e.down)
	e.deliver(e.down, e.up)
	if e.down.SessionID() == e.down.ID() || e.down.Missed() != 2 {
		t.Errorf("with a new key %d are said to be missing, want 2", e.down.Missed())
	}
}

func TestAnInitThatTheDaemonDidNotAskForReplacesNothing(t *testing.T) {
	e := open(t, ik, 0)
	h, err := legacycrypto.NewClientHandshake(e.exchange)
	if err != nil {
		t.Fatal(err)
	}
	text, err := h.Init()
	if err != nil {
		t.Fatal(err)
	}
	init := parse[*legacycrypto.Init](t, text)
	init.PreviousSessionID = e.down.SessionID()
	before := state(e.down)
	if _, err := e.down.Rekey(e.read(init.Text()), e.psk, e.now); err == nil {
		t.Error("it was taken")
	}
	if state(e.down) != before {
		t.Error("it changed something")
	}
	e.send(e.up, "unharmed")
	e.deliver(e.up, e.down)
	e.want(e.down, "unharmed")
}

func TestAForgedAnswerToAKeyExchangeKeepsNoGenuineOneOut(t *testing.T) {
	e := open(t, ik, 0)
	e.ask()
	if _, err := e.down.Rekey(e.read(transmit(e.up)), e.psk, e.now); err != nil {
		t.Fatal(err)
	}
	genuine := parse[*legacycrypto.Response](t, transmit(e.down))
	forged := *genuine
	forged.Proof[0] ^= 1
	before := state(e.up)
	e.up.Receive(&forged, e.now)
	if state(e.up) != before {
		t.Error("it changed something")
	}
	e.up.Receive(genuine, e.now)
	e.send(e.up, "by the new key")
	e.deliver(e.up, e.down)
	e.want(e.down, "by the new key")
}

// Whatever texts a relay makes up, no machine panics, none changes but by the one frame that the protocol leaves open
// (a call for a new key), and what is genuine goes on.
func FuzzMachine(f *testing.F) {
	const placeholder = "SESSION" // in a seed: the session's id
	e := open(f, ik, 0)
	e.send(e.up, "seed")
	f.Add(bytes.ReplaceAll(transmit(e.up), []byte(e.up.SessionID()), []byte(placeholder)))
	f.Add([]byte(`{"type":"relay_key_update_required","sessionId":"SESSION","nextEpoch":2}`))
	f.Add([]byte(`{"type":"relay_key_exchange_response","version":3,"sessionId":"SESSION"}`))
	f.Add([]byte(`{"type":"relay_pairing_offer_request","requestId":"SESSION"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e := open(t, ik, 0)
		frame, err := legacycrypto.Parse(bytes.ReplaceAll(text, []byte(placeholder), []byte(e.up.SessionID())))
		if err != nil {
			return
		}
		up, down := state(e.up), state(e.down)
		e.up.Receive(frame, e.now)
		e.down.Receive(frame, e.now)
		if state(e.down) != down {
			t.Fatalf("the daemon's end changed")
		}
		if _, call := frame.(*legacycrypto.KeyUpdate); call {
			return
		}
		if state(e.up) != up {
			t.Fatalf("the client's end changed")
		}
		e.send(e.up, "genuine")
		e.deliver(e.up, e.down)
		e.want(e.down, "genuine")
	})
}
