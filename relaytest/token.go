package relaytest

import (
	"time"

	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/devplatform"
)

// Claim changes a token.
type Claim func(*devplatform.Claims)

// InstallID tells one daemon's installation from another. Tokens of daemons have "install-1" unless said.
func InstallID(id string) Claim { return func(c *devplatform.Claims) { c.InstallID = id } }

// Generation is the daemon's issue generation, 1 unless said: a higher one takes over, a lower one is refused.
func Generation(n uint64) Claim { return func(c *devplatform.Claims) { c.DaemonIssueGeneration = n } }

// CryptoPairing sets policyMode, so that the relay refuses a handshake without a pre-shared key.
func CryptoPairing() Claim { return func(c *devplatform.Claims) { c.PolicyMode = "crypto_pairing" } }

// TTL is the time to live, 10 minutes unless said. Below 0 the token has expired.
func TTL(d time.Duration) Claim { return func(c *devplatform.Claims) { c.TTL = d } }

// Other sets any claim by its name, over what is set or filled in; nil leaves the claim out.
func Other(name string, value any) Claim {
	return func(c *devplatform.Claims) {
		if c.Extra == nil {
			c.Extra = map[string]any{}
		}
		c.Extra[name] = value
	}
}

// Token returns a fresh token of the platform. It fails the test if there can't be one.
func (r *Relay) Token(role identity.Role, workspace, target string, claims ...Claim) string {
	r.t.Helper()
	c := devplatform.Claims{Role: devplatform.RoleClient, WorkspaceID: workspace, RuntimeTargetID: target}
	if role == identity.Daemon {
		c.Role, c.InstallID, c.DaemonIssueGeneration = devplatform.RoleDaemon, "install-1", 1
	}
	for _, claim := range claims {
		claim(&c)
	}
	token, err := r.platform.Mint(c)
	if err != nil {
		r.t.Fatalf("relaytest: a token for the %s of %s/%s: %v", role, workspace, target, err)
	}
	return token
}
