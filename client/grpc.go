package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/rpcerr"
)

// grpcTransport is one gRPC stream on a connection of its own.
type grpcTransport struct {
	conn   *grpc.ClientConn
	stream grpc.ClientStream
	stop   context.CancelFunc
}

// dialGRPC opens a stream and returns when the relay has admitted it. ctx bounds that. seen tells afterwards how far
// the connection came.
func dialGRPC(ctx context.Context, cfg *Config, a attempt, seen *contact) (*grpcTransport, announced, error) {
	creds := insecure.NewCredentials()
	if a.to.secure {
		creds = credentials.NewTLS(cfg.tlsConfig())
	}
	conn, err := grpc.NewClient("passthrough:///"+a.to.host, grpc.WithTransportCredentials(watched{creds, seen}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(envelope.Codec{}), grpc.MaxCallRecvMsgSize(messageBytes),
			grpc.MaxCallSendMsgSize(messageBytes)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry())
	if err != nil {
		return nil, announced{}, fmt.Errorf("client: Config.Relay: %w", err)
	}
	// The stream outlives this call, so its context is its own; until admission this call's end cancels it.
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, cancel)
	t := &grpcTransport{conn: conn, stop: cancel}
	relay, err := t.admit(streamCtx, cfg, a)
	if err == nil && !release() {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		_ = conn.Close()
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = ctx.Err()
		}
		return nil, announced{}, grpcError(err)
	}
	return t, relay, nil
}

// admit opens the stream and reads the relay's response headers.
func (t *grpcTransport) admit(ctx context.Context, cfg *Config, a attempt) (announced, error) {
	md := metadata.Pairs("authorization", "Bearer "+a.token.token, "viewport-workspace-id", cfg.Workspace,
		"viewport-runtime-target-id", cfg.Target, "viewport-connect-attempt", strconv.Itoa(a.number))
	if cfg.Version != "" {
		md.Set("viewport-version", cfg.Version)
	}
	desc := &grpc.StreamDesc{StreamName: a.method, ClientStreams: true, ServerStreams: true}
	full := "/" + relayv1.RelayService_ServiceDesc.ServiceName + "/" + a.method
	stream, err := t.conn.NewStream(metadata.NewOutgoingContext(ctx, md), desc, full)
	if err != nil {
		return announced{}, err
	}
	header, err := stream.Header()
	if err != nil {
		return announced{}, err
	}
	t.stream = stream
	if len(header.Get("viewport-protocol")) == 0 {
		// A refusal comes without headers of ours: the status is next.
		var b envelope.Batch
		if err := stream.RecvMsg(&b); err != nil {
			return announced{}, err
		}
		b.Free()
		return announced{}, errNoRelay("it sends no viewport-protocol header")
	}
	return announcedBy(header)
}

func announcedBy(header metadata.MD) (announced, error) {
	return parseAnnounced(func(name string) (string, bool) {
		values := header.Get(name)
		if len(values) != 1 {
			return "", false
		}
		return values[0], true
	})
}

func (t *grpcTransport) send(o *envelope.Outgoing) error {
	if err := t.stream.SendMsg(o); err != nil {
		return grpcError(err)
	}
	return nil
}

func (t *grpcTransport) receive(b *envelope.Batch) error {
	if err := t.stream.RecvMsg(b); err != nil {
		return grpcError(err)
	}
	return nil
}

func (t *grpcTransport) closeSend() { _ = t.stream.CloseSend() }
func (t *grpcTransport) cancel()    { t.stop() }
func (t *grpcTransport) close()     { _ = t.conn.Close() }

// grpcError turns what gRPC returned into an *Error.
func grpcError(err error) *Error {
	switch e, ok := errors.AsType[*Error](err); {
	case ok:
		return e
	case errors.Is(err, io.EOF):
		return &Error{Reason: LinkLost, By: "link", Text: "the stream to the relay ended"}
	}
	if r := rpcerr.From(err); r != nil {
		return &Error{Reason: Reason(r.Code), Text: r.Message(), By: "relay", RetryAfter: r.RetryAfter, cause: err}
	}
	return &Error{Reason: LinkLost, By: "link", Text: "no connection to the relay: " + plain(err), cause: err}
}

// plain is what gRPC says of a connection that failed, without what it puts around it.
func plain(err error) string {
	text := status.Convert(err).Message()
	if inner, wrapped := strings.CutPrefix(text, `connection error: desc = "transport: `); wrapped {
		text = strings.TrimSuffix(inner, `"`)
	}
	return strings.TrimPrefix(text, "Error while dialing: ")
}

// watched notes how far a connection comes.
type watched struct {
	credentials.TransportCredentials
	seen *contact
}

// ClientHandshake is called when the connection is made, a proxy of the environment included.
func (w watched) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (
	net.Conn, credentials.AuthInfo, error,
) {
	w.seen.made.Store(true)
	conn, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil && isUntrusted(err) {
		w.seen.untrusted.Store(true)
	}
	return conn, info, err
}

// Clone returns a copy that notes in the same place.
func (w watched) Clone() credentials.TransportCredentials {
	return watched{w.TransportCredentials.Clone(), w.seen}
}
