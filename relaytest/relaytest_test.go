package relaytest_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/relaytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds a test that would hang.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// echo serves ends until the test is over: it sends back what it gets.
func echo(ctx context.Context, t *testing.T, relay *relaytest.Relay, ends *relaytest.Ends, claims ...relaytest.Claim) {
	t.Helper()
	listener, err := client.Listen(ctx, relay.ListenConfig(ends, claims...))
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			session, err := listener.Accept(ctx)
			if err != nil {
				return
			}
			for {
				message, err := session.Recv(ctx)
				if err != nil || session.Send(ctx, message) != nil {
					break
				}
			}
			session.Abort()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-served
	})
}

// call opens a session, sends a word and returns the answer.
func call(ctx context.Context, t *testing.T, cfg client.DialConfig) string {
	t.Helper()
	c, err := client.Dial(ctx, cfg)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	defer func() { _ = c.Close() }()
	session, err := c.Open(ctx)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer session.Abort()
	if err := session.Send(ctx, []byte("hello")); err != nil {
		t.Fatalf("Send: %v", err)
	}
	answer, err := session.Recv(ctx)
	if err != nil {
		t.Fatalf("Recv: %v", err)
	}
	return string(answer)
}

func TestAPairedClientReachesItsDaemonWhateverTheRelayChecks(t *testing.T) {
	for name, options := range map[string][]relaytest.Option{
		"keys and validate call": nil,
		"validate call alone":    {relaytest.WithValidateOnly()},
		"keys alone":             {relaytest.WithJWKSOnly()},
		"TLS":                    {relaytest.WithTLS()},
		"no heartbeats":          {relaytest.WithHeartbeat(0)},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := deadline(t)
			relay := relaytest.Start(t, options...)
			ends := relaytest.Pair(t, "acme", "laptop")
			echo(ctx, t, relay, ends, relaytest.CryptoPairing())
			if got := call(ctx, t, relay.DialConfig(ends, relaytest.CryptoPairing())); got != "hello" {
				t.Errorf("got %q, want %q", got, "hello")
			}
		})
	}
}

func TestADaemonFindsTheRelayAgainAfterRestart(t *testing.T) {
	ctx := deadline(t)
	relay := relaytest.Start(t)
	ends := relaytest.Pair(t, "acme", "laptop")
	echo(ctx, t, relay, ends)
	relay.Restart()
	// The daemon comes back in its own time; until then there is none.
	cfg := relay.DialConfig(ends)
	for !attached(ctx, t, relay) {
	}
	if got := call(ctx, t, cfg); got != "hello" {
		t.Errorf("got %q, want %q", got, "hello")
	}
}

// attached asks the admin listener whether a daemon is there.
func attached(ctx context.Context, t *testing.T, relay *relaytest.Relay) bool {
	t.Helper()
	list, err := targets(ctx, t, relay, relay.AdminToken)
	if err != nil {
		t.Fatalf("ListTargets: %v", err)
	}
	return len(list.GetTargets()) == 1 && list.GetTargets()[0].GetDaemonAttached()
}

func targets(
	ctx context.Context, t *testing.T, relay *relaytest.Relay, token string,
) (*relayv1.ListTargetsResponse, error) {
	t.Helper()
	conn, err := grpc.NewClient(relay.AdminAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	return relayv1.NewAdminServiceClient(conn).ListTargets(ctx, &relayv1.ListTargetsRequest{})
}

func TestTheAdminListenerWantsItsToken(t *testing.T) {
	ctx := deadline(t)
	relay := relaytest.Start(t)
	if _, err := targets(ctx, t, relay, relay.AdminToken); err != nil {
		t.Errorf("with AdminToken: got %v, want no error", err)
	}
	if _, err := targets(ctx, t, relay, relay.AdminToken+"x"); status.Code(err) != codes.Unauthenticated {
		t.Errorf("with another token: got %v, want %v", err, codes.Unauthenticated)
	}
}

func TestClaimsDecideWhatTheRelayAdmits(t *testing.T) {
	relay := relaytest.Start(t)
	ends := relaytest.Pair(t, "acme", "laptop")
	for name, c := range map[string]struct {
		claim relaytest.Claim
		want  client.Reason
	}{
		"expired":         {relaytest.TTL(-time.Hour), client.TokenExpired},
		"foreign issuer":  {relaytest.Other("iss", "somebody"), client.TokenInvalid},
		"other workspace": {relaytest.Other("workspaceId", "zenith"), "WORKSPACE_MISMATCH"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := deadline(t)
			dialled, err := client.Dial(ctx, relay.DialConfig(ends, c.claim))
			if err == nil {
				_ = dialled.Close()
			}
			if failed, ok := err.(*client.Error); !ok || failed.Reason != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestAStoppedRelayAnswersNobodyAndItsPlatformGoesOn(t *testing.T) {
	relay := relaytest.Start(t)
	relay.Stop()
	relay.Stop()
	get := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if r, err := get.Get(relay.URL + "/health"); err == nil {
		_ = r.Body.Close()
		t.Errorf("the relay: got %s, want an error", r.Status)
	}
	r, err := get.Get(relay.JWKSURL)
	if err != nil {
		t.Fatalf("the platform: %v", err)
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil || !strings.Contains(string(body), `"kid"`) {
		t.Errorf("the platform: got %s %q, %v; want a key set", r.Status, body, err)
	}
}

func TestEndsHavePinnedEachOther(t *testing.T) {
	ends := relaytest.Pair(t, "acme", "laptop")
	daemonPeers, err := ends.DaemonStore.Peers(identity.Daemon, "acme")
	if err != nil {
		t.Fatal(err)
	}
	got, found, err := daemonPeers.ByKey("laptop", ends.Client.Public)
	if err != nil || !found {
		t.Fatalf("the daemon's pin of the client: got %v, %v, want one", found, err)
	}
	if got.Profile != identity.NoiseIKpsk2 || !got.PSK.Equal(ends.PinnedDaemon.PSK) {
		t.Errorf("the pins differ: the daemon has %v, the client %v", got, ends.PinnedDaemon)
	}
	if ends.PinnedDaemon.Key != ends.Daemon.Public {
		t.Errorf("the client's pin: got %v, want %v", ends.PinnedDaemon.Key, ends.Daemon.Public)
	}
}
