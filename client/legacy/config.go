package legacy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/legacycrypto"
	"github.com/getviewport/relay/internal/reason"
)

// Config says where the relay is and as whom to connect. It is the same for daemons and clients.
type Config struct {
	// URL is the relay's endpoint as daemons have it: wss://host[:port]/ws, or ws:// where nobody can listen in, for the
	// token goes there too. Without a path it gets /ws.
	URL string
	// Workspace and Target name the runtime: 1 to 128 bytes of [A-Za-z0-9._:-]. The token must be for both.
	Workspace, Target string
	// Token gives the relay token, before each connection. It is sent as Authorization: Bearer.
	Token client.TokenSource
	// TLS, if set, replaces the system's settings for wss (roots, client certificate). It is cloned.
	TLS *tls.Config
	// Log gets what an operator of this process may want to know (links lost and made, frames refused; never keys,
	// tokens or plaintext); nil: nothing.
	Log *slog.Logger
}

// check fills in defaults and returns an error for what cannot work.
func (c *Config) check() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss",
		u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("legacy: Config.URL has to be wss://host[:port]/ws, without a query")
	case !identity.ValidName(c.Workspace) || !identity.ValidName(c.Target):
		return errors.New("legacy: Config.Workspace and Config.Target have to be 1 to 128 bytes of [A-Za-z0-9._:-]")
	case c.Token == nil:
		return errors.New("legacy: Config.Token is not set; client.StaticToken makes a source of one token")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// endpoint is what is dialled for a role of the wire.
func (c *Config) endpoint(role string) string {
	u, _ := url.Parse(c.URL) // check has
	if u.Path == "" || u.Path == "/" {
		u.Path = "/ws"
	}
	u.RawQuery = url.Values{"role": {role}, "workspaceId": {c.Workspace}, "runtimeTargetId": {c.Target}}.Encode()
	return u.String()
}

func (c *Config) header(ctx context.Context) (http.Header, error) {
	token, err := c.Token(ctx)
	if err != nil {
		return nil, &client.Error{
			Reason: client.Reason(reason.TokenMissing), By: "local", Text: "there is no token: " + err.Error(),
		}
	}
	return http.Header{"Authorization": {"Bearer " + token}}, nil
}

func profileOf(p identity.Profile) (legacycrypto.Profile, error) {
	switch p {
	case identity.NoiseIK:
		return legacycrypto.NoiseIK, nil
	case identity.NoiseIKpsk2:
		return legacycrypto.NoiseIKpsk2, nil
	}
	return "", fmt.Errorf("legacy: %v is no profile; choose identity.NoiseIK or identity.NoiseIKpsk2", p)
}

func publicProfile(p legacycrypto.Profile) identity.Profile {
	if p == legacycrypto.NoiseIKpsk2 {
		return identity.NoiseIKpsk2
	}
	return identity.NoiseIK
}

func pskOf(s identity.Secret) (legacycrypto.PSK, error) {
	if s.IsZero() {
		return legacycrypto.PSK{}, nil
	}
	b := s.Reveal()
	defer clear(b[:])
	return legacycrypto.NewPSK(b[:])
}
