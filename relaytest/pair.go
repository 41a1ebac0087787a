package relaytest

import (
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
)

// Ends are a daemon and a client that have pinned each other for one target, as after pairing with Noise IKpsk2. Each
// has a home directory of its own that ends with the test.
type Ends struct {
	// Workspace and Target are what they are paired for.
	Workspace, Target string
	// DaemonStore and ClientStore are their homes.
	DaemonStore, ClientStore *identity.Store
	// Daemon and Client are their static keys.
	Daemon, Client identity.Identity
	// PinnedDaemon is what the client has pinned: client.DialConfig.Daemon.
	PinnedDaemon identity.Peer
}

// Pair makes a daemon and a client that are paired, without a network: the daemon's store makes a pairing string, the
// client reads it, and both pin each other. It fails the test if it can't.
func Pair(t testing.TB, workspace, target string) *Ends {
	t.Helper()
	e := &Ends{Workspace: workspace, Target: target}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("relaytest: pairing a client with %s/%s: %v", workspace, target, err)
		}
	}
	open := func(role identity.Role) (*identity.Store, identity.Identity) {
		t.Helper()
		store, err := identity.Open(t.TempDir())
		must(err)
		id, err := store.LoadOrCreate(role, workspace)
		must(err)
		return store, id
	}
	e.DaemonStore, e.Daemon = open(identity.Daemon)
	e.ClientStore, e.Client = open(identity.Client)

	pairings, err := e.DaemonStore.Pairings(workspace)
	must(err)
	pairing, err := pairings.Create(target, identity.NoiseIKpsk2, "relaytest", time.Now())
	must(err)
	_, err = pairings.Redeem(target, pairing.ID(), e.Client.Public, time.Now())
	must(err)

	e.PinnedDaemon = pairing.Peer()
	e.PinnedDaemon.PairedAt = time.Now().UTC().Truncate(time.Second)
	peers, err := e.ClientStore.Peers(identity.Client, workspace)
	must(err)
	must(peers.Add(e.PinnedDaemon))
	return e
}

// ListenConfig is what client.Listen needs to serve ends through the relay, with one token of these claims.
func (r *Relay) ListenConfig(e *Ends, claims ...Claim) client.ListenConfig {
	r.t.Helper()
	authorise, err := client.Paired(e.DaemonStore, e.Workspace, e.Target)
	if err != nil {
		r.t.Fatalf("relaytest: the daemon's peers: %v", err)
	}
	return client.ListenConfig{
		Config:    r.endpoint(identity.Daemon, e, claims),
		Identity:  e.Daemon,
		Authorise: authorise,
	}
}

// DialConfig is what client.Dial needs to reach the daemon of ends through the relay, with one token of these
// claims.
func (r *Relay) DialConfig(e *Ends, claims ...Claim) client.DialConfig {
	r.t.Helper()
	return client.DialConfig{
		Config:   r.endpoint(identity.Client, e, claims),
		Identity: e.Client,
		Daemon:   e.PinnedDaemon,
	}
}

func (r *Relay) endpoint(role identity.Role, e *Ends, claims []Claim) client.Config {
	r.t.Helper()
	return client.Config{
		Relay: r.URL, TLS: r.TLS, Workspace: e.Workspace, Target: e.Target, Version: "relaytest",
		Token: client.StaticToken(r.Token(role, e.Workspace, e.Target, claims...)),
	}
}
