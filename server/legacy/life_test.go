package legacy_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/gobwas/ws"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/internal/wsconn"
)

// L.6, L.8 and L.9: how long links last, and what they are told.

func TestEveryPeerIsPingedWithoutAPayload(t *testing.T) {
	t.Parallel()
	r := start(t, quick, workersOn)
	for _, c := range []devplatform.Claims{
		daemonOf("a"), clientOf("b"), pairingOf("c"), pairingOf("d", at("")), viewerOf("e", "ann", "s1"), workerOf("f", "e1"),
	} {
		t.Run(c.Role+" "+c.Scope+" in "+c.WorkspaceID, func(t *testing.T) {
			t.Parallel()
			p := r.raw(c)
			for range 4 { // more than it lives unless its pongs count
				f, err := p.next()
				if err != nil || f.Header.OpCode != ws.OpPing || f.Header.Length != 0 {
					t.Fatalf("got %+v %q, %v, want a ping without a payload", f.Header, f.Payload, err)
				}
				p.write(frame(ws.OpPong, ""))
			}
		})
	}
}

func TestADaemonIsPingedHoweverMuchGoesToIt(t *testing.T) {
	t.Parallel()
	r := start(t, quick)
	daemon := r.raw(daemonOf("w"))
	client := r.connect(clientOf("w"))
	pings := 0
	for n := 0; pings < 3; n++ {
		client.send(initFrame(fmt.Sprint("r", n)))
		for {
			f, err := daemon.next()
			if err != nil || f.Header.OpCode == ws.OpClose {
				t.Fatalf("got the end %q, %v", f.Payload, err)
			}
			if f.Header.OpCode == ws.OpPing {
				pings++
				daemon.write(frame(ws.OpPong, ""))
				continue
			}
			break
		}
	}
}

func TestAPeerThatAnswersNoPingIsCut(t *testing.T) {
	t.Parallel()
	r := start(t, quick, workersOn)
	var all []*rawPeer
	for _, c := range []devplatform.Claims{daemonOf("a"), clientOf("b"), viewerOf("c", "ann", "s1"), workerOf("d", "e1")} {
		all = append(all, r.raw(c))
	}
	for _, p := range all {
		if _, err := io.Copy(io.Discard, p.in); err != nil {
			t.Errorf("got %v, want the end", err)
		}
	}
	r.empty()
}

// L.8.
func TestADaemonThatSendsTooMuchLosesNothingAndNotItsLink(t *testing.T) {
	t.Parallel()
	r := start(t, daemonFramesPerMinute(6000))
	s := r.pair("w")
	var sent []string
	for i := range 6100 {
		sent = append(sent, e2eeFrame(s.id, 1, i+1, "eA"))
	}
	s.daemon.send(sent...)
	s.client.want(sent...)
	up := e2eeFrame(s.id, 1, 1, "eA")
	s.client.send(up)
	s.daemon.want(up)
}

// L.8 and I.9.
func TestWhatADaemonSendsToNobodyIsNotCounted(t *testing.T) {
	t.Parallel()
	r := start(t, daemonFramesPerMinute(10))
	s := r.pair("w")
	for i := range 5000 {
		s.daemon.send(e2eeFrame("of-nobody", 1, i+1, "eA"), responseFrame("unasked", "s"), updateFrame("of-nobody", 2),
			offerResponse("unasked"), eventFrame("unwatched", "{}"), "junk")
	}
	s.exchange()
}

// L.8: one daemon's volume is nobody else's.
func TestADaemonThatIsSlowedDownSlowsNobodyElse(t *testing.T) {
	t.Parallel()
	r := start(t, daemonFramesPerMinute(10))
	busy, other := r.pair("w"), r.pair("w", at("other"))
	for i := range 60 { // it stands still for a long time behind these
		busy.daemon.send(e2eeFrame(busy.id, 1, i+1, "eA"))
	}
	for i := range 10 {
		busy.client.want(e2eeFrame(busy.id, 1, i+1, "eA"))
	}
	for range 5 {
		other.exchange()
	}
	up := e2eeFrame(busy.id, 1, 1, "eA")
	busy.client.send(up)
	busy.daemon.want(up)
}

// L.9.
func TestWhoeverStaysUntilTheRelayEndsIsToldSo(t *testing.T) {
	t.Parallel()
	r := start(t, workersOn)
	s := r.pair("w")
	nobodysDaemon, pairing := r.connect(daemonOf("v")), r.connect(pairingOf("u"))
	viewer, worker := r.viewer("w", "ann", "s1"), r.connect(workerOf("w", "e1"))
	s.exchange()
	r.stop()
	for _, p := range []*peer{s.daemon, nobodysDaemon, pairing, viewer, worker} {
		p.wantClose(1001, "relay shutting down")
	}
	// A client may hear of its daemon's end before its own.
	m, err := s.client.next()
	if err == nil && m.text == unavailable("w", home, "") {
		_, err = s.client.next()
	}
	closed, ok := errors.AsType[*wsconn.CloseError](err)
	if !ok || closed.Code != 1001 || closed.Reason != "relay shutting down" {
		t.Errorf("got %q, %v, want the end with 1001", m.text, err)
	}
}
