package legacy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/internal/legacycrypto"
	"github.com/getviewport/relay/internal/legacywire"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/wsconn"
)

const (
	// dialTimeout bounds a token, connecting and admission together.
	dialTimeout = 20 * time.Second
	firstPause  = time.Second
	maxPause    = 30 * time.Second
)

// backoff is the pauses between connections. They grow with each that fails, and with each that is established and soon
// closed: today's relays refuse a second daemon only then, and would be run over. The zero value is ready.
type backoff struct{ pause time.Duration }

// lived notes how long a link lived: so much less is waited.
func (b *backoff) lived(d time.Duration) { b.pause = max(0, b.pause-d) }

// next returns the pause before the next attempt: anything up to 1 s, and then up to twice as much each time, to 30 s.
func (b *backoff) next() time.Duration {
	b.pause = min(max(2*b.pause, firstPause), maxPause)
	return rand.N(b.pause)
}

// dial opens a connection in a role of the wire. It returns when the relay has switched protocols, which with today's
// is not yet when it has admitted this end.
func dial(ctx context.Context, cfg *Config, role string, onPong func()) (*wsconn.Conn, error) {
	ctx, stop := context.WithTimeout(ctx, dialTimeout)
	defer stop()
	header, err := cfg.header(ctx)
	if err != nil {
		return nil, err
	}
	d := wsconn.Dialer{TLS: cfg.TLS, Header: header}
	conn, _, err := d.Dial(ctx, cfg.endpoint(role), wsconn.Config{Limit: legacycrypto.MaxFrame, OnPong: onPong})
	if err != nil {
		return nil, dialError(err)
	}
	return conn, nil
}

// dialError is why there is no connection.
func dialError(err error) *client.Error {
	refused, ok := errors.AsType[*wsconn.DialError](err)
	if !ok {
		return &client.Error{Reason: client.LinkLost, By: "link", Text: "no connection to the relay: " + err.Error()}
	}
	e := &client.Error{By: "relay", Text: fmt.Sprintf("the relay refused the connection with status %d", refused.Status)}
	var named bool
	if e.Reason, named = reasonOf(refused); named || e.Reason != client.Reason(reason.FrameInvalid) {
		e.Text += ": " + reason.New(reason.Code(e.Reason), "").Message()
	} else {
		e.Text += "; is this the endpoint of a relay?"
	}
	if seconds, err := strconv.Atoi(refused.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = min(time.Duration(seconds)*time.Second, time.Hour)
	}
	return e
}

// reasonOf is the reason of a refusal: our relays name it, and of today's there is only the status.
func reasonOf(refused *wsconn.DialError) (r client.Reason, named bool) {
	var body struct{ Reason reason.Code }
	if json.Unmarshal(refused.Body, &body) == nil {
		if _, known := reason.Lookup(body.Reason); known {
			return client.Reason(body.Reason), true
		}
	}
	switch status := refused.Status; {
	case status == http.StatusUnauthorized:
		return client.TokenInvalid, false
	case status == http.StatusForbidden:
		return client.Reason(reason.RoleMismatch), false
	case status == http.StatusConflict:
		return client.DaemonAlreadyConnected, false
	case status == http.StatusTooManyRequests:
		return client.Reason(reason.RateLimited), false
	case status == http.StatusServiceUnavailable:
		return client.Reason(reason.Capacity), false
	case status >= 500:
		return client.LinkLost, false
	}
	return client.Reason(reason.FrameInvalid), false
}

// final reports whether a refusal stays one until something is changed. Whoever was admitted once takes none for final:
// today's relays say 401 too while they can't ask the platform.
func final(e *client.Error) bool {
	info, known := reason.Lookup(reason.Code(e.Reason))
	return known && !info.Retryable
}

// linkError is err, which is one already or came from a context.
func linkError(err error) *client.Error {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e
	}
	return &client.Error{Reason: client.LinkLost, By: "link", Text: "no connection to the relay: " + err.Error()}
}

// closeError is why a connection ended.
func closeError(err error) *client.Error {
	e := &client.Error{Reason: client.LinkLost, By: "link", Text: "the connection to the relay ended"}
	closed, ok := errors.AsType[*wsconn.CloseError](err)
	switch {
	case !ok:
		e.Text += ": " + err.Error()
		return e
	case closed.Local:
		e.Text = "the connection to the relay was closed here: " + closed.Reason
		return e
	}
	e.By, e.Text = "relay", fmt.Sprintf("the relay closed the link with code %d", closed.Code)
	if closed.Reason != "" {
		e.Text += ": " + strconv.QuoteToASCII(closed.Reason)
	}
	switch {
	case closed.Code == legacywire.CodeGoingAway:
		e.Reason = client.Draining
	case closed.Code == legacywire.CodeTooLarge:
		e.Reason = client.Reason(reason.FrameTooLarge)
	case closed.Reason == legacywire.CloseDaemonConnected:
		e.Reason = client.DaemonAlreadyConnected
	case closed.Reason == legacywire.CloseStaleGeneration:
		e.Reason = client.Reason(reason.StaleGeneration)
	case closed.Reason == legacywire.CloseBufferOverflow:
		e.Reason = client.Reason(reason.SlowConsumer)
	case strings.HasSuffix(closed.Reason, "rate limit exceeded"):
		e.Reason = client.Reason(reason.RateLimited)
	case strings.HasSuffix(closed.Reason, "profile mismatch"):
		e.Reason = client.ProfileTooWeak
	case strings.HasSuffix(closed.Reason, "scope only"), strings.Contains(closed.Reason, "claim"):
		e.Reason = client.Reason(reason.RoleMismatch)
	}
	return e
}
