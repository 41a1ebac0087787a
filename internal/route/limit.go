package route

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// Limit is a bound of Limits that refuses links, sessions or frames.
type Limit uint8

// Limits that refuse. What refuses nothing is NoLimit.
const (
	NoLimit Limit = iota
	// LinksPerTarget refuses a client's link with CAPACITY.
	LinksPerTarget
	// SessionsPerLink refuses a session on a client's link with CAPACITY.
	SessionsPerLink
	// SessionsPerTarget does so when no session of the target can give way.
	SessionsPerTarget
	// HandshakesPerSecond refuses a HANDSHAKE_INIT with RATE_LIMITED.
	HandshakesPerSecond
	// LinkQueueBytes refuses sessions with CAPACITY, and drops frames of those there are.
	LinkQueueBytes
	// QueueBytes does the same for the process.
	QueueBytes

	numLimits
)

var limitNames = [numLimits]string{
	"", "links-per-target", "sessions-per-link", "sessions-per-target", "handshakes-per-second", "link-queue-bytes",
	"queue-bytes",
}

// String is the limit's name in errors and metrics.
func (x Limit) String() string { return limitNames[x] }

const (
	// capacityRetry is how long to wait after a refusal with CAPACITY.
	capacityRetry = 5 * time.Second
	// handshakeRetry is the same with RATE_LIMITED: in a second there is a handshake to spare.
	handshakeRetry = time.Second
)

// refusal is the reason of what x refused.
func (t *Target) refusal(x Limit) *reason.Error {
	var value int64
	code, retry := reason.Capacity, capacityRetry
	switch x {
	case LinksPerTarget:
		value = int64(t.limits.LinksPerTarget)
	case SessionsPerLink:
		value = int64(t.limits.SessionsPerClient)
	case SessionsPerTarget:
		value = int64(t.limits.SessionsPerTarget)
	case HandshakesPerSecond:
		value, code, retry = int64(t.limits.HandshakesPerSecond), reason.RateLimited, handshakeRetry
	case LinkQueueBytes:
		value = t.limits.LinkBytes
	case QueueBytes:
		value = t.budget.limit
	}
	return reason.New(code, "the relay's limit %s of %d is reached", x, value).After(retry).
		With("limit", x.String()).With("value", strconv.FormatInt(value, 10))
}

// Refusals counts what each Limit refused: links, sessions, handshakes and frames. The zero value is ready; safe for
// concurrent use.
type Refusals struct {
	n [numLimits]atomic.Uint64
}

// Count is how often x refused.
func (r *Refusals) Count(x Limit) uint64 { return r.n[x].Load() }

func (r *Refusals) add(x Limit) { r.n[x].Add(1) }

// mayShake takes a handshake of l from its bucket, which holds HandshakeBurst and gets HandshakesPerSecond. It reports
// false when there is none.
func (t *Target) mayShake(l *Link) bool {
	if t.limits.HandshakesPerSecond <= 0 {
		return true
	}
	each := time.Second / time.Duration(t.limits.HandshakesPerSecond)
	full := l.bucketFull
	if full.Before(t.now) {
		full = t.now
	}
	if full = full.Add(each); full.Sub(t.now) > time.Duration(max(t.limits.HandshakeBurst, 1))*each {
		return false
	}
	l.bucketFull = full
	return true
}
