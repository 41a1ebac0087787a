package admission

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// pass lets time pass and whatever becomes due happen.
func pass(d time.Duration) {
	time.Sleep(d) // synctest's clock: no time at all
	synctest.Wait()
}

// retryAfter is what Admit tells a token that it can't judge yet.
func retryAfter(t *testing.T, a *Admitter, token string) time.Duration {
	t.Helper()
	_, err := a.Admit(t.Context(), asClient(token))
	if got := code(t, err); got != reason.PlatformUnavailable {
		t.Fatalf("got %q (%v), want PLATFORM_UNAVAILABLE", got, err)
	}
	return reason.Of(err).RetryAfter
}

func TestATokenOfANewKeyIsAdmittedWhenItComesBackAsTold(t *testing.T) {
	inBubble(t, keysOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
		p.jwks.set(body(200, document(rsaOne(), rsaTwo())))
		token := rsaTwo().mint(nil)
		pass(10 * time.Second)
		wait := retryAfter(t, a, token)
		if want := 51 * time.Second; wait != want {
			t.Errorf("got retry_after %v, want %v: a minute after the first fetch, and a second for this one", wait, want)
		}
		pass(wait)
		wantCode(t, a, asClient(token), "")
		wantCode(t, a, asClient(rsaOne().mint(nil)), "") // both keys while one is being replaced
		if n := p.fetches.Load(); n != 2 {
			t.Errorf("got %d fetches, want 2", n)
		}
	})
}

func TestAnUnknownKidIsInvalidOnlyAfterAFreshFetchLacksIt(t *testing.T) {
	inBubble(t, keysOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
		token := rsaTwo().mint(nil)
		pass(2 * time.Minute) // the next may begin at once
		if wait := retryAfter(t, a, token); wait != time.Second {
			t.Errorf("got retry_after %v, want 1s", wait)
		}
		pass(time.Second)
		wantCode(t, a, asClient(token), reason.TokenInvalid)
		pass(58 * time.Second)
		wantCode(t, a, asClient(token), reason.TokenInvalid)
		if n := p.fetches.Load(); n != 2 {
			t.Errorf("got %d fetches, want 2", n)
		}
		// What a minute ago was not there may be now.
		pass(time.Second)
		p.jwks.set(body(200, document(rsaTwo())))
		retryAfter(t, a, token)
		pass(time.Second)
		wantCode(t, a, asClient(token), "")
	})
}

func TestAFetchThatBeganBeforeAKidWasSeenSaysNothingAboutIt(t *testing.T) {
	inBubble(t, keysOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
		p.jwks.set(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(3 * time.Second)
			body(200, document(rsaOne()))(w, r)
		})
		pass(refreshInterval + time.Second) // it runs
		token := rsaTwo().mint(nil)
		if wait := retryAfter(t, a, token); wait != time.Second {
			t.Errorf("while a fetch runs: got retry_after %v, want 1s", wait)
		}
		pass(2 * time.Second) // it has ended, without the kid
		retryAfter(t, a, token)
		pass(time.Minute) // another has begun and ended
		wantCode(t, a, asClient(token), reason.TokenInvalid)
	})
}

func TestAKidThatCameDuringAFetchIsLookedForByTheNext(t *testing.T) {
	inBubble(t, keysOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
		slowly := func(document string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(3 * time.Second)
				body(200, document)(w, r)
			}
		}
		p.jwks.set(slowly(document(rsaOne())))
		pass(refreshInterval + time.Second)
		retryAfter(t, a, rsaTwo().mint(nil))
		pass(time.Minute + 3*time.Second)
		wantCode(t, a, asClient(rsaTwo().mint(nil)), reason.TokenInvalid)
		if n := p.fetches.Load(); n != 3 {
			t.Errorf("got %d fetches, want 3", n)
		}
		// The one that runs brings it: then there is no need of another.
		p.jwks.set(slowly(document(rsaTwo())))
		pass(refreshInterval - 3*time.Second)
		retryAfter(t, a, rsaTwo().mint(nil))
		pass(3 * time.Second)
		wantCode(t, a, asClient(rsaTwo().mint(nil)), "")
		pass(2 * time.Minute)
		if n := p.fetches.Load(); n != 4 {
			t.Errorf("got %d fetches, want 4", n)
		}
	})
}

func TestAnUnknownKidIsNotForgottenWhenAFetchFails(t *testing.T) {
	inBubble(t, keysOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
		p.jwks.set(faults["500"])
		pass(2 * time.Minute)
		retryAfter(t, a, rsaTwo().mint(nil))
		pass(time.Second)
		p.jwks.set(body(200, document(rsaOne())))
		pass(time.Minute)
		wantCode(t, a, asClient(rsaTwo().mint(nil)), reason.TokenInvalid)
	})
}

