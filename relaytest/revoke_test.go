package relaytest_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/getviewport/relay/client"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/relaytest"
)

func TestARevocationOutlivesRestartInItsFolder(t *testing.T) {
	for name, test := range map[string]struct {
		options []relaytest.Option
		want    client.Reason // empty: admitted
	}{
		"with a folder": {[]relaytest.Option{relaytest.WithStateDir(t.TempDir())}, "PAIRING_REVOKED"},
		"without":       {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := deadline(t)
			relay := relaytest.Start(t, append(test.options, relaytest.WithValidateOnly())...)
			conn, err := grpc.NewClient(relay.AdminAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			asAdmin := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+relay.AdminToken)
			if _, err := relayv1.NewAdminServiceClient(conn).RevokePairing(asAdmin, &relayv1.RevokePairingRequest{
				WorkspaceId: "acme", Pairing: &relayv1.RevokePairingRequest_InstallId{InstallId: "thief"},
			}); err != nil {
				t.Fatal(err)
			}
			relay.Restart()
			dialled, err := client.Dial(ctx, relay.DialConfig(relaytest.Pair(t, "acme", "laptop"), relaytest.InstallID("thief")))
			if err == nil {
				_ = dialled.Close()
			}
			if failed, ok := err.(*client.Error); (test.want == "") != (err == nil) || ok && failed.Reason != test.want {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestAClientEndsByARecheckOnceThePlatformHasRevokedIt(t *testing.T) {
	ctx := deadline(t)
	relay := relaytest.Start(t, relaytest.WithValidateOnly(), relaytest.WithRecheck(100*time.Millisecond),
		relaytest.WithTokenGrace(time.Minute))
	ends := relaytest.Pair(t, "acme", "laptop")
	echo(ctx, t, relay, ends)
	dialled, err := client.Dial(ctx, relay.DialConfig(ends, relaytest.InstallID("thief")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dialled.Close() }()
	answer, err := http.Post(relay.PlatformURL+"/dev/revoke", "application/json", bytes.NewReader([]byte(`{"installId":"thief"}`)))
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v", answer, err)
	}
	_ = answer.Body.Close()
	http.DefaultClient.CloseIdleConnections() // its goroutines would be found
	select {
	case <-dialled.Done():
	case <-ctx.Done():
		t.Fatal("the client goes on")
	}
	if failed, ok := dialled.Err().(*client.Error); !ok || failed.Reason != "PAIRING_REVOKED" {
		t.Errorf("got %v, want PAIRING_REVOKED", dialled.Err())
	}
	if !attached(ctx, t, relay) {
		t.Error("the daemon has gone, too")
	}
}
