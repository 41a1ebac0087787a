package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"github.com/getviewport/relay/client/identity"
)

// TokenSource returns a relay token (a JWT of the platform) that is valid now. It is asked before each connection, and
// in good time before the token in use expires: with a newer one a second link is opened, which takes over unnoticed
// before the first is closed. It must return when ctx ends. Tokens are never logged.
type TokenSource func(ctx context.Context) (string, error)

// StaticToken is a TokenSource that always returns the same token.
func StaticToken(token string) TokenSource {
	return func(context.Context) (string, error) { return token, nil }
}

// Config says where the relay is and as whom to connect. It is the same for daemons and clients.
type Config struct {
	// Relay is the relay's address: https://host[:port] (TLS), http://host[:port] (plain), or host:port, which is plain
	// on a loopback address and TLS anywhere else. The link is gRPC where the network lets it through, and WebSocket
	// where it does not; wss://host[:port][/path] (TLS) and ws://host[:port][/path] (plain) want WebSocket alone. A path
	// is the relay's own, /ws, unless something in front of it gives it another.
	Relay string
	// Workspace and Target name the runtime: 1 to 128 bytes of [A-Za-z0-9._:-]. The token must be for both.
	Workspace, Target string
	// Token gives the bearer token.
	Token TokenSource
	// TLS, if set, replaces the system's settings for a TLS relay (roots, client certificate). It is cloned.
	TLS *tls.Config
	// Version is what operators see of this software, such as "acme-daemon 1.2"; at most 64 bytes.
	Version string
	// Window is the receive window of a session in bytes; 0: what the relay announces. The smaller of both counts.
	Window int
	// SessionLifetime is how long a session may be without a word of its peer, and so without a link, before it ends with
	// an error; 0: 10 minutes. At most one hour.
	SessionLifetime time.Duration
	// SendTimeout ends a Send that made no progress for so long (at most twice so long) although the peer is there and
	// answers: its application does not read. The error is PeerSlow. 0: such a Send waits.
	SendTimeout time.Duration
	// RequirePSK refuses Noise IK: set it where the workspace's policy is crypto_pairing. It is this endpoint's own word,
	// whatever relay and platform say.
	RequirePSK bool
	// Log gets what an operator of this process may want to know (links lost and made; never keys, tokens or
	// plaintext); nil: nothing.
	Log *slog.Logger
}

const (
	maxLifetime     = time.Hour
	defaultLifetime = 10 * time.Minute
)

// check fills in defaults and returns an error for what cannot work.
func (c *Config) check() error {
	for _, f := range []struct{ name, value string }{{"Workspace", c.Workspace}, {"Target", c.Target}} {
		if !identity.ValidName(f.value) {
			return fmt.Errorf("client: Config.%s: %q is not 1 to 128 bytes of [A-Za-z0-9._:-]", f.name, f.value)
		}
	}
	if _, err := parseRelay(c.Relay); err != nil {
		return err
	}
	if c.Token == nil {
		return fmt.Errorf("client: Config.Token is not set; StaticToken makes a source of one token")
	}
	if len(c.Version) > 64 {
		return fmt.Errorf("client: Config.Version is %d bytes long, at most 64 fit", len(c.Version))
	}
	if c.SessionLifetime == 0 {
		c.SessionLifetime = defaultLifetime
	}
	if c.SessionLifetime < 0 || c.SessionLifetime > maxLifetime {
		return fmt.Errorf("client: Config.SessionLifetime is %v, at most %v", c.SessionLifetime, maxLifetime)
	}
	if c.SendTimeout < 0 {
		return fmt.Errorf("client: Config.SendTimeout is %v, 0 or more", c.SendTimeout)
	}
	if c.Window < 0 || c.Window > 16<<20 || c.Window > 0 && c.Window < 128<<10 {
		return fmt.Errorf("client: Config.Window is %d bytes, 131072 to 16777216 (or 0)", c.Window)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
