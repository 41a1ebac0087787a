package bench

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// The bare forwarder: what a relay would cost that decides nothing. It hands each batch of a link, as it was received and
// by reference, to the queue of the other link of its workspace, which one goroutine sends. It admits everybody, knows no
// session, bounds nothing.

// message is a batch as the bare codec sees it.
type message struct{ data mem.BufferSlice }

type bareCodec struct{}

func (bareCodec) Name() string { return proto.Name }

func (bareCodec) Marshal(v any) (mem.BufferSlice, error) {
	m := v.(*message)
	data := m.data
	m.data = nil
	return data, nil
}

func (bareCodec) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	v.(*message).data = append(mem.BufferSlice(nil), data...)
	return nil
}

// bareLink is a link with its queue.
type bareLink struct {
	wake chan struct{} // has an element when there may be something to send

	mu    sync.Mutex
	queue []mem.BufferSlice
}

func (l *bareLink) push(data mem.BufferSlice) {
	l.mu.Lock()
	l.queue = append(l.queue, data)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// swap takes the whole queue and leaves an empty one with the array of before.
func (l *bareLink) swap(empty []mem.BufferSlice) []mem.BufferSlice {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queue
	l.queue = empty[:0]
	return q
}

// bare finds links by workspace.
type bare struct {
	mu    sync.Mutex
	links map[string]*[2]*bareLink // daemon and client
}

func (f *bare) pair(workspace string) *[2]*bareLink {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.links[workspace]
	if p == nil {
		p = &[2]*bareLink{{wake: make(chan struct{}, 1)}, {wake: make(chan struct{}, 1)}}
		f.links[workspace] = p
	}
	return p
}

func (f *bare) handler(side int) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		names := md.Get("viewport-workspace-id")
		if len(names) != 1 {
			return status.Error(codes.InvalidArgument, "no workspace")
		}
		pair := f.pair(names[0])
		own, other := pair[side], pair[1-side]
		if err := stream.SendHeader(metadata.Pairs("viewport-protocol", "1")); err != nil {
			return err
		}
		var sender sync.WaitGroup
		defer sender.Wait()
		done := make(chan struct{})
		defer close(done)
		sender.Go(func() {
			var q []mem.BufferSlice
			for {
				select {
				case <-done:
					return
				case <-own.wake:
				}
				for q = own.swap(q); len(q) > 0; q = own.swap(q) {
					for i := range q {
						if stream.SendMsg(&message{q[i]}) != nil {
							return
						}
						q[i] = nil
					}
				}
			}
		})
		var m message
		for {
			if err := stream.RecvMsg(&m); err != nil {
				return nil
			}
			other.push(m.data)
		}
	}
}

// serveBare serves gRPC until ctx ends; secure nil: plain.
func serveBare(ctx context.Context, ln net.Listener, secure *tls.Config) error {
	f := &bare{links: make(map[string]*[2]*bareLink)}
	options := []grpc.ServerOption{grpc.ForceServerCodecV2(bareCodec{})}
	if secure != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(secure)))
	}
	s := grpc.NewServer(options...)
	desc := relayv1.RelayService_ServiceDesc
	desc.HandlerType = (*any)(nil)
	desc.Streams = []grpc.StreamDesc{
		{StreamName: "ConnectDaemon", Handler: f.handler(0), ServerStreams: true, ClientStreams: true},
		{StreamName: "ConnectClient", Handler: f.handler(1), ServerStreams: true, ClientStreams: true},
	}
	s.RegisterService(&desc, f)
	defer context.AfterFunc(ctx, s.Stop)()
	return s.Serve(ln)
}
