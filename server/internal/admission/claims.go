package admission

import (
	"cmp"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/getviewport/relay/internal/reason"
)

// skew is how far the platform's clock may be from ours.
const skew = 30 * time.Second

// claims are those that the relay acts on. All others, such as those about people, are never looked at, but for those
// of legacyClaims where today's protocol needs them.
type claims struct {
	issuer                  string
	audience                jwt.ClaimStrings
	expires, notBefore      *jwt.NumericDate // nil: absent
	issuedAt                *jwt.NumericDate
	id                      string // jti; empty: absent
	workspace, target, role string // empty: absent
	scope                   string // empty: absent
	installID               string // empty: absent
	generation              int64  // -1: absent
	requirePSK              bool
	legacy                  legacyClaims // zero unless readLegacyClaims has read them
}

// reader types the claims of a token or of an answer: readClaims or readLegacyClaims.
type reader func(object) (*claims, error)

// readClaims types the claims of o: whatever is there must be of its type and length, which are those that the
// platform promises. The error names the first claim that is not, never its value.
func readClaims(o object) (*claims, error) {
	c := &claims{generation: -1}
	var policy, profile string
	r := claimReader{object: o}
	r.text("iss", &c.issuer, 1, 255)
	r.audience("aud", &c.audience)
	r.date("exp", &c.expires)
	r.date("nbf", &c.notBefore)
	r.date("iat", &c.issuedAt)
	r.text("jti", &c.id, 1, 255)
	r.text("workspaceId", &c.workspace, 1, 128)
	r.text("runtimeTargetId", &c.target, 1, 128)
	r.text("role", &c.role, 1, 128)
	r.text("scope", &c.scope, 0, 128) // empty is the same as absent
	r.text("installId", &c.installID, 1, 128)
	r.natural("daemonIssueGeneration", &c.generation)
	r.text("policyMode", &policy, 1, 128)
	r.text("e2eeProfile", &profile, 1, 128)
	if profile != "" && profile != "noise-ik" && profile != "noise-ikpsk2" {
		r.refuse("e2eeProfile") // it may mean something stronger than all we know
	}
	c.requirePSK = policy == "crypto_pairing" || profile == "noise-ikpsk2"
	return c, r.err
}

// claimReader reads claims by type until one is malformed. Absent claims leave their field as it is.
type claimReader struct {
	object object
	err    error
}

func (r *claimReader) refuse(name string) {
	if r.err == nil {
		r.err = reason.New(reason.TokenInvalid, "the token's claim %s is malformed", name)
	}
}

func (r *claimReader) text(name string, field *string, least, most int) {
	if v, there := r.object[name]; there {
		var ok bool
		if *field, ok = textBetween(v, least, most); !ok {
			r.refuse(name)
		}
	}
}

func (r *claimReader) natural(name string, field *int64) {
	if v, there := r.object[name]; there {
		var ok bool
		if *field, ok = integer(v); !ok || *field < 0 {
			r.refuse(name)
		}
	}
}

func (r *claimReader) date(name string, field **jwt.NumericDate) {
	seconds := int64(-1)
	if r.natural(name, &seconds); seconds >= 0 {
		*field = jwt.NewNumericDate(time.Unix(seconds, 0))
	}
}

// audience reads a string or an array of strings (RFC 7519, section 4.1.3).
func (r *claimReader) audience(name string, field *jwt.ClaimStrings) {
	v, there := r.object[name]
	if !there {
		return
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, item := range list {
		s, ok := textBetween(item, 1, 255)
		if !ok {
			r.refuse(name)
			return
		}
		*field = append(*field, s)
	}
}

// allow checks whether c, of a token that is genuine, allows what r asks for. An absent target is a mismatch.
func (c *claims) allow(r Request, now time.Time) error {
	for _, required := range []struct{ name, value string }{{"workspaceId", c.workspace}, {"role", c.role}} {
		if required.value == "" {
			return reason.New(reason.TokenInvalid, "the token has no claim %s", required.name)
		}
	}
	switch {
	case c.expires != nil && !now.Before(c.expires.Add(skew)):
		return &reason.Error{Code: reason.TokenExpired}
	case c.workspace != r.Workspace:
		return &reason.Error{Code: reason.WorkspaceMismatch}
	case c.role != r.Role.claim():
		return &reason.Error{Code: reason.RoleMismatch}
	case r.Role == RoleClient && c.scope != "" && c.scope != scopeRuntime:
		return &reason.Error{Code: reason.RoleMismatch}
	case c.target != r.Target:
		return &reason.Error{Code: reason.TargetMismatch}
	}
	return nil
}

// scopeRuntime is the one scope of clients that get sessions with a daemon.
const scopeRuntime = "runtime"

// claim is the role as tokens and the validate call have it.
func (r Role) claim() string {
	switch r {
	case RoleDaemon:
		return "workspace-daemon"
	case RoleClient:
		return "client"
	case RoleWorker:
		return "worker"
	}
	return ""
}

// grant returns what c allows once allow has accepted r.
func (c *claims) grant(r Request) Grant {
	g := Grant{
		Workspace: r.Workspace, Target: r.Target, Role: r.Role, InstallID: c.installID,
		Generation: uint64(max(c.generation, 0)), RequirePSK: c.requirePSK, TokenID: c.id,
	}
	if r.Role == RoleClient {
		g.Scope = scopeRuntime
	}
	if c.expires != nil {
		g.ExpiresAt = c.expires.Time
	}
	return g
}

// merge adds what the platform answered to what the token says. Neither contradicts the request; so that neither
// contradicts the other, the target and scope that a request may leave open are compared. What only one of them says
// counts, the stricter of two counts, and else the token does, because it is signed.
func (c *claims) merge(answer *claims) error {
	switch {
	case c.target != "" && answer.target != "" && c.target != answer.target:
		return reason.New(reason.TargetMismatch, "the token and the platform name different runtime targets")
	case c.scope != "" && answer.scope != "" && c.scope != answer.scope:
		return reason.New(reason.RoleMismatch, "the token and the platform name different scopes")
	}
	c.requirePSK = c.requirePSK || answer.requirePSK
	if answer.expires != nil && (c.expires == nil || answer.expires.Before(c.expires.Time)) {
		c.expires = answer.expires
	}
	if c.generation < 0 {
		c.generation = answer.generation
	}
	c.workspace, c.target = cmp.Or(c.workspace, answer.workspace), cmp.Or(c.target, answer.target)
	c.role, c.scope = cmp.Or(c.role, answer.role), cmp.Or(c.scope, answer.scope)
	c.installID = cmp.Or(c.installID, answer.installID)
	c.legacy.merge(&answer.legacy)
	return nil
}

// The methods below let golang-jwt check the registered claims.

// UnmarshalJSON leaves c as preParse has read it: the bytes are the same, and a second reading could only differ.
func (c *claims) UnmarshalJSON([]byte) error { return nil }

// GetExpirationTime returns exp.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.expires, nil }

// GetIssuedAt returns iat.
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.issuedAt, nil }

// GetNotBefore returns nbf.
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return c.notBefore, nil }

// GetIssuer returns iss.
func (c *claims) GetIssuer() (string, error) { return c.issuer, nil }

// GetSubject returns nothing: sub is about a person.
func (c *claims) GetSubject() (string, error) { return "", nil }

// GetAudience returns aud.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.audience, nil }
