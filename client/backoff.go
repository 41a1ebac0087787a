package client

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

const (
	firstPause = 200 * time.Millisecond
	maxPause   = 15 * time.Second
	// replacedPause and maxReplaced: two daemons with one install would replace each other for ever.
	replacedPause  = 30 * time.Second
	replacedWindow = 10 * time.Minute
	maxReplaced    = 3
	// healthyLink is how long a link must have lived for attempts to be counted anew.
	healthyLink = 10 * time.Second
)

// backoff decides when an endpoint connects again, and when it gives up (docs/protocol.md, Handshake and resume 7, and the
// last column of Errors). The zero value is ready.
type backoff struct {
	pause    time.Duration
	replaced []time.Time // when it was replaced, within replacedWindow
	renewed  bool        // the token was called invalid once since the last healthy link
	attached bool        // there has been a link
}

// healthy notes how long a link lived and reports whether it counts as healthy. Each second of it takes one off the pauses
// to come: a network that breaks every few seconds is not waited for as long as one that is away, and a relay that fails
// at once after each start is not run over.
func (b *backoff) healthy(lived time.Duration) bool {
	b.pause = max(0, b.pause-lived)
	if lived < healthyLink {
		return false
	}
	b.renewed = false
	return true
}

// next returns the pause before the next attempt: full jitter, the first try too.
func (b *backoff) next() time.Duration {
	b.pause = min(max(2*b.pause, firstPause), maxPause)
	return rand.N(b.pause)
}

// after returns how long to wait after err, or the error to give up with.
func (b *backoff) after(err *Error) (pause time.Duration, final error) {
	pause = b.next()
	info, known := reason.Lookup(reason.Code(err.Reason))
	switch {
	case err.Reason == Replaced:
		now := time.Now()
		b.replaced = append(b.replaced, now)
		for now.Sub(b.replaced[0]) > replacedWindow {
			b.replaced = b.replaced[1:]
		}
		if len(b.replaced) >= maxReplaced {
			return 0, &Error{Reason: Replaced, By: "relay", cause: err, Text: fmt.Sprintf(
				"another daemon with this install took over %d times in ten minutes: two run with one identity", maxReplaced)}
		}
		return replacedPause + pause, nil
	case err.Reason == DaemonAlreadyConnected:
		return max(err.RetryAfter, replacedPause) + pause, nil
	case err.Reason == Reason(reason.TokenMissing) && err.By == "local" && b.attached:
		return pause, nil // the source may be away with the network; sessions wait for it
	case err.Reason == Reason(reason.TokenMissing), err.Reason == TokenInvalid:
		// A token source may have refreshed; the second time it has not.
		if b.renewed {
			return 0, err
		}
		b.renewed = true
		return pause, nil
	case err.By == "local":
		return 0, err
	case known && !info.Retryable && err.Reason != LinkLost:
		return 0, err
	case !known:
		return 0, err
	}
	return err.RetryAfter + rand.N(err.RetryAfter/2+1) + pause, nil
}
