package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/rpcerr"
)

const (
	// batchBytes is the most one message carries: with gRPC's 5-byte prefix one HTTP/2 DATA frame of 16,384 bytes.
	batchBytes = 16384 - 5
	// messageBytes is gRPC's limit on a message, both ways (docs/protocol.md, Service).
	messageBytes = 4 << 20
	// maxReplies bounds the answers that belong to no session (RESET, HEARTBEAT) and wait to be sent; more are dropped,
	// their askers ask again.
	maxReplies = 256
	// closeLinger is how long a link that is closed here may take to get rid of what is due.
	closeLinger = 2 * time.Second
	// dialTimeout bounds connecting and admission together.
	dialTimeout = 20 * time.Second
)

// announced is what the relay says in its response headers; both ends obey it.
type announced struct {
	relayID             string
	window, maxEnvelope int
	maxMessage          int
	heartbeat           time.Duration // 0: off
}

// link is one gRPC stream to the relay, for all sessions of a Client or Listener. One goroutine reads it and one writes
// it; close ends both and all its sessions.
type link struct {
	// Static.
	cfg      *Config
	conn     *grpc.ClientConn
	stream   grpc.ClientStream
	cancel   context.CancelFunc
	relay    announced
	orphan   func(*envelope.Header, []byte) // a frame of a session that is not here; must not block; nil: dropped
	wake     chan struct{}                  // has an element when there may be something to send
	done     chan struct{}                  // closed when the link has ended; err is set before
	finished sync.WaitGroup                 // reader and writer

	// mu guards what follows. It is taken after a session's mutex, never before it.
	mu       sync.Mutex
	sessions map[string]*Session
	ready    []*Session // want to send, each once, served in turn
	replies  [][]byte   // see maxReplies
	lastRecv time.Time
	closing  bool   // send what is due and then end
	err      *Error // why the link ended; nil while it has not
}

// connect opens a link and returns when the relay has admitted it.
func connect(ctx context.Context, cfg *Config, method string, attempt int, orphan func(*link, *envelope.Header, []byte)) (*link, error) {
	address, creds, err := cfg.endpoint()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, dialTimeout)
	defer stop()
	token, err := cfg.Token(ctx)
	if err != nil {
		return nil, &Error{Reason: Reason(reason.TokenMissing), By: "local", Text: "there is no token: " + err.Error(), cause: err}
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(envelope.Codec{}), grpc.MaxCallRecvMsgSize(messageBytes),
			grpc.MaxCallSendMsgSize(messageBytes)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry())
	if err != nil {
		return nil, fmt.Errorf("client: Config.Relay: %w", err)
	}
	// The stream outlives this call, so its context is the link's own; until admission this call's end cancels it.
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, cancel)
	l := &link{
		cfg: cfg, conn: conn, cancel: cancel, wake: make(chan struct{}, 1), done: make(chan struct{}),
		sessions: make(map[string]*Session), lastRecv: time.Now(),
	}
	if orphan != nil {
		l.orphan = func(h *envelope.Header, ciphertext []byte) { orphan(l, h, ciphertext) }
	}
	err = l.admit(streamCtx, method, token, attempt)
	if err == nil && !release() {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		_ = conn.Close()
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = ctx.Err()
		}
		return nil, linkError(err)
	}
	l.finished.Add(2)
	go l.read()
	go l.write()
	return l, nil
}

// admit opens the stream and reads the relay's response headers.
func (l *link) admit(ctx context.Context, method, token string, attempt int) error {
	md := metadata.Pairs("authorization", "Bearer "+token, "viewport-workspace-id", l.cfg.Workspace,
		"viewport-runtime-target-id", l.cfg.Target, "viewport-connect-attempt", strconv.Itoa(attempt))
	if l.cfg.Version != "" {
		md.Set("viewport-version", l.cfg.Version)
	}
	desc := &grpc.StreamDesc{StreamName: method, ClientStreams: true, ServerStreams: true}
	full := "/" + relayv1.RelayService_ServiceDesc.ServiceName + "/" + method
	stream, err := l.conn.NewStream(metadata.NewOutgoingContext(ctx, md), desc, full)
	if err != nil {
		return err
	}
	header, err := stream.Header()
	if err != nil {
		return err
	}
	l.stream = stream
	if len(header.Get("viewport-protocol")) == 0 {
		// A refusal comes without headers of ours: the status is next.
		var b envelope.Batch
		if err := stream.RecvMsg(&b); err != nil {
			return err
		}
		b.Free()
		return &Error{Reason: Reason(reason.Internal), By: "link",
			Text: "what answers at this address is no viewport relay: it sends no viewport-protocol header"}
	}
	l.relay, err = parseAnnounced(header)
	return err
}

func parseAnnounced(md metadata.MD) (announced, error) {
	var a announced
	number := func(name string, low, high int) (int, error) {
		values := md.Get(name)
		if len(values) != 1 {
			return 0, &Error{Reason: Reason(reason.Internal), By: "relay", Text: "response header " + name + " is missing or doubled"}
		}
		n, err := strconv.Atoi(values[0])
		if err != nil || n < low || n > high {
			return 0, &Error{Reason: Reason(reason.Internal), By: "relay",
				Text: fmt.Sprintf("response header %s: %q is not a number from %d to %d", name, values[0], low, high)}
		}
		return n, nil
	}
	var heartbeat int
	for _, f := range []struct {
		name      string
		low, high int
		to        *int
	}{
		{"viewport-protocol", 1, 1, new(int)},
		{"viewport-session-window", 128 << 10, 16 << 20, &a.window},
		{"viewport-max-envelope", 64 << 10, messageBytes, &a.maxEnvelope},
		{"viewport-max-message", 16000, 16 << 20, &a.maxMessage},
		{"viewport-heartbeat", 0, 3600_000, &heartbeat},
	} {
		n, err := number(f.name, f.low, f.high)
		if err != nil {
			return a, err
		}
		*f.to = n
	}
	a.heartbeat = time.Duration(heartbeat) * time.Millisecond
	if id := md.Get("viewport-relay-id"); len(id) == 1 {
		a.relayID = id[0]
	}
	return a, nil
}

// linkError turns what gRPC or this package returned into an *Error.
func linkError(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
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
