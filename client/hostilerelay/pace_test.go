package hostilerelay_test

import (
	"context"
	"testing"
	"time"

	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/relaytest"
)

const (
	// handshakes and links are more than an endpoint begins within pace if it pauses in between; without a pause they
	// take milliseconds.
	handshakes = 40
	links      = 20
	pace       = 10 * time.Second
)

// Each handshake costs the client a key: a relay that has nothing to lose does not set the pace.
func TestOpenPausesBetweenHandshakesWhateverTheRelayAnswers(t *testing.T) {
	var jobs []job
	for name, status := range map[string]envelope.Status{
		"the daemon is here":      {Code: reason.PeerAvailable},
		"there is no daemon here": {Code: reason.PeerUnavailable},
		"come back at once":       {Code: reason.RateLimited},
		"it took too long":        {Code: reason.HandshakeTimeout},
	} {
		jobs = append(jobs, job{name, func(t *testing.T, relay *relaytest.Relay) {
			w := newWorld(t, relay, identity.NoiseIK, settings{})
			// The client has seen its daemon: only then is it patient.
			first := w.converse('a')
			if err := first.exchange(w.ctx, 1); err != nil {
				t.Fatal(err)
			}
			n := 0
			w.m.set(func(l *link, w way, f *frame) []*frame {
				if w != up || f.Type != typeInit || n == handshakes {
					return []*frame{f}
				}
				n++
				l.inject(down, f.status(status))
				return nil
			})
			ctx, stop := context.WithTimeout(w.ctx, pace)
			defer stop()
			if s, err := w.client.Open(ctx); err == nil {
				s.Abort()
			}
			w.m.do(func() {
				if n == handshakes {
					t.Errorf("Open began %d handshakes within %v, want a pause between them", n, pace)
				}
				if n == 0 {
					t.Error("the attack did nothing")
				}
			})
		}})
	}
	alone(t, jobs)
}

// Each link costs a connection and a question to the platform.
func TestAnEndPausesBetweenLinksWhateverTheRelaySays(t *testing.T) {
	var jobs []job
	for name, says := range map[string]func(w *world, l *link){
		"leave at once": func(w *world, l *link) {
			l.inject(down, w.linkStatus(envelope.Status{Code: reason.Draining}))
		},
		"an end": func(_ *world, l *link) { l.cut(nil) },
	} {
		for _, r := range []role{atClient, atDaemon} {
			jobs = append(jobs, job{name + "/" + string(r), func(t *testing.T, relay *relaytest.Relay) {
				w := newWorld(t, relay, identity.NoiseIK, settings{})
				c := w.converse('a')
				n := 0
				over := make(chan struct{})
				w.m.do(func() {
					w.m.greet = func(l *link) {
						if l.role != r || n == links {
							return
						}
						if n++; n == links {
							close(over)
						}
						says(w, l)
					}
					w.m.latest(r).cut(nil)
				})
				ctx, stop := context.WithTimeout(w.ctx, pace)
				defer stop()
				talks := make(chan error, 1)
				go func() { talks <- c.exchange(w.ctx, talked) }()
				select {
				case <-over:
					t.Errorf("the %s made %d links within %v, want a pause between them", r, links, pace)
				case <-ctx.Done():
				}
				w.m.do(func() { w.m.greet = nil })
				if err := <-talks; err != nil {
					t.Errorf("the session meanwhile: %v", err)
				}
				if n == 0 {
					t.Error("the attack did nothing")
				}
			}})
		}
	}
	alone(t, jobs)
}
