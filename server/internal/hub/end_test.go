package hub

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/server/internal/revocation"
)

// attachAs attaches a link with these names, and a transport that goes when the relay ends it.
func attachAs(h *Hub, info Info) (*transport, error) {
	info.Workspace = "w"
	tr := &transport{hub: h, sent: func(int) {}}
	link, err := h.Attach(context.Background(), info, func() { h.Go(tr.send) })
	if err != nil {
		return nil, err
	}
	tr.link = link
	link.Open()
	return tr, nil
}

func mustAttach(t *testing.T, h *Hub, info Info) *transport {
	t.Helper()
	tr, err := attachAs(h, info)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func client(target, token string) Info {
	return Info{Target: target, Peer: route.Peer{Role: route.Client}, TokenID: token}
}

func daemon(target, install string) Info {
	return Info{Target: target, Peer: route.Peer{Role: route.Daemon, InstallID: install}}
}

// ended returns why the relay has ended the link; empty: it has not.
func (tr *transport) ended() reason.Code {
	select {
	case <-tr.link.Done():
		return tr.link.Err().Code
	default:
		return ""
	}
}

// empty detaches what is left and checks the hub.
func empty(t *testing.T, h *Hub, all ...*transport) {
	t.Helper()
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	before := h.Totals().In
	for _, tr := range all {
		tr.link.Detach()
		tr.link.Detach() // twice is no harm
	}
	if after := h.Totals().In; after != before {
		t.Errorf("got %+v received once all have gone, want the %+v of before", after, before)
	}
	// Ends at once if every link has been taken back.
	if d := h.Drain(context.Background(), time.Hour); d != (Drained{}) {
		t.Errorf("got %+v, want no link left", d)
	}
	h.Wait()
}

func TestALinkEndsWhenTheGraceOfItsTokenIsOverAndNotBefore(t *testing.T) {
	for name, heartbeat := range map[string]time.Duration{"without heartbeats": 0, "with heartbeats": 7 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := New(route.Limits{Heartbeat: heartbeat}, frameLimits)
				h.ExpireAfter(time.Minute)
				attached := time.Now()
				var links []*transport
				for _, ttl := range []time.Duration{10 * time.Minute, 3 * time.Minute, 3 * time.Minute, 0} {
					info := client("a", "")
					if ttl != 0 {
						info.Expires = attached.Add(ttl)
					}
					links = append(links, mustAttach(t, h, info))
				}
				// A link of its own token ends neither sooner nor later because of the others at its target.
				want := []time.Duration{11 * time.Minute, 4 * time.Minute, 4 * time.Minute, 0}
				stop := keepAlive(links)
				for i, tr := range links[:3] {
					h.Go(func() {
						<-tr.link.Done()
						if lived, code := time.Since(attached), tr.ended(); lived != want[i] || code != reason.TokenExpired {
							t.Errorf("link %d: %s after %v, want TOKEN_EXPIRED after %v", i, code, lived, want[i])
						}
						tr.link.Detach()
					})
				}
				time.Sleep(24 * time.Hour)
				if code := links[3].ended(); code != "" {
					t.Errorf("a token without an end: got %s", code)
				}
				if n := h.Ends().Expired.Load(); n != 3 {
					t.Errorf("counted %d, want 3", n)
				}
				stop()
				empty(t, h, links...)
			})
		})
	}
}

