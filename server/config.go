package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Config is what a relay is made of. cmd/viewport-relay fills it from the environment; whoever embeds a relay fills it
// directly.
type Config struct {
	// Listen is the public address, such as "127.0.0.1:7781"; port 0: any free one.
	Listen string
	// AdminListen is the address of AdminService and /metrics. Not opened when AdminTokens is empty.
	AdminListen string
	// AdminTokens are the bearer tokens that the admin listener accepts; two while one is being replaced.
	AdminTokens []string
	// TLSCert and TLSKey are PEM files; both or neither. Neither: plain, for use behind a TLS terminator.
	TLSCert, TLSKey string
	// RelayID is the identity of this process in headers and admin answers; empty: drawn at start.
	RelayID string
	// Version is the version of the binary.
	Version string
	// TrustedProxies are the addresses of what stands in front and appends to X-Forwarded-For. Of a WebSocket that comes
	// through them the address that counts is the right-most one in it that is none of theirs.
	TrustedProxies []netip.Prefix
	// QueryTokens lets legacy WebSockets bring their token in the URL, where proxies log it: for development only.
	QueryTokens bool
	// LegacyRates bound legacy peers.
	LegacyRates LegacyRates
	// WorkerTransport lets legacy workers in, whose calls to the platform, with their credentials for it, then pass through
	// the relay. It goes to the origin of ValidateURL, which must be set.
	WorkerTransport bool

	// JWKSURL is where the platform publishes its public keys; ValidateURL its validate call. At least one is needed.
	JWKSURL, ValidateURL string
	// InternalKey is sent with the validate call as x-relay-internal-key; empty: not sent.
	InternalKey string
	// Issuer and Audience are what tokens must carry; empty: viewport-server and viewport-relay.
	Issuer, Audience string
	// ValidateTimeout bounds a validate call as a whole, ValidateConcurrency how many run at once; 0: the defaults of
	// package admission.
	ValidateTimeout     time.Duration
	ValidateConcurrency int
	// RecheckInterval is how often the platform's validate call is asked about the token of a live link, which the relay
	// keeps for it until the link ends. Only its word that the token was revoked ends the link. 0: never.
	RecheckInterval time.Duration
	// TokenGrace is how long a link may outlive its token; then it ends with TOKEN_EXPIRED. 0: one minute.
	TokenGrace time.Duration

	// StateDir is a folder of this relay alone that keeps what must outlive it: the revocations. It must be there. Empty:
	// a relay that starts again has forgotten them.
	StateDir string

	// Heartbeat is the interval of application heartbeats; 0: off.
	Heartbeat time.Duration
	// ReadinessDelay is how long links are still admitted after Run's context ended and readiness turned red, so that load
	// balancers notice before the port is closed. 0: none.
	ReadinessDelay time.Duration
	// DrainTime is how long links get to leave after that; what is left is then ended with DRAINING. 0: all are ended at
	// once, which loses no session either: its ends resume at whatever relay comes next.
	DrainTime time.Duration
	// Limits bound everything; zero fields mean the defaults.
	Limits Limits
	// Log gets the relay's log; nil: nothing. Tokens, keys and people never appear in it.
	Log *slog.Logger
}

// normalise fills in what is left open and reports what cannot work.
func (c *Config) normalise() error {
	c.Limits = c.Limits.withDefaults()
	errs := []error{c.Limits.check()}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("server: Config.Listen: %w", err))
	}
	if len(c.AdminTokens) > 0 {
		if _, _, err := net.SplitHostPort(c.AdminListen); err != nil {
			errs = append(errs, fmt.Errorf("server: Config.AdminListen: %w", err))
		}
	}
	if c.WorkerTransport && c.ValidateURL == "" {
		errs = append(errs, errors.New("server: Config.WorkerTransport needs Config.ValidateURL"))
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, errors.New("server: Config.TLSCert and TLSKey go together"))
	}
	if c.Heartbeat < 0 || c.Heartbeat > time.Hour {
		errs = append(errs, fmt.Errorf("server: Config.Heartbeat is %v, 0 to 1h are allowed", c.Heartbeat))
	}
	for name, d := range map[string]time.Duration{"ReadinessDelay": c.ReadinessDelay, "DrainTime": c.DrainTime} {
		if d < 0 || d > time.Hour {
			errs = append(errs, fmt.Errorf("server: Config.%s is %v, 0 to 1h are allowed", name, d))
		}
	}
	if c.RecheckInterval != 0 && (c.RecheckInterval < time.Millisecond || c.RecheckInterval > 24*time.Hour) {
		errs = append(errs, fmt.Errorf("server: Config.RecheckInterval is %v, 1ms to 24h are allowed, or 0 for off",
			c.RecheckInterval))
	}
	if c.TokenGrace < 0 || c.TokenGrace > time.Hour {
		errs = append(errs, fmt.Errorf("server: Config.TokenGrace is %v, 0 to 1h are allowed", c.TokenGrace))
	}
	if c.TokenGrace == 0 {
		c.TokenGrace = tokenGrace
	}
	if c.RelayID == "" {
		var b [6]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		c.RelayID = "relay-" + hex.EncodeToString(b[:])
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return errors.Join(errs...)
}
