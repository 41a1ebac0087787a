package server_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/server"
)

// BenchmarkStream is a stream on a connection that is there: admitted by the platform's key and left again, or refused
// for want of a token.
func BenchmarkStream(b *testing.B) {
	s, err := server.New(server.Config{Listen: "127.0.0.1:0", JWKSURL: platform.JWKSURL()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		stop()
		<-ended
	}()
	conn, err := grpc.NewClient("passthrough:///"+s.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := relayv1.NewRelayServiceClient(conn)
	bearer, err := platform.Mint(devplatform.Claims{
		Role: devplatform.RoleClient, WorkspaceID: "bench", RuntimeTargetID: target,
	})
	if err != nil {
		b.Fatal(err)
	}
	place := []string{"viewport-workspace-id", "bench", "viewport-runtime-target-id", target}
	open := func(pairs ...string) bool {
		ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, append(place, pairs...)...))
		defer cancel()
		stream, err := client.ConnectClient(ctx)
		if err != nil {
			b.Fatal(err)
		}
		header, err := stream.Header()
		return err == nil && len(header.Get("viewport-protocol")) > 0
	}
	for !open("authorization", "Bearer "+bearer) { // until the keys are there
	}
	b.Run("admitted", func(b *testing.B) {
		for b.Loop() {
			if !open("authorization", "Bearer "+bearer) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("refused", func(b *testing.B) {
		for b.Loop() {
			if open() {
				b.Fatal("admitted")
			}
		}
	})
}
