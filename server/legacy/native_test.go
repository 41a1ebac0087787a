package legacy_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
)

// This file is a peer of the native protocol over gRPC, written by hand, that may send legacy frames in envelopes.

const (
	typeInit      = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT
	typeResponse  = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE
	typeData      = relayv1.FrameType_FRAME_TYPE_DATA
	typeUpdate    = relayv1.FrameType_FRAME_TYPE_KEY_UPDATE
	typeAsk       = relayv1.FrameType_FRAME_TYPE_PAIRING_REQUEST
	typeAnswer    = relayv1.FrameType_FRAME_TYPE_PAIRING_RESPONSE
	typeStatus    = relayv1.FrameType_FRAME_TYPE_STATUS
	typeHeartbeat = relayv1.FrameType_FRAME_TYPE_HEARTBEAT
)

// native is an open stream.
type native struct {
	t       *testing.T
	of      devplatform.Claims
	stream  grpc.BidiStreamingClient[relayv1.EnvelopeBatch, relayv1.EnvelopeBatch]
	leave   context.CancelFunc
	pending []*relayv1.Envelope
}

// native opens a stream of these claims.
func (r *relay) native(role relayv1.Role, c devplatform.Claims) *native {
	r.t.Helper()
	token, err := platform.Mint(c)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(r.ctx, metadata.Pairs("authorization", "Bearer "+token,
		"viewport-workspace-id", c.WorkspaceID, "viewport-runtime-target-id", c.RuntimeTargetID)))
	r.t.Cleanup(cancel)
	connect := relayv1.NewRelayServiceClient(r.dialGRPC(r.addr)).ConnectClient
	if role == relayv1.Role_ROLE_DAEMON {
		connect = relayv1.NewRelayServiceClient(r.dialGRPC(r.addr)).ConnectDaemon
	}
	stream, err := connect(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		r.t.Fatal(err)
	}
	return &native{t: r.t, of: c, stream: stream, leave: cancel}
}

// legacyOf puts a legacy frame's text into an envelope.
func legacyOf(typ relayv1.FrameType, session, text string) *relayv1.Envelope {
	return &relayv1.Envelope{
		Type: typ, SessionId: session, Encoding: relayv1.Encoding_ENCODING_LEGACY_JSON, Ciphertext: []byte(text),
	}
}

// dataOf is legacyOf for DATA.
func dataOf(session string, epoch, sequence uint64, text string) *relayv1.Envelope {
	e := legacyOf(typeData, session, text)
	e.Epoch, e.Sequence = epoch, sequence
	return e
}

func (n *native) send(frames ...*relayv1.Envelope) {
	n.t.Helper()
	for _, e := range frames {
		e.WorkspaceId, e.RuntimeTargetId = n.of.WorkspaceID, n.of.RuntimeTargetID
	}
	if err := n.stream.Send(&relayv1.EnvelopeBatch{Envelopes: frames}); err != nil && !errors.Is(err, io.EOF) {
		n.t.Fatal(err)
	}
}

// next receives an envelope that is no HEARTBEAT.
func (n *native) next() (*relayv1.Envelope, error) {
	for {
		for len(n.pending) == 0 {
			batch, err := n.stream.Recv()
			if err != nil {
				return nil, err
			}
			n.pending = batch.GetEnvelopes()
		}
		e := n.pending[0]
		n.pending = n.pending[1:]
		if e.GetType() != typeHeartbeat {
			return e, nil
		}
	}
}

// want receives the next envelope, which must have this legacy frame.
func (n *native) want(typ relayv1.FrameType, session, text string) *relayv1.Envelope {
	n.t.Helper()
	e, err := n.next()
	if err != nil || e.GetType() != typ || e.GetSessionId() != session || string(e.GetCiphertext()) != text ||
		e.GetEncoding() != relayv1.Encoding_ENCODING_LEGACY_JSON || e.GetWorkspaceId() != n.of.WorkspaceID ||
		e.GetRuntimeTargetId() != n.of.RuntimeTargetID {
		n.t.Fatalf("got %v, %v, want %v %q of %q", e, err, typ, text, session)
	}
	return e
}

func (n *native) wantStatus(code string) {
	n.t.Helper()
	if e, err := n.next(); err != nil || e.GetType() != typeStatus || e.GetStatus().GetCode() != code {
		n.t.Fatalf("got %v, %v, want STATUS %s", e, err, code)
	}
}

// end receives until the stream ends, and returns the reason.
func (n *native) end() string {
	n.t.Helper()
	for {
		_, err := n.next()
		if err == nil {
			continue
		}
		for _, d := range status.Convert(err).Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok {
				return info.GetReason()
			}
		}
		return err.Error()
	}
}
