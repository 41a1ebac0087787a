package admission

import (
	"context"
	"sync"

	"github.com/getviewport/relay/internal/reason"
)

// Verdict is what comes of asking again about a token that was admitted.
type Verdict uint8

// Verdicts.
const (
	// Good: the platform still accepts the token.
	Good Verdict = iota
	// Revoked: the platform says that it has revoked it. Nothing else is a word against a link that lives.
	Revoked
	// Refused: the platform refuses the token for another reason, as after its expiry, or when it is good for one call.
	Refused
	// Unavailable: nothing was said about the token.
	Unavailable
	// Busy: all validate calls there may be are needed for admissions. The platform was not asked, or not to the end.
	Busy
	// Verdicts is how many there are.
	Verdicts
)

// String is the verdict's name in metrics.
func (v Verdict) String() string {
	return [...]string{"good", "revoked", "refused", "unavailable", "busy"}[v]
}

// RecheckShare is how many calls of Recheck make sense at once: a quarter of the validate calls that there may be.
func (a *Admitter) RecheckShare() int {
	if a.platform == nil {
		return 1
	}
	return max(1, cap(a.platform.slots)/4)
}

// Recheck asks the platform again about a token that was admitted, by the same request. It never keeps an admission waiting: it begins only
// while a validate call is free, and gives up its own, with Busy, when an admission finds none.
func (a *Admitter) Recheck(ctx context.Context, r Request) Verdict {
	v := a.platform
	if v == nil {
		return Good
	}
	select {
	case v.slots <- struct{}{}: // full while anybody waits: then the slot that becomes free is theirs
	default:
		return Busy
	}
	v.rechecks.Add(1)
	defer func() {
		v.rechecks.Add(-1)
		<-v.slots
	}()
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	leave := v.yielding.enter(cancel)
	_, err := v.asked(ctx, r, readClaims)
	yielded := leave()
	if err == nil {
		return Good
	}
	switch reason.Of(err).Code {
	case reason.PairingRevoked:
		return Revoked
	case reason.PlatformUnavailable:
		if yielded {
			return Busy
		}
		return Unavailable
	}
	return Refused
}

// yielding are the calls that give way to admissions.
type yielding struct {
	mu    sync.Mutex
	calls map[*yielder]struct{}
}

// yielder is one of them. Guarded by yielding.mu.
type yielder struct {
	cancel  context.CancelFunc
	yielded bool
}

// enter adds a call that cancel ends. Leave takes it out and reports whether it was told to give way.
func (y *yielding) enter(cancel context.CancelFunc) (leave func() bool) {
	c := &yielder{cancel: cancel}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.calls == nil {
		y.calls = make(map[*yielder]struct{})
	}
	y.calls[c] = struct{}{}
	return func() bool {
		y.mu.Lock()
		defer y.mu.Unlock()
		delete(y.calls, c)
		return c.yielded
	}
}

// one tells a call to give way, if there is one.
func (y *yielding) one() {
	y.mu.Lock()
	defer y.mu.Unlock()
	for c := range y.calls {
		c.yielded = true
		delete(y.calls, c)
		c.cancel()
		return
	}
}
