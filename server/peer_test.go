package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
)

// This file is a daemon or client as a stranger would write it, from docs/protocol.md and generated code alone.

const target = "host-1"

const (
	typeInit      = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT
	typeResponse  = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE
	typeData      = relayv1.FrameType_FRAME_TYPE_DATA
	typeEvent     = relayv1.FrameType_FRAME_TYPE_EVENT
	typeResume    = relayv1.FrameType_FRAME_TYPE_RESUME
	typeHeartbeat = relayv1.FrameType_FRAME_TYPE_HEARTBEAT
	typeStatus    = relayv1.FrameType_FRAME_TYPE_STATUS
)

// endpoint says as whom to connect.
type endpoint struct {
	workspace string
	daemon    bool
	install   string
	gen       uint64
	policy    string
	ttl       time.Duration       // of the token; 0: 10 minutes
	from      *devplatform.Server // gives the token; nil: the one of all tests
	extra     []string            // more metadata, in pairs
	options   []grpc.DialOption   // of a connection of its own
}

func (e endpoint) token(t *testing.T) string {
	t.Helper()
	c := devplatform.Claims{
		Role: devplatform.RoleClient, WorkspaceID: e.workspace, RuntimeTargetID: target, PolicyMode: e.policy,
		InstallID: e.install, TTL: e.ttl,
	}
	if e.daemon {
		c.Role, c.DaemonIssueGeneration = devplatform.RoleDaemon, e.gen
	}
	if e.from != nil {
		s, err := e.from.Mint(c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	return token(t, c)
}

// peer is an open stream.
type peer struct {
	t         *testing.T
	workspace string
	stream    grpc.BidiStreamingClient[relayv1.EnvelopeBatch, relayv1.EnvelopeBatch]
	cancel    context.CancelFunc
	header    metadata.MD
	pending   []*relayv1.Envelope
}

// open opens a stream with this metadata; it may be refused.
func (r *relay) open(daemon bool, md metadata.MD, options ...grpc.DialOption) *peer {
	r.t.Helper()
	ctx, cancel := context.WithCancel(patient(r.t))
	r.t.Cleanup(cancel)
	client := relayv1.NewRelayServiceClient(r.dial(options...))
	connect := client.ConnectClient
	if daemon {
		connect = client.ConnectDaemon
	}
	stream, err := connect(metadata.NewOutgoingContext(ctx, md))
	if err != nil {
		r.t.Fatal(err)
	}
	return &peer{t: r.t, stream: stream, cancel: cancel}
}

// request opens a stream as e and does not wait for admission.
func (r *relay) request(e endpoint) *peer {
	r.t.Helper()
	md := metadata.Pairs(append([]string{
		"authorization", "Bearer " + e.token(r.t), "viewport-workspace-id", e.workspace, "viewport-runtime-target-id", target,
	}, e.extra...)...)
	p := r.open(e.daemon, md, e.options...)
	p.workspace = e.workspace
	return p
}

// connect opens a stream as e and waits until it is admitted.
func (r *relay) connect(e endpoint) *peer {
	r.t.Helper()
	p := r.request(e)
	p.admitted()
	return p
}

func (p *peer) admitted() {
	p.t.Helper()
	var err error
	if p.header, err = p.stream.Header(); err != nil || len(p.header.Get("viewport-protocol")) == 0 {
		_, end := p.stream.Recv()
		p.t.Fatalf("not admitted: %v, %v", err, end)
	}
}

// send sends one batch.
func (p *peer) send(frames ...*relayv1.Envelope) {
	p.t.Helper()
	for _, e := range frames {
		if e.WorkspaceId == "" {
			e.WorkspaceId = p.workspace
		}
		e.RuntimeTargetId = target
	}
	if err := p.stream.Send(&relayv1.EnvelopeBatch{Envelopes: frames}); err != nil && !errors.Is(err, io.EOF) {
		p.t.Fatalf("send: %v", err)
	}
}

// next receives the next envelope or the end of the stream.
func (p *peer) next() (*relayv1.Envelope, error) {
	for len(p.pending) == 0 {
		batch, err := p.stream.Recv()
		if err != nil {
			return nil, err
		}
		p.pending = batch.GetEnvelopes()
	}
	e := p.pending[0]
	p.pending = p.pending[1:]
	return e, nil
}

// want receives the next envelope that is no HEARTBEAT, which must be of this type and sequence.
func (p *peer) want(typ relayv1.FrameType, sequence uint64) *relayv1.Envelope {
	p.t.Helper()
	e := p.nextFrame()
	if e.GetType() != typ || e.GetSequence() != sequence {
		p.t.Fatalf("got %v, want %v %d", e, typ, sequence)
	}
	return e
}

func (p *peer) nextFrame() *relayv1.Envelope {
	p.t.Helper()
	for {
		e, err := p.next()
		if err != nil {
			p.t.Fatalf("the stream ended: %v", err)
		}
		if e.GetType() != typeHeartbeat {
			return e
		}
	}
}

// wantStatus receives the next envelope that is no HEARTBEAT, which must be a STATUS of this code about this session.
func (p *peer) wantStatus(code, session string) *relayv1.Status {
	p.t.Helper()
	e := p.want(typeStatus, 0)
	if e.GetStatus().GetCode() != code || e.GetSessionId() != session {
		p.t.Fatalf("got %v, want STATUS %s about session %q", e, code, session)
	}
	return e.GetStatus()
}

// wantEnd receives until the stream ends, which must be for this reason.
func (p *peer) wantEnd(code codes.Code, reason string) *errdetails.RetryInfo {
	p.t.Helper()
	for {
		if _, err := p.next(); err != nil {
			return wantReason(p.t, err, code, reason)
		}
	}
}

// wantReason checks a gRPC error as a stranger's code would read it.
func wantReason(t *testing.T, err error, code codes.Code, reason string) (retry *errdetails.RetryInfo) {
	t.Helper()
	s := status.Convert(err)
	var info *errdetails.ErrorInfo
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.RetryInfo:
			retry = d
		}
	}
	if s.Code() != code || info.GetReason() != reason || info.GetDomain() != "relay.viewport" {
		t.Fatalf("got %v %q with %v, want %v with reason %s of domain relay.viewport", s.Code(), s.Message(), info, code, reason)
	}
	return retry
}

