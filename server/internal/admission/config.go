package admission

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// Config says whom to ask. JWKSURL or ValidateURL is needed. JWKS alone never hears of a revocation; validate alone
// leaves issuer, audience and signature to the platform's word.
type Config struct {
	// JWKSURL is where the platform publishes its public keys, ValidateURL its validate call; http or https.
	JWKSURL, ValidateURL string
	// InternalKey is sent with the validate call as x-relay-internal-key; empty: not sent.
	InternalKey string
	// Issuer and Audience are what verified tokens must carry; empty: viewport-server and viewport-relay.
	Issuer, Audience string
	// ValidateTimeout bounds a validate call as a whole, the wait for its turn included; 0: 2 s.
	ValidateTimeout time.Duration
	// ValidateConcurrency is how many validate calls run at once, re-checks included; 0: 64. 16 times as many admissions
	// may wait.
	ValidateConcurrency int
	// HTTP gives the transport to use; redirects are never followed. Nil: one of our own, without a proxy, whose
	// connections end with Run.
	HTTP *http.Client
	// Log gets what keeps the platform from being asked; nil: nothing. Tokens, keys and people never appear in it.
	Log *slog.Logger
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	if c.Issuer == "" {
		c.Issuer = "viewport-server"
	}
	if c.Audience == "" {
		c.Audience = "viewport-relay"
	}
	if c.ValidateTimeout == 0 {
		c.ValidateTimeout = 2 * time.Second
	}
	if c.ValidateConcurrency == 0 {
		c.ValidateConcurrency = 64
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Problems returns what keeps c from working, a sentence each; nothing: New accepts it. No value is quoted: each may
// hold a secret.
func (c Config) Problems() []string {
	c = c.withDefaults()
	var out []string
	if c.JWKSURL == "" && c.ValidateURL == "" {
		out = append(out, "neither JWKSURL nor ValidateURL is set, so no token could be checked")
	}
	for _, address := range []struct{ name, value string }{{"JWKSURL", c.JWKSURL}, {"ValidateURL", c.ValidateURL}} {
		if address.value != "" {
			if fault := urlFault(address.value); fault != "" {
				out = append(out, address.name+" "+fault)
			}
		}
	}
	if c.ValidateTimeout < time.Millisecond || c.ValidateTimeout > time.Minute {
		out = append(out, fmt.Sprintf("ValidateTimeout is %v, 1ms to 1m are allowed", c.ValidateTimeout))
	}
	if c.ValidateConcurrency < 1 || c.ValidateConcurrency > 4096 {
		out = append(out, fmt.Sprintf("ValidateConcurrency is %d, 1 to 4096 are allowed", c.ValidateConcurrency))
	}
	for i := range len(c.InternalKey) {
		if c.InternalKey[i] <= ' ' || c.InternalKey[i] > '~' {
			out = append(out, "InternalKey has characters that no HTTP header may have")
			break
		}
	}
	return out
}

func urlFault(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "is no URL"
	case u.Scheme != "https" && u.Scheme != "http":
		return "starts with neither https:// nor http://"
	case u.Hostname() == "":
		return "has no host"
	case u.User != nil:
		return "has a user name or password"
	case u.Fragment != "":
		return "has a fragment"
	}
	return ""
}
