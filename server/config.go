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

// Limits are the bounds of a relay. A zero field means its default.
type Limits struct {
	// SessionWindow is announced as viewport-session-window, in bytes: 131,072 to 16,777,216. Default 1,048,576.
	SessionWindow int
	// MaxEnvelope is the longest envelope in bytes: 65,536 to 4,128,768 (it has to fit into a message). Default 2,097,152.
	MaxEnvelope int
	// MaxMessage is announced as viewport-max-message, in bytes of plaintext: 16,000 to 16,777,216. Default 524,288.
	MaxMessage int
	// SessionsPerClient is how many open sessions a client link may have. Default 256.
	SessionsPerClient int
	// SessionsPerTarget is how many sessions a target remembers. Default 16,384.
	SessionsPerTarget int
	// LinkBytes is what the queue of a link may keep, in bytes. Default 64 MiB.
	LinkBytes int64
	// ProcessBytes is what all queues together may keep, in bytes. Default 1 GiB.
	ProcessBytes int64
	// StreamsPerConnection is HTTP/2's SETTINGS_MAX_CONCURRENT_STREAMS. Default 1,024.
	StreamsPerConnection int
	// HeaderBytes is the most request metadata a stream may bring. Default 32 KiB.
	HeaderBytes int
	// PendingConnections is how many connections may be waiting to say what they speak. Default 1,024.
	PendingConnections int
}

// maxMessageBytes is gRPC's limit on one message, both ways (docs/protocol.md, Service).
const maxMessageBytes = 4 << 20

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.SessionWindow, 1<<20)
	def(&l.MaxEnvelope, 2<<20)
	def(&l.MaxMessage, 512<<10)
	def(&l.StreamsPerConnection, 1024)
	def(&l.HeaderBytes, 32<<10)
	def(&l.PendingConnections, 1024)
	return l
}

func (l Limits) check() error {
	var errs []error
	for _, f := range []struct {
		name            string
		value           int
		least, greatest int
	}{
		{"SessionWindow", l.SessionWindow, 128 << 10, 16 << 20},
		{"MaxEnvelope", l.MaxEnvelope, 64 << 10, maxMessageBytes - 64<<10},
		{"MaxMessage", l.MaxMessage, 16000, 16 << 20},
		{"StreamsPerConnection", l.StreamsPerConnection, 1, 1 << 20},
		{"HeaderBytes", l.HeaderBytes, 20 << 10, 1 << 20},
		{"PendingConnections", l.PendingConnections, 1, 1 << 20},
	} {
		if f.value < f.least || f.value > f.greatest {
			errs = append(errs, fmt.Errorf("server: Limits.%s is %d, %d to %d are allowed", f.name, f.value, f.least, f.greatest))
		}
	}
	return errors.Join(errs...)
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