// session is an id with its bind key, and frames of it.
type session struct {
	key [16]byte
	id  string
}

func newSession(n byte) session {
	s := session{key: [16]byte{n}}
	sum := sha256.Sum256(s.key[:])
	s.id = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
	return s
}

func (s session) frame(typ relayv1.FrameType, sequence uint64) *relayv1.Envelope {
	return &relayv1.Envelope{
		Type: typ, Sequence: sequence, SessionId: s.id, Encoding: relayv1.Encoding_ENCODING_NOISE,
		Ciphertext: []byte("opaque " + typ.String()),
	}
}

func (s session) init() *relayv1.Envelope {
	e := s.frame(typeInit, 1)
	e.BindKey, e.Profile = s.key[:], relayv1.Profile_PROFILE_NOISE_IKPSK2
	return e
}

func (s session) response() *relayv1.Envelope {
	e := s.frame(typeResponse, 1)
	e.Profile = relayv1.Profile_PROFILE_NOISE_IKPSK2
	return e
}

func (s session) data(sequence uint64) *relayv1.Envelope { return s.frame(typeData, sequence) }

// handshake binds s at both ends.
func handshake(client, daemon *peer, s session) {
	client.t.Helper()
	client.send(s.init())
	daemon.want(typeInit, 1)
	daemon.send(s.response())
	client.want(typeResponse, 1)
}

// pair is a daemon and a client that have a session.
func (r *relay) pair(workspace string) (daemon, client *peer, s session) {
	r.t.Helper()
	daemon = r.connect(endpoint{workspace: workspace, daemon: true, install: "i1", gen: 1})
	client = r.connect(endpoint{workspace: workspace})
	s = newSession(1)
	handshake(client, daemon, s)
	return daemon, client, s
}
