package session

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

func (p *pair) close(e *end, code, text string) {
	p.t.Helper()
	p.did(e, e.m.CloseWrite(code, text, p.now)|e.want())
}

// closed is a pair that has ended cleanly.
func closedPair(t *testing.T, seed uint64) *pair {
	t.Helper()
	p := openPair(t, seed)
	p.close(&p.client, "", "")
	p.close(&p.daemon, "", "")
	p.wait(time.Second)
	for _, e := range []*end{&p.client, &p.daemon} {
		if e.m.State() != Closed || e.m.Err() != nil || e.err != io.EOF || !e.fx.Has(EndedClean) {
			t.Fatalf("%s: got state %d, error %v, Next %v, want a clean end", p.name(e), e.m.State(), e.m.Err(), e.err)
		}
	}
	p.client.sent, p.daemon.sent = nil, nil
	return p
}

func TestACloseEndsItsOwnDirectionAfterAllThatWasSent(t *testing.T) {
	p := openPair(t, 80)
	p.send(&p.client, []byte("last"))
	p.close(&p.client, "bye", strings.Repeat("ü", 1000))
	p.run()
	p.wantReceived(&p.daemon, "last")
	if p.daemon.err != io.EOF {
		t.Fatalf("got %v, want io.EOF", p.daemon.err)
	}
	code, text, ok := p.daemon.m.PeerClose()
	if code != "bye" || text != strings.Repeat("ü", 512) || !ok {
		t.Errorf("got code %q and a text of %d bytes", code, len(text))
	}
	if _, _, _, err := p.client.m.Send([]byte("x"), p.now); !errors.Is(err, &reason.Error{Code: reason.Closed}) {
		t.Errorf("Send after CloseWrite: got %v, want CLOSED", err)
	}
	p.send(&p.daemon, []byte("the other direction goes on"))
	p.run()
	p.wantReceived(&p.client, "the other direction goes on")
	p.wait(time.Hour)
	wantAlive(t, p.client.m)
	p.close(&p.daemon, "", "")
	p.wait(time.Second)
	if p.client.err != io.EOF || p.client.m.State() != Closed || p.daemon.m.State() != Closed {
		t.Errorf("got %v, states %d and %d, want a clean end", p.client.err, p.client.m.State(), p.daemon.m.State())
	}
}

func TestAFullWindowDoesNotHoldCloseBack(t *testing.T) {
	p := openPair(t, 81)
	p.hold = true
	for {
		if _, done := p.trySend(&p.client, message(16_000)); !done {
			break
		}
	}
	// The rest of the message that had no credit was not begun: closing is clean.
	p.close(&p.client, "", "")
	p.wait(time.Second)
	p.hold = false
	p.run()
	if p.daemon.err != io.EOF {
		t.Errorf("got %v, want io.EOF after all messages", p.daemon.err)
	}
}

func TestACloseThatIsLostIsSentAgain(t *testing.T) {
	p := openPair(t, 82)
	p.client.script = dropAll
	p.close(&p.client, "", "")
	p.run()
	p.client.script = nil
	p.wait(6 * time.Second)
	if p.daemon.err != io.EOF {
		t.Errorf("got %v, want io.EOF after the stall probe", p.daemon.err)
	}
}

func TestClosingInTheMiddleOfAMessageIsNoCleanEnd(t *testing.T) {
	p := newPair(t, 83)
	p.config.Window = 20_000
	p.open()
	p.wait(time.Second)
	if n, done := p.trySend(&p.client, message(100_000)); n == 0 || done {
		t.Fatalf("took %d, done %t, want a part", n, done)
	}
	p.close(&p.client, "", "")
	wantEnd(t, p.client.m, Local, reason.Cancelled)
	p.run()
	wantEnd(t, p.daemon.m, Peer, reason.Cancelled)

	p = openPair(t, 84) // a peer that does it all the same
	if err := p.client.m.seal(typeData, headMore, []byte("begun"), p.now); err != nil {
		t.Fatal(err)
	}
	p.close(&p.client, "", "")
	p.run()
	wantEnd(t, p.daemon.m, Local, reason.Cancelled)
}

