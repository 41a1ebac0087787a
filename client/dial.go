package client

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
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

// Client opens sessions to one daemon over one link.
type Client struct {
	// Static.
	cfg DialConfig

	// dialing is held by whoever makes a link; guards attempt.
	dialing chan struct{}
	attempt int

	// mu guards what follows.
	mu     sync.Mutex
	link   *link
	closed bool
}

// Dial connects to the relay and returns when it has admitted this client, whether or not the daemon is there. An error
// is an *Error with the relay's reason where the relay gave one. Close ends the Client.
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
	c := &Client{cfg: cfg, dialing: make(chan struct{}, 1)}
	if _, err := c.linkFor(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

var errTooWeak = &Error{Reason: ProfileTooWeak, By: "local",
	Text: "Noise IKpsk2 is required here; pair with a string that carries a secret (profile noise-ikpsk2)"}

// linkFor returns the link, after making a new one if there is none that lives.
func (c *Client) linkFor(ctx context.Context) (*link, error) {
	if err := acquire(ctx, c.dialing); err != nil {
		return nil, err
	}
	defer release(c.dialing)
	c.mu.Lock()
	l, closed := c.link, c.closed
	c.mu.Unlock()
	if closed {
		return nil, &Error{Reason: Closed, By: "local", Text: "the client was closed here"}
	}
	if l != nil {
		select {
		case <-l.done:
			l.closeAndWait()
		default:
			return l, nil
		}
	}
	c.attempt++
	l, err := connect(ctx, &c.cfg.Config, "ConnectClient", c.attempt, nil)
	if err != nil {
		return nil, err
	}
	c.attempt = 0
	c.mu.Lock()
	if closed = c.closed; !closed {
		c.link = l
	}
	c.mu.Unlock()
	if closed {
		l.closeAndWait()
		return nil, &Error{Reason: Closed, By: "local", Text: "the client was closed here"}
	}
	return l, nil
}

// Open opens a session: it returns when the daemon has proved itself. A handshake that is not answered within 10 s, that a
// newly attached daemon may not have seen, or that came too soon for the relay is begun again with a new id until ctx
// ends. Without a daemon the error is PeerUnavailable at once.
func (c *Client) Open(ctx context.Context) (*Session, error) {
	for {
		s, err := c.open(ctx)
		var e *Error
		if err == nil || !errors.As(err, &e) {
			return s, err
		}
		switch reason.Code(e.Reason) {
		case reason.HandshakeTimeout, reason.PeerAvailable:
		case reason.RateLimited:
			select {
			case <-time.After(e.RetryAfter):
			case <-ctx.Done():
			}
		default:
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

func (c *Client) open(ctx context.Context) (*Session, error) {
	l, err := c.linkFor(ctx)
	if err != nil {
		return nil, err
	}
	handshake := session.ClientHandshake{
		Profile: relayv1.Profile(c.cfg.Daemon.Profile), PeerStatic: c.cfg.Daemon.Key, PairingID: c.cfg.PairingID,
	}
	if handshake.Static, err = keyPair(c.cfg.Identity); err != nil {
		return nil, err
	}
	if !c.cfg.Daemon.PSK.IsZero() {
		psk := c.cfg.Daemon.PSK.Reveal()
		handshake.PSK = psk[:]
	}
	m, err := session.NewClient(l.sessionConfig(), handshake, rand.Reader, time.Now())
	if err != nil {
		return nil, err
	}
	s := newSession(l, m, nil)
	if err := l.add(s); err != nil {
		return nil, err
	}
	s.start()
	select {
	case <-s.opened:
		return s, nil
	case <-s.over:
		// It may have opened just before it ended.
		select {
		case <-s.opened:
			return s, nil
		default:
			return nil, s.Err()
		}
	case <-ctx.Done():
		s.Abort()
		return nil, ctx.Err()
	}
}

// Close closes the link. Sessions that still live end with LinkLost; close them first.
func (c *Client) Close() error {
	c.mu.Lock()
	l := c.link
	c.link, c.closed = nil, true
	c.mu.Unlock()
	if l != nil {
		l.closeAndWait()
	}
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
