package legacyrate

import "time"

const minute = time.Minute

// window is a fixed window of a minute. The zero window has not begun.
type window struct {
	start time.Time
	n     int
}

// hit counts one, and returns 0 if it is among the first most of its window, else how long that still lasts.
func (w *window) hit(most int, now time.Time) time.Duration {
	if w.start.IsZero() || now.Sub(w.start) >= minute {
		*w = window{start: now}
	}
	if w.n >= most {
		return w.start.Add(minute).Sub(now)
	}
	w.n++
	return 0
}

// bucket is a token bucket that a minute fills. The zero bucket is full.
type bucket struct {
	// full is when the bucket is full again if nothing more is taken; in the past: it is. Each token that is missing
	// takes its time, so that this one time says how many there are, exactly.
	full time.Time
}

// refill is how a bucket fills. The zero refill is no limit.
type refill struct {
	// token is how long one token takes, all how long all of them.
	token, all time.Duration
}

func refillOf(perMinute int) refill {
	if perMinute <= 0 {
		return refill{}
	}
	token := max(minute/time.Duration(perMinute), 1)
	return refill{token: token, all: token * time.Duration(perMinute)}
}

// missing is how long the bucket needs to be full.
func (b *bucket) missing(now time.Time) time.Duration { return max(b.full.Sub(now), 0) }

// holds reports whether there is a token.
func (b *bucket) holds(r refill, now time.Time) bool { return b.missing(now)+r.token <= r.all }

// take takes a token, which is there.
func (b *bucket) take(r refill, now time.Time) { b.full = now.Add(b.missing(now) + r.token) }

// borrow takes a token whether there is one or not, and returns how long it takes until none is owed any more.
func (b *bucket) borrow(r refill, now time.Time) time.Duration {
	// Many links of one peer could owe without an end: what is beyond a minute is forgotten.
	missing := min(b.missing(now)+r.token, r.all+minute)
	b.full = now.Add(missing)
	return max(missing-r.all, 0)
}