func TestATombstoneAnswersResumeAndIgnoresEverythingThatCouldEndIt(t *testing.T) {
	p := openPair(t, 85)
	p.close(&p.client, "", "")
	p.close(&p.daemon, "", "")
	// The daemon never hears that its CLOSE arrived.
	p.client.script = func(f frame) []frame {
		if f.Type == typeAck {
			return nil
		}
		return []frame{f}
	}
	p.wait(time.Second)
	if p.client.m.State() != Closed || p.daemon.m.State() != Open {
		t.Fatalf("got states %d and %d, want a tombstone and one that waits", p.client.m.State(), p.daemon.m.State())
	}
	p.give(&p.client, parse(t, AppendReset(nil, "ws", "machine-1", p.client.m.ID(), reason.SessionUnknown))[0])
	p.tell(&p.client, reason.SlowConsumer, 0)
	p.did(&p.client, p.client.m.Abort("", p.now)|p.client.want())
	p.client.m.LinkStatus(envelope.Status{Code: reason.PeerUnavailable}, p.now)
	p.wait(6 * time.Second)
	if p.daemon.m.State() != Closed || count(p.client.sent, typeResumed) != 1 {
		t.Errorf("daemon: got state %d, client sent %v, want a clean end by RESUMED",
			p.daemon.m.State(), types(p.client.sent))
	}
	if p.client.m.State() != Closed || p.client.m.Err() != nil {
		t.Errorf("client: got state %d, error %v, want a tombstone", p.client.m.State(), p.client.m.Err())
	}
}

func TestATombstoneIgnoresEvenAProvedReset(t *testing.T) {
	p := openPair(t, 95)
	p.close(&p.client, "", "")
	p.close(&p.daemon, "", "")
	p.client.script = func(f frame) []frame {
		if f.Type == typeAck {
			return nil
		}
		return []frame{f}
	}
	p.wait(time.Second)
	p.did(&p.daemon, p.daemon.m.Abort("", p.now)|p.daemon.want())
	p.run()
	if count(p.daemon.sent, typeReset) != 1 || p.client.m.State() != Closed {
		t.Errorf("daemon sent %v, client in state %d, want a RESET and a tombstone",
			types(p.daemon.sent), p.client.m.State())
	}
}

func TestATombstoneIsOverAfterTenMinutesAndOutlivesItsLink(t *testing.T) {
	p := closedPair(t, 86)
	at := p.client.m.closedAt.Add(tombstoneLifetime)
	p.wait(at.Sub(p.now) - 1)
	if p.client.m.Done() {
		t.Fatal("over before ten minutes")
	}
	p.wait(1)
	if !p.client.m.Done() || p.client.m.Err() != nil || !p.client.m.Deadline().IsZero() {
		t.Errorf("got done %t, error %v, want over without an error", p.client.m.Done(), p.client.m.Err())
	}
	if len(p.client.sent)+len(p.daemon.sent) != 0 {
		t.Errorf("tombstones sent %v and %v", types(p.client.sent), types(p.daemon.sent))
	}
	p = closedPair(t, 87)
	p.did(&p.client, p.client.m.LinkLost(p.now))
	if p.client.m.Done() {
		t.Error("over with its link")
	}
	p.did(&p.client, p.client.m.Abandon(p.now))
	if !p.client.m.Done() || p.client.m.Err() != nil {
		t.Errorf("abandoned: done %t, error %v", p.client.m.Done(), p.client.m.Err())
	}
	if _, ok, _, err := p.client.m.Next(p.now); ok || err != io.EOF {
		t.Errorf("Next: got %v, want io.EOF for ever", err)
	}
}

func TestSessionUnknownIsBelievedOnlyInAnswerToAResume(t *testing.T) {
	p := openPair(t, 88)
	unknown := parse(t, AppendReset(nil, "ws", "machine-1", p.client.m.ID(), reason.SessionUnknown))[0]
	p.give(&p.client, unknown)
	wantAlive(t, p.client.m)
	p.client.fx = 0
	p.resume(&p.client)
	for _, code := range []reason.Code{reason.Cancelled, reason.DataLost, reason.NotAuthorised} {
		p.give(&p.client, parse(t, AppendReset(nil, "ws", "machine-1", p.client.m.ID(), code))[0])
		wantAlive(t, p.client.m)
	}
	p.give(&p.client, unknown)
	wantEnd(t, p.client.m, Peer, reason.SessionUnknown)

	p = openPair(t, 89)
	p.give(&p.daemon, p.resume(&p.client))
	p.run() // RESUMED has come
	p.give(&p.client, unknown)
	wantAlive(t, p.client.m)
}