// keepAlive lets the links be heard of every second.
func keepAlive(links []*transport) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var beating sync.WaitGroup
	for _, tr := range links {
		beating.Go(func() {
			var b Batch
			for ctx.Err() == nil {
				b.Load(envelope.AppendHeartbeat(nil, "w", tr.link.Target, false))
				_, end := tr.link.Sequence(&b)
				b.Free()
				if end != nil {
					return // it has ended
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
		})
	}
	return func() { cancel(); beating.Wait() }
}

func TestADaemonWhoseTokenHasExpiredLeavesItsPlaceToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(route.Limits{}, frameLimits)
		h.ExpireAfter(time.Second)
		info := daemon("a", "i1")
		info.Expires = time.Now().Add(time.Hour)
		old := mustAttach(t, h, info)
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if code := old.ended(); code != reason.TokenExpired {
			t.Fatalf("got %q, want TOKEN_EXPIRED", code)
		}
		// The transport has not noticed, and is not waited for: another install needs no probe.
		began := time.Now()
		empty(t, h, old, mustAttach(t, h, daemon("a", "i2")))
		if waited := time.Since(began); waited != 0 {
			t.Errorf("its successor waited %v", waited)
		}
	})
}

// told is what a transport was sent by STATUS about one session.
type told struct{ code, session string }

func TestARevokedClientIsGoneAtOnceAndItsDaemonIsToldToEndItsSessions(t *testing.T) {
	h := New(route.Limits{}, frameLimits)
	statuses := make(chan told, 8)
	served := &statusReader{t: t, statuses: statuses}
	link, err := h.Attach(context.Background(), Info{Workspace: "w", Target: "a", Peer: route.Peer{Role: route.Daemon}},
		func() { h.Go(served.send) })
	if err != nil {
		t.Fatal(err)
	}
	d := &transport{hub: h, link: link}
	served.link = link
	link.Open()
	gone, stays := mustAttach(t, h, client("a", "t1")), mustAttach(t, h, client("a", "t2"))
	var b Batch
	for n, tr := range []*transport{gone, stays} {
		if end := tr.receive(&b, frame(n, relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT, 1)); end != nil {
			t.Fatal(end)
		}
		d.receive(&b, frame(n, relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE, 1))
	}
	before := h.Totals()
	if n := h.Revoke(revocation.Subject{Workspace: "w", Kind: revocation.Token, Value: "t1"}.Matches); n != 1 {
		t.Errorf("got %d links ended, want 1", n)
	}
	// Its transport has not noticed yet.
	if code := gone.ended(); code != reason.PairingRevoked {
		t.Errorf("got %q, want PAIRING_REVOKED at once", code)
	}
	total := h.Totals()
	if total.Clients != 1 || total.Sessions != 2 || total.In != before.In {
		t.Errorf("got %+v, want one client, and what came in still counted (%+v)", total, before.In)
	}
	if end := gone.receive(&b, frame(0, relayv1.FrameType_FRAME_TYPE_DATA, 2)); end == nil {
		t.Error("a frame of the revoked client was taken")
	}
	if got, want := <-statuses, (told{"PEER_REVOKED", envelope.SessionID(keyOf(0))}); got != want {
		t.Errorf("the daemon was told %v, want %v", got, want)
	}
	if code := stays.ended(); code != "" {
		t.Errorf("the other client: got %s", code)
	}
	if end := stays.receive(&b, frame(1, relayv1.FrameType_FRAME_TYPE_DATA, 2)); end != nil {
		t.Errorf("the other client's frame: got %v", end)
	}
	if n := h.Ends().Revoked.Load(); n != 1 {
		t.Errorf("counted %d, want 1", n)
	}
	empty(t, h, gone, stays, d)
}

// statusReader hands on what a link is told about sessions.
type statusReader struct {
	t        *testing.T
	link     *Link
	statuses chan<- told
}

func (r *statusReader) send() {
	takeStatuses(r.t, r.link, func(session string, st envelope.Status) {
		r.statuses <- told{string(st.Code), session}
	})
}

