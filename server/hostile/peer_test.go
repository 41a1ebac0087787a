package hostile_test

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/getviewport/relay/client/identity"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/relaytest"
)

// This file is a daemon or a client as a stranger would write it, who can send any bytes as a message.

const home = "home" // the target of every workspace here

const (
	typeInit      = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT
	typeResponse  = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE
	typeData      = relayv1.FrameType_FRAME_TYPE_DATA
	typeClose     = relayv1.FrameType_FRAME_TYPE_CLOSE
	typeAck       = relayv1.FrameType_FRAME_TYPE_ACK
	typeResume    = relayv1.FrameType_FRAME_TYPE_RESUME
	typeResumed   = relayv1.FrameType_FRAME_TYPE_RESUMED
	typeReset     = relayv1.FrameType_FRAME_TYPE_RESET
	typeHeartbeat = relayv1.FrameType_FRAME_TYPE_HEARTBEAT
	typeStatus    = relayv1.FrameType_FRAME_TYPE_STATUS
)

// raw is a message that is sent as it is.
type raw []byte

// rawCodec sends raw messages, and receives batches.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.(raw))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	return proto.Unmarshal(data.Materialize(), v.(proto.Message))
}

// peer is an open stream.
type peer struct {
	s       *siege
	conn    *grpc.ClientConn
	stream  grpc.ClientStream
	cancel  context.CancelFunc
	pending []*relayv1.Envelope
}

// dial opens a connection that ends with the attack.
func (s *siege) dial(options ...grpc.DialOption) *grpc.ClientConn {
	s.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.Addr, append(options,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallSendMsgSize(16<<20)))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.atEnd(func() { _ = conn.Close() })
	return conn
}

// request opens a stream with this token on a connection, and does not wait for admission.
func (s *siege) request(conn *grpc.ClientConn, role identity.Role, token string) *peer {
	s.t.Helper()
	return s.requestAt(conn, role, home, token)
}

// requestAt is request for another target.
func (s *siege) requestAt(conn *grpc.ClientConn, role identity.Role, target, token string) *peer {
	s.t.Helper()
	method := relayv1.RelayService_ConnectClient_FullMethodName
	if role == identity.Daemon {
		method = relayv1.RelayService_ConnectDaemon_FullMethodName
	}
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(s.ctx, "authorization", "Bearer "+token,
		"viewport-workspace-id", s.workspace, "viewport-runtime-target-id", target))
	s.atEnd(cancel)
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		s.t.Fatalf("a stream: %v", err)
	}
	return &peer{s: s, conn: conn, stream: stream, cancel: cancel}
}

// connect opens a stream on a connection of its own and waits until it is admitted.
func (s *siege) connect(role identity.Role, claims ...relaytest.Claim) *peer {
	s.t.Helper()
	p := s.request(s.dial(), role, s.Token(role, s.workspace, home, claims...))
	p.admitted()
	return p
}

func (s *siege) client() *peer { s.t.Helper(); return s.connect(identity.Client) }
func (s *siege) daemon() *peer { s.t.Helper(); return s.connect(identity.Daemon) }

func (p *peer) admitted() {
	p.s.t.Helper()
	header, err := p.stream.Header()
	if err != nil || len(header.Get("viewport-protocol")) == 0 {
		p.s.t.Fatalf("not admitted: %v, %v", err, p.stream.RecvMsg(new(relayv1.EnvelopeBatch)))
	}
	// The relay's greeting, so that it is nobody's answer to a probe.
	if err := p.stream.RecvMsg(new(relayv1.EnvelopeBatch)); err != nil {
		p.s.t.Fatalf("the stream ended: %v, want a HEARTBEAT", err)
	}
}

// sendRaw sends a message as it is; that the stream has ended meanwhile is no failure.
func (p *peer) sendRaw(message []byte) {
	p.s.t.Helper()
	if err := p.stream.SendMsg(raw(message)); err != nil && !errors.Is(err, io.EOF) {
		p.s.t.Fatalf("send: %v", err)
	}
}

// send sends envelopes as one batch, made out to the peer's own workspace and target.
func (p *peer) send(frames ...*relayv1.Envelope) {
	p.s.t.Helper()
	var b []byte
	for _, e := range frames {
		b = element(b, p.bytes(e))
	}
	p.sendRaw(b)
}

// bytes is an envelope of the peer's workspace and target.
func (p *peer) bytes(e *relayv1.Envelope) []byte {
	p.s.t.Helper()
	e = proto.CloneOf(e)
	e.WorkspaceId, e.RuntimeTargetId = p.s.workspace, home
	b, err := proto.Marshal(e)
	if err != nil {
		p.s.t.Fatal(err)
	}
	return b
}

// element appends an envelope to a batch.
func element(batch, envelope []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(batch, 1, protowire.BytesType), envelope)
}

// next receives the next envelope that is no HEARTBEAT, or the end of the stream.
func (p *peer) next() (*relayv1.Envelope, error) {
	for {
		for len(p.pending) == 0 {
			var batch relayv1.EnvelopeBatch
			if err := p.stream.RecvMsg(&batch); err != nil {
				return nil, err
			}
			p.pending = batch.GetEnvelopes()
		}
		e := p.pending[0]
		p.pending = p.pending[1:]
		if e.GetType() != typeHeartbeat {
			return e, nil
		}
	}
}

