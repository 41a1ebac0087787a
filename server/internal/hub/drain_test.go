package hub

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

// leaver is a link that keeps each DRAINING that it is told.
type leaver struct {
	t    *testing.T
	link *Link
	told []envelope.Status
}

func (l *leaver) send() {
	takeStatuses(l.t, l.link, func(_ string, st envelope.Status) {
		if st.Code == reason.Draining {
			l.told = append(l.told, st)
		}
	})
}

// takeStatuses takes what waits to be sent on a link, and hands on each STATUS with its session id.
func takeStatuses(t *testing.T, link *Link, told func(session string, st envelope.Status)) {
	for {
		var o envelope.Outgoing
		if !link.Take(16379, &o) {
			return
		}
		var b envelope.Batch
		b.Load(o.AppendTo(nil))
		if err := b.Split(frameLimits); err != nil {
			t.Error(err)
		}
		for _, f := range b.Frames() {
			if f.Header.Type == relayv1.FrameType_FRAME_TYPE_STATUS {
				st, err := envelope.DecodeStatus(f.Header.Status)
				if err != nil {
					t.Error(err)
				}
				told(string(f.Header.Session), st)
			}
		}
		b.Free()
	}
}

func attachLeaver(t *testing.T, h *Hub, target string, role route.Role) *leaver {
	t.Helper()
	l := &leaver{t: t}
	link, err := h.Attach(context.Background(), Info{Workspace: "w", Target: target, Peer: route.Peer{Role: role}},
		func() { h.Go(l.send) })
	if err != nil {
		t.Fatal(err)
	}
	l.link = link
	link.Open()
	return l
}

// wantDraining returns the retry_after of what the link was told last, which must be DRAINING.
func (l *leaver) wantDraining() time.Duration {
	l.t.Helper()
	if len(l.told) == 0 || l.told[len(l.told)-1].RetryAfter <= 0 {
		l.t.Errorf("got %+v, want DRAINING with a retry_after", l.told)
		return 0
	}
	return l.told[len(l.told)-1].RetryAfter
}

// drained runs Drain of a hub with targets of a daemon and two clients each, until all know.
func drained(t *testing.T, targets int, limit time.Duration) (h *Hub, links [][]*leaver, result chan Drained) {
	t.Helper()
	h = New(route.Limits{}, frameLimits)
	for i := range targets {
		name := fmt.Sprint("target-", i)
		links = append(links, []*leaver{attachLeaver(t, h, name, route.Daemon),
			attachLeaver(t, h, name, route.Client), attachLeaver(t, h, name, route.Client)})
	}
	result = make(chan Drained, 1)
	h.Go(func() { result <- h.Drain(context.Background(), limit) })
	synctest.Wait()
	return h, links, result
}

func TestTheLinksOfADrainingRelayAreSpreadOverHalfTheLimitWithThoseOfATargetTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 25 * time.Second
		h, targets, result := drained(t, 200, limit)
		early := 0
		for _, links := range targets {
			daemon, first, second := links[0].wantDraining(), links[1].wantDraining(), links[2].wantDraining()
			for _, client := range []time.Duration{first, second} {
				if later := client - daemon; later < limit/goAnyway || later > limit/goAnyway+comeApart || client > limit/2 {
					t.Errorf("a daemon after %v, its client after %v, want it later and within %v", daemon, client, limit/2)
				}
			}
			if first == second {
				t.Errorf("both clients after %v", first)
			}
			if daemon < limit*3/20 {
				early++
			}
		}
		if early < 50 || early > 150 {
			t.Errorf("%d of 200 daemons in the first half of their time, want about half", early)
		}
		for _, links := range targets {
			for _, l := range links {
				l.link.Detach()
			}
		}
		<-result
		h.Wait()
	})
}

func TestADrainIsOverTheMomentThatTheLastLinkHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, targets, result := drained(t, 3, time.Minute)
		began := time.Now()
		for _, links := range targets {
			for _, l := range links {
				time.Sleep(1234 * time.Millisecond)
				l.link.Detach()
			}
		}
		if got, want := <-result, (Drained{Links: 9, Left: 9}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if took, want := time.Since(began), 9*1234*time.Millisecond; took != want {
			t.Errorf("it took %v, want %v", took, want)
		}
		h.Wait()
	})
}

