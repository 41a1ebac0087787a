package bench

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/internal/envelope"
)

const (
	target = "host-1"
	// batchBytes is the most a sender puts into a message (docs/protocol.md, Service).
	batchBytes = 16384 - 5
	// window is a session's (docs/protocol.md, Flow control); frameCost is what a frame costs beside its ciphertext.
	window    = 1 << 20
	frameCost = 256
)

var frameLimits = envelope.Limits{MaxEnvelope: 2 << 20, MaxBatch: 64 << 10}

// pair is a client and a daemon of the native protocol with a session. With a receiver it only sends up, as fast as the
// window allows.
type pair struct {
	flow
	workspace      string
	key            [16]byte
	id             string
	client, daemon stream
	ciphertext     []byte
	next           uint64 // sequence to send
}

// stream carries envelope.Outgoing and envelope.Batch, as a grpc.ClientStream does.
type stream interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

func newPair(n, size int) *pair {
	p := &pair{
		flow: newFlow(window), workspace: fmt.Sprintf("bench-%d", n), key: [16]byte{byte(n)},
		ciphertext: make([]byte, size), next: 2,
	}
	p.id = envelope.SessionID(p.key[:])
	return p
}

// openPair opens both links at a child, on connections of their own, and binds the session at both ends.
func openPair(b *testing.B, addr string, platform *devplatform.Server, n, size int) *pair {
	b.Helper()
	p := newPair(n, size)
	ctx, end := context.WithCancel(context.Background())
	b.Cleanup(end)
	open := func(method, role string) grpc.ClientStream {
		b.Helper()
		conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(envelope.Codec{})))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		token, err := platform.Mint(devplatform.Claims{Role: role, WorkspaceID: p.workspace, RuntimeTargetID: target})
		if err != nil {
			b.Fatal(err)
		}
		stream, err := conn.NewStream(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token,
			"viewport-workspace-id", p.workspace, "viewport-runtime-target-id", target),
			&grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/viewport.relay.v1.RelayService/"+method)
		if err != nil {
			b.Fatal(err)
		}
		if header, err := stream.Header(); err != nil || len(header.Get("viewport-protocol")) == 0 {
			b.Fatalf("not admitted: %v, %v", err, stream.RecvMsg(new(envelope.Batch)))
		}
		return stream
	}
	p.daemon = open("ConnectDaemon", devplatform.RoleDaemon)
	p.client = open("ConnectClient", devplatform.RoleClient)
	p.handshake(b)
	return p
}

func (p *pair) header(typ relayv1.FrameType, sequence uint64) envelope.Header {
	h := envelope.Header{
		Type: typ, Encoding: relayv1.Encoding_ENCODING_NOISE, Workspace: []byte(p.workspace), Target: []byte(target),
		Session: []byte(p.id), Sequence: sequence,
		Timestamp: envelope.Timestamp{Present: true, Seconds: 1_700_000_000, Nanos: 123_456_789},
	}
	switch typ {
	case relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT:
		h.BindKey, h.Profile = p.key[:], relayv1.Profile_PROFILE_NOISE_IK
	case relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE:
		h.Profile = relayv1.Profile_PROFILE_NOISE_IK
	case relayv1.FrameType_FRAME_TYPE_DATA:
		h.Ack, h.Consumed = 1, 1
	}
	return h
}

func (p *pair) handshake(b *testing.B) {
	b.Helper()
	for _, step := range []struct {
		from, to stream
		typ      relayv1.FrameType
	}{
		{p.client, p.daemon, relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT},
		{p.daemon, p.client, relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE},
	} {
		h := p.header(step.typ, 1)
		var o envelope.Outgoing
		o.Add(envelope.RunOf(envelope.Append(nil, &h, make([]byte, 96)), 1))
		if err := step.from.SendMsg(&o); err != nil {
			b.Fatal(err)
		}
		for greeted := false; ; greeted = true {
			var got envelope.Batch
			if err := step.to.RecvMsg(&got); err != nil {
				b.Fatal(err)
			}
			err := got.Split(frameLimits)
			if err != nil || len(got.Frames()) != 1 {
				b.Fatalf("got %v %v, want %v", got.Frames(), err, step.typ)
			}
			typ := got.Frames()[0].Header.Type
			got.Free()
			if typ == step.typ {
				break
			}
			if greeted || typ != relayv1.FrameType_FRAME_TYPE_HEARTBEAT {
				b.Fatalf("got %v, want %v, after the relay's greeting at most", typ, step.typ)
			}
		}
	}
}

// send sends this many batches of as many frames as fit.
func (p *pair) send(batches int) (frames int, err error) {
	h := p.header(relayv1.FrameType_FRAME_TYPE_DATA, p.next)
	size := envelope.AppendedSize(&h, len(p.ciphertext)) + 8 // the sequence grows
	perBatch := max(1, batchBytes/size)
	return p.through(batches, perBatch, perBatch*(len(p.ciphertext)+frameCost), func() error {
		buf := make([]byte, 0, perBatch*size)
		for range perBatch {
			h.Sequence = p.next
			buf = envelope.Append(buf, &h, p.ciphertext)
			p.next++
		}
		var o envelope.Outgoing
		o.Add(envelope.RunOf(buf, perBatch))
		return p.client.SendMsg(&o)
	})
}

// receive takes what arrives at the daemon, and checks that nothing is missing.
func (p *pair) receive() {
	var batch envelope.Batch
	defer batch.Free()
	for want := uint64(2); ; {
		if err := p.daemon.RecvMsg(&batch); err != nil {
			p.failed <- err
			return
		}
		if err := batch.Split(frameLimits); err != nil {
			p.failed <- err
			return
		}
		t := taken{}
		for i := range batch.Frames() {
			h := &batch.Frames()[i].Header
			if h.Type != relayv1.FrameType_FRAME_TYPE_DATA {
				continue
			}
			if h.Sequence != want {
				p.failed <- fmt.Errorf("got sequence %d, want %d", h.Sequence, want)
				return
			}
			want++
			t.frames++
			t.cost += h.CiphertextLen + frameCost
		}
		p.taken <- t
	}
}
