package client

import (
	"context"
	"fmt"
	"time"
)

// grpcAgain is how long after a WebSocket got through where gRPC had not the next link is tried over gRPC first again.
const grpcAgain = 10 * time.Minute

// dialer opens the links of one Client or Listener, and knows over what. It belongs to one goroutine at a time.
//
// gRPC comes first. Where a connection is made but gRPC does not get through, because something on the way speaks
// HTTP/1.1 only or holds back what it does not understand, the same attempt goes on over WebSocket; if that reaches a
// relay, so do the attempts of the next ten minutes. What both would meet alike is no reason to change: a connection
// that can't be made, a certificate that is not accepted, a relay that refuses. Nor is one failure after gRPC has
// worked: a relay that goes away breaks connections, too.
type dialer struct {
	cfg    *Config
	method string // of RelayService
	// fellBack is when a WebSocket got through where gRPC had not, as long as that counts; else zero.
	fellBack time.Time
	told     bool // that it fell back, since gRPC worked last
	worked   bool // the last attempt over gRPC got through
}

// connect opens a link and returns when the relay has admitted it. Nothing is read or written before start. number
// counts attempts since the last healthy link.
func (d *dialer) connect(ctx context.Context, number int) (*link, error) {
	ctx, stop := context.WithTimeout(ctx, dialTimeout)
	defer stop()
	token, err := d.cfg.token(ctx)
	if err != nil {
		return nil, err
	}
	return d.connectWith(ctx, token, number)
}

// connectWith is connect with a token at hand. ctx bounds it.
func (d *dialer) connectWith(ctx context.Context, token bearer, number int) (*link, error) {
	to, err := parseRelay(d.cfg.Relay)
	if err != nil {
		return nil, err
	}
	a := attempt{to: to, method: d.method, token: token, number: number}
	if to.webSocket {
		return d.webSocket(ctx, a, new(contact))
	}
	if !d.fellBack.IsZero() && time.Since(d.fellBack) < grpcAgain {
		var seen contact
		l, err := d.webSocket(ctx, a, &seen)
		if err != nil && seen.made.Load() && !seen.relayAway && !refused(err) {
			d.fellBack = time.Time{} // this is another network now
		}
		return l, err
	}
	return d.either(ctx, a)
}

// either tries gRPC and, where that may help, WebSocket.
func (d *dialer) either(ctx context.Context, a attempt) (*link, error) {
	var seen contact
	l, err := d.grpc(ctx, a, &seen)
	if err == nil {
		if d.told {
			d.cfg.Log.Info("gRPC gets through again")
		}
		d.fellBack, d.told, d.worked = time.Time{}, false, true
		return l, nil
	}
	why := linkError(err)
	if ctx.Err() != nil || why.By != "link" || !seen.made.Load() || seen.untrusted.Load() {
		return nil, why
	}
	if d.worked && !seen.silent {
		d.worked = false
		return nil, why
	}
	l, err = d.webSocket(ctx, a, new(contact))
	if err != nil && !refused(err) {
		why.Text += "; nor over WebSocket: " + linkError(err).Text
		if ctx.Err() != nil {
			why.cause = ctx.Err()
		}
		return nil, why
	}
	d.fellBack, d.worked = time.Now(), false
	if !d.told {
		d.told = true
		d.cfg.Log.Warn("gRPC could not be established; using WebSocket", "error", why)
	}
	return l, err
}

// refused reports whether err is a relay's own word.
func refused(err error) bool { return linkError(err).By == "relay" }

// grpc tries gRPC. A connection on which nothing happens gets half of the time that there is.
func (d *dialer) grpc(ctx context.Context, a attempt, seen *contact) (*link, error) {
	half := dialTimeout / 2
	if deadline, ok := ctx.Deadline(); ok {
		half = time.Until(deadline) / 2
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := &Error{Reason: LinkLost, By: "link",
		Text: fmt.Sprintf("no connection to the relay: no answer over gRPC within %v", half.Round(time.Millisecond))}
	timer := time.AfterFunc(half, func() {
		if seen.made.Load() {
			cancel(silent)
		}
	})
	defer timer.Stop()
	over, relay, err := dialGRPC(ctx, d.cfg, a, seen)
	switch {
	case err == nil:
		return newLink(d.cfg, over, overGRPC, relay, a.token), nil
	case context.Cause(ctx) == error(silent) && !refused(err):
		seen.silent = true
		return nil, silent
	}
	return nil, err
}

func (d *dialer) webSocket(ctx context.Context, a attempt, seen *contact) (*link, error) {
	over, relay, err := dialWebSocket(ctx, d.cfg, a, seen)
	if err != nil {
		return nil, err
	}
	return newLink(d.cfg, over, overWebSocket, relay, a.token), nil
}
