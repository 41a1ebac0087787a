package session

import (
	"bytes"
	"testing"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

// captured sends messages from the client that the link drops, and returns the frames.
func (p *pair) captured(messages ...string) []frame {
	p.t.Helper()
	before := len(p.client.sent)
	p.client.script = dropAll
	for _, m := range messages {
		p.send(&p.client, []byte(m))
	}
	p.run()
	p.client.script = nil
	return p.client.sent[before:]
}

func TestADuplicateIsDroppedBeforeItIsDecrypted(t *testing.T) {
	p := openPair(t, 40)
	f := p.captured("once")[0]
	for range 3 {
		p.give(&p.daemon, f)
	}
	junk := f.clone()
	junk.ciphertext = bytes.Repeat([]byte{1}, 70_000)
	for range 2 * maxUnverified {
		p.give(&p.daemon, junk)
	}
	p.run()
	p.wantReceived(&p.daemon, "once")
	if p.daemon.m.unverified != 0 {
		t.Errorf("%d duplicates counted as unverified", p.daemon.m.unverified)
	}
}

func TestAFrameAboveTheExpectedOneIsDroppedAndAsksForAResume(t *testing.T) {
	p := openPair(t, 41)
	f := p.captured("a", "b", "c")
	p.give(&p.daemon, f[1])
	p.give(&p.daemon, f[2])
	p.run()
	p.wantReceived(&p.daemon, "a", "b", "c")
	if got := count(p.daemon.sent, typeResume); got != 1 {
		t.Errorf("sent %d RESUME for one gap, want 1", got)
	}
	if f := of(p.client.sent, typeData)[3]; f.Sequence != 3 || !f.Resend {
		t.Errorf("the first after RESUME is DATA %d, resend %t, want 3 with resend", f.Sequence, f.Resend)
	}
}

func TestResumeForGapsGoesOutOnceASecondDeferredNotForgotten(t *testing.T) {
	p := openPair(t, 42)
	f := p.captured("a", "b")
	p.daemon.script = dropAll
	for range 5 {
		p.give(&p.daemon, f[1])
		p.run()
	}
	if got := count(p.daemon.sent, typeResume); got != 1 {
		t.Fatalf("sent %d RESUME at once, want 1", got)
	}
	p.wait(resumeInterval - 1)
	if got := count(p.daemon.sent, typeResume); got != 1 {
		t.Fatalf("sent %d RESUME within a second, want 1", got)
	}
	p.daemon.script = nil
	p.wait(1)
	if got := count(p.daemon.sent, typeResume); got != 2 {
		t.Fatalf("sent %d RESUME after a second, want 2", got)
	}
	p.wantReceived(&p.daemon, "a", "b")
}

func TestAGapThatHealsNeedsNoSecondResume(t *testing.T) {
	p := openPair(t, 43)
	f := p.captured("a", "b")
	p.daemon.script = dropAll
	p.give(&p.daemon, f[1])
	p.run()
	p.give(&p.daemon, f[1])
	p.give(&p.daemon, f[0])
	p.give(&p.daemon, f[1])
	p.daemon.script = nil
	p.wait(3 * time.Second)
	if got := count(p.daemon.sent, typeResume); got != 1 {
		t.Errorf("sent %d RESUME, want 1", got)
	}
	p.wantReceived(&p.daemon, "a", "b")
}

func TestOnlySixtyFourUnverifiedInARowEndTheSession(t *testing.T) {
	p := openPair(t, 44)
	f := p.captured("good")[0]
	forge := func(n int) {
		for i := range n {
			g := f.clone()
			switch i % 5 {
			case 0:
				g.ciphertext[i%len(g.ciphertext)] ^= 1
			case 1:
				g.Encoding = relayv1.Encoding_ENCODING_LEGACY_JSON
			case 2:
				g.Type = typeClose
			case 3:
				g.Timestamp.Nanos++
			case 4:
				g.ciphertext = bytes.Repeat([]byte{1}, maxCiphertext+1)
			}
			p.give(&p.daemon, g)
		}
	}
	forge(maxUnverified - 1)
	p.give(&p.daemon, f)
	p.run()
	p.wantReceived(&p.daemon, "good")
	f = p.captured("never")[0]
	forge(maxUnverified - 1)
	wantAlive(t, p.daemon.m)
	if len(p.daemon.received) != 1 || p.daemon.err != nil {
		t.Fatalf("forged frames were delivered: %d messages, %v", len(p.daemon.received), p.daemon.err)
	}
	forge(1)
	wantEnd(t, p.daemon.m, Local, reason.DecryptFailed)
	p.run()
	wantEnd(t, p.client.m, Peer, reason.DecryptFailed)
}

func TestForgedProofsCountAsUnverified(t *testing.T) {
	p := openPair(t, 45)
	for i := range uint64(maxUnverified) {
		wantAlive(t, p.daemon.m)
		h := envelope.Header{Type: typeResume, Sequence: 1 << 40, Ack: 1 << 40, ResumeAttempt: i + 10}
		p.did(&p.daemon, p.daemon.m.Receive(&h, make([]byte, 32), p.now))
	}
	wantEnd(t, p.daemon.m, Local, reason.DecryptFailed)
}

// A relay that forges consumed makes the sender break the rules; it can't fill the receiver's memory.
func TestForgedCreditEndsAsAFlowViolation(t *testing.T) {
	p := newPair(t, 46)
	p.config.Window = 131_072
	p.open()
	p.wait(time.Second)
	p.hold = true
	for range 40 {
		for p.client.m.Err() == nil {
			if _, done := p.trySend(&p.client, message(16_000)); !done {
				break
			}
			p.run()
			if _, in := p.daemon.m.Buffered(); in > 131_072+maxFrameCost+p.config.withDefaults().MaxMessage {
				t.Fatalf("%d bytes wait at the receiver", in)
			}
		}
		if p.client.m.Err() != nil {
			break
		}
		sent := p.client.m.out.sentMax
		h := envelope.Header{Type: typeAck, Ack: sent, Consumed: sent}
		p.did(&p.client, p.client.m.Receive(&h, nil, p.now))
	}
	wantEnd(t, p.daemon.m, Local, reason.FlowViolation)
	wantEnd(t, p.client.m, Peer, reason.FlowViolation)
}

func TestAPeerThatSendsALongerMessageThanTheLimitEndsAsAFlowViolation(t *testing.T) {
	p := newPair(t, 47)
	p.config.MaxMessage = 20_000
	p.open()
	p.client.m.maxMessage = 1 << 20
	n, done := 0, false
	n, done = p.trySend(&p.client, message(20_001))
	if n != 20_001 || !done {
		t.Fatalf("took %d", n)
	}
	p.run()
	wantEnd(t, p.daemon.m, Local, reason.FlowViolation)
	wantEnd(t, p.client.m, Peer, reason.FlowViolation)
	if len(p.daemon.received) != 0 {
		t.Error("a message above the limit was delivered")
	}
}

func TestForgedAcksEndAsDataLostAtTheReceiver(t *testing.T) {
	p := openPair(t, 48)
	p.captured("lost")
	h := envelope.Header{Type: typeAck, Ack: 3, Consumed: 3}
	p.did(&p.client, p.client.m.Receive(&h, nil, p.now))
	p.send(&p.client, []byte("next"))
	p.wait(time.Second)
	wantEnd(t, p.daemon.m, Local, reason.DataLost)
	wantEnd(t, p.client.m, Peer, reason.DataLost)
	if len(p.daemon.received) != 0 {
		t.Error("a message after a hole was delivered")
	}
}

func TestAnAuthenticButMalformedFrameEndsTheSession(t *testing.T) {
	for name, plaintext := range map[string][]byte{"no flags": {}, "unknown flags": {4, 1}} {
		p := openPair(t, 49)
		if err := p.client.m.seal(typeData, nil, plaintext, p.now); err != nil {
			t.Fatal(err)
		}
		p.run()
		if p.daemon.m.Err() == nil {
			t.Errorf("%s: the session goes on", name)
		}
		wantEnd(t, p.daemon.m, Local, reason.DecryptFailed)
	}
}

func TestAFrameAboveTheLongestIsNotDelivered(t *testing.T) {
	p := openPair(t, 51)
	if err := p.client.m.seal(typeData, headLast, message(maxFragment+1), p.now); err != nil {
		t.Fatal(err)
	}
	p.run()
	if len(p.daemon.received) != 0 || p.daemon.m.unverified != 1 {
		t.Errorf("got %d messages, %d unverified, want the frame dropped", len(p.daemon.received), p.daemon.m.unverified)
	}
}

func TestWhatWasReceivedIsReadBeforeTheEnd(t *testing.T) {
	p := openPair(t, 50)
	p.hold = true
	p.send(&p.client, []byte("a"))
	p.send(&p.client, []byte("b"))
	p.run()
	p.did(&p.daemon, p.daemon.m.Abandon(p.now))
	p.read(&p.daemon)
	p.wantReceived(&p.daemon, "a", "b")
	wantEnd(t, p.daemon.m, Link, reason.LinkLost)
	if p.daemon.err != p.daemon.m.Err() {
		t.Errorf("Next gives %v after the messages, want the end", p.daemon.err)
	}
}
