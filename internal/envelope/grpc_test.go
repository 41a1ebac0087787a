package envelope

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const method = "/viewport.relay.v1.RelayService/ConnectClient"

// serve runs a server whose ConnectClient is handler, with the raw codec or the generated one, and returns a
// connection.
func serve(t *testing.T, raw bool, handler grpc.StreamHandler) *grpc.ClientConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var options []grpc.ServerOption
	if raw {
		options = append(options, grpc.ForceServerCodecV2(Codec{}))
	}
	s := grpc.NewServer(options...)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "viewport.relay.v1.RelayService",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName: "ConnectClient", Handler: handler, ServerStreams: true, ClientStreams: true,
		}},
	}, struct{}{})
	healthpb.RegisterHealthServer(s, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return conn
}

func open(t *testing.T, conn *grpc.ClientConn, options ...grpc.CallOption) grpc.ClientStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	desc := &grpc.StreamDesc{StreamName: "ConnectClient", ServerStreams: true, ClientStreams: true}
	stream, err := conn.NewStream(ctx, desc, method, options...)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// forward is a relay's part: what arrives goes back, each frame as a run of its own or all as one.
func forward(t *testing.T) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		var b Batch
		defer b.Free()
		for n := 0; ; n++ {
			if err := stream.RecvMsg(&b); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			if err := b.Split(Limits{MaxEnvelope: 3 << 20, MaxBatch: 64 << 10}); err != nil {
				return err
			}
			frames := len(b.Frames())
			var o Outgoing
			if n%2 == 0 {
				o.Add(b.Run(0, frames))
			} else {
				for i := range frames {
					o.Add(b.Run(i, frames).Head(1))
				}
			}
			b.Free()
			if err := stream.SendMsg(&o); err != nil {
				return err
			}
			o.Free()
		}
	}
}

// messages are batches with frames from 0 bytes to 2 MiB of ciphertext, around the sizes of HTTP/2 frames and buffers.
func messages() []*relayv1.EnvelopeBatch {
	r := rand.New(rand.NewPCG(11, 12))
	sizes := []int{0, 1, 127, 128, 255, 256, 1000, 1024, 1025, 4000, 4096, 8192, 16000, 16200, 16384, 16385, 32768, 65536,
		1 << 20, 2<<20 - 200, 2 << 20}
	var all []*relayv1.EnvelopeBatch
	for _, n := range sizes {
		e := randomEnvelope(r)
		e.Ciphertext = bytes.Repeat([]byte{byte(n >> 3), 0xa2, byte(n)}, n/3+1)[:n]
		all = append(all, &relayv1.EnvelopeBatch{Envelopes: []*relayv1.Envelope{e}})
	}
	for range 60 {
		batch := &relayv1.EnvelopeBatch{}
		for size := 0; size < 60<<10 && len(batch.Envelopes) < 50; {
			e := randomEnvelope(r)
			e.Ciphertext = make([]byte, r.IntN(1<<r.IntN(15)))
			size += 1500 + len(e.Ciphertext)
			batch.Envelopes = append(batch.Envelopes, e)
		}
		all = append(all, batch)
	}
	return all
}

