// Package grpclink is RelayService over the hub: it turns a gRPC stream into a link and moves batches between the two.
// Around it stand the interceptors for admission (JWT), sequencing and metrics.
//
// It decides nothing about tokens (admission does) or frames (route does, behind the hub).
package grpclink

import (
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/server/internal/admission"
	"github.com/getviewport/relay/server/internal/hub"
	"github.com/getviewport/relay/server/internal/link"
	"github.com/getviewport/relay/server/internal/quota"
	"github.com/getviewport/relay/server/internal/recheck"
)

// header is what a peer is told, as metadata.
func header(a link.Announced) metadata.MD {
	md := make(metadata.MD)
	for _, p := range a.Pairs() {
		md.Set(p[0], p[1])
	}
	return md
}

// Service is RelayService.
type Service struct {
	hub      *hub.Hub
	admitter *admission.Admitter
	recheck  *recheck.Checker
	quotas   *quota.Quotas
	header   metadata.MD
	// headerBytes is the most request metadata of a stream.
	headerBytes int
	log         *slog.Logger
	refused     func(*reason.Error)
	ended       func(*reason.Error)

	logged link.EverySecond // turnAway's lines
}

// Config is what a Service is made of.
type Config struct {
	Hub      *hub.Hub
	Admitter *admission.Admitter
	// Recheck asks the platform about the tokens of live links; nil: nothing does, and no token is kept.
	Recheck *recheck.Checker
	Quotas  *quota.Quotas
	// Announced is told to every peer.
	Announced link.Announced
	// HeaderBytes is the most request metadata that a stream may bring, counted as in RFC 9113, section 6.5.2.
	HeaderBytes int
	Log         *slog.Logger
	// Refused is told of every stream that is not admitted, Ended of every one that ends because of a bad message: both
	// for counting.
	Refused, Ended func(*reason.Error)
}

// New returns the service.
func New(c Config) *Service {
	return &Service{
		hub: c.Hub, admitter: c.Admitter, recheck: c.Recheck, quotas: c.Quotas, header: header(c.Announced), headerBytes: c.HeaderBytes,
		log:     c.Log,
		refused: c.Refused, ended: c.Ended,
	}
}

// Register adds the service to a server, which must use envelope.Codec: the handlers take raw batches, so the generated
// registration, which decodes every envelope, does not serve.
func (s *Service) Register(server *grpc.Server) {
	desc := relayv1.RelayService_ServiceDesc
	desc.HandlerType = (*any)(nil)
	desc.Streams = []grpc.StreamDesc{
		{StreamName: "ConnectDaemon", Handler: serve, ServerStreams: true, ClientStreams: true},
		{StreamName: "ConnectClient", Handler: serve, ServerStreams: true, ClientStreams: true},
	}
	server.RegisterService(&desc, s)
}

// serve is the handler of both calls: what differs between a daemon and a client was decided at admission and is kept by
// the link.
func serve(service any, stream grpc.ServerStream) error {
	return service.(*Service).run(stream)
}
