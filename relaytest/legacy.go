package relaytest

import "github.com/getviewport/relay/internal/devplatform"

// ClientID names a client. Tokens of today's clients have a fresh one unless said.
func ClientID(id string) Claim { return func(c *devplatform.Claims) { c.ClientID = id } }

// UserID names the person behind a client, "dev-user" unless said for tokens of today's clients.
func UserID(id string) Claim { return func(c *devplatform.Claims) { c.UserID = id } }

// E2EEProfile is the Noise profile that a token claims, for today's daemons and clients "noise-ik" unless said.
// Other("e2eeProfile", nil) leaves it out.
func E2EEProfile(profile string) Claim {
	return func(c *devplatform.Claims) { c.E2EEProfile = profile }
}

// SessionChannels are the channels, "agent-session:" and an id, that a client of scope session-events may hear of.
func SessionChannels(channels ...string) Claim {
	return func(c *devplatform.Claims) { c.SessionChannels = channels }
}

// LegacyDaemonToken returns a fresh token for a daemon of today's protocol, with the installation and generation that
// those of Token have. It fails the test if there can't be one.
func (r *Relay) LegacyDaemonToken(workspace, target string, claims ...Claim) string {
	r.t.Helper()
	return r.legacyToken(devplatform.Claims{
		Role: devplatform.RoleDaemon, WorkspaceID: workspace, RuntimeTargetID: target,
	}, claims)
}

// LegacyClientToken is LegacyDaemonToken for a client of a scope: "runtime", "pairing" (for which target may be empty)
// or "session-events".
func (r *Relay) LegacyClientToken(scope, workspace, target string, claims ...Claim) string {
	r.t.Helper()
	return r.legacyToken(devplatform.Claims{
		Role: devplatform.RoleClient, Scope: scope, WorkspaceID: workspace, RuntimeTargetID: target,
	}, claims)
}

// LegacyWorkerToken is LegacyDaemonToken for the worker that is a managed executor. What it asks is answered by the
// platform with the request as it came.
func (r *Relay) LegacyWorkerToken(workspace, executor string, claims ...Claim) string {
	r.t.Helper()
	return r.legacyToken(devplatform.Claims{
		Role: devplatform.RoleWorker, WorkspaceID: workspace, ManagedExecutorID: executor,
	}, claims)
}

// SetDaemonKey makes the platform know the public key of a target's daemon of today's protocol, as a daemon's own call
// does: tokens for clients have it as claim daemonPublicKey from now on.
func (r *Relay) SetDaemonKey(workspace, target, key string) {
	r.platform.SetDaemonKey(workspace, target, key)
}

func (r *Relay) legacyToken(c devplatform.Claims, claims []Claim) string {
	r.t.Helper()
	for _, claim := range claims {
		claim(&c)
	}
	token, err := r.platform.MintLegacy(c)
	if err != nil {
		r.t.Fatalf("relaytest: a token for a legacy %s of %s/%s: %v", c.Role, c.WorkspaceID, c.RuntimeTargetID, err)
	}
	return token
}
