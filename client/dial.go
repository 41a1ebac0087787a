package client

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/getviewport/relay/client/identity"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/secure"
	"github.com/getviewport/relay/internal/session"
)

// DialConfig is what a client needs beside the relay's address.
type DialConfig struct {
	Config
	// Identity is the client's static key.
	Identity identity.Identity
	// Daemon is what is pinned about the daemon: its key, and how it must be spoken to.
	Daemon identity.Peer
	// PairingID goes with the first contact after pairing: Pairing.ID of the string that Daemon came from. Else nil.
	PairingID []byte
}

// Pair fills in what a pairing string says: workspace, target, the daemon's key and the pairing id.
func (c *DialConfig) Pair(p identity.Pairing) {
	id := p.ID()
	c.Workspace, c.Target, c.Daemon, c.PairingID = p.Workspace, p.Target, p.Peer(), id[:]
}

// Client opens sessions to one daemon. It stays linked to the relay by itself until Close, or until the relay refuses it
// for good; sessions go on over a new link.
type Client struct {
	cfg    DialConfig
	keeper *keeper
}

// Dial connects to the relay and returns when it has admitted this client, whether or not the daemon is there. It tries
// once; from then on the Client reconnects by itself. An error is an *Error with the relay's reason where the relay gave
// one. Close ends the Client.
func Dial(ctx context.Context, cfg DialConfig) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := checkIdentity(cfg.Identity, identity.Client, cfg.Workspace); err != nil {
		return nil, err
	}
	if cfg.Daemon.Key.IsZero() {
		return nil, errors.New("client: DialConfig.Daemon has no key: pair with the daemon first")
	}
	if cfg.Daemon.Target != cfg.Target {
		return nil, errors.New("client: DialConfig.Daemon is pinned for another target")
	}
	if cfg.RequirePSK && cfg.Daemon.Profile != identity.NoiseIKpsk2 {
		return nil, errTooWeak
	}
	c := &Client{cfg: cfg}
	c.keeper = newKeeper(ctx, &c.cfg.Config, "ConnectClient")
	first, err := c.keeper.dialer.connect(ctx, 1)
	if err != nil {
		c.keeper.cancel()
		return nil, err
	}
	c.keeper.start(first)
	return c, nil
}

var errTooWeak = &Error{Reason: ProfileTooWeak, By: "local",
	Text: "Noise IKpsk2 is required here; pair with a string that carries a secret (profile noise-ikpsk2)"}

// Open opens a session: it returns when the daemon has proved itself. A handshake that is not answered within 10 s, that
// was cut off with the link, that a newly attached daemon may not have seen, or that came too soon for the relay is begun
// again with a new id until ctx ends; without a link Open waits for one. Without a daemon the error is PeerUnavailable at
// once, but a daemon that was there and went away, or a relay that has just come back, gets 30 s to be whole again.
func (c *Client) Open(ctx context.Context) (*Session, error) {
	var back backoff // a relay that answers each handshake with a reason to try again does not set the pace
	for {
		began := time.Now()
		s, again, err := c.open(ctx)
		var e *Error
		switch {
		case err == nil:
			return s, nil
		case again:
		case !errors.As(err, &e):
			return nil, err
		case e.Reason == PeerUnavailable:
			if !c.keeper.waitForDaemon(ctx) {
				return nil, err
			}
		case e.Reason == Reason(reason.RateLimited):
			sleep(ctx, e.RetryAfter)
		default:
			return nil, err
		}
		back.healthy(time.Since(began))
		sleep(ctx, back.next())
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

// open tries once. again: the handshake was lost on its way, and another may do better.
func (c *Client) open(ctx context.Context) (s *Session, again bool, err error) {
	l, err := c.keeper.wait(ctx)
	if err != nil {
		return nil, false, err
	}
	handshake := session.ClientHandshake{
		Profile: relayv1.Profile(c.cfg.Daemon.Profile), PeerStatic: c.cfg.Daemon.Key, PairingID: c.cfg.PairingID,
	}
	if handshake.Static, err = keyPair(c.cfg.Identity); err != nil {
		return nil, false, err
	}
	if !c.cfg.Daemon.PSK.IsZero() {
		psk := c.cfg.Daemon.PSK.Reveal()
		handshake.PSK = psk[:]
	}
	m, err := session.NewClient(l.sessionConfig(), handshake, rand.Reader, time.Now())
	if err != nil {
		return nil, false, err
	}
	s = newSession(c.keeper, m, func(s *Session) { c.keeper.daemonIs(true, false) })
	if err := c.keeper.add(s); err != nil {
		return nil, c.keeper.ended() == nil, err
	}
	s.start()
	select {
	case <-s.opened:
		return s, false, nil
	case <-s.over:
		// It may have opened just before it ended.
		if isClosed(s.opened) {
			return s, false, nil
		}
		return nil, c.unanswered(s), s.Err()
	case <-ctx.Done():
		s.Abort()
		return nil, false, ctx.Err()
	}
}

// unanswered reports whether the handshake of s, which has ended, did so for no other reason than that no answer came.
func (c *Client) unanswered(s *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var end *session.End
	if !errors.As(s.machine.Err(), &end) {
		return false
	}
	switch end.Code() {
	case reason.HandshakeTimeout, reason.PeerAvailable:
		return true
	}
	return end.By == session.Link && c.keeper.ended() == nil
}

// Done is closed when the Client has ended: by Close, or because the relay refused it for good. Its sessions have ended,
// too.
func (c *Client) Done() <-chan struct{} { return c.keeper.done }

// Err is why the Client ended; nil while it lives.
func (c *Client) Err() error {
	if !isClosed(c.keeper.done) {
		return nil
	}
	return c.keeper.ended()
}

// Transport is over what the link to the relay goes, or went if there is none now: "grpc" or "websocket".
func (c *Client) Transport() string { return c.keeper.transport() }

// Close ends the Client and its link. Sessions that still live are cancelled, at both ends; close them first.
func (c *Client) Close() error {
	c.keeper.close()
	return nil
}

// sessionConfig bounds a session by what this endpoint and the relay want, whichever is less.
func (l *link) sessionConfig() session.Config {
	window := l.relay.window
	if l.cfg.Window > 0 {
		window = min(window, l.cfg.Window)
	}
	return session.Config{
		Workspace: l.cfg.Workspace, Target: l.cfg.Target, Window: window, MaxMessage: l.relay.maxMessage,
		Version: l.cfg.Version, Lifetime: l.cfg.SessionLifetime,
	}
}

func checkIdentity(id identity.Identity, role identity.Role, workspace string) error {
	switch {
	case id.Private.IsZero():
		return errors.New("client: Identity has no key; identity.Store.LoadOrCreate makes one")
	case id.Role != role:
		return errors.New("client: Identity is that of a " + string(id.Role) + ", not of a " + string(role))
	case id.Workspace != workspace:
		return errors.New("client: Identity is for another workspace: keys are per workspace")
	}
	return nil
}

func keyPair(id identity.Identity) (secure.KeyPair, error) {
	return secure.KeyPairFromPrivate(id.Private.Reveal())
}
