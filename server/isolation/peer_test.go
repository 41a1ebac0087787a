package isolation_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/getviewport/relay/client/identity"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/relaytest"
)

// patience ends a test that would hang; nothing is asserted about time.
const patience = 30 * time.Second

// world is a relay with one connection that all streams share: what tenants could tell of each other, they can here.
type world struct {
	t     *testing.T
	relay *relaytest.Relay
	conn  *grpc.ClientConn
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, relay: relaytest.Start(t, relaytest.WithHeartbeat(0))}
	w.conn = w.dial(w.relay.Addr)
	return w
}

func (w *world) dial(addr string) *grpc.ClientConn {
	w.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// peer is a stream as a stranger's code would open it.
type peer struct {
	t      *testing.T
	of     tenant
	stream grpc.BidiStreamingClient[relayv1.EnvelopeBatch, relayv1.EnvelopeBatch]
	cancel context.CancelFunc
	queue  []*relayv1.Envelope
}

// open opens a stream with any token for any place.
func (w *world) open(role identity.Role, token string, place tenant) *peer {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.t.Cleanup(cancel)
	ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs("authorization", "Bearer "+token,
		"viewport-workspace-id", place.workspace, "viewport-runtime-target-id", place.target))
	connect := relayv1.NewRelayServiceClient(w.conn).ConnectClient
	if role == identity.Daemon {
		connect = relayv1.NewRelayServiceClient(w.conn).ConnectDaemon
	}
	stream, err := connect(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return &peer{t: w.t, of: place, stream: stream, cancel: cancel}
}

// quickly signs a token with what takes the least time.
func quickly(c *devplatform.Claims) { c.Algorithm = devplatform.EdDSA }

// join opens a stream of a tenant and waits until it is admitted; at first the relay may not have the keys yet.
func (w *world) join(role identity.Role, of tenant, claims ...relaytest.Claim) *peer {
	w.t.Helper()
	token := w.relay.Token(role, of.workspace, of.target, append(claims, quickly)...)
	for {
		p := w.open(role, token, of)
		header, err := p.stream.Header()
		if err == nil && len(header.Get("viewport-protocol")) == 1 {
			if e := p.next(); e.GetType() != heartbeatFrame || len(p.queue) > 0 {
				w.t.Fatalf("the %s of %v got %v first, want the relay's greeting alone", role, of, e)
			}
			return p
		}
		if _, err = p.stream.Recv(); !strings.Contains(fmt.Sprint(err), "PLATFORM_UNAVAILABLE") {
			w.t.Fatalf("the %s of %v is not admitted: %v", role, of, err)
		}
	}
}

// send sends envelopes, of its own tenant where they name none.
func (p *peer) send(frames ...*relayv1.Envelope) {
	p.t.Helper()
	for _, e := range frames {
		if e.WorkspaceId == "" {
			e.WorkspaceId, e.RuntimeTargetId = p.of.workspace, p.of.target
		}
	}
	if err := p.stream.Send(&relayv1.EnvelopeBatch{Envelopes: frames}); err != nil && !errors.Is(err, io.EOF) {
		p.t.Fatal(err)
	}
}

// next receives one envelope, which must be of its own tenant.
func (p *peer) next() *relayv1.Envelope {
	p.t.Helper()
	for len(p.queue) == 0 {
		batch, err := p.stream.Recv()
		if err != nil {
			p.t.Fatalf("the link of %v ended: %v", p.of, err)
		}
		p.queue = batch.GetEnvelopes()
	}
	e := p.queue[0]
	p.queue = p.queue[1:]
	if e.GetWorkspaceId() != p.of.workspace || e.GetRuntimeTargetId() != p.of.target {
		p.t.Fatalf("%v got an envelope of %q/%q", p.of, e.GetWorkspaceId(), e.GetRuntimeTargetId())
	}
	return e
}

// want receives the next envelope, which must be this one.
func (p *peer) want(typ relayv1.FrameType, session, text string) {
	p.t.Helper()
	e := p.next()
	got := string(e.GetCiphertext())
	if typ == statusFrame {
		got = e.GetStatus().GetCode()
	}
	if e.GetType() != typ || e.GetSessionId() != session || got != text {
		p.t.Fatalf("%v got %v, want %v %q of session %q", p.of, e, typ, text, session)
	}
}

// end receives until the stream ends and returns all that it told: headers, trailers and the status with its details.
func (p *peer) end() []byte {
	p.t.Helper()
	header, _ := p.stream.Header()
	for {
		_, err := p.stream.Recv()
		if err == nil {
			continue
		}
		var all bytes.Buffer
		for _, md := range []metadata.MD{header, p.stream.Trailer()} {
			for _, key := range slices.Sorted(maps.Keys(md)) {
				fmt.Fprintf(&all, "%s: %q\n", key, md[key])
			}
		}
		all.Write(exactly(p.t, status.Convert(err).Proto()))
		return all.Bytes()
	}
}

// exactly is a message on the wire.
func exactly(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	initFrame     = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT
	responseFrame = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE
	dataFrame     = relayv1.FrameType_FRAME_TYPE_DATA
	closeFrame    = relayv1.FrameType_FRAME_TYPE_CLOSE
	ackFrame      = relayv1.FrameType_FRAME_TYPE_ACK
	resumeFrame   = relayv1.FrameType_FRAME_TYPE_RESUME
	resumedFrame  = relayv1.FrameType_FRAME_TYPE_RESUMED
	resetFrame    = relayv1.FrameType_FRAME_TYPE_RESET
	statusFrame   = relayv1.FrameType_FRAME_TYPE_STATUS

	heartbeatFrame = relayv1.FrameType_FRAME_TYPE_HEARTBEAT
)

// session is an id with its bind key.
type session struct {
	bind [16]byte
	id   string
}

func newSession(n byte) session {
	s := session{bind: [16]byte{n}}
	sum := sha256.Sum256(s.bind[:])
	s.id = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
	return s
}

// frame is one of the session. Those that may have a bind key have it.
func (s session) frame(typ relayv1.FrameType, sequence uint64, text string) *relayv1.Envelope {
	e := &relayv1.Envelope{
		Type: typ, Sequence: sequence, SessionId: s.id, Encoding: relayv1.Encoding_ENCODING_NOISE, Ciphertext: []byte(text),
	}
	switch typ {
	case initFrame, responseFrame:
		e.Profile = relayv1.Profile_PROFILE_NOISE_IKPSK2
	case resumeFrame, resumedFrame:
		e.ResumeAttempt = 1
	}
	if typ == initFrame || typ == resumeFrame {
		e.BindKey = s.bind[:]
	}
	return e
}

// open binds the session at both ends.
func (s session) open(client, daemon *peer) {
	client.t.Helper()
	client.send(s.frame(initFrame, 1, "hello of "+client.of.String()))
	daemon.want(initFrame, s.id, "hello of "+client.of.String())
	daemon.send(s.frame(responseFrame, 1, "welcome of "+daemon.of.String()))
	client.want(responseFrame, s.id, "welcome of "+daemon.of.String())
}

// exchange sends one frame each way; what was on its way before has then arrived.
func (s session) exchange(client, daemon *peer, sequence uint64) {
	client.t.Helper()
	up, down := fmt.Sprintf("up %d of %v", sequence, client.of), fmt.Sprintf("down %d of %v", sequence, client.of)
	client.send(s.frame(dataFrame, sequence, up))
	daemon.want(dataFrame, s.id, up)
	daemon.send(s.frame(dataFrame, sequence, down))
	client.want(dataFrame, s.id, down)
}