func TestAnEndpointWithGeneratedCodeGetsThroughARelayWhatItSent(t *testing.T) {
	stream := open(t, serve(t, true, forward(t)), grpc.MaxCallRecvMsgSize(4<<20))
	for _, want := range messages() {
		if err := stream.SendMsg(want); err != nil {
			t.Fatal(err)
		}
		var got relayv1.EnvelopeBatch
		if err := stream.RecvMsg(&got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(&got, want) {
			t.Fatalf("got %d envelopes, want %d, the same", len(got.Envelopes), len(want.Envelopes))
		}
	}
	finish(t, stream)
}

func TestAnEndpointWithTheRawCodecGetsThroughARelayWhatItSent(t *testing.T) {
	stream := open(t, serve(t, true, forward(t)), grpc.ForceCodecV2(Codec{}), grpc.MaxCallRecvMsgSize(4<<20))
	echoed(t, stream)
}

func TestAnEndpointWithTheRawCodecTalksToGeneratedCode(t *testing.T) {
	conn := serve(t, false, func(_ any, stream grpc.ServerStream) error {
		for {
			var b relayv1.EnvelopeBatch
			if err := stream.RecvMsg(&b); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			if err := stream.SendMsg(&b); err != nil {
				return err
			}
		}
	})
	echoed(t, open(t, conn, grpc.ForceCodecV2(Codec{}), grpc.MaxCallRecvMsgSize(4<<20)))
}

// echoed sends messages on a stream with the raw codec and wants each back.
func echoed(t *testing.T, stream grpc.ClientStream) {
	t.Helper()
	var b Batch
	defer b.Free()
	for _, want := range messages() {
		var message []byte
		for _, e := range want.Envelopes {
			message = Append(message, headerOf(e), e.Ciphertext)
		}
		var o Outgoing
		o.Add(RunOf(message, len(want.Envelopes)))
		if err := stream.SendMsg(&o); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(&b); err != nil {
			t.Fatal(err)
		}
		if err := b.Split(Limits{MaxEnvelope: 3 << 20, MaxBatch: 64 << 10}); err != nil {
			t.Fatal(err)
		}
		for i, f := range b.Frames() {
			if d := differs(&f.Header, b.Ciphertext(i), want.Envelopes[i]); d != "" {
				t.Fatal(d[:min(len(d), 200)])
			}
		}
		if n := len(b.Frames()); n != len(want.Envelopes) {
			t.Fatalf("frames: got %d, want %d", n, len(want.Envelopes))
		}
	}
	finish(t, stream)
}

func finish(t *testing.T, stream grpc.ClientStream) {
	t.Helper()
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(Batch)); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v, want %v", err, io.EOF)
	}
}

func TestGRPCFreesEachBufferOnceWhetherSendingWorksOrNot(t *testing.T) {
	message, ends := batchOf(20, 700)
	stop := make(chan struct{})
	stream := open(t, serve(t, true, func(_ any, stream grpc.ServerStream) error {
		if err := stream.RecvMsg(new(relayv1.EnvelopeBatch)); err != nil {
			return err
		}
		<-stop
		return nil
	}), grpc.ForceCodecV2(Codec{}), grpc.MaxCallSendMsgSize(len(message)))
	p := newPool(t)
	send := func(stream grpc.ClientStream, frames ...int) error {
		var b Batch
		if err := p.split(t, &b, message, ends[4]); err != nil {
			t.Fatal(err)
		}
		var o Outgoing
		for _, n := range frames {
			o.Add(b.Run(0, n))
		}
		b.Free()
		err := stream.SendMsg(&o)
		o.Free()
		return err
	}
	if err := send(stream, len(ends)); err != nil {
		t.Errorf("got %v, want it sent", err)
	}
	close(stop)
	if err := stream.RecvMsg(new(Batch)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want %v", err, io.EOF)
	}
	if err := send(stream, 3); !errors.Is(err, io.EOF) {
		t.Errorf("on a stream that ended: got %v, want %v", err, io.EOF)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if err := send(stream, 3); err == nil {
		t.Error("behind CloseSend: got no error, want one")
	}
}

func TestAMessageThatIsTooLargeToSendIsFreed(t *testing.T) {
	message, ends := batchOf(20, 700)
	stream := open(t, serve(t, true, forward(t)), grpc.ForceCodecV2(Codec{}), grpc.MaxCallSendMsgSize(1000))
	p := newPool(t)
	var b Batch
	if err := p.split(t, &b, message); err != nil {
		t.Fatal(err)
	}
	var o Outgoing
	o.Add(b.Run(0, len(ends)))
	b.Free()
	if err := stream.SendMsg(&o); err == nil {
		t.Error("got no error, want one")
	}
}

func TestOtherMessagesOfAServerWithTheRawCodecWork(t *testing.T) {
	conn := serve(t, true, forward(t))
	client := healthpb.NewHealthClient(conn)
	got, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{}, grpc.ForceCodecV2(Codec{}))
	if err != nil || got.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("got %v, %v, want %v", got, err, healthpb.HealthCheckResponse_SERVING)
	}
	if _, err := (Codec{}).Marshal("no message"); err == nil {
		t.Error("got no error for what is no message, want one")
	}
}

func TestTheCodecIsNotTheOneThatItFallsBackTo(t *testing.T) {
	c := Codec{}
	if _, self := encoding.GetCodecV2(c.Name()).(Codec); self || c.Name() != "proto" {
		t.Errorf("registered under %q: got the raw codec, want gRPC's", c.Name())
	}
}
