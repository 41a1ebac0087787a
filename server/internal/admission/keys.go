package admission

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// Limits of fetching keys.
const (
	// fetchTimeout bounds a fetch as a whole.
	fetchTimeout = 5 * time.Second
	// maxKeySetBytes is the longest key set document.
	maxKeySetBytes = 256 << 10
	// refreshInterval is the time from one good fetch to the next when nobody asks for more.
	refreshInterval = 5 * time.Minute
	// askInterval is the least time between a fetch and one that a token asks for. As long does a fetched set count as
	// fresh about the kids it lacks.
	askInterval = time.Minute
	// firstRetry doubles up to askInterval while there is no set at all.
	firstRetry = time.Second
	// maxAsked is how many unknown kids are remembered from one fetch to the next; tokens with more of them are told to
	// come back.
	maxAsked = 1024
)

// keyring is the platform's public keys: the last good set, and what is needed to know when to fetch the next.
// One goroutine, run, fetches; nobody ever waits for it.
type keyring struct {
	// Static.
	url    string
	client *http.Client
	log    *slog.Logger
	kick   chan struct{} // holds one: due has moved

	mu sync.Mutex
	// The rest is guarded by mu.

	// set is the last good set; nil until the first.
	set keySet
	// fetched is when the fetch that brought set began; zero with set nil.
	fetched time.Time
	// began is when the last fetch, good or not, began; running while it goes on, and due is when the next begins. Due is
	// meaningless while running.
	began, due time.Time
	running    bool
	// failures is how many fetches failed since the last good one.
	failures int
	// asked are the unknown kids that tokens brought since the last fetch began, or since an earlier one if those after
	// it failed: at most maxAsked.
	asked map[string]bool
	// absent are kids that set, unless it has them, is known to lack: those that were asked for before its fetch began,
	// and those of the set before. At most maxAsked and maxKeys.
	absent map[string]bool
	// fetches and fetchFailures count since the start.
	fetches, fetchFailures uint64
}

func newKeyring(url string, client *http.Client, log *slog.Logger) *keyring {
	return &keyring{url: url, client: client, log: log, kick: make(chan struct{}, 1), asked: map[string]bool{}}
}

// lookup returns the key of a kid. An unknown kid is TOKEN_INVALID only if a fetch that began after somebody asked
// for it, at most askInterval ago, did not bring it. Else it makes a fetch due and is PLATFORM_UNAVAILABLE until
// then.
func (r *keyring) lookup(id string) (key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.set[id]; ok {
		return k, nil
	}
	now := time.Now()
	if r.set == nil {
		return key{}, r.comeBack(now)
	}
	if r.absent[id] && now.Before(r.fetched.Add(askInterval)) {
		return key{}, reason.New(reason.TokenInvalid, "the platform has no key of the token's kid")
	}
	if len(r.asked) < maxAsked {
		r.asked[id] = true
	}
	r.hasten()
	return key{}, r.comeBack(now)
}

// suspect makes a fetch due because a signature did not verify: the platform may have replaced a key under its kid.
func (r *keyring) suspect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hasten()
}

// hasten moves the next fetch to askInterval after the last one, if that is sooner. It needs mu.
func (r *keyring) hasten() {
	// While a fetch runs, settle decides; without a set, fetches are frequent anyway.
	if soon := r.began.Add(askInterval); !r.running && r.set != nil && soon.Before(r.due) {
		r.due = soon
		select {
		case r.kick <- struct{}{}:
		default: // run has yet to see the last one
		}
	}
}

// comeBack returns PLATFORM_UNAVAILABLE with the time until the next fetch should have ended. It needs mu.
func (r *keyring) comeBack(now time.Time) error {
	wait := time.Second
	if !r.running && r.due.After(now) {
		wait += r.due.Sub(now).Truncate(time.Millisecond)
	}
	text := "the key of the token's kid is being looked for; come back after retry_after"
	if r.set == nil {
		text = "the platform's keys are not here yet; come back after retry_after"
	}
	return reason.New(reason.PlatformUnavailable, "%s", text).After(wait)
}

// run fetches at once and then whenever due, until ctx ends.
func (r *keyring) run(ctx context.Context) {
	for {
		asked := r.begin()
		set, err := r.fetch(ctx)
		if ctx.Err() != nil {
			r.abandon()
			return
		}
		r.settle(asked, set, err)
		if !r.rest(ctx) {
			return
		}
	}
}

// rest returns true when the next fetch is due, and false when ctx has ended.
func (r *keyring) rest(ctx context.Context) bool {
	for {
		r.mu.Lock()
		wait := time.Until(r.due)
		r.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			return true
		case <-r.kick:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// begin marks a fetch as running and returns what it is asked for.
func (r *keyring) begin() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running, r.began = true, time.Now()
	r.fetches++
	asked := r.asked
	r.asked = map[string]bool{}
	return asked
}

// abandon ends a fetch that was cut by the end of run: it says nothing about the platform.
func (r *keyring) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running, r.due = false, time.Time{}
}

// settle takes over what a fetch brought, and decides when the next begins.
func (r *keyring) settle(asked map[string]bool, set keySet, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = false
	if err != nil {
		r.fail(asked, err)
		return
	}
	if r.failures > 0 || r.set == nil {
		r.log.Info("platform keys fetched", "keys", len(set), "failures_before", r.failures)
	}
	r.failures = 0
	r.absent = asked
	for id := range r.set {
		r.absent[id] = true
	}
	for id := range set {
		delete(r.asked, id)
	}
	r.set, r.fetched = set, r.began
	r.due = r.began.Add(refreshInterval)
	if len(r.asked) > 0 { // they came while the fetch ran, too late for it
		r.due = r.began.Add(askInterval)
	}
}

// fail keeps the last good set. It needs mu.
func (r *keyring) fail(asked map[string]bool, err error) {
	r.fetchFailures++
	if r.failures++; r.failures == 1 {
		r.log.Warn("platform keys could not be fetched", "error", err, "keys_kept", len(r.set))
	}
	for id := range asked {
		if len(r.asked) < maxAsked {
			r.asked[id] = true
		}
	}
	wait := askInterval
	if r.set == nil {
		wait = min(askInterval, firstRetry<<min(r.failures-1, 8))
	}
	// From the end of the fetch: one that timed out must not be followed by another at once.
	r.due = time.Now().Add(wait)
}

// fetch gets and reads the key set once.
func (r *keyring) fetch(ctx context.Context) (keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, cause(err)
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	status, body, err := roundTrip(r.client, request, maxKeySetBytes)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, statusError(status)
	}
	return parseKeySet(body)
}
