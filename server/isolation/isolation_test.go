package isolation_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/relaytest"
)

// eachPair runs test with each pair of tenants, on one relay.
func eachPair(t *testing.T, test func(w *world, a, b tenant)) {
	t.Helper()
	w := newWorld(t)
	for _, pair := range pairs(*seed) {
		t.Run(fmt.Sprintf("seed %d: %v and %v", *seed, pair[0], pair[1]), func(t *testing.T) {
			test(&world{t: t, relay: w.relay, conn: w.conn}, pair[0], pair[1])
		})
	}
}

// running is a tenant with a daemon, a client and a session.
type running struct {
	daemon, client *peer
	session        session
	next           uint64
}

func (w *world) run(of tenant, s session) *running {
	w.t.Helper()
	r := &running{daemon: w.join(identity.Daemon, of), client: w.join(identity.Client, of), session: s, next: 2}
	s.open(r.client, r.daemon)
	return r
}

// goesOn checks that the session has lost nothing and that nothing came that is not its own.
func (r *running) goesOn() {
	r.client.t.Helper()
	r.session.exchange(r.client, r.daemon, r.next)
	r.next++
}

func (r *running) leave() {
	r.client.cancel()
	r.daemon.cancel()
}

func TestTheSameSessionAtTwoTenantsIsTwoSessions(t *testing.T) {
	eachPair(t, func(w *world, a, b tenant) {
		s := newSession(1)
		one, other := w.run(a, s), w.run(b, s)
		for range 3 {
			one.goesOn()
			other.goesOn()
		}
		// The end of one, by each frame that ends, is none of the other's.
		one.client.send(s.frame(resetFrame, 0, "reset"))
		one.daemon.want(resetFrame, s.id, "reset")
		other.goesOn()
		one.leave()
		other.goesOn()
		other.leave()
	})
}

func TestPresenceTakeoverAndGenerationsOfATenantAreItsOwn(t *testing.T) {
	eachPair(t, func(w *world, a, b tenant) {
		s := newSession(2)
		waiting := w.join(identity.Client, b) // of b, which has no daemon
		waiting.send(s.frame(initFrame, 1, "hello"))
		waiting.want(statusFrame, "", "PEER_UNAVAILABLE")

		// A daemon of a, a takeover by another generation, and one that is too old.
		first := w.join(identity.Daemon, a, relaytest.Generation(5))
		second := w.join(identity.Daemon, a, relaytest.Generation(9), relaytest.InstallID("other"))
		if end := first.end(); !bytes.Contains(end, []byte("REPLACED")) {
			t.Errorf("the old daemon's link ended with %q", end)
		}
		old := w.open(identity.Daemon, w.relay.Token(identity.Daemon, a.workspace, a.target, relaytest.Generation(5)), a)
		if end := old.end(); !bytes.Contains(end, []byte("STALE_GENERATION")) {
			t.Errorf("a daemon of an older generation is told %q", end)
		}
		// b's client heard of none of it: the next that it gets is the answer to what it asks now.
		waiting.send(s.frame(initFrame, 1, "hello"))
		waiting.want(statusFrame, "", "PEER_UNAVAILABLE")

		// b's daemon has a lower generation, and is the one that b's client hears of.
		daemon := w.join(identity.Daemon, b, relaytest.Generation(1))
		waiting.want(statusFrame, "", "PEER_AVAILABLE")
		s.open(waiting, daemon)
		// a's daemon leaves and its generation is remembered, for a alone.
		second.cancel()
		s.exchange(waiting, daemon, 2)
		daemon.cancel()
		waiting.want(statusFrame, "", "PEER_UNAVAILABLE")
		again := w.join(identity.Daemon, b, relaytest.Generation(1))
		waiting.want(statusFrame, "", "PEER_AVAILABLE")
		again.cancel()
		waiting.cancel()
	})
}

