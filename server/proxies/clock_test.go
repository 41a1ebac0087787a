//go:build unix

package proxies_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
)

// clock waits for n intervals of the relay's heartbeat: a link of its own, without a terminator, counts them.
func clock(t *testing.T, r *relay, n int) {
	t.Helper()
	token, err := platform.Mint(devplatform.Claims{
		Role: devplatform.RoleClient, WorkspaceID: "clock", RuntimeTargetID: target,
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///"+r.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := metadata.AppendToOutgoingContext(patient(t), "authorization", "Bearer "+token,
		"viewport-workspace-id", "clock", "viewport-runtime-target-id", target)
	link, err := relayv1.NewRelayServiceClient(conn).ConnectClient(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range n + 1 { // the first comes at once
		batch, err := link.Recv()
		if err != nil {
			t.Fatalf("the clock: %v", err)
		}
		// An answer to each, or the relay takes the clock for dead.
		err = link.Send(&relayv1.EnvelopeBatch{Envelopes: []*relayv1.Envelope{{
			WorkspaceId: "clock", RuntimeTargetId: target, Type: relayv1.FrameType_FRAME_TYPE_HEARTBEAT,
		}}})
		if err != nil || len(batch.GetEnvelopes()) != 1 {
			t.Fatalf("the clock: got %v, %v, want one heartbeat", batch, err)
		}
	}
}