func TestNoLinkSlipsInBetweenTheLookAtTheListAndItsPlaceInTheHub(t *testing.T) {
	h := New(route.Limits{}, frameLimits)
	ended := make(chan int, 1)
	// The list has nothing when the link looks; before it goes on, it is revoked.
	h.Bar(func(revocation.Names) bool {
		h.Go(func() { ended <- h.Revoke(func(revocation.Names) bool { return true }) })
		// Revoke can't get past the link, or it would miss it: it gets every opportunity.
		for range 10_000 {
			if len(ended) > 0 {
				t.Error("everything was revoked, and the link is still on its way")
				break
			}
			runtime.Gosched()
		}
		return false
	})
	late := mustAttach(t, h, client("a", "t"))
	if n := <-ended; n != 1 || late.ended() != reason.PairingRevoked {
		t.Errorf("got %d ended and %q, want the link that was late to be ended", n, late.ended())
	}
	empty(t, h, late)
}

func TestLinksThatComeWhileTheirPairingIsRevokedEndOrAreRefusedAndAfterItAllAreRefused(t *testing.T) {
	for range 50 {
		h := New(route.Limits{}, frameLimits)
		list := revocation.InMemory()
		h.Bar(list.Revoked)
		thief := revocation.Subject{Workspace: "w", Kind: revocation.Install, Value: "thief"}
		var mu sync.Mutex
		var links []*transport
		var coming sync.WaitGroup
		for worker := range 4 {
			coming.Go(func() {
				for {
					info := client([]string{"a", "b"}[worker%2], "")
					info.Peer.InstallID = "thief"
					tr, err := attachAs(h, info)
					if err != nil {
						if !errors.Is(err, errRevoked) {
							t.Errorf("got %v, want PAIRING_REVOKED", err)
						}
						return
					}
					mu.Lock()
					links = append(links, tr)
					mu.Unlock()
				}
			})
		}
		honest := mustAttach(t, h, client("a", ""))
		if _, _, full := list.Revoke(thief, "", time.Now()); full != nil {
			t.Fatal(full)
		}
		n := h.Revoke(thief.Matches)
		if left := h.Totals().Clients; left != 1 {
			t.Errorf("%d links are attached after the revocation, want the honest one", left)
		}
		coming.Wait() // each is refused in the end
		for _, tr := range links {
			if code := tr.ended(); code != reason.PairingRevoked {
				t.Errorf("a link got in and %q", code)
			}
		}
		if n != len(links) || honest.ended() != "" {
			t.Errorf("%d were ended of %d that came, and the honest one %q", n, len(links), honest.ended())
		}
		empty(t, h, append(links, honest)...)
	}
}

func TestADaemonThatWaitsForItsPlaceIsRevokedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(route.Limits{}, frameLimits)
		first := mustAttach(t, h, daemon("a", "honest"))
		var err error
		h.Go(func() { _, err = attachAs(h, daemon("a", "thief")) })
		synctest.Wait()
		if n := h.Revoke(revocation.Subject{Workspace: "w", Kind: revocation.Install, Value: "thief"}.Matches); n != 1 {
			t.Errorf("got %d ended, want 1", n)
		}
		synctest.Wait()
		if !errors.Is(err, errRevoked) || first.ended() != "" {
			t.Errorf("got %v, and for the one that is there %q; want PAIRING_REVOKED and nothing", err, first.ended())
		}
		time.Sleep(time.Minute) // the probe's time is over long since
		if code := first.ended(); code != "" {
			t.Errorf("the honest daemon: got %s", code)
		}
		empty(t, h, first)
	})
}

func TestARevokedDaemonMakesRoomForTheOneThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(route.Limits{}, frameLimits)
		thief := mustAttach(t, h, daemon("a", "thief"))
		var second *transport
		var err error
		h.Go(func() { second, err = attachAs(h, daemon("a", "honest")) })
		synctest.Wait()
		began := time.Now()
		thief.link.Revoke()
		thief.link.Revoke() // twice is no harm
		synctest.Wait()
		if err != nil || time.Since(began) != 0 || thief.ended() != reason.PairingRevoked {
			t.Errorf("got %v after %v, and for the thief %q", err, time.Since(began), thief.ended())
		}
		if n := h.Ends().Revoked.Load(); n != 1 {
			t.Errorf("counted %d, want 1", n)
		}
		empty(t, h, thief, second)
	})
}