func TestWhatAnotherTenantOwnsIsRefusedAsWhatDoesNotExist(t *testing.T) {
	eachPair(t, func(w *world, a, b tenant) {
		theirs := w.run(b, newSession(3))
		// What nobody has, and has in common with one's own place what the other's has.
		nobody := tenant{"nobody-has-this", "nor-this"}
		if b.workspace == a.workspace {
			nobody.workspace = a.workspace
		}
		if b.target == a.target {
			nobody.target = a.target
		}
		for _, role := range []identity.Role{identity.Client, identity.Daemon} {
			token := w.relay.Token(role, a.workspace, a.target)
			for what, places := range map[string][2]tenant{
				"place":     {b, nobody},
				"target":    {{a.workspace, b.target}, {a.workspace, nobody.target}},
				"workspace": {{b.workspace, a.target}, {nobody.workspace, a.target}},
			} {
				if places[0] == a {
					continue // its own
				}
				wantSame(t, fmt.Sprintf("the %s's token of one for the %s of the other", role, what),
					w.open(role, token, places[0]).end(), w.open(role, token, places[1]).end())
			}
			// Admitted for one's own place, envelopes name another's.
			tell := func(place tenant) []byte {
				p := w.join(role, a)
				e := newSession(3).frame(resetFrame, 0, "reset")
				e.WorkspaceId, e.RuntimeTargetId = place.workspace, place.target
				p.send(e)
				return p.end()
			}
			wantSame(t, fmt.Sprintf("an envelope of a %s for another's place", role), tell(b), tell(nobody))
		}
		theirs.goesOn()
		theirs.leave()
	})
}

func wantSame(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%q, want\n%q", what, got, want)
	}
}

func TestASessionOfAnotherTenantAnswersAsOneThatDoesNotExist(t *testing.T) {
	eachPair(t, func(w *world, a, b tenant) {
		theirs := w.run(b, newSession(4))
		types := []relayv1.FrameType{dataFrame, closeFrame, ackFrame, resumedFrame, resetFrame, resumeFrame}
		// Daemons first: a client's RESUME makes the session known here, which its daemon hears until that link is gone.
		for _, daemon := range []bool{true, false} {
			for _, typ := range types {
				// Two tenants' worth of state would leak through anything kept by session id, so each try has a fresh link.
				try := func(s session) []byte {
					own := w.run(a, newSession(5))
					defer own.leave()
					from := own.client
					if daemon {
						from = own.daemon
					}
					sequence := uint64(0)
					if typ == dataFrame || typ == closeFrame || typ == resumeFrame {
						sequence = 2
					}
					e := s.frame(typ, sequence, "guess")
					if daemon {
						e.BindKey = nil // only clients have one
					}
					from.send(e)
					return own.settle(s)
				}
				foreign, none := try(theirs.session), try(newSession(6))
				wantSame(t, fmt.Sprintf("%v by a daemon %t", typ, daemon), foreign, none)
			}
		}
		theirs.goesOn()
		theirs.leave()
	})
}

// settle returns all that came to both ends of r until frames of its own have passed there and back and there again. It
// blanks what the caller sent itself: the id of s and its bind key.
func (r *running) settle(s session) []byte {
	r.client.t.Helper()
	var all []byte
	until := func(p *peer, text string) {
		for e := p.next(); string(e.GetCiphertext()) != text; e = p.next() {
			if e.GetSessionId() == s.id {
				e.SessionId = "the one that was sent"
			}
			if bytes.Equal(e.GetBindKey(), s.bind[:]) {
				e.BindKey = nil
			}
			all = append(all, exactly(p.t, e)...)
		}
	}
	r.client.send(r.session.frame(dataFrame, 2, "there"))
	until(r.daemon, "there")
	r.daemon.send(r.session.frame(dataFrame, 2, "back"))
	until(r.client, "back")
	r.client.send(r.session.frame(dataFrame, 3, "there again"))
	until(r.daemon, "there again")
	return all
}

