package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/getviewport/relay/internal/relayws"
	"github.com/getviewport/relay/internal/wsconn"
)

const (
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
	header := http.Header{relayws.HeaderAttempt: {strconv.Itoa(a.number)}}
	if cfg.Version != "" {
		header.Set(relayws.HeaderVersion, cfg.Version)
	}
	protocols := []string{relayws.Subprotocol}
	if token := a.token.token; fitsEntry(token) {
		protocols = append(protocols, relayws.TokenEntry(token))
	} else {
		header.Set("Authorization", "Bearer "+token)
	}
	dialer := wsconn.Dialer{
		TLS: cfg.tlsConfig(), Header: header, Protocols: protocols,
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
		return nil, announced{}, dialError(err, a.token.token, seen)
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

// fitsEntry reports whether a token can be one of the subprotocols: a relay takes there what looks like a JWT and is
// not too long.
func fitsEntry(token string) bool {
	const jwt = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	return len(token) >= 10 && len(token) <= 4096 && strings.Trim(token, jwt) == ""
}

// admitted reads the relay's first message.
func admitted(conn *wsconn.Conn, protocol string) (announced, error) {
	if protocol != relayws.Subprotocol {
		return announced{}, errNoRelay("it does not select the WebSocket subprotocol " + relayws.Subprotocol)
	}
	kind, message, err := conn.ReadMessage(nil)
	if err != nil {
		return announced{}, err
	}
	values, err := relayws.ParseAnnouncement(message)
	if kind != wsconn.Text || err != nil {
		return announced{}, errNoRelay("its first WebSocket message is no announcement")
	}
	return parseAnnounced(func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
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
func dialError(err error, token string, seen *contact) *Error {
	seen.untrusted.Store(isUntrusted(err))
	answer, ok := errors.AsType[*wsconn.DialError](err)
	if !ok {
		return webSocketError(err)
	}
	code := refusalCode(answer)
	switch {
	case code == "":
		switch answer.Status {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			seen.relayAway = true
		}
		return errNoRelay(fmt.Sprintf("it answers %d %s", answer.Status, http.StatusText(answer.Status)))
	case code == reason.TokenMissing && token != "" && !fitsEntry(token):
		// Over gRPC the relay may take it, so it is not to end this endpoint.
		return &Error{Reason: LinkLost, By: "link", cause: err,
			Text: "the relay does not take this token over WebSocket: it is no JWT of at most 4,096 bytes"}
	case code == reason.FrameInvalid, code == reason.TokenMissing && token != "":
		// That was in order when it left: it is no verdict on this endpoint, which may be on another network soon.
		return &Error{Reason: LinkLost, By: "link", cause: err, Text: fmt.Sprintf(
			"something on the way to the relay changes requests for a WebSocket: the answer is %d %s", answer.Status, code)}
	}
	return &Error{Reason: Reason(code), Text: reason.New(code, "").Message(), By: "relay",
		RetryAfter: retryAfter(answer.Header), cause: err}
}

// refusalCode is the reason of a relay that refuses; empty: it is not a relay that answers.
func refusalCode(answer *wsconn.DialError) reason.Code {
	var body struct {
		OK     *bool  `json:"ok"`
		Reason string `json:"reason"`
	}
	switch {
	case answer.Status == http.StatusNotFound: // no code has it, so this is somebody else's
	case json.Unmarshal(answer.Body, &body) != nil, body.OK == nil, *body.OK:
	case strings.Trim(body.Reason, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "":
		return reason.Code(body.Reason) // one that is not known is final, as everywhere
	}
	return ""
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
	if closed, ok := errors.AsType[*wsconn.CloseError](err); ok && !closed.Local && closed.Code == relayws.CodeEnded {
		e := relayws.ParseEnd(closed.Reason)
		return &Error{Reason: Reason(e.Code), Text: e.Message(), By: "relay", RetryAfter: e.RetryAfter, cause: err}
	}
	return &Error{Reason: LinkLost, By: "link",
		Text: "no connection to the relay: " + strings.TrimPrefix(err.Error(), "wsconn: "), cause: err}
}
