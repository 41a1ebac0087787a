package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
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

	// Heartbeat is the interval of application heartbeats; 0: off.
	Heartbeat time.Duration
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
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, errors.New("server: Config.TLSCert and TLSKey go together"))
	}
	if c.Heartbeat < 0 || c.Heartbeat > time.Hour {
		errs = append(errs, fmt.Errorf("server: Config.Heartbeat is %v, 0 to 1h are allowed", c.Heartbeat))
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