func TestIdsThatOnlyLookAlikeAreRefusedAndNotFolded(t *testing.T) {
	w := newWorld(t)
	real := tenant{"acme", "laptop"}
	r := w.run(real, newSession(7))
	for _, id := range lookAlikes {
		for _, alike := range []tenant{{id, real.target}, {real.workspace, id}} {
			// A token of a platform that has such a tenant, for the real place.
			end := w.open(identity.Client, w.relay.Token(identity.Client, alike.workspace, alike.target), real).end()
			if !bytes.Contains(end, []byte("_MISMATCH")) {
				t.Errorf("a token for %q/%q at the real place: got %q", alike.workspace, alike.target, end)
			}
			// An envelope that names it, on the real tenant's link. What is no UTF-8 or no id is no envelope.
			p := w.join(identity.Client, real)
			e := newSession(7).frame(resetFrame, 0, "reset")
			e.WorkspaceId, e.RuntimeTargetId = alike.workspace, alike.target
			p.send(e)
			if end := p.end(); !bytes.Contains(end, []byte("FRAME_INVALID")) {
				t.Errorf("an envelope for %q/%q: got %q", alike.workspace, alike.target, end)
			}
		}
	}
	r.goesOn()
	r.leave()
}

func TestRealSessionsOfCollidingTenantsReachTheirOwnDaemon(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, pair := range pairs(*seed) {
		t.Run(fmt.Sprintf("seed %d: %v and %v", *seed, pair[0], pair[1]), func(t *testing.T) {
			var daemons [2]*client.Listener
			var ends [2]*relaytest.Ends
			for i, of := range pair {
				ends[i] = relaytest.Pair(t, of.workspace, of.target)
				l, err := client.Listen(ctx, w.relay.ListenConfig(ends[i]))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = l.Close() }()
				daemons[i] = l
			}
			for i, of := range pair {
				c, err := client.Dial(ctx, w.relay.DialConfig(ends[i]))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				up, err := c.Open(ctx)
				if err != nil {
					t.Fatal(err)
				}
				down, err := daemons[i].Accept(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if down.Peer() != ends[i].Client.Public || down.ID() != up.ID() {
					t.Errorf("the daemon of %v got another's session", of)
				}
				if err := up.Send(ctx, []byte(of.String())); err != nil {
					t.Fatal(err)
				}
				if got, err := down.Recv(ctx); err != nil || string(got) != of.String() {
					t.Errorf("got %q, %v, want %q", got, err, of)
				}
			}
		})
	}
}

func TestAdminListingsOfAWorkspaceShowNothingOfAnother(t *testing.T) {
	w := newWorld(t)
	all := pairs(*seed)
	for i, pair := range all {
		for _, of := range pair {
			w.run(of, newSession(byte(i)))
		}
	}
	admin := relayv1.NewAdminServiceClient(w.dial(w.relay.AdminAddr))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+w.relay.AdminToken)
	for _, pair := range all {
		for _, of := range pair {
			want := 0 // tenants of this workspace
			for _, p := range all {
				for _, other := range p {
					if other.workspace == of.workspace {
						want++
					}
				}
			}
			targets, links := 0, 0
			for next, more := "", true; more; more = next != "" { // page by page: a page may not begin elsewhere
				page, err := admin.ListTargets(ctx, &relayv1.ListTargetsRequest{WorkspaceId: of.workspace, PageSize: 1, PageToken: next})
				if err != nil {
					t.Fatal(err)
				}
				for _, got := range page.GetTargets() {
					if targets++; got.GetWorkspaceId() != of.workspace || got.GetSessions() != 1 || got.GetClientLinks() != 1 {
						t.Errorf("seed %d: workspace %q shows %v", *seed, of.workspace, got)
					}
				}
				next = page.GetNextPageToken()
			}
			for next, more := "", true; more; more = next != "" {
				page, err := admin.ListConnections(ctx,
					&relayv1.ListConnectionsRequest{WorkspaceId: of.workspace, PageSize: 1, PageToken: next})
				if err != nil {
					t.Fatal(err)
				}
				for _, got := range page.GetConnections() {
					if links++; got.GetWorkspaceId() != of.workspace || got.GetSessions() != 1 {
						t.Errorf("seed %d: workspace %q shows %v", *seed, of.workspace, got)
					}
				}
				next = page.GetNextPageToken()
			}
			if targets != want || links != 2*want {
				t.Errorf("seed %d: workspace %q: got %d targets and %d links, want %d and %d", *seed, of.workspace,
					targets, links, want, 2*want)
			}
		}
	}
}
