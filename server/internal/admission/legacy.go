package admission

import (
	"context"
	"time"

	"github.com/getviewport/relay/internal/hidden"
	"github.com/getviewport/relay/internal/legacywire"
	"github.com/getviewport/relay/internal/reason"
)

// LegacyGrant is what an admitted token of a peer of today's protocol allows.
type LegacyGrant struct {
	// Grant has the target that the token names, even if the request named none; it is empty where nobody named one,
	// which only pairing clients and workers may do. Scope is "runtime", "pairing" or "session-events" for clients, and
	// empty for others.
	Grant
	// ClientID and MachineID are as claimed, empty if they are not.
	ClientID, MachineID string
	// Profile is the claim e2eeProfile: what a client's frames must name, and the weakest that a daemon's may.
	Profile legacywire.Profile
	// Channels are the session channels that a client may hear of, as claimed: at most 64, empty for other roles.
	Channels []string
	// ExecutorID is the managed executor that a worker is; empty for other roles, and if the token names none.
	ExecutorID string
	// User is the person behind a client; nobody for other roles. It is here, although a Grant holds nothing about
	// people, because today's viewers tell each other who they are in clear text, and nothing else keeps one from
	// claiming to be another. Whoever keeps it does so no longer than the link lives.
	User User
}

// User is a person's id. However it is formatted, logged or marshalled, nothing of it shows. The zero User is nobody.
type User struct {
	hidden.Mark
	reveal func() string // nil: nobody
}

func newUser(id string) User {
	if id == "" {
		return User{}
	}
	return User{reveal: func() string { return id }}
}

// Known reports whether u is anybody.
func (u User) Known() bool { return u.reveal != nil }

// Is reports whether u is the person that id names. Nobody is not anybody.
func (u User) Is(id []byte) bool { return u.Known() && u.reveal() == string(id) }

// Append appends the id of u to dst, nothing if u is nobody. It is for frames to those who know the person already.
func (u User) Append(dst []byte) []byte {
	if !u.Known() {
		return dst
	}
	return append(dst, u.reveal()...)
}

// AdmitLegacy is Admit for a peer of today's protocol: a daemon, a client of any scope, or a worker. It differs in what
// the claims must say, because the relays that these peers come from were less strict and asked the platform alone:
//
//   - r.Target may be empty, and then the target is the claimed one. A target that is asked for must be claimed.
//   - A client must claim one of the three scopes.
//   - A token without a role is admitted if the platform was told the role and said yes.
//   - If both keys and platform are asked, it is enough that one of them has a claim. They must not differ about
//     workspace, target, role and scope.
//   - White space around workspaceId and runtimeTargetId does not count.
//
// Errors and waits are those of Admit; their HTTP status is the answer to the upgrade.
func (a *Admitter) AdmitLegacy(ctx context.Context, r Request) (LegacyGrant, error) {
	if r.Role.claim() == "" {
		return LegacyGrant{}, &reason.Error{Code: reason.Internal}
	}
	if err := r.check(false); err != nil {
		return LegacyGrant{}, err
	}
	c, err := a.claims(ctx, r, readLegacyClaims, func(c *claims) error { return c.contradict(r, time.Now()) })
	if err == nil {
		err = c.allowLegacy(r, a.platform != nil)
	}
	if err != nil {
		return LegacyGrant{}, err
	}
	return c.legacyGrant(r), nil
}

// contradict returns what in c is against r. What c does not say is not.
func (c *claims) contradict(r Request, now time.Time) error {
	switch {
	case c.expires != nil && !now.Before(c.expires.Add(skew)):
		return &reason.Error{Code: reason.TokenExpired}
	case c.workspace != "" && c.workspace != r.Workspace:
		return &reason.Error{Code: reason.WorkspaceMismatch}
	case c.role != "" && c.role != r.Role.claim():
		return &reason.Error{Code: reason.RoleMismatch}
	case c.target != "" && r.Target != "" && c.target != r.Target:
		return &reason.Error{Code: reason.TargetMismatch}
	}
	return nil
}

// allowLegacy checks whether c, which does not contradict r, says enough for it. Vouched: the platform knows the role
// and said yes.
func (c *claims) allowLegacy(r Request, vouched bool) error {
	needsTarget := r.Role == RoleDaemon || r.Role == RoleClient && c.scope != scopePairing
	switch {
	case c.workspace == "":
		return reason.New(reason.TokenInvalid, "the token has no claim workspaceId")
	case c.role == "" && !vouched:
		return reason.New(reason.TokenInvalid, "the token has no claim role")
	case r.Role == RoleClient && c.scope == "":
		return reason.New(reason.RoleMismatch, "the token of a client has no claim scope")
	case c.target == "" && r.Target != "":
		return reason.New(reason.TargetMismatch, "the token names no runtime target, and one is asked for")
	case c.target == "" && needsTarget:
		return reason.New(reason.TargetMismatch,
			"the token names no runtime target; only pairing clients and workers can do without")
	case c.target != "" && !validID(c.target):
		return reason.New(reason.TargetMismatch, "the token's runtime target is not 1 to 128 of A-Z a-z 0-9 . _ : -")
	}
	return nil
}

// scopePairing is the scope of clients that pair with a daemon.
const scopePairing = "pairing"

// legacyGrant returns what c allows once allowLegacy has accepted r.
func (c *claims) legacyGrant(r Request) LegacyGrant {
	g := LegacyGrant{
		Grant: c.grant(r), ClientID: c.legacy.client, MachineID: c.legacy.machine, Profile: c.legacy.profile,
	}
	g.Target, g.Scope = c.target, ""
	switch r.Role {
	case RoleClient:
		g.Scope, g.Channels, g.User = c.scope, c.legacy.channels, newUser(c.legacy.user)
	case RoleWorker:
		g.ExecutorID = c.legacy.executor
	}
	return g
}
