// Package admission decides whether a bearer token may open a link, and turns it into a Grant.
//
// It checks tokens by the platform's public keys (JWKS), by the platform's validate call, or by both in this order,
// and fails closed: when the platform can't be asked the answer is PLATFORM_UNAVAILABLE, never a Grant and never "bad
// token". What it keeps of a token is in Grant: nothing about people, and no byte of the token itself. For peers of
// today's protocol it is in LegacyGrant, which has one value about a person and says why.
//
// It knows no transport, counts no links and ends none: who admits, limits and re-checks links does that elsewhere, and
// keeps what a re-check needs.
package admission

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// Role is what a link wants to be.
type Role uint8

// Roles of a link.
const (
	// RoleDaemon serves a runtime target.
	RoleDaemon Role = iota + 1
	// RoleClient talks to the daemon of a runtime target.
	RoleClient
	// RoleWorker asks the platform through the relay. Only AdmitLegacy knows it.
	RoleWorker
)

// Request is a token with what it shall open. Admit needs all four; AdmitLegacy can do without Target.
type Request struct {
	// Token is the bearer token as it came, without the scheme. Nothing of it is kept.
	Token string
	// Role, Workspace and Target are what the link asks for.
	Role              Role
	Workspace, Target string
}

// Grant is what an admitted token allows. It holds nothing about people.
type Grant struct {
	// Workspace, Target and Role are those of the request; the token is for exactly these.
	Workspace, Target string
	Role              Role
	// Scope is "runtime" for clients and empty for daemons. In a LegacyGrant a client may have another.
	Scope string
	// InstallID is the installation of a daemon; empty if the token names none.
	InstallID string
	// Generation is the daemon's issue generation; 0 if the token has none.
	Generation uint64
	// RequirePSK: the platform requires Noise IKpsk2.
	RequirePSK bool
	// TokenID is the claim jti, the only name that a token has here; empty if the platform told none.
	TokenID string
	// ExpiresAt is when the token ends, without the skew; zero: unknown.
	ExpiresAt time.Time
}

// Admitter admits tokens. It is safe for concurrent use.
type Admitter struct {
	client   *http.Client
	own      bool       // client's transport is ours
	keys     *keyring   // nil without JWKSURL
	verifier *verifier  // nil without JWKSURL
	platform *validator // nil without ValidateURL
}

// New returns an Admitter, or what is wrong with cfg. It connects to nothing: Run does, and Admit.
func New(cfg Config) (*Admitter, error) {
	cfg = cfg.withDefaults()
	if problems := cfg.Problems(); len(problems) > 0 {
		return nil, errors.New("admission: " + strings.Join(problems, "; "))
	}
	a := &Admitter{}
	a.client, a.own = NewClient(cfg.HTTP, cfg.ValidateConcurrency)
	if cfg.JWKSURL != "" {
		a.keys = newKeyring(cfg.JWKSURL, a.client, cfg.Log)
		a.verifier = newVerifier(a.keys, cfg.Issuer, cfg.Audience)
	}
	if cfg.ValidateURL != "" {
		a.platform = &validator{
			url: cfg.ValidateURL, internalKey: cfg.InternalKey, client: a.client, log: cfg.Log,
			timeout: cfg.ValidateTimeout, slots: make(chan struct{}, cfg.ValidateConcurrency),
		}
	}
	return a, nil
}

// Run fetches the platform's keys and keeps them fresh until ctx ends; then it returns nil and nothing of it is left.
// Without it no token is admitted by key. Call it once.
func (a *Admitter) Run(ctx context.Context) error {
	if a.keys != nil {
		a.keys.run(ctx)
	} else {
		<-ctx.Done()
	}
	if a.own {
		a.client.CloseIdleConnections()
	}
	return nil
}

// Admit returns what a token allows. The error is always a *reason.Error; if ctx ends first it is
// PLATFORM_UNAVAILABLE. It never waits for keys, and at most ValidateTimeout for the platform.
func (a *Admitter) Admit(ctx context.Context, r Request) (Grant, error) {
	if r.Role != RoleDaemon && r.Role != RoleClient {
		return Grant{}, &reason.Error{Code: reason.Internal}
	}
	if err := r.check(true); err != nil {
		return Grant{}, err
	}
	c, err := a.claims(ctx, r, readClaims, func(c *claims) error { return c.allow(r, time.Now()) })
	if err != nil {
		return Grant{}, err
	}
	return c.grant(r), nil
}

// check returns what is wrong with the form of r.
func (r Request) check(needTarget bool) error {
	switch {
	case r.Token == "":
		return &reason.Error{Code: reason.TokenMissing}
	case !validID(r.Workspace):
		return reason.New(reason.WorkspaceMismatch, "a link names one workspace, 1 to 128 of A-Z a-z 0-9 . _ : -")
	case !validID(r.Target) && (needTarget || r.Target != ""):
		return reason.New(reason.TargetMismatch, "a link names one runtime target, 1 to 128 of A-Z a-z 0-9 . _ : -")
	case !opaque(r.Token):
		return reason.New(reason.TokenInvalid, "the token is too long, or has characters that no token has")
	}
	return nil
}

// claims returns what keys and platform, whichever there are, say of r's token, as read types it. Each of them must
// pass allow by itself.
func (a *Admitter) claims(ctx context.Context, r Request, read reader, allow func(*claims) error) (*claims, error) {
	// The cheap check stands before the one that costs the platform something.
	var verified *claims
	if a.verifier != nil {
		c, err := a.verifier.verify(r.Token, read)
		if err == nil {
			err = allow(c)
		}
		if err != nil {
			return nil, err
		}
		verified = c
	}
	if a.platform == nil {
		return verified, nil
	}
	answered, err := a.platform.ask(ctx, r, read)
	if err == nil {
		err = allow(answered)
	}
	if err != nil {
		return nil, err
	}
	if verified == nil {
		return answered, nil
	}
	return verified, verified.merge(answered)
}

// validID reports whether s has the form of a workspace or runtime target id (docs/protocol.md, Envelope).
func validID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if !letterOrDigit(s[i]) && strings.IndexByte("._:-", s[i]) < 0 {
			return false
		}
	}
	return true
}
