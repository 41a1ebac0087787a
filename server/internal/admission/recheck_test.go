package admission

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

func wantVerdict(t *testing.T, a *Admitter, token string, want Verdict) {
	t.Helper()
	if got := a.Recheck(t.Context(), asClient(token)); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOnlyAnExplicitRevokedIsAWordAgainstALiveLink(t *testing.T) {
	for name, row := range refusals {
		t.Run(name, func(t *testing.T) {
			answer := func(p *platform) {
				p.validate.set(func(w http.ResponseWriter, r *http.Request) { body(row.status, row.body())(w, r) })
			}
			inBubble(t, both(), answer, func(t *testing.T, p *platform, a *Admitter) {
				got := a.Recheck(t.Context(), asClient(rsaOne().mint(nil)))
				if (got == Revoked) != (row.want == reason.PairingRevoked) ||
					(got == Unavailable) != (row.want == reason.PlatformUnavailable) || row.want == "" && got != Good {
					t.Errorf("got %v of an answer that at admission means %q", got, row.want)
				}
				if p.asks.Load() != 1 {
					t.Errorf("got %d validate calls, want 1", p.asks.Load())
				}
			})
		})
	}
}

func TestAPlatformThatIsDownIsNoWordAgainstALiveLink(t *testing.T) {
	for _, name := range []string{"hang", "drip", "endless", "cut", "redirect"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, validateOnly(), func(p *platform) { p.validate.set(faults[name]) },
				func(t *testing.T, _ *platform, a *Admitter) {
					began := time.Now()
					wantVerdict(t, a, opaqueToken(), Unavailable)
					if took := time.Since(began); took > 2*time.Second {
						t.Errorf("got an answer after %v, want at most 2s", took)
					}
				})
		})
	}
	inBubble(t, validateOnly(), func(p *platform) { p.refuse.Store(true) }, func(t *testing.T, _ *platform, a *Admitter) {
		wantVerdict(t, a, opaqueToken(), Unavailable)
	})
}

func TestAnAdmissionNeverWaitsForARecheck(t *testing.T) {
	cfg := validateOnly()
	cfg.ValidateConcurrency = 4
	inBubble(t, cfg, func(p *platform) { p.validate.set(faults["hang"]) }, func(t *testing.T, p *platform, a *Admitter) {
		if n := a.RecheckShare(); n != 1 {
			t.Errorf("got a share of %d of 4, want 1", n)
		}
		verdicts := make(chan Verdict, 6)
		var asking sync.WaitGroup
		recheck := func() { asking.Go(func() { verdicts <- a.Recheck(t.Context(), asClient(opaqueToken())) }) }
		for range 4 { // more than their share, to be hard
			recheck()
		}
		synctest.Wait()
		if s := a.Stats(); s.InFlight != 4 || s.Waiting != 0 {
			t.Errorf("got %+v, want 4 in flight", s)
		}
		// The platform is well again for all that come now.
		p.validate.set(func(w http.ResponseWriter, r *http.Request) { body(200, goodAnswer(nil))(w, r) })
		began := time.Now()
		for range 2 {
			wantCode(t, a, asClient(opaqueToken()), "")
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("an admission waited %v", waited)
		}
		if v := <-verdicts; v != Busy {
			t.Errorf("the re-check that gave way: got %v, want busy", v)
		}
		asking.Wait()
		close(verdicts)
		for v := range verdicts {
			if v != Unavailable {
				t.Errorf("a re-check that was left alone: got %v, want unavailable", v)
			}
		}
		if s := a.Stats(); s.InFlight != 0 || s.Waiting != 0 || s.ValidationFailures != 3 {
			t.Errorf("got %+v, want nothing left, and 3 failures: giving way is none", s)
		}
	})
}

func TestARecheckWaitsNotEvenWhileAdmissionsHaveEveryCall(t *testing.T) {
	cfg := validateOnly()
	cfg.ValidateConcurrency = 2
	inBubble(t, cfg, func(p *platform) { p.validate.set(faults["hang"]) }, func(t *testing.T, p *platform, a *Admitter) {
		ctx, giveUp := context.WithCancel(t.Context())
		var admissions sync.WaitGroup
		for range 5 {
			admissions.Go(func() { _, _ = a.Admit(ctx, asClient(opaqueToken())) })
		}
		synctest.Wait()
		asks := p.asks.Load()
		wantVerdict(t, a, opaqueToken(), Busy)
		if s := a.Stats(); s.InFlight != 2 || s.Waiting != 3 || p.asks.Load() != asks {
			t.Errorf("got %+v and %d calls, want the admissions alone", s, p.asks.Load())
		}
		giveUp()
		admissions.Wait()
	})
}

func TestWithoutAValidateCallThereIsNothingToAsk(t *testing.T) {
	inBubble(t, keysOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
		wantVerdict(t, a, rsaOne().mint(nil), Good)
		if n := a.RecheckShare(); n != 1 || p.asks.Load() != 0 {
			t.Errorf("got a share of %d and %d calls", n, p.asks.Load())
		}
	})
}
