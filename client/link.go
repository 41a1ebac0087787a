package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
// it; end ends both. What becomes of the sessions is the keeper's business.
type link struct {
	// Static after install.
	cfg      *Config
	keeper   *keeper
	expires  time.Time // of the token; zero: unknown
	since    time.Time // when it was installed
	conn     *grpc.ClientConn
	stream   grpc.ClientStream
	cancel   context.CancelFunc
	relay    announced
	wake     chan struct{}      // has an element when there may be something to send
	leave    chan time.Duration // the relay asked to leave after so long; one element
	done     chan struct{}      // closed when the link has ended; err is set before
	finished sync.WaitGroup     // reader and writer

	// leaving is set once the keeper has seen leave, and pace is what it waits on top; both are the keeper's own.
	leaving bool
	pace    time.Duration

	// lastRecv is when the last message came, Unix nanoseconds.
	lastRecv atomic.Int64

	// mu guards what follows. It is taken after a session's and the keeper's mutex, never before them.
	mu       sync.Mutex
	ready    []*Session // want to send, each once, served in turn
	replies  [][]byte   // see maxReplies
	watchdog *time.Timer
	closing  bool   // send what is due and then end
	err      *Error // why the link ended; nil while it has not
}

// connect opens a link and returns when the relay has admitted it. Nothing is read or written before start.
func connect(ctx context.Context, cfg *Config, method string, attempt int) (*link, error) {
	ctx, stop := context.WithTimeout(ctx, dialTimeout)
	defer stop()
	token, err := cfg.token(ctx)
	if err != nil {
		return nil, err
	}
	return connectWith(ctx, cfg, method, token, attempt)
}

// connectWith is connect with a token at hand. ctx bounds it.
func connectWith(ctx context.Context, cfg *Config, method string, token bearer, attempt int) (*link, error) {
	address, creds, err := cfg.endpoint()
	if err != nil {
		return nil, err
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
		cfg: cfg, conn: conn, cancel: cancel, expires: token.expires,
		wake: make(chan struct{}, 1), leave: make(chan time.Duration, 1), done: make(chan struct{}),
	}
	err = l.admit(streamCtx, method, token.token, attempt)
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
	return l, nil
}

// start lets frames flow.
func (l *link) start() {
	l.lastRecv.Store(time.Now().UnixNano())
	l.finished.Add(2)
	go l.read()
	go l.write()
	if l.relay.heartbeat > 0 {
		l.mu.Lock()
		l.watchdog = time.AfterFunc(l.relay.heartbeat, l.watch)
		l.mu.Unlock()
	}
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