// TestTenThousandUnknownKidsASecondCostOneFetchAMinuteAndNobodyWaits: 100 from four at once, 100 times in a second.
func TestTenThousandUnknownKidsASecondCostOneFetchAMinuteAndNobodyWaits(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"the platform answers": nil, "the platform hangs": faults["hang"],
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, keysOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
				if answer != nil {
					p.jwks.set(answer)
				}
				good := rsaOne().mint(values{"exp": at(3600)})
				_, rest, _ := strings.Cut(good, ".")
				began := time.Now()
				flood := func(worker, n int) {
					for i := range n {
						header := fmt.Sprintf(`{"alg":"RS256","kid":"flood-%d-%d-%d"}`, time.Since(began), worker, i)
						now := time.Now()
						_, err := a.Admit(t.Context(), asClient(b64([]byte(header))+"."+rest))
						if got := code(t, err); got != reason.PlatformUnavailable {
							t.Errorf("got %q, want PLATFORM_UNAVAILABLE", got)
						}
						if waited := time.Since(now); waited != 0 {
							t.Errorf("got a wait of %v, want none", waited)
						}
					}
				}
				for minute := range 3 {
					for range 100 >> (3 * minute) { // a whole second of it only once, and then a few to the minute's end
						var workers sync.WaitGroup
						for w := range 4 {
							workers.Go(func() { flood(w, 25) })
						}
						workers.Wait()
						wantCode(t, a, asClient(good), "")
						if n := a.Stats().KidsAsked; n > maxAsked {
							t.Fatalf("got %d kids remembered, want at most %d", n, maxAsked)
						}
						pass(10 * time.Millisecond)
					}
					for range 59 {
						flood(4, 1)
						pass(time.Second)
					}
					if n, most := p.fetches.Load(), int64(minute+2); n > most {
						t.Errorf("got %d fetches in %d minutes, want at most %d: one a minute and the first", n, minute+1, most)
					}
				}
				if n := p.fetches.Load(); n < 3 {
					t.Errorf("got %d fetches, want that they go on", n)
				}
			})
		})
	}
}

func TestAMoreThanFullMemoryOfKidsStillFindsTheKeys(t *testing.T) {
	inBubble(t, keysOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
		for i := range 2 * maxAsked {
			if _, err := a.keys.lookup(fmt.Sprint("kid-", i)); err == nil {
				t.Fatal("got a key, want none")
			}
		}
		if n := a.Stats().KidsAsked; n != maxAsked {
			t.Errorf("got %d kids remembered, want %d", n, maxAsked)
		}
		p.jwks.set(body(200, document(rsaTwo())))
		wait := retryAfter(t, a, rsaTwo().mint(nil))
		pass(wait)
		wantCode(t, a, asClient(rsaTwo().mint(nil)), "")
		// A kid that found no room is not known to be absent.
		retryAfter(t, a, rsaTwo().withHeader(values{"kid": fmt.Sprint("kid-", 2*maxAsked-1)}))
	})
}

func TestARemovedKeyIsInvalidFromTheNextFetchOn(t *testing.T) {
	inBubble(t, keysOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
		token := rsaOne().mint(values{"exp": at(3600)})
		p.jwks.set(body(200, document(rsaTwo())))
		pass(refreshInterval - time.Second)
		wantCode(t, a, asClient(token), "")
		pass(time.Second)
		wantCode(t, a, asClient(token), reason.TokenInvalid)
	})
}

func TestAKeyReplacedUnderItsKidIsTakenOverWithinAMinute(t *testing.T) {
	inBubble(t, keysOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
		p.jwks.set(body(200, text(values{"keys": []any{rsaTwo().with(values{"kid": "rsa-1"})}})))
		token := rsaTwo().withHeader(values{"kid": "rsa-1"})
		wantCode(t, a, asClient(token), reason.TokenInvalid)
		pass(time.Minute)
		wantCode(t, a, asClient(token), "")
		wantCode(t, a, asClient(rsaOne().mint(nil)), reason.TokenInvalid)
	})
}

// faults are ways in which the platform fails to give its keys.
var faults = map[string]http.HandlerFunc{
	"500":         body(500, `{"keys":[]}`),
	"404":         body(404, "not found"),
	"204":         body(204, ""),
	"HTML":        body(200, "<html>"),
	"empty":       body(200, ""),
	"no keys":     body(200, `{"keys":[]}`),
	"no array":    body(200, `{"keys":{}}`),
	"a key alone": body(200, `{"kty":"RSA"}`),
	"keys twice":  body(200, `{"keys":[],"keys":[]}`),
	"65 keys":     body(200, `{"keys":[`+strings.Repeat(`{},`, 64)+`{}]}`),
	"257 KiB":     body(200, `{"x":"`+strings.Repeat("x", 256<<10)+`","keys":[]}`),
	// One of ours could read the first half; the limit is the platform's promise.
	"a long tail": func(w http.ResponseWriter, r *http.Request) {
		body(200, document(rsaOne())+strings.Repeat(" ", 256<<10))(w, r)
	},
	"redirect": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	},
	"hang": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	"drip": func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
		}
	},
	"endless": func(w http.ResponseWriter, r *http.Request) {
		space := strings.Repeat(" ", 4096)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, space); err != nil {
				return
			}
		}
	},
	"cut": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("content-length", "1000")
		_, _ = io.WriteString(w, `{"keys":[`)
	},
}

