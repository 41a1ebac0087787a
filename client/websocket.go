package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/wsconn"
)

const (
	// webSocketProtocol is the subprotocol of this protocol's version 1.
	webSocketProtocol = "viewport.relay.v1"
	// authProtocol, before the token, makes the second subprotocol that is offered: it is no address that gets logged,
	// and browsers can't set a header.
	authProtocol = "auth."
	// writeTimeout is how long one write may take. A link that is a black hole ends sooner, by its heartbeats.
	writeTimeout = time.Minute
	// keepBuffer is the longest buffer that is kept for the next message.
	keepBuffer = 64 << 10
)

// roles are what the relay calls the callers of RelayService's methods.
var roles = map[string]string{"ConnectDaemon": "workspace-daemon", "ConnectClient": "client"}

// webSocket is one WebSocket connection: each message is binary and has one batch.
type webSocket struct {
	conn    *wsconn.Conn
	in, out []byte      // reader's and sender's buffers
	ending  atomic.Bool // closeSend was called
}

// dialWebSocket opens a connection and returns when the relay has admitted it. ctx bounds that. seen tells afterwards
// how far the connection came.
func dialWebSocket(ctx context.Context, cfg *Config, a attempt, seen *contact) (*webSocket, announced, error) {
	header := http.Header{"Viewport-Connect-Attempt": {strconv.Itoa(a.number)}}
	if cfg.Version != "" {
		header.Set("viewport-version", cfg.Version)
	}
	dialer := wsconn.Dialer{
		TLS: cfg.tlsConfig(), Header: header,
		Protocols: []string{webSocketProtocol, authProtocol + a.token.token},
		DialContext: func(ctx context.Context, network, host string) (net.Conn, error) {
			conn, err := dialTCP(ctx, network, host)
			if err == nil {
				seen.made.Store(true)
			}
			return conn, err
		},
	}
	target := a.to.url(url.Values{
		"role": {roles[a.method]}, "workspaceId": {cfg.Workspace}, "runtimeTargetId": {cfg.Target},
	})
	conn, protocol, err := dialer.Dial(ctx, target, wsconn.Config{Limit: messageBytes, WriteTimeout: writeTimeout})
	if err != nil {
		return nil, announced{}, dialError(err, seen)
	}
	stop := context.AfterFunc(ctx, conn.Abort)
	relay, err := admitted(conn, protocol)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Abort()
		return nil, announced{}, webSocketError(err)
	}
	return &webSocket{conn: conn}, relay, nil
}

// admitted reads the relay's first message.
func admitted(conn *wsconn.Conn, protocol string) (announced, error) {
	if protocol != webSocketProtocol {
		return announced{}, errNoRelay("it selects another WebSocket subprotocol than " + webSocketProtocol)
	}
	kind, message, err := conn.ReadMessage(nil)
	if err != nil {
		return announced{}, err
	}
	var values map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(message)))
	decoder.UseNumber()
	if kind != wsconn.Text || decoder.Decode(&values) != nil {
		return announced{}, errNoRelay("its first WebSocket message is not what a relay announces")
	}
	return parseAnnounced(func(name string) (string, bool) {
		switch v := values[name].(type) {
		case string:
			return v, true
		case json.Number:
			return v.String(), true
		}
		return "", false
	})
}

func (w *webSocket) send(o *envelope.Outgoing) error {
	b := w.conn.AppendHeader(w.out[:0], wsconn.Binary, o.Bytes())
	at := len(b)
	b = o.AppendTo(b)
	w.conn.Mask(b, at)
	w.out = kept(b)
	if err := w.conn.Send(b); err != nil {
		return webSocketError(err)
	}
	return nil
}

func (w *webSocket) receive(b *envelope.Batch) error {
	b.Free() // it has w.in
	kind, message, err := w.conn.ReadMessage(w.in[:0])
	if err != nil {
		return webSocketError(err)
	}
	w.in = kept(message)
	if kind != wsconn.Binary {
		return &Error{Reason: LinkLost, By: "link", Text: "what came from the relay is no envelope but text"}
	}
	b.Load(message)
	return nil
}

func kept(b []byte) []byte {
	if cap(b) > keepBuffer {
		return nil
	}
	return b[:0]
}

// closeSend has the receiver end, too: with a close frame nothing more is to be read. close waits for the relay.
func (w *webSocket) closeSend() {
	w.ending.Store(true)
	w.conn.End(wsconn.CodeNormal, "")
}

func (w *webSocket) cancel() {
	if w.ending.Load() {
		// What was sent before the close frame shall arrive; only who waits is not to wait longer.
		_ = w.conn.NetConn().SetDeadline(time.Unix(1, 0))
		return
	}
	w.conn.Abort()
}

func (w *webSocket) close() { _ = w.conn.Close() }

// dialError turns what a handshake failed with into an *Error.
func dialError(err error, seen *contact) *Error {
	seen.untrusted.Store(isUntrusted(err))
	refusal, ok := errors.AsType[*wsconn.DialError](err)
	if !ok {
		return webSocketError(err)
	}
	var body struct {
		OK      *bool       `json:"ok"`
		Reason  reason.Code `json:"reason"`
		Message string      `json:"message"`
	}
	if json.Unmarshal(refusal.Body, &body) == nil && body.OK != nil && !*body.OK {
		if _, known := reason.Lookup(body.Reason); known {
			e := &reason.Error{Code: body.Reason, Text: body.Message}
			after := retryAfter(refusal.Header)
			return &Error{Reason: Reason(e.Code), Text: e.Message(), By: "relay", RetryAfter: after, cause: err}
		}
	}
	switch refusal.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seen.relayAway = true
	}
	return errNoRelay("it answers " + strconv.Itoa(refusal.Status) + " " + http.StatusText(refusal.Status))
}

// retryAfter is a header that a relay sends in seconds.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// webSocketError turns what a connection ended with into an *Error.
func webSocketError(err error) *Error {
	switch e, ok := errors.AsType[*Error](err); {
	case ok:
		return e
	case errors.Is(err, io.EOF):
		return &Error{Reason: LinkLost, By: "link", Text: "the WebSocket to the relay ended"}
	}
	if closed, ok := errors.AsType[*wsconn.CloseError](err); ok {
		return closeError(closed)
	}
	return &Error{Reason: LinkLost, By: "link",
		Text: "no connection to the relay: " + strings.TrimPrefix(err.Error(), "wsconn: "), cause: err}
}

// closeError is what a relay's close frame says. Its reason is a code, and a text behind ": ".
func closeError(closed *wsconn.CloseError) *Error {
	code, text, _ := strings.Cut(closed.Reason, ": ")
	if _, known := reason.Lookup(reason.Code(code)); known && !closed.Local {
		e := &reason.Error{Code: reason.Code(code), Text: text}
		return &Error{Reason: Reason(e.Code), Text: e.Message(), By: "relay", cause: closed}
	}
	return &Error{Reason: LinkLost, By: "link", Text: "the WebSocket to the relay ended: " +
		strings.TrimPrefix(closed.Error(), "wsconn: "), cause: closed}
}