// want receives the next envelope, which must be of this session, type and sequence.
func (p *peer) want(s session, typ relayv1.FrameType, sequence uint64) *relayv1.Envelope {
	p.s.t.Helper()
	e, err := p.next()
	if err != nil {
		p.s.t.Fatalf("the stream ended: %v, want %v %d", err, typ, sequence)
	}
	if e.GetType() != typ || e.GetSequence() != sequence || e.GetSessionId() != s.id {
		p.s.t.Fatalf("got %.300v, want %v %d of %s", e, typ, sequence, s.id)
	}
	return e
}

// wantStatus receives the next envelope, which must be a STATUS of this code about this session.
func (p *peer) wantStatus(code string, s session) *relayv1.Status {
	p.s.t.Helper()
	e := p.want(s, typeStatus, 0)
	if e.GetStatus().GetCode() != code {
		p.s.t.Fatalf("got STATUS %v, want %s", e.GetStatus(), code)
	}
	return e.GetStatus()
}

// wantGap is wantStatus of SEQUENCE_GAP with the sequence expected.
func (p *peer) wantGap(s session, expected uint64) {
	p.s.t.Helper()
	if st := p.wantStatus("SEQUENCE_GAP", s); st.GetExpectedSequence() != expected {
		p.s.t.Fatalf("got SEQUENCE_GAP expecting %d, want %d", st.GetExpectedSequence(), expected)
	}
}

// wantEnd receives until the stream ends, which must be with this reason; "" is none of the relay's.
func (p *peer) wantEnd(code codes.Code, reason string) {
	p.s.t.Helper()
	for {
		if _, err := p.next(); err != nil {
			if got := status.Code(err); got != code || reasonOf(status.Convert(err)) != reason {
				p.s.t.Fatalf("got the end %v, want %v with reason %q", err, code, reason)
			}
			return
		}
	}
}

// lives shows that the peer's stream lives and that everything it sent was handled: it asks for a HEARTBEAT.
func (p *peer) lives() {
	p.s.t.Helper()
	p.send(&relayv1.Envelope{Type: typeHeartbeat, Status: &relayv1.Status{Code: "PROBE"}})
	for {
		for i, e := range p.pending {
			if e.GetType() == typeHeartbeat {
				p.pending = append(p.pending[:i:i], p.pending[i+1:]...)
				return
			}
		}
		var batch relayv1.EnvelopeBatch
		if err := p.stream.RecvMsg(&batch); err != nil {
			p.s.t.Fatalf("the stream ended: %v, want a HEARTBEAT", err)
		}
		p.pending = append(p.pending, batch.GetEnvelopes()...)
	}
}

// reasonOf is the relay's reason in a status, "" without one.
func reasonOf(s *status.Status) string {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == "relay.viewport" {
			return info.GetReason()
		}
	}
	return ""
}

// session is an id with its bind key, and frames of it.
type session struct {
	key [16]byte
	id  string
}

// none is what a STATUS about the link itself is about.
var none session

// newSession returns the n-th session of a workspace.
func newSession(workspace string, n int) session {
	var s session
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(workspace), uint64(n)))
	copy(s.key[:], sum[:])
	sum = sha256.Sum256(s.key[:])
	s.id = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
	return s
}

func (s *siege) session(n int) session { return newSession(s.workspace, n) }

func (s session) frame(typ relayv1.FrameType, sequence uint64) *relayv1.Envelope {
	return &relayv1.Envelope{
		Type: typ, Sequence: sequence, SessionId: s.id, Encoding: relayv1.Encoding_ENCODING_NOISE,
		Ciphertext: fmt.Appendf(nil, "opaque %v", typ),
	}
}

// bound is a frame with the bind key and the profile.
func (s session) bound(typ relayv1.FrameType, sequence uint64) *relayv1.Envelope {
	e := s.frame(typ, sequence)
	e.BindKey, e.Profile = s.key[:], relayv1.Profile_PROFILE_NOISE_IKPSK2
	if typ == typeResume {
		e.ResumeAttempt = 1
	}
	return e
}

func (s session) data(sequence uint64) *relayv1.Envelope { return s.frame(typeData, sequence) }

// sized is DATA with a ciphertext of n bytes.
func (s session) sized(sequence uint64, n int) *relayv1.Envelope {
	e := s.data(sequence)
	e.Ciphertext = make([]byte, n)
	return e
}

func (s session) response() *relayv1.Envelope {
	e := s.frame(typeResponse, 1)
	e.Profile = relayv1.Profile_PROFILE_NOISE_IKPSK2
	return e
}

// handshake binds s at both ends.
func handshake(client, daemon *peer, s session) {
	client.s.t.Helper()
	client.send(s.bound(typeInit, 1))
	daemon.want(s, typeInit, 1)
	daemon.send(s.response())
	client.want(s, typeResponse, 1)
}