func TestWithoutKeysTokensAreNotBadButThePlatformIsUnavailable(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			inBubble(t, keysOnly(), func(p *platform) { p.jwks.set(fault) }, func(t *testing.T, p *platform, a *Admitter) {
				retryAfter(t, a, rsaOne().mint(nil))
				pass(fetchTimeout)
				retryAfter(t, a, rsaOne().mint(nil))
				if s := a.Stats(); s.FetchFailures == 0 || s.Keys != 0 {
					t.Errorf("got %+v, want failures and no keys", s)
				}
				p.jwks.set(body(200, document(rsaOne())))
				pass(retryAfter(t, a, rsaOne().mint(nil)) + fetchTimeout)
				wantCode(t, a, asClient(rsaOne().mint(nil)), "")
				if n := p.elsewhere.Load(); n != 0 {
					t.Errorf("got %d redirects followed, want none", n)
				}
			})
		})
	}
}

func TestTheLastGoodKeysAreKeptWhileThePlatformFails(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			inBubble(t, keysOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
				p.jwks.set(fault)
				pass(time.Hour)
				wantCode(t, a, asClient(rsaOne().mint(nil)), "")
				retryAfter(t, a, rsaTwo().mint(nil))
				if s := a.Stats(); s.FetchFailures < 50 || s.FetchFailures > 60 {
					t.Errorf("got %d failed fetches in an hour, want about one a minute", s.FetchFailures)
				}
				p.jwks.set(body(200, document(rsaTwo())))
				pass(time.Minute + fetchTimeout)
				wantCode(t, a, asClient(rsaTwo().mint(nil)), "")
			})
		})
	}
}

func TestAPlatformThatIsDownAtStartIsAskedLessAndLessOften(t *testing.T) {
	for name, row := range map[string]struct {
		down func(*platform)
		want string
	}{
		"refused": {
			func(p *platform) { p.refuse.Store(true) }, "[0s 1s 3s 7s 15s 31s 1m3s 2m3s 3m3s 4m3s]",
		},
		"silent": { // the pause comes after the timeout
			func(p *platform) { p.jwks.set(faults["hang"]) }, "[0s 6s 13s 22s 35s 56s 1m33s 2m38s 3m43s 4m48s]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, keysOnly(), row.down, func(t *testing.T, p *platform, a *Admitter) {
				var at []time.Duration
				began := time.Now()
				for last := uint64(0); time.Since(began) < 5*time.Minute; pass(time.Second) {
					if n := a.Stats().Fetches; n != last {
						last = n
						at = append(at, time.Since(began))
					}
				}
				if got := fmt.Sprint(at); got != row.want {
					t.Errorf("got fetches at %v, want %v", got, row.want)
				}
				p.refuse.Store(false)
				p.jwks.set(body(200, document(rsaOne())))
				pass(2 * time.Minute)
				wantCode(t, a, asClient(rsaOne().mint(nil)), "")
			})
		})
	}
}

func TestKeysAreFetchedEveryFiveMinutes(t *testing.T) {
	inBubble(t, keysOnly(), nil, func(t *testing.T, p *platform, a *Admitter) {
		pass(time.Hour)
		if n := p.fetches.Load(); n != 13 {
			t.Errorf("got %d fetches in an hour, want 13", n)
		}
		if s := a.Stats(); s.Keys != 3 || time.Since(s.KeysFetched) != 0 || s.Fetches != 13 {
			t.Errorf("got %+v, want 3 keys that were fetched now", s)
		}
	})
}

func TestRunEndsDuringAFetch(t *testing.T) {
	hang := func(p *platform) { p.jwks.set(faults["hang"]) }
	inBubble(t, keysOnly(), hang, func(t *testing.T, _ *platform, a *Admitter) {
		if s := a.Stats(); s.Fetches != 1 || s.FetchFailures != 0 {
			t.Errorf("got %+v, want a fetch that runs", s)
		}
	})
}

func TestWithoutRunNoTokenIsAdmittedByKey(t *testing.T) {
	a, err := New(keysOnly())
	if err != nil {
		t.Fatal(err)
	}
	retryAfter(t, a, rsaOne().mint(nil))
}
