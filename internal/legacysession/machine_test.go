package legacysession

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/legacycrypto"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/session"
)

const (
	ik   = legacycrypto.NoiseIK
	psk2 = legacycrypto.NoiseIKpsk2
)

func TestAClientIsKnownOnceAMessageCame(t *testing.T) {
	e := open(t, psk2, 0)
	if e.down.Proved() || e.down.PairingPeerID() != "" {
		t.Fatal("the daemon believes a handshake, which may be a replay")
	}
	e.send(e.up, "it is me")
	e.deliver(e.up, e.down)
	if !e.down.Proved() || e.down.PairingPeerID() != "phone" {
		t.Fatalf("the daemon knows its client as %q", e.down.PairingPeerID())
	}
}

// Both ends send while the keys change, and what was on its way in either direction arrives.
func TestKeysChangeWithoutALoss(t *testing.T) {
	for _, profile := range []legacycrypto.Profile{ik, psk2} {
		e := open(t, profile, 0)
		id := e.up.ID()
		e.ask()
		// The client's init waits behind what it had sent before, and the daemon sends on.
		if e.up.RequestID() == "" {
			t.Fatal("the client begins no key exchange")
		}
		if _, done, _, err := e.up.Send([]byte("now?"), e.now); done || err != nil {
			t.Fatalf("Send in between: %v, %v, want it to wait", done, err)
		}
		e.send(e.down, "still by the old key")
		e.deliver(e.up, e.down) // the init
		e.send(e.down, "by the new key")
		e.deliver(e.down, e.up)
		e.want(e.up, "still by the old key")
		e.want(e.up, "by the new key")
		e.send(e.up, "now!")
		e.deliver(e.up, e.down)
		e.want(e.down, "now!")
		if e.up.ID() != id || e.up.SessionID() == id || e.up.SessionID() != e.down.SessionID() {
			t.Errorf("ids are %s and %s, envelopes have %s and %s", e.up.ID(), e.down.ID(), e.up.SessionID(), e.down.SessionID())
		}
		if e.up.Missed()+e.down.Missed() != 0 {
			t.Error("something is said to be lost")
		}
	}
}

func TestSendIsWokenWhenTheNewKeyIsThere(t *testing.T) {
	e := open(t, ik, 0)
	e.ask()
	_, _, _, _ = e.up.Send([]byte("waits"), e.now)
	if _, err := e.down.Rekey(e.read(transmit(e.up)), e.psk, e.now); err != nil {
		t.Fatal(err)
	}
	if effects := e.up.Receive(parse[*legacycrypto.Response](t, transmit(e.down)), e.now); !effects.Has(session.Writable) {
		t.Error("Send is not told to go on")
	}
}

func TestADaemonThatAsksForAKeyAndDoesNotAnswerEndsTheSession(t *testing.T) {
	e := open(t, ik, 0)
	e.ask()
	if want := e.now.Add(AnswerTime); !e.up.Deadline().Equal(want) {
		t.Fatalf("the deadline is %v, want %v", e.up.Deadline(), want)
	}
	e.up.Tick(e.now.Add(AnswerTime - 1))
	if e.up.Err() != nil {
		t.Fatal("it ended too early")
	}
	if effects := e.up.Tick(e.now.Add(AnswerTime)); !effects.Has(session.EndedUnclean) {
		t.Fatalf("effects %b", effects)
	}
	e.wantEnd(e.up, "HANDSHAKE_TIMEOUT", session.Local)
}

func TestASilentClientIsForgotten(t *testing.T) {
	const lifetime = 10 * time.Minute
	e := open(t, ik, lifetime)
	e.now = e.now.Add(lifetime - 1)
	e.send(e.up, "here")
	e.deliver(e.up, e.down)
	e.down.Tick(began.Add(lifetime))
	if e.down.Err() != nil {
		t.Fatal("a client that spoke was forgotten")
	}
	e.down.Tick(e.now.Add(lifetime))
	e.wantEnd(e.down, "PEER_SILENT", session.Local)
	if !e.down.Deadline().IsZero() || !e.down.Done() {
		t.Error("a session that is over wants something")
	}
}

