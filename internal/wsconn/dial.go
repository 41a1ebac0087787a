package wsconn

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Dialer opens connections as a client. The zero value is good for ws.
type Dialer struct {
	// TLS is for wss; nil: the defaults. The server's name is taken from the URL if it is empty.
	TLS *tls.Config
	// Header is sent besides what the handshake needs.
	Header http.Header
	// Protocols are the subprotocols that are offered. The server has to select one of them, if there are any.
	Protocols []string
	// DialContext opens the TCP connection; nil: a net.Dialer does.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// maxBody is how much of the body of a refusal is kept.
const maxBody = 4 << 10

// DialError is a server's answer that does not open a WebSocket.
type DialError struct {
	// Status is the answer's, 101 for one that breaks the protocol.
	Status int
	Header http.Header
	// Body is the beginning of the body, at most 4 KiB.
	Body []byte
	// Text says what is wrong.
	Text string
}

// Error implements error. It tells nothing that the server has sent but the status.
func (e *DialError) Error() string { return fmt.Sprintf("wsconn: status %d: %s", e.Status, e.Text) }

// Dial opens a connection to a ws or wss URL and returns it with the subprotocol that the server selected. Its error is
// a *DialError when a server answered. ctx bounds the whole and has no effect on the connection afterwards.
func (d *Dialer) Dial(ctx context.Context, target string, config Config) (c *Conn, protocol string, err error) {
	r, address, err := d.request(target)
	if err != nil {
		return nil, "", err
	}
	dial := d.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	nc, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, "", fmt.Errorf("wsconn: %w", err)
	}
	// What ends the context ends whatever waits for the peer.
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(longAgo) })
	whole := nc
	defer func() {
		if !stop() && ctx.Err() != nil {
			err = fmt.Errorf("wsconn: %w", ctx.Err())
		}
		if err != nil {
			_ = whole.Close()
			c = nil
		}
	}()
	if r.URL.Scheme == "https" {
		secure := tls.Client(nc, d.tls(r.URL.Hostname()))
		whole = secure
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, "", fmt.Errorf("wsconn: %w", err)
		}
	}
	received, protocol, err := d.shakeHands(whole, r)
	if err != nil {
		return nil, "", err
	}
	config.Client = true
	return New(whole, received, config), protocol, nil
}

func (d *Dialer) request(target string) (r *http.Request, address string, err error) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, "", errors.New("wsconn: the URL has to be ws://host or wss://host")
	}
	port := u.Port()
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
		if port == "" {
			port = "80"
		}
	case "wss":
		u.Scheme = "https"
		if port == "" {
			port = "443"
		}
	default:
		return nil, "", errors.New("wsconn: the URL has to be ws://host or wss://host")
	}
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	header := d.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	header.Set("Upgrade", "websocket")
	header.Set("Connection", "Upgrade")
	header.Set("Sec-WebSocket-Version", "13")
	header.Set("Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(key[:]))
	if len(d.Protocols) > 0 {
		header.Set("Sec-WebSocket-Protocol", strings.Join(d.Protocols, ", "))
	}
	return &http.Request{Method: http.MethodGet, URL: u, Header: header}, net.JoinHostPort(u.Hostname(), port), nil
}

// tls is the configuration for a host. HTTP/1.1 is the only one of HTTP's versions that opens a WebSocket this way.
func (d *Dialer) tls(host string) *tls.Config {
	config := d.TLS.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	if config.ServerName == "" {
		config.ServerName = host
	}
	config.NextProtos = []string{"http/1.1"}
	return config
}

// shakeHands returns what came behind the server's answer, and the subprotocol.
func (d *Dialer) shakeHands(nc net.Conn, r *http.Request) (received []byte, protocol string, err error) {
	if err := r.Write(nc); err != nil {
		return nil, "", fmt.Errorf("wsconn: %w", err)
	}
	// A server that is none may send headers for ever.
	head := &io.LimitedReader{R: nc, N: 64 << 10}
	in := bufio.NewReader(head)
	answer, err := http.ReadResponse(in, r)
	if err != nil {
		return nil, "", fmt.Errorf("wsconn: the server's answer: %w", err)
	}
	refused := &DialError{Status: answer.StatusCode, Header: answer.Header, Text: "the server does not open a WebSocket"}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		// A body that comes slowly or never is not worth waiting for.
		_ = nc.SetReadDeadline(time.Now().Add(lingerTime))
		refused.Body, _ = io.ReadAll(io.LimitReader(answer.Body, maxBody))
		return nil, "", refused
	}
	protocol = answer.Header.Get("Sec-WebSocket-Protocol")
	switch {
	case !hasToken(answer.Header.Values("Upgrade"), "websocket"), !hasToken(answer.Header.Values("Connection"), "upgrade"):
		refused.Text = "the server switches to another protocol"
	case answer.Header.Get("Sec-WebSocket-Accept") != acceptOf(r.Header.Get("Sec-WebSocket-Key")):
		refused.Text = "the server's Sec-WebSocket-Accept is wrong"
	case answer.Header.Get("Sec-WebSocket-Extensions") != "":
		refused.Text = "the server uses an extension that was not offered"
	case len(d.Protocols) > 0 && !slices.Contains(d.Protocols, protocol), len(d.Protocols) == 0 && protocol != "":
		refused.Text = "the server selects a subprotocol that was not offered, or none"
	default:
		received, _ = in.Peek(in.Buffered())
		return received, protocol, nil
	}
	return nil, "", refused
}