func TestWhoeverStaysIsEndedAtTheLimitWithDrainingAndWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, targets, result := drained(t, 2, 25*time.Second)
		began := time.Now()
		targets[0][1].link.Detach()
		if got, want := <-result, (Drained{Links: 6, Left: 1, Ended: 5}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if took := time.Since(began); took != 25*time.Second {
			t.Errorf("it took %v, want the limit", took)
		}
		for _, links := range targets {
			for _, l := range links {
				if l != targets[0][1] {
					<-l.link.Done()
					if err := l.link.Err(); err.Code != reason.Draining || err.RetryAfter <= 0 || err.RetryAfter > time.Second {
						t.Errorf("got %v after %v, want DRAINING with a short retry_after", err, err.RetryAfter)
					}
				}
				l.link.Detach()
			}
		}
		h.Wait()
	})
}

func TestADrainIsCutShortWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(route.Limits{}, frameLimits)
		l := attachLeaver(t, h, "a", route.Client)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		began := time.Now()
		if got := h.Drain(ctx, time.Hour); got.Ended != 1 || time.Since(began) != time.Second {
			t.Errorf("got %+v after %v, want one ended after a second", got, time.Since(began))
		}
		l.link.Detach()
		h.Wait()
	})
}

func TestADrainingRelayAdmitsNobodyNotEvenWhomItHadLetWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, result := drained(t, 0, time.Minute)
		<-result // nobody to wait for
		for _, target := range []string{"new", "new"} {
			if _, err := attach(h, target, route.Peer{Role: route.Client}); !errors.Is(err, &reason.Error{Code: reason.Draining}) {
				t.Errorf("a new link: got %v, want DRAINING", err)
			}
		}

		h = New(route.Limits{}, frameLimits)
		first := attachLeaver(t, h, "a", route.Daemon)
		refused := make(chan error, 1)
		h.Go(func() {
			_, err := h.Attach(context.Background(), Info{Workspace: "w", Target: "a",
				Peer: route.Peer{Role: route.Daemon, InstallID: "another"}}, func() {})
			refused <- err
		})
		synctest.Wait() // it waits for the probe of the first one
		h.Go(func() { h.Drain(context.Background(), time.Hour) })
		if err := <-refused; !errors.Is(err, &reason.Error{Code: reason.Draining}) {
			t.Errorf("a daemon that waited: got %v, want DRAINING", err)
		}
		if _, err := attach(h, "a", route.Peer{Role: route.Client}); !errors.Is(err, &reason.Error{Code: reason.Draining}) {
			t.Errorf("a link for a target that there is: got %v, want DRAINING", err)
		}
		first.link.Detach()
		h.Wait()
	})
}

func TestWhenADaemonHasLeftItsClientsAreSentAfterItAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, targets, result := drained(t, 2, time.Hour)
		left, others := targets[0], targets[1]
		left[0].link.Detach()
		synctest.Wait()
		for _, client := range left[1:] {
			if retry := client.wantDraining(); retry > comeApart {
				t.Errorf("a client without its daemon is told to go after %v, want at most %v", retry, comeApart)
			}
			client.link.Detach()
		}
		for _, l := range others {
			if len(l.told) != 1 {
				t.Errorf("another target's link was told %+v, want DRAINING once", l.told)
			}
		}
		for _, l := range others { // only now: its clients are told again when the daemon has left
			l.link.Detach()
		}
		<-result
		h.Wait()
	})
}

func TestLinksThatComeWhileTheRelayBeginsToDrainAreToldOrRefused(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			h := New(route.Limits{}, frameLimits)
			result := make(chan Drained, 1)
			admitted := make(chan *leaver, 8)
			for i := range cap(admitted) {
				h.Go(func() {
					l := &leaver{t: t}
					link, err := h.Attach(context.Background(), Info{Workspace: "w", Target: fmt.Sprint(i % 2),
						Peer: route.Peer{Role: route.Client}}, func() { h.Go(l.send) })
					if err != nil {
						l = nil
					} else {
						l.link = link
						link.Open()
					}
					admitted <- l
				})
			}
			h.Go(func() { result <- h.Drain(context.Background(), time.Hour) })
			synctest.Wait()
			n := 0
			for range cap(admitted) {
				if l := <-admitted; l != nil {
					n++
					l.wantDraining()
					l.link.Detach()
				}
			}
			if got, want := <-result, (Drained{Links: n, Left: n}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			h.Wait()
		})
	}
}
