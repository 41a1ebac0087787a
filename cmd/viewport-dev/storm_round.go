package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// stormRound is how all came back once.
type stormRound struct {
	What    string `json:"what"`
	Clients int    `json:"clients"`
	// P50, P99 and Max are how long it took until half, 99 of 100 and all clients had a message again, in seconds.
	P50 float64 `json:"back_p50_seconds"`
	P99 float64 `json:"back_p99_seconds"`
	Max float64 `json:"back_max_seconds"`
	// Connects are TCP connections that clients made, and ConnectsPeak how many of them within 100 ms, at most.
	Connects     int `json:"connects"`
	ConnectsPeak int `json:"connects_peak_100ms"`
	// Validates are validate calls, ValidatesAtOnce how many at once, at most, and ValidateBound how many may be.
	Validates       int `json:"validates"`
	ValidatesAtOnce int `json:"validates_at_once"`
	ValidateBound   int `json:"validate_bound"`
	// JWKSFetches are fetches of the platform's keys.
	JWKSFetches int `json:"jwks_fetches"`
}

// String is the line for people.
func (r stormRound) String() string {
	return fmt.Sprintf("storm: %s: %s clients back after p50 %.1f s, p99 %.1f s, max %.1f s; connects %s, at most %s in "+
		"100 ms; validate calls %s, at most %d at once (bound %d); JWKS fetches %d", r.What, thousands(uint64(r.Clients)),
		r.P50, r.P99, r.Max, thousands(uint64(r.Connects)), thousands(uint64(r.ConnectsPeak)),
		thousands(uint64(r.Validates)), r.ValidatesAtOnce, r.ValidateBound, r.JWKSFetches)
}

// verdict is nil, or an error that says what was more than is promised.
func (r stormRound) verdict() error {
	var errs []error
	if r.ValidatesAtOnce > r.ValidateBound {
		errs = append(errs, fmt.Errorf("storm: %s: %d validate calls were under way at once, the relay's bound is %d", r.What,
			r.ValidatesAtOnce, r.ValidateBound))
	}
	if r.JWKSFetches > 1 {
		errs = append(errs, fmt.Errorf("storm: %s: the keys were fetched %d times, once is the most", r.What, r.JWKSFetches))
	}
	return errors.Join(errs...)
}

// round cuts all links and waits until each client's session goes on.
func (r *storm) round(ctx context.Context, what string, cut func(context.Context) error) error {
	r.platform.ResetCalls()
	r.links.Connects.Mark()
	began := time.Now()
	if err := cut(ctx); err != nil {
		return err
	}
	err := r.settled(ctx, r.await(ctx, "all clients back", r.patience, func() bool {
		return r.backSince(began) == r.command.Clients
	}))
	if err != nil {
		return err
	}
	round := stormRound{What: what, Clients: r.command.Clients, ValidateBound: validateAtOnce}
	var after []time.Duration
	r.mu.Lock()
	for _, at := range r.back {
		after = append(after, at.Sub(began))
	}
	r.mu.Unlock()
	slices.Sort(after)
	round.P50, round.P99, round.Max = quantile(after, 50), quantile(after, 99), quantile(after, 100)
	round.ConnectsPeak, round.Connects = r.links.Connects.Peak()
	calls := r.platform.Calls()
	round.Validates, round.ValidatesAtOnce, round.JWKSFetches = calls.Validate, calls.ValidateAtOnce, calls.JWKS
	r.result.Rounds = append(r.result.Rounds, round)
	return nil
}

// backSince is how many sessions went on since a time. The caller holds r.mu.
func (r *storm) backSince(began time.Time) (n int) {
	for _, at := range r.back {
		if at.After(began) {
			n++
		}
	}
	return n
}

// quantile is the least of the ascending times that so many of a hundred are not above, in seconds.
func quantile(ascending []time.Duration, percent int) float64 {
	at := (len(ascending)*percent + 99) / 100
	return ascending[max(at, 1)-1].Round(time.Millisecond).Seconds()
}
