package grpclink

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/rpcerr"
	"github.com/getviewport/relay/server/internal/admission"
	"github.com/getviewport/relay/server/internal/hub"
	"github.com/getviewport/relay/server/internal/link"
)

// batchBytes is the most one message carries: with gRPC's 5-byte prefix one HTTP/2 DATA frame of 16,384 bytes.
const batchBytes = 16384 - 5

// pump is a stream as a link: one goroutine reads it, and while there is something to send another one writes it.
type pump struct {
	stream grpc.ServerStream // the handler's, but for sequencing
	link   *hub.Link
}

type pumpKey struct{}

// attach is the interceptor that gives an admitted stream its link: it may wait for a probe of an older daemon, and it
// is where a second daemon is refused.
func (s *Service) attach(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx := stream.Context()
	grant := ctx.Value(grantKey{}).(*granted)
	token := grant.token
	grant.token = nil
	defer clear(token)
	info := linkInfo(ctx, &grant.Grant)
	if refused := admitted(ctx, info.Workspace); refused != nil {
		return s.refuse(refused)
	}
	p := &pump{stream: stream}
	// The sender may outlive the handler for a moment (returning is what frees it), so the hub owns it.
	attached, err := s.hub.Attach(ctx, info, func() { s.hub.Go(p.send) })
	if err != nil {
		if ctx.Err() != nil {
			return status.FromContextError(ctx.Err()).Err()
		}
		return s.refuse(reason.Of(err))
	}
	p.link = attached
	defer attached.Detach()
	if s.recheck != nil {
		r := admission.Request{Role: grant.Role, Workspace: grant.Workspace, Target: grant.Target}
		defer s.recheck.Watch(r, token, attached.Revoke).Stop()
	}
	wrapped := middleware.WrapServerStream(stream)
	wrapped.WrappedContext = context.WithValue(ctx, pumpKey{}, p)
	return handler(srv, wrapped)
}

// linkInfo is what is kept of a link.
func linkInfo(ctx context.Context, grant *admission.Grant) hub.Info {
	md, _ := metadata.FromIncomingContext(ctx)
	said := link.Said{Version: single(md, metaVersion), Attempt: single(md, metaAttempt)}
	if p, ok := peer.FromContext(ctx); ok {
		said.Source = p.Addr.String()
	}
	return link.Info(grant, said)
}

// run is the handler: it announces the limits, starts the reader, and waits for an end. Returning ends the stream, which
// frees a reader or sender that gRPC holds.
func (s *Service) run(stream grpc.ServerStream) error {
	p := stream.Context().Value(pumpKey{}).(*pump)
	if err := stream.SendHeader(s.header); err != nil {
		return err
	}
	if err := p.greet(); err != nil {
		return err
	}
	p.link.Open()
	ended := make(chan error, 1)
	s.hub.Go(func() { ended <- s.read(p, stream) })
	select {
	case err := <-ended:
		// A link that was ended is forgotten at once, and then its reader fails, too: the reason is what counts.
		select {
		case <-p.link.Done():
			return rpcerr.Status(p.link.Err())
		default:
			return err
		}
	case <-p.link.Done():
		return rpcerr.Status(p.link.Err())
	case <-stream.Context().Done():
		// With its code, or log and metrics take a peer that left for an unknown fault.
		return status.FromContextError(stream.Context().Err()).Err()
	}
}

// greet sends a HEARTBEAT at once, even where they are off: nginx keeps response headers back until the first byte of the
// body, so without one the peer would not hear that it is admitted before the first heartbeat, or ever.
func (p *pump) greet() error {
	var o envelope.Outgoing
	o.Add(envelope.RunOf(envelope.AppendHeartbeat(nil, p.link.Workspace, p.link.Target, false), 1))
	err := p.stream.SendMsg(&o) // it does not wait: gRPC has room for the first bytes of a stream
	o.Free()                    // what gRPC did not take
	return err
}

// read hands on what the sequencing interceptor lets through.
func (s *Service) read(p *pump, stream grpc.ServerStream) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = s.recovered(stream.Context(), v)
		}
	}()
	var b hub.Batch
	defer b.Free()
	for {
		if err := stream.RecvMsg(&b); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		p.link.Forward(&b)
	}
}

// send sends until the queue is empty or the stream has ended. The hub starts it when the link's queue has something and no
// sender runs.
func (p *pump) send() {
	for {
		var o envelope.Outgoing
		if !p.link.Take(batchBytes, &o) {
			return
		}
		err := p.stream.SendMsg(&o)
		o.Free() // what gRPC did not take
		if err != nil {
			p.link.Detach()
			return
		}
	}
}

// sequence is the sequencing interceptor: around the stream's RecvMsg it asks the hub once per batch which envelopes
// pass, and leaves out those that don't. The guard's state lies in the session's entry in route.
func (s *Service) sequence(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	p := stream.Context().Value(pumpKey{}).(*pump)
	return handler(srv, &sequenced{ServerStream: stream, service: s, link: p.link})
}

// sequenced is a stream whose RecvMsg gives only envelopes that passed the guard.
type sequenced struct {
	grpc.ServerStream
	service *Service
	link    *hub.Link
	end     error // what the last batch ended the stream with; owned by the reader
}

// RecvMsg receives into a *hub.Batch. Envelopes in front of one that ends the stream still count: they are returned, and
// the next call returns the error.
func (s *sequenced) RecvMsg(m any) error {
	if s.end != nil {
		return s.end
	}
	b, ok := m.(*hub.Batch)
	if !ok {
		return fmt.Errorf("grpclink: RecvMsg wants a *hub.Batch, not a %T", m)
	}
	for {
		if err := s.ServerStream.RecvMsg(&b.Batch); err != nil {
			return err
		}
		passed, err := s.link.Sequence(b)
		if err != nil {
			s.service.ended(err)
			s.end = rpcerr.Status(err)
		}
		switch {
		case passed > 0:
			return nil
		case err != nil:
			b.Free()
			return s.end
		}
		b.Free()
	}
}
