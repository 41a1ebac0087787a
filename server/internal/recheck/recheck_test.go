package recheck

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/getviewport/relay/server/internal/admission"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asked is what the platform was asked, and when.
type asked struct {
	mu  sync.Mutex
	all []question
	at  []time.Time
}

type question struct {
	token, workspace, target string
	role                     admission.Role
}

func (a *asked) note(r admission.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, question{r.Token, r.Workspace, r.Target, r.Role})
	a.at = append(a.at, time.Now())
}

// soFar returns the questions and their times.
func (a *asked) soFar() ([]question, []time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all), slices.Clone(a.at)
}

// running runs f beside a Checker, in a bubble, and fails the test if anything is left of it.
func running(t *testing.T, c Config, f func(*Checker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		checker := New(c)
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- checker.Run(ctx) }()
		f(checker)
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: got %v", err)
		}
	})
}

func watch(c *Checker, n int, revoked func()) *Watch {
	r := admission.Request{Role: admission.RoleClient, Workspace: "w", Target: fmt.Sprint("t", n)}
	return c.Watch(r, []byte(fmt.Sprint("token-", n)), revoked)
}

func TestALiveLinkIsAskedAboutWithinEachInterval(t *testing.T) {
	var a asked
	ask := func(_ context.Context, r admission.Request) admission.Verdict {
		a.note(r)
		return admission.Good
	}
	running(t, Config{Interval: time.Minute, AtOnce: 1, Ask: ask}, func(c *Checker) {
		began := time.Now()
		w := watch(c, 7, func() { t.Error("revoked, and the platform said that it is good") })
		time.Sleep(100 * time.Minute)
		w.Stop()
		all, times := a.soFar()
		n := len(times)
		if n < 90 || n > 112 || c.Counts(admission.Good) != uint64(n) {
			t.Errorf("asked %d times in 100 intervals (counted %d)", n, c.Counts(admission.Good))
		}
		last := began
		for i, at := range times {
			least := 54 * time.Second
			if i == 0 {
				least = 0
			}
			if pause := at.Sub(last); pause < least || pause > 66*time.Second {
				t.Errorf("question %d came after %v, want about a minute, the first sooner", i, pause)
			}
			last = at
		}
		if want := (question{"token-7", "w", "t7", admission.RoleClient}); all[0] != want || all[n-1] != want {
			t.Errorf("asked %v and at last %v, want %v", all[0], all[n-1], want)
		}
	})
}

func TestTenThousandLinksThatCameTogetherAreAskedAboutOneAfterTheOther(t *testing.T) {
	const links, atOnce = 10_000, 16
	var now, most atomic.Int64
	var a asked
	ask := func(_ context.Context, r admission.Request) admission.Verdict {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.Sleep(50 * time.Millisecond)
		now.Add(-1)
		a.note(r)
		return admission.Good
	}
	running(t, Config{Interval: time.Minute, AtOnce: atOnce, Ask: ask}, func(c *Checker) {
		began := time.Now()
		var watches []*Watch
		for n := range links {
			watches = append(watches, watch(c, n, func() {}))
		}
		time.Sleep(time.Minute + time.Second)
		if most.Load() > atOnce {
			t.Errorf("asked about %d at once, want at most %d", most.Load(), atOnce)
		}
		per := map[int]int{}
		seen := map[string]bool{}
		all, times := a.soFar()
		for i, at := range times {
			per[int(at.Sub(began)/time.Second)]++
			seen[all[i].token] = true
		}
		// 167 a second if it were spread evenly.
		for second, n := range per {
			if n > 280 {
				t.Errorf("%d questions in second %d, want them spread over the minute", n, second)
			}
		}
		if len(seen) != links {
			t.Errorf("asked about %d links within the first interval, want all %d", len(seen), links)
		}
		for _, w := range watches {
			w.Stop()
		}
		if n := c.Watched(); n != 0 {
			t.Errorf("%d are still watched", n)
		}
	})
}

func TestOnlyRevokedIsTold(t *testing.T) {
	var verdict atomic.Int64
	ask := func(context.Context, admission.Request) admission.Verdict { return admission.Verdict(verdict.Load()) }
	running(t, Config{Interval: time.Minute, AtOnce: 1, Ask: ask}, func(c *Checker) {
		for v := range admission.Verdicts {
			verdict.Store(int64(v))
			told := 0
			w := watch(c, 1, func() { told++ })
			time.Sleep(time.Minute + time.Second)
			w.Stop()
			if (told > 0) != (v == admission.Revoked) || c.Counts(v) == 0 {
				t.Errorf("%v: told %d times, counted %d", v, told, c.Counts(v))
			}
		}
	})
}

func TestWhoeverFindsThePlatformBusyComesBackSoonAndNotAtOnce(t *testing.T) {
	var a asked
	ask := func(_ context.Context, r admission.Request) admission.Verdict {
		a.note(r)
		if _, times := a.soFar(); len(times) < 4 {
			return admission.Busy
		}
		return admission.Good
	}
	running(t, Config{Interval: time.Minute, AtOnce: 1, Ask: ask}, func(c *Checker) {
		w := watch(c, 1, func() {})
		time.Sleep(2 * time.Minute)
		w.Stop()
		_, times := a.soFar()
		for i := 1; i < 4; i++ {
			if pause := times[i].Sub(times[i-1]); pause < 7*time.Second || pause > 16*time.Second {
				t.Errorf("came back after %v, want about a sixth of a minute", pause)
			}
		}
	})
}

func TestALinkThatHasEndedIsNotAskedAboutAndItsTokenIsWiped(t *testing.T) {
	var a asked
	made := make(chan *Watch, 1)
	token := []byte("the-token-of-a-link")
	ask := func(_ context.Context, r admission.Request) admission.Verdict {
		a.note(r)
		w := <-made
		w.Stop() // while it is asked about
		w.Stop() // twice is no harm
		return admission.Good
	}
	running(t, Config{Interval: time.Minute, AtOnce: 1, Ask: ask}, func(c *Checker) {
		early := []byte("the-token-of-another-link")
		c.Watch(admission.Request{Role: admission.RoleClient}, early, func() {}).Stop()
		made <- c.Watch(admission.Request{Role: admission.RoleClient}, token, func() { t.Error("told") })
		time.Sleep(time.Hour)
		if all, _ := a.soFar(); len(all) != 1 || all[0].token != "the-token-of-a-link" {
			t.Errorf("asked %v, want once", all)
		}
		for _, b := range [][]byte{token, early} {
			if len(bytes.Trim(b, "\x00")) > 0 {
				t.Errorf("%d bytes of a token are left", len(bytes.Trim(b, "\x00")))
			}
		}
		if n := c.Watched(); n != 0 {
			t.Errorf("%d are still watched", n)
		}
	})
}

func TestRunEndsInTheMiddleOfAQuestion(t *testing.T) {
	ask := func(ctx context.Context, _ admission.Request) admission.Verdict {
		<-ctx.Done()
		return admission.Revoked // what a caller that gave up hears counts for nothing
	}
	running(t, Config{Interval: time.Minute, AtOnce: 2, Ask: ask}, func(c *Checker) {
		for n := range 3 {
			watch(c, n, func() { t.Error("told") })
		}
		time.Sleep(time.Hour)
	})
}