func TestWhatWasReceivedStaysReadableAfterTheEnd(t *testing.T) {
	e := open(t, ik, 0)
	e.send(e.up, "one")
	e.deliver(e.up, e.down)
	e.send(e.down, "never sent")
	e.down.End(session.Link, reason.New(reason.LinkLost, ""), e.now)
	if e.down.WantsToSend() {
		t.Error("it still wants to send")
	}
	e.want(e.down, "one")
	_, ok, _, err := e.down.Next(e.now)
	if end, is := errors.AsType[*session.End](err); ok || !is || end.Code() != reason.LinkLost {
		t.Fatalf("Next: %v, %v", ok, err)
	}
	if _, _, _, err := e.down.Send([]byte("x"), e.now); err == nil {
		t.Error("it still takes messages")
	}
	// Nothing wakes it again.
	e.down.Receive(&legacycrypto.KeyUpdate{SessionID: e.down.SessionID(), NextEpoch: 2}, e.now)
	e.down.Tick(e.now.Add(time.Hour))
	e.wantEnd(e.down, "LINK_LOST", session.Link)
}

func TestAbortDropsWhatIsUnread(t *testing.T) {
	e := open(t, ik, 0)
	e.send(e.up, "one")
	e.deliver(e.up, e.down)
	e.down.Abort("", e.now)
	if _, ok, _, err := e.down.Next(e.now); ok || err == nil {
		t.Fatalf("Next: %v, %v", ok, err)
	}
	e.wantEnd(e.down, "CANCELLED", session.Local)
}

func TestSendWaitsForTheLink(t *testing.T) {
	e := open(t, ik, 0)
	msg := []byte(strings.Repeat("x", 10_000))
	taken := 0
	for done := true; done; taken++ {
		var err error
		if _, done, _, err = e.up.Send(msg, e.now); err != nil {
			t.Fatal(err)
		}
	}
	if out, _ := e.up.Buffered(); out > MaxOut+20_000 || taken < 10 {
		t.Fatalf("%d bytes wait after %d messages, at most %d should", out, taken, MaxOut)
	}
	woken := false
	for e.up.WantsToSend() {
		_, effects := e.up.Transmit()
		woken = woken || effects.Has(session.Writable)
	}
	if !woken {
		t.Error("Send is not told to go on")
	}
	if out, _ := e.up.Buffered(); out != 0 {
		t.Errorf("%d bytes are said to wait", out)
	}
}

func TestWhoDoesNotReadLosesTheSessionAndNotTheMemory(t *testing.T) {
	e := open(t, ik, 0)
	msg := strings.Repeat("x", 100_000)
	for e.down.Err() == nil {
		e.send(e.up, msg)
		e.deliver(e.up, e.down)
		if _, in := e.down.Buffered(); in > MaxIn+len(msg)+itemCost {
			t.Fatalf("%d bytes wait", in)
		}
	}
	e.wantEnd(e.down, "SLOW_CONSUMER", session.Local)
	e.want(e.down, msg)
}

func TestTheLongestMessageFitsIntoAFrame(t *testing.T) {
	e := open(t, psk2, 0)
	longest := e.up.MaxMessage()
	if longest < 786_000 {
		t.Errorf("the longest message has %d bytes", longest)
	}
	msg := strings.Repeat("x", longest)
	e.send(e.up, msg)
	text := transmit(e.up)
	if len(text) > MaxFrame {
		t.Fatalf("its frame has %d bytes", len(text))
	}
	e.down.Receive(parse[*legacycrypto.Envelope](t, text), e.now)
	e.want(e.down, msg)
	for _, bad := range []string{"", msg + "x", "\xff"} {
		if n, done, _, err := e.up.Send([]byte(bad), e.now); n != 0 || done || err == nil || e.up.Err() != nil {
			t.Errorf("Send of %d bytes: %v, %v", len(bad), done, err)
		}
	}
	for i := range 3 {
		e.send(e.up, fmt.Sprint("next ", i))
	}
	e.deliver(e.up, e.down)
	e.want(e.down, "next 0")
	if e.down.Missed() != 0 {
		t.Error("a refused message used a sequence up")
	}
}