func TestOnlyAProofMakesAResetOfAnEstablishedSession(t *testing.T) {
	p := openPair(t, 90)
	p.did(&p.client, p.client.m.Abort("", p.now)|p.client.want())
	wantEnd(t, p.client.m, Local, reason.Cancelled)
	if p.client.m.Done() || !p.client.m.WantsToSend() {
		t.Fatal("the RESET is not due")
	}
	reset := p.transmitted(p.client.m)[0]
	if !p.client.m.Done() || p.client.m.WantsToSend() {
		t.Error("after its RESET the machine is not done")
	}
	for name, alter := range map[string]func(f *frame){
		"proof":    func(f *frame) { f.ciphertext[0] ^= 1 },
		"no proof": func(f *frame) { f.ciphertext = nil },
		"attempt":  func(f *frame) { f.ResumeAttempt += 5 },
		"sequence": func(f *frame) { f.Sequence = 9 },
		"code":     func(f *frame) { f.Status = envelope.Status{Code: reason.DataLost}.Append(nil) },
	} {
		forged := reset.clone()
		alter(&forged)
		p.give(&p.daemon, forged)
		if p.daemon.m.Err() != nil {
			t.Fatalf("%s altered: %v", name, p.daemon.m.Err())
		}
	}
	p.give(&p.daemon, reset)
	wantEnd(t, p.daemon.m, Peer, reason.Cancelled)
	if !p.daemon.m.Done() || !p.daemon.fx.Has(EndedUnclean|Readable|Writable) {
		t.Errorf("got done %t, effects %b", p.daemon.m.Done(), p.daemon.fx)
	}
}

func TestAForgedCloseOrResetIsNeverACleanEnd(t *testing.T) {
	p := openPair(t, 91)
	p.send(&p.client, []byte("first half"))
	p.run()
	h := envelope.Header{
		Type: typeClose, Sequence: p.daemon.m.in.expected, Encoding: p.client.sent[0].Encoding,
	}
	p.did(&p.daemon, p.daemon.m.Receive(&h, make([]byte, 20), p.now))
	p.read(&p.daemon)
	if p.daemon.err != nil {
		t.Fatalf("a forged CLOSE: got %v, want nothing", p.daemon.err)
	}
	p.tell(&p.daemon, reason.SlowConsumer, 0)
	wantEnd(t, p.daemon.m, Relay, reason.SlowConsumer)
	p.read(&p.daemon)
	if p.daemon.err == io.EOF || p.daemon.m.State() != Ended {
		t.Errorf("ended by the relay: got %v, want an error", p.daemon.err)
	}
}

func TestTheRelayEndsASessionWithAStatusAndAnUnknownCodeIsFinal(t *testing.T) {
	for _, code := range []reason.Code{reason.SessionConflict, reason.SlowConsumer, reason.PeerRevoked, "A_CODE_OF_TOMORROW"} {
		p := openPair(t, 92)
		p.tell(&p.client, code, 0)
		wantEnd(t, p.client.m, Relay, code)
		if !p.client.m.Done() {
			t.Errorf("%s: something is due after the relay's end", code)
		}
	}
	p := openPair(t, 93)
	p.tell(&p.client, reason.Probe, 0)
	p.tell(&p.client, reason.SequenceReplay, 0)
	wantAlive(t, p.client.m)
}

func TestASessionWhoseSequencesAreUsedUpEnds(t *testing.T) {
	p := openPair(t, 96)
	p.client.m.channel.Wipe() // seals as little as one whose last sequence is used
	if _, done, fx, err := p.client.m.Send([]byte("x"), p.now); done || err == nil || !fx.Has(EndedUnclean) {
		t.Errorf("got done %t, effects %b, error %v, want an end", done, fx, err)
	}
	wantEnd(t, p.client.m, Local, reason.Cancelled)
}

func TestAnEndTellsWhoAndWhy(t *testing.T) {
	for by, want := range map[Party]string{
		Local: "session ended here: CANCELLED: so", Peer: "session ended by the peer: CANCELLED: so",
		Relay: "session ended by the relay: CANCELLED: so", Link: "session ended with the link: CANCELLED: so",
	} {
		e := &End{By: by, Reason: reason.New(reason.Cancelled, "so")}
		if got := e.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAnAbandonedSessionEndsBothDirections(t *testing.T) {
	p := openPair(t, 94)
	p.close(&p.daemon, "", "")
	p.wait(time.Second)
	p.did(&p.client, p.client.m.Abandon(p.now))
	wantEnd(t, p.client.m, Link, reason.LinkLost)
	if _, _, _, err := p.client.m.Send([]byte("x"), p.now); !errors.Is(err, &reason.Error{Code: reason.LinkLost}) {
		t.Errorf("Send: got %v, want LINK_LOST", err)
	}
	if _, _, _, err := p.client.m.Next(p.now); err != io.EOF {
		t.Errorf("Next: got %v, want io.EOF: the peer had closed", err)
	}
	if fx := p.client.m.LinkLost(p.now) | p.client.m.Tick(p.now); fx != 0 {
		t.Errorf("an ended machine had effects %b", fx)
	}
}
