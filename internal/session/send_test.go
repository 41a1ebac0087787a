package session

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

// message is n bytes that differ by position.
func message(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

func TestMessagesOfEveryLengthArriveWhole(t *testing.T) {
	p := newPair(t, 20)
	p.config.MaxMessage = 100_000
	p.open()
	var want []string
	for _, n := range []int{0, 1, 15_999, 16_000, 16_001, 32_000, 32_001, 99_999, 100_000} {
		for _, e := range []*end{&p.client, &p.daemon} {
			p.send(e, message(n))
		}
		want = append(want, string(message(n)))
	}
	p.wait(time.Second)
	p.wantReceived(&p.client, want...)
	p.wantReceived(&p.daemon, want...)
	for _, f := range p.client.sent {
		if f.Type == typeData && len(f.ciphertext) > 16_017 {
			t.Fatalf("a DATA frame of %d bytes of ciphertext, want at most 16017", len(f.ciphertext))
		}
	}
}

func TestAMessageAboveTheLimitIsRefusedAndTheSessionLives(t *testing.T) {
	p := newPair(t, 21)
	p.config.MaxMessage = 20_000
	p.open()
	n, done, _, err := p.client.m.Send(message(20_001), p.now)
	if n != 0 || done || !errors.Is(err, &reason.Error{Code: reason.MessageTooLarge}) {
		t.Fatalf("got %d, %t, %v, want MESSAGE_TOO_LARGE", n, done, err)
	}
	p.send(&p.client, message(20_000))
	p.run()
	p.wantReceived(&p.daemon, string(message(20_000)))
}

func TestASenderStopsAtTheWindowAndGoesOnWhenItsPeerReads(t *testing.T) {
	p := newPair(t, 22)
	p.config.Window = 131_072
	p.open()
	p.wait(time.Second)
	p.hold = true
	sent := 0
	for {
		_, done := p.trySend(&p.client, message(16_000))
		if !done {
			break
		}
		sent++
		p.run()
	}
	p.wait(time.Second)
	if p.client.m.out.inFlight > 131_072 {
		t.Errorf("in flight %d, window 131072", p.client.m.out.inFlight)
	}
	// One message has moved to the reassembly buffer, the others fill the window.
	if _, in := p.daemon.m.Buffered(); sent < 8 || sent > 9 || in != 16_000+(sent-1)*maxFrameCost {
		t.Errorf("sent %d messages, %d bytes wait at the peer, want the window's", sent, in)
	}
	if out, _ := p.client.m.Buffered(); out != 0 {
		t.Errorf("%d bytes held although all was received", out)
	}
	p.client.fx = 0
	p.hold = false
	p.run()
	p.wait(ackDelay)
	if !p.client.fx.Has(Writable) {
		t.Error("no Writable after the peer has read")
	}
	p.send(&p.client, message(16_000))
}

// protocol-review 9: with one ack number a message longer than the window never completes.
func TestAMessageLongerThanTheWindowCompletes(t *testing.T) {
	p := newPair(t, 23)
	p.config.Window, p.config.MaxMessage = 20_000, 500_000
	p.open()
	p.hold = true
	msg := message(500_000)
	p.send(&p.client, msg)
	p.hold = false
	p.run()
	p.wantReceived(&p.daemon, string(msg))
}

func TestWithNothingInFlightOneFrameGoesOutWhateverTheWindow(t *testing.T) {
	p := newPair(t, 24)
	p.config.Window = 1
	p.open()
	p.wait(time.Second)
	for range 5 {
		p.send(&p.client, message(16_000))
		if p.client.m.out.inFlight > maxFrameCost {
			t.Fatalf("in flight %d, want one frame", p.client.m.out.inFlight)
		}
	}
	p.run()
	if len(p.daemon.received) != 5 {
		t.Fatalf("received %d messages, want 5", len(p.daemon.received))
	}
}

func TestAResendIsTheSameBytesAndSaysSo(t *testing.T) {
	p := openPair(t, 25)
	p.client.script = dropAll
	for range 3 {
		p.send(&p.client, []byte("lost"))
	}
	p.run()
	first := p.client.sent
	p.client.sent, p.client.script = nil, nil
	p.now = p.now.Add(time.Second)
	p.tell(&p.client, reason.SequenceGap, first[0].Sequence)
	p.run()
	p.wantReceived(&p.daemon, "lost", "lost", "lost")
	for i, want := range first {
		got := p.client.sent[i]
		if !bytes.Equal(got.ciphertext, want.ciphertext) || got.Timestamp != want.Timestamp || got.Sequence != want.Sequence {
			t.Errorf("resend %d differs from the first sending", i)
		}
		if got.Resend != (i == 0) {
			t.Errorf("resend %d: flag %t, want %t", i, got.Resend, i == 0)
		}
		if want.Resend {
			t.Errorf("first sending %d has the flag", i)
		}
	}
}

// protocol-review 1: the peer's acks moved on by another path, and the relay asks for what is not held any more.
func TestAGapBelowTheLowestHeldGoesOnFromTheLowestHeld(t *testing.T) {
	p := openPair(t, 26)
	p.send(&p.client, []byte("a"))
	p.wait(time.Second)
	p.client.sent = nil
	p.tell(&p.client, reason.SequenceGap, 2)
	p.send(&p.client, []byte("b"))
	p.run()
	p.wantReceived(&p.daemon, "a", "b")
	if f := p.client.sent[0]; f.Sequence != 4 || !f.Resend {
		t.Errorf("got sequence %d, resend %t, want 4 with resend", f.Sequence, f.Resend)
	}
}

func TestGoBacksAreDeferredNotForgotten(t *testing.T) {
	p := openPair(t, 27)
	p.client.script = dropAll
	for range 3 {
		p.send(&p.client, []byte("x"))
	}
	p.run()
	p.tell(&p.client, reason.SequenceGap, 3)
	p.run()
	if got := count(p.client.sent, typeData); got != 6 {
		t.Fatalf("sent %d DATA, want 6: the first SEQUENCE_GAP is acted on at once", got)
	}
	p.tell(&p.client, reason.SequenceGap, 3)
	p.tell(&p.client, reason.SequenceGap, 4)
	p.send(&p.client, []byte("x"))
	p.wait(goBackInterval - 1)
	if got := count(p.client.sent, typeData); got != 6 {
		t.Fatalf("sent %d DATA within 200 ms, want 6", got)
	}
	p.client.script = nil
	p.wait(1)
	p.wantReceived(&p.daemon, "x", "x", "x", "x")
	if f := of(p.client.sent, typeData)[6]; f.Sequence != 3 || !f.Resend {
		t.Errorf("after 200 ms: got DATA %d, want DATA 3, the lowest that was asked for", f.Sequence)
	}
}

func TestExpectedZeroMeansResumeBeforeAnythingSequenced(t *testing.T) {
	for _, who := range []string{"client", "daemon"} {
		p := openPair(t, 28)
		e := &p.client
		if who == "daemon" {
			e = &p.daemon
		}
		e.script = dropAll
		p.send(e, []byte("a"))
		p.run()
		e.guard.Unset() // the relay was started again
		e.sent = nil
		p.tell(e, reason.SequenceGap, 0)
		p.send(e, []byte("b"))
		p.run()
		if got := types(e.sent); len(got) != 1 || got[0] != typeResume {
			t.Fatalf("%s: sent %v, want RESUME alone", who, got)
		}
		if f := e.sent[0]; (len(f.BindKey) == 16) != (who == "client") || f.Sequence == 0 || f.ResumeAttempt != 1 {
			t.Errorf("%s: RESUME with first %d, attempt %d, bind key of %d bytes",
				who, f.Sequence, f.ResumeAttempt, len(f.BindKey))
		}
		e.script = nil
		p.tell(e, reason.SequenceGap, 0)
		p.wait(time.Second)
		p.wantReceived(p.peer(e), "a", "b")
	}
}

// protocol-review 6: the guard drops a resend as a replay, and the ack on it with it.
func TestAnAckOnAResendDoesNotCount(t *testing.T) {
	p := openPair(t, 29)
	p.client.script = dropAll
	p.send(&p.client, []byte("a"))
	p.run()
	p.send(&p.daemon, []byte("b"))
	p.run()
	p.client.sent = nil
	p.tell(&p.client, reason.SequenceGap, 3)
	p.run()
	if f := p.client.sent[0]; f.Type != typeData || f.Ack != p.daemon.sent[0].Sequence {
		t.Fatalf("the resend carries ack %d, want %d", f.Ack, p.daemon.sent[0].Sequence)
	}
	p.wait(ackDelay)
	if count(p.client.sent, typeAck) != 1 {
		t.Errorf("sent %v, want an ACK after the resend", types(p.client.sent))
	}
}

func TestAnAckThatIsDueGoesBeforeAResend(t *testing.T) {
	p := openPair(t, 36)
	p.captured("a", "b")
	p.send(&p.daemon, []byte("c"))
	p.run()
	p.now = p.now.Add(ackDelay)
	p.did(&p.client, p.client.m.Tick(p.now))
	p.tell(&p.client, reason.SequenceGap, 3)
	if got := types(p.transmitted(p.client.m)); len(got) != 3 || got[0] != typeAck {
		t.Errorf("sent %v, want ACK before the two resends", got)
	}
}

func TestAResendThatAnAckCutsShortSaysWhereItGoesOn(t *testing.T) {
	p := openPair(t, 37)
	f := p.captured("a", "b", "c", "d")
	p.tell(&p.client, reason.SequenceGap, 3)
	b, _ := p.client.m.Transmit(nil, 1, p.now)
	if got := parse(t, b)[0]; got.Sequence != 3 || !got.Resend {
		t.Fatalf("got DATA %d, resend %t, want 3 with resend", got.Sequence, got.Resend)
	}
	p.give(&p.client, frame{envelope.Header{Type: typeAck, Ack: f[1].Sequence, Consumed: f[1].Sequence}, nil})
	got := p.transmitted(p.client.m)
	if len(got) != 2 || got[0].Sequence != 5 || !got[0].Resend || got[1].Resend {
		t.Errorf("got %d frames from DATA %d, resend %t, want two from 5 with resend on the first",
			len(got), got[0].Sequence, got[0].Resend)
	}
}

func TestAnAckRidesOnAFirstSending(t *testing.T) {
	p := openPair(t, 30)
	p.send(&p.daemon, []byte("b"))
	p.run()
	p.send(&p.client, []byte("a"))
	p.run()
	p.wait(ackDelay * 2)
	if count(p.client.sent, typeAck) != 0 {
		t.Errorf("sent %v, want no ACK beside the DATA that carries it", types(p.client.sent))
	}
	if f := p.client.sent[0]; f.Ack != 2 || f.Consumed != 2 {
		t.Errorf("DATA has ack %d, consumed %d, want 2 and 2", f.Ack, f.Consumed)
	}
}

func TestAnAckGoesOutAfterAQuarterWindowOrTwentyFiveMilliseconds(t *testing.T) {
	p := newPair(t, 31)
	p.config.Window = 160_000
	p.open()
	p.wait(time.Second)
	p.daemon.sent = nil
	p.trySend(&p.client, message(16_000))
	p.trySend(&p.client, message(16_000))
	p.run()
	if got := types(p.daemon.sent); len(got) != 0 {
		t.Fatalf("sent %v below a quarter window, want nothing yet", got)
	}
	p.wait(ackDelay - 1)
	if len(p.daemon.sent) != 0 {
		t.Fatal("an ACK before 25 ms")
	}
	p.wait(1)
	if len(p.daemon.sent) != 1 {
		t.Fatalf("sent %v after 25 ms, want one ACK", types(p.daemon.sent))
	}
	for range 3 {
		p.trySend(&p.client, message(16_000))
	}
	p.run()
	if len(p.daemon.sent) != 2 || p.daemon.sent[1].Type != typeAck {
		t.Errorf("sent %v after a quarter window, want an ACK at once", types(p.daemon.sent))
	}
}

func TestReadingGivesCreditBackWithinTwentyFiveMilliseconds(t *testing.T) {
	p := openPair(t, 38)
	p.hold = true
	for range 3 {
		p.send(&p.client, []byte("x"))
	}
	p.wait(time.Second)
	next := func(want int) {
		t.Helper()
		before := len(p.daemon.sent)
		if _, ok, fx, _ := p.daemon.m.Next(p.now); !ok {
			t.Fatal("no message")
		} else {
			p.did(&p.daemon, fx)
		}
		p.wait(ackDelay)
		if got := p.daemon.sent[before:]; len(got) != want || want > 0 && got[0].Consumed != p.daemon.m.in.consumed {
			t.Errorf("sent %v after a message was read, want %d ACK", types(got), want)
		}
	}
	next(1) // the second message moves to the reassembly buffer
	next(1)
	next(0) // nothing moves
}

func TestAGapAndAReplayAreFollowedByAnAck(t *testing.T) {
	for _, code := range []reason.Code{reason.SequenceGap, reason.SequenceReplay} {
		p := openPair(t, 32)
		p.tell(&p.client, code, 9)
		p.wait(ackDelay)
		if got := types(p.client.sent); len(got) != 1 || got[0] != typeAck {
			t.Errorf("%s: sent %v, want one ACK within 25 ms", code, got)
		}
	}
}

func TestAcksThatCannotBeTrueAreIgnored(t *testing.T) {
	p := openPair(t, 33)
	p.hold = true
	p.send(&p.client, []byte("a")) // sequence 3
	p.transmit(&p.client)
	p.send(&p.client, []byte("b")) // sequence 4, never sent
	ack := func(ack, consumed uint64) {
		h := envelope.Header{Type: typeAck, Ack: ack, Consumed: consumed}
		p.did(&p.client, p.client.m.Receive(&h, nil, p.now))
	}
	for _, a := range [][2]uint64{{4, 2}, {1 << 62, 1 << 62}, {1, 1}, {2, 3}} {
		ack(a[0], a[1])
		if o := &p.client.m.out; o.acked != 2 || o.credited != 2 {
			t.Fatalf("ack %d consumed %d: got acked %d, credited %d, want 2 and 2", a[0], a[1], o.acked, o.credited)
		}
	}
	ack(3, 2)
	ack(3, 3)
	if o := &p.client.m.out; o.acked != 3 || o.credited != 3 {
		t.Fatalf("got acked %d, credited %d, want 3 and 3", o.acked, o.credited)
	}
}

func TestABatchStaysWithinItsLimit(t *testing.T) {
	p := openPair(t, 34)
	for range 40 {
		p.trySend(&p.client, message(1000))
	}
	b, _ := p.client.m.Transmit(nil, 5000, p.now)
	if len(b) > 5000 || len(parse(t, b)) < 4 {
		t.Fatalf("got %d bytes in %d envelopes, want 4 within 5000", len(b), len(parse(t, b)))
	}
	if again, _ := p.client.m.Transmit(b, 5000, p.now); len(again) != len(b) {
		t.Errorf("a full batch grew from %d to %d bytes", len(b), len(again))
	}
	if b, _ := p.client.m.Transmit(nil, 10, p.now); len(parse(t, b)) != 1 {
		t.Errorf("to an empty batch %d envelopes were appended, want one", len(parse(t, b)))
	}
}

// protocol-review 16: frames on both sides of the key epoch are sent again, by the same bytes.
func TestAResendAcrossTheRekeyBoundaryDecrypts(t *testing.T) {
	p := openPair(t, 35)
	const boundary = 1<<16 + 2 // first sequence of the second epoch
	for p.client.m.out.next < boundary-2 {
		p.send(&p.client, nil)
		if p.client.m.out.next%64 == 0 {
			p.run()
			p.client.sent, p.daemon.received = nil, nil
		}
	}
	p.wait(time.Second)
	p.daemon.received = nil
	p.client.script = dropAll
	for range 6 {
		p.send(&p.client, []byte("over the boundary"))
	}
	p.run()
	p.client.script = nil
	p.client.guard.Unset() // the relay was killed
	p.tell(&p.client, reason.SequenceGap, 0)
	p.wait(2 * time.Second)
	if len(p.daemon.received) != 6 || p.client.m.out.acked < boundary+3 {
		t.Fatalf("received %d of 6 messages, acked %d", len(p.daemon.received), p.client.m.out.acked)
	}
}
