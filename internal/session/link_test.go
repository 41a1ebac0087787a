package session

import (
	"fmt"
	"io"
	"testing"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

// cut ends the link of e: all that was on its way is lost, and the relay's guard of that side is unset.
func (p *pair) cut(e *end) {
	p.t.Helper()
	p.client.flight, p.daemon.flight = nil, nil
	e.guard.Unset()
	p.did(e, e.m.LinkLost(p.now))
}

// up gives e a new link.
func (p *pair) up(e *end) {
	p.t.Helper()
	p.did(e, e.m.LinkUp(p.now))
}

// tellLink gives e a STATUS about its whole link.
func (p *pair) tellLink(e *end, code reason.Code) {
	p.t.Helper()
	p.did(e, e.m.LinkStatus(envelope.Status{Code: code}, p.now)|e.want())
}

func TestASessionGoesOnOverANewLinkOfEitherSide(t *testing.T) {
	for _, side := range []string{"client", "daemon", "both"} {
		t.Run(side, func(t *testing.T) {
			p := openPair(t, 300)
			var lost []*end
			if side != "daemon" {
				lost = append(lost, &p.client)
			}
			if side != "client" {
				lost = append(lost, &p.daemon)
			}
			// One message of each side is lost with the link, one is sent while there is none.
			p.client.behind, p.daemon.behind = dropAll, dropAll
			p.send(&p.client, []byte("up 1"))
			p.send(&p.daemon, []byte("down 1"))
			p.run()
			p.client.behind, p.daemon.behind = nil, nil
			for _, e := range lost {
				p.cut(e)
			}
			p.send(&p.client, []byte("up 2"))
			p.send(&p.daemon, []byte("down 2"))
			for _, e := range lost {
				p.up(e)
			}
			if side == "daemon" { // the relay tells the client
				p.tellLink(&p.client, reason.PeerAvailable)
			}
			p.wait(time.Second)
			p.wantReceived(&p.daemon, "up 1", "up 2")
			p.wantReceived(&p.client, "down 1", "down 2")
		})
	}
}

func TestNothingGoesOutWithoutALinkAndNothingSequencedBeforeResumed(t *testing.T) {
	p := openPair(t, 301)
	p.cut(&p.client)
	p.send(&p.client, []byte("x"))
	p.wait(3 * time.Minute)
	if p.client.m.WantsToSend() || len(p.client.sent) != 0 {
		t.Fatalf("sent %v without a link", types(p.client.sent))
	}
	if out, n := p.client.m.Transmit(nil, 16379, p.now); n != 0 || len(out) != 0 {
		t.Fatalf("Transmit appended %d envelopes without a link", n)
	}
	p.daemon.script = dropAll
	p.up(&p.client)
	p.run()
	if got := types(p.client.sent); len(got) != 1 || got[0] != typeResume {
		t.Fatalf("sent %v on the new link, want RESUME alone", got)
	}
	p.wait(5 * time.Second)
	if got := count(p.client.sent, typeResume); got != 2 {
		t.Errorf("%d RESUME in 5 s, want a probe after 5 s: the time without a link counts for nothing", got)
	}
}

func TestADaemonSendsNoResumeOnANewLink(t *testing.T) {
	p := openPair(t, 302)
	p.cut(&p.daemon)
	p.send(&p.daemon, []byte("x"))
	p.up(&p.daemon)
	p.wait(silentProbe - 1)
	if len(p.daemon.sent) != 0 {
		t.Errorf("sent %v before the client's RESUME", types(p.daemon.sent))
	}
}

func TestAnOutageDoesNotSlowTheProbesOfTheNext(t *testing.T) {
	p := openPair(t, 303)
	p.daemon.script = dropAll // the ack never comes
	p.send(&p.client, []byte("x"))
	p.run()
	p.cut(&p.client)
	p.wait(50 * time.Second)
	p.daemon.script = nil
	p.up(&p.client)
	p.wait(time.Second)
	p.wantReceived(&p.daemon, "x")
	if p.client.m.slow[0] > time.Second {
		t.Errorf("the frame counts as %v on its way, most of which there was no link", p.client.m.slow[0])
	}
}

func TestASessionWithoutALinkEndsAfterItsLifetime(t *testing.T) {
	p := newPair(t, 304)
	p.config.Lifetime = time.Minute
	p.open()
	p.cut(&p.client)
	p.cut(&p.daemon)
	p.wait(p.client.m.verified.Add(time.Minute).Sub(p.now) - 1)
	wantAlive(t, p.client.m)
	p.wait(1)
	wantEnd(t, p.client.m, Local, reason.PeerSilent)
}

func TestAHandshakeIsNotCarriedToANewLink(t *testing.T) {
	p := newPair(t, 305).dial()
	p.client.script = dropAll
	p.transmit(&p.client)
	p.did(&p.client, p.client.m.LinkUp(p.now)) // make before break: the old one was not seen to end
	wantEnd(t, p.client.m, Link, reason.LinkLost)
}

func TestAnAbortWithoutALinkReachesThePeerOnTheNext(t *testing.T) {
	for _, e := range []string{"client", "daemon"} {
		t.Run(e, func(t *testing.T) {
			p := openPair(t, 306)
			from := &p.client
			if e == "daemon" {
				from = &p.daemon
			}
			p.cut(from)
			p.did(from, from.m.Abort("", p.now))
			p.up(from)
			for from.m.WantsToSend() {
				p.transmit(from)
			}
			p.run()
			// A client's RESET goes nowhere before RESUME has bound its side at the relay.
			if want := 1; e == "client" && (count(from.sent, typeResume) != want || from.sent[0].Type != typeResume) {
				t.Errorf("sent %v, want RESUME and RESET", types(from.sent))
			}
			wantEnd(t, p.peer(from).m, Peer, reason.Cancelled)
			if !from.m.Done() {
				t.Error("not done after its farewell")
			}
		})
	}
}

func TestATombstoneAsksOnceOnANewLinkAndThenFreesTheRelay(t *testing.T) {
	p := closedPair(t, 307)
	for range 3 {
		p.cut(&p.client)
		p.up(&p.client)
		p.wait(time.Second)
	}
	got := fmt.Sprint(types(p.client.sent))
	if want := fmt.Sprint([]relayv1.FrameType{typeResume, typeReset}); got != want {
		t.Errorf("over three links the client's tombstone sent %s, want %s", got, want)
	}
	if p.client.m.State() != Closed || p.daemon.m.State() != Closed {
		t.Errorf("got states %d and %d, want two tombstones", p.client.m.State(), p.daemon.m.State())
	}
}

func TestACloseThatWasLostWithTheLinkStillEndsTheSessionCleanly(t *testing.T) {
	for _, lost := range []string{"close", "ack"} {
		t.Run(lost, func(t *testing.T) {
			p := openPair(t, 308)
			p.close(&p.client, "", "")
			p.run()
			if lost == "close" {
				p.daemon.behind = dropAll
			} else {
				p.client.behind = dropAll
			}
			p.close(&p.daemon, "", "")
			p.run()
			p.client.behind, p.daemon.behind = nil, nil
			p.cut(&p.client)
			p.up(&p.client)
			p.wait(time.Second)
			for _, e := range []*end{&p.client, &p.daemon} {
				if p.read(e); e.m.State() != Closed || e.err != io.EOF {
					t.Errorf("%s: state %d, Next %v, want a clean end", p.name(e), e.m.State(), e.err)
				}
			}
		})
	}
}

func TestAFrameAcrossAKeyEpochIsSentAgainAsItWas(t *testing.T) {
	p := openPair(t, 309)
	const boundary = 65_537 // the last sequence of epoch 0
	for p.client.m.out.next < boundary {
		p.send(&p.client, nil)
		p.run()
	}
	p.wait(time.Second)
	n := len(p.daemon.received)
	p.client.behind = dropAll
	for _, text := range []string{"last of epoch 0", "first of epoch 1", "second"} {
		p.send(&p.client, []byte(text))
	}
	p.run()
	p.client.behind = nil
	p.cut(&p.client)
	p.daemon.guard.Unset() // the relay was killed: nobody remembers a place
	p.cut(&p.daemon)
	p.up(&p.daemon)
	p.up(&p.client)
	p.wait(time.Second)
	got := p.daemon.received[n:]
	if len(got) != 3 || string(got[0]) != "last of epoch 0" || string(got[2]) != "second" {
		t.Errorf("after the resend: %q", got)
	}
}

func TestARelayWithoutRoomOnlyDelaysASessionThatIsOpen(t *testing.T) {
	p := openPair(t, 310)
	p.did(&p.client, p.client.m.LinkUp(p.now))
	p.daemon.script = dropAll
	p.run()
	full := envelope.Status{Code: reason.Capacity, RetryAfter: 5 * time.Second}
	p.give(&p.client, frame{envelope.Header{Type: typeStatus, Status: full.Append(nil)}, nil})
	p.daemon.script = nil
	p.send(&p.client, []byte("x"))
	p.wait(4 * time.Second)
	if got := count(p.client.sent, typeResume); got != 1 || p.client.m.Reachable() {
		t.Errorf("%d RESUME before retry_after, want the first alone", got)
	}
	p.wait(2 * time.Second)
	p.wantReceived(&p.daemon, "x")
}

func TestAnAnswerToAnEarlierResumeDoesNotSayThatThePeerIsOver(t *testing.T) {
	p := openPair(t, 311)
	p.daemon.behind = func(f frame) []frame {
		if f.Type == typeAck {
			return nil
		}
		return []frame{f}
	}
	p.close(&p.client, "", "")
	p.run()
	before := p.resume(&p.client) // made before the daemon closes, and answered after
	p.client.behind = dropAll     // the daemon never hears that its CLOSE arrived
	p.close(&p.daemon, "", "")
	p.run()
	p.give(&p.daemon, before)
	p.run()
	if p.client.m.State() != Closed || p.daemon.m.State() != Open {
		t.Fatalf("got states %d and %d, want a tombstone and one that waits", p.client.m.State(), p.daemon.m.State())
	}
	p.cut(&p.client)
	p.client.behind, p.daemon.behind = nil, nil
	p.up(&p.client)
	p.wait(time.Second)
	if p.daemon.m.State() != Closed {
		t.Errorf("daemon: got state %d a second after the new link, want a clean end", p.daemon.m.State())
	}
}
