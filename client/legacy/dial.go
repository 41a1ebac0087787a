package legacy

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/legacycrypto"
	"github.com/getviewport/relay/internal/legacysession"
)

// DialConfig is what a client needs beside the relay's address.
type DialConfig struct {
	Config
	// Daemon is the daemon's public key, 87 characters of base64url, from where it can be trusted: whoever chooses it is
	// who the sessions are with. (Today's browsers take it from their token, claim daemonPublicKey.)
	Daemon string
	// Profile is the key exchange. NoiseIKpsk2 needs PSK and PairingPeerID, which Pair returns; NoiseIK takes neither.
	Profile       identity.Profile
	PSK           identity.Secret
	PairingPeerID string
}

// exchange is what each key exchange begins with.
func (c *DialConfig) exchange() (e legacycrypto.ClientConfig, err error) {
	if e.Profile, err = profileOf(c.Profile); err != nil {
		return e, err
	}
	if e.Daemon, err = legacycrypto.ParsePublicKey(c.Daemon); err != nil {
		return e, errors.New("legacy: DialConfig.Daemon is not the public key of a daemon: 65 bytes in base64url, on P-256")
	}
	if e.PSK, err = pskOf(c.PSK); err != nil {
		return e, err
	}
	e.PairingPeerID = c.PairingPeerID
	probe, err := legacycrypto.NewClientHandshake(e)
	if err != nil {
		return e, errors.New("legacy: NoiseIKpsk2 needs DialConfig.PSK and PairingPeerID, and NoiseIK takes neither")
	}
	probe.Wipe()
	return e, nil
}

// Client opens sessions to one daemon. It stays linked to the relay by itself until Close; its sessions do not outlive
// their link.
type Client struct {
	exchange legacycrypto.ClientConfig
	keeper   *keeper
}

// Dial connects to the relay, once; from then on the Client reconnects by itself, after pauses of up to 1 s that grow
// to 30 s. The token's scope must be runtime. An error of the relay's is a *client.Error. ctx has no effect once Dial
// has returned.
func Dial(ctx context.Context, cfg DialConfig) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	exchange, err := cfg.exchange()
	if err != nil {
		return nil, err
	}
	c := &Client{exchange: exchange}
	c.keeper = newKeeper(ctx, &cfg.Config, "client", nil)
	first, err := c.keeper.connect(ctx)
	if err != nil {
		c.keeper.cancel()
		return nil, err
	}
	c.keeper.start(first)
	return c, nil
}

// Open opens a session. It waits for a link until ctx ends and tries once: it returns when the daemon has proved that
// it holds its key (and the PSK), or fails with client.HandshakeTimeout after 10 s (a daemon that refuses does not
// answer, nor does one that is not there behind a relay that does not say so), with client.PeerUnavailable when the
// relay says that there is no daemon, and with client.LinkLost.
func (c *Client) Open(ctx context.Context) (*client.Session, error) {
	l, err := c.keeper.wait(ctx)
	if err != nil {
		return nil, err
	}
	handshake, err := legacycrypto.NewClientHandshake(c.exchange)
	if err != nil {
		return nil, err
	}
	init, err := handshake.Init()
	if err != nil {
		return nil, err
	}
	o := &opening{link: l, exchange: c.exchange, handshake: handshake, ready: make(chan opened, 1)}
	if err := l.await(handshake.RequestID(), o); err != nil {
		return nil, err
	}
	timer := time.NewTimer(legacysession.AnswerTime)
	defer timer.Stop()
	l.send(init)
	var r opened
	select {
	case r = <-o.ready:
	case <-timer.C:
		r.err = &client.Error{
			Reason: client.HandshakeTimeout, By: "local", Text: "the daemon did not answer. It may be away, want another " +
				"profile, not know the pairing or have another key: today's daemons don't say",
		}
	case <-ctx.Done():
		r.err = ctx.Err()
	}
	l.forget(handshake.RequestID())
	if r.err != nil {
		o.giveUp()
		return nil, r.err
	}
	return r.session, nil
}

// Done is closed when the Client has ended, by Close.
func (c *Client) Done() <-chan struct{} { return c.keeper.done }

// Close ends the Client, its link and the sessions that still live; their peers are not told. Messages that Send has
// taken still go out, for at most 2 s.
func (c *Client) Close() error {
	c.keeper.close()
	return nil
}

// opening is a key exchange that Open waits for.
type opening struct {
	// Static.
	link     *link
	exchange legacycrypto.ClientConfig
	ready    chan opened // gets one element at most

	// mu is taken before a session's lock and link.mu.
	mu        sync.Mutex
	handshake *legacycrypto.ClientHandshake // nil when it is over
}

type opened struct {
	session *client.Session
	err     error
}

// answer makes the session before another frame is read: the next may be its first message.
func (o *opening) answer(frame any) {
	r, ok := frame.(*legacycrypto.Response)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !ok || o.handshake == nil {
		return
	}
	s, err := o.handshake.Finish(r)
	if err != nil {
		// Who knows the request id can send this, so the daemon's own answer may still come.
		o.link.log.Warn("dropped the answer to a key exchange", "error", err)
		return
	}
	o.handshake = nil
	m, err := o.link.add(legacysession.New(s, legacysession.Config{Client: o.exchange}, nil, time.Now()), s.Profile())
	if err != nil {
		o.ready <- opened{err: err}
		return
	}
	o.ready <- opened{session: m.session}
}

func (o *opening) fail(why *client.Error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.handshake != nil {
		o.handshake.Wipe()
		o.handshake = nil
		o.ready <- opened{err: why}
	}
}

// giveUp ends an opening that nobody waits for any more.
func (o *opening) giveUp() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.handshake != nil {
		o.handshake.Wipe()
		o.handshake = nil
	}
	select {
	case late := <-o.ready:
		if late.session != nil {
			late.session.Abort()
		}
	default:
	}
}
