package grpclink

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/server/internal/quota"
)

type holdKey struct{}

// reserve is the interceptor that takes a stream's place before anything is done for it, and gives back all that the
// stream has taken when its handler has returned, however that ends. What it refuses costs no token check, and at most
// one line in the log a second.
func (s *Service) reserve(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx := stream.Context()
	if !strings.HasPrefix(info.FullMethod, "/"+relayv1.RelayService_ServiceDesc.ServiceName+"/") {
		hold, refused := s.quotas.Watch()
		if refused != nil {
			return s.turnAway(refused)
		}
		defer hold.Release()
		return handler(srv, stream)
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if n, most := headerBytes(md), s.headerBytes; n > most {
		return s.turnAway(reason.New(reason.FrameTooLarge, "the request metadata is %d bytes, more than %d", n, most).
			With("limit", "header-bytes").With("value", strconv.Itoa(most)))
	}
	hold, refused := s.quotas.Open(address(ctx))
	if refused != nil {
		return s.turnAway(refused)
	}
	defer hold.Release()
	wrapped := middleware.WrapServerStream(stream)
	wrapped.WrappedContext = context.WithValue(ctx, holdKey{}, hold)
	return handler(srv, wrapped)
}

// turnAway refuses a stream at a limit, with a line in the log now and then: a flood is seen by its count.
func (s *Service) turnAway(e *reason.Error) error {
	if s.logged.Allow(time.Now()) {
		s.log.Warn("a limit refuses streams", "reason", e.Code, "limit", e.Meta["limit"], "value", e.Meta["value"])
	}
	return s.refuse(e)
}

// admitted gives up a stream's place among those that wait for admission and takes one of its workspace.
func admitted(ctx context.Context, workspace string) *reason.Error {
	return ctx.Value(holdKey{}).(*quota.Hold).Admit(workspace)
}

// headerBytes is what metadata counts in HTTP/2's header list.
func headerBytes(md metadata.MD) (n int) {
	for key, values := range md {
		for _, v := range values {
			n += len(key) + len(v) + 32
		}
	}
	return n
}

// address is where a stream comes from; the zero Addr if that has no IP address.
func address(ctx context.Context) netip.Addr {
	if p, ok := peer.FromContext(ctx); ok {
		if a, ok := p.Addr.(*net.TCPAddr); ok {
			return a.AddrPort().Addr()
		}
	}
	return netip.Addr{}
}
