// Package grpclink is RelayService over the hub: it turns a gRPC stream into a link and moves batches between the two.
// Around it stand the interceptors for admission (JWT), sequencing and metrics.
//
// It decides nothing about tokens (admission does) or frames (route does, behind the hub).
package grpclink

import (
	"log/slog"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/server/internal/admission"
	"github.com/getviewport/relay/server/internal/hub"
)

// protocolVersion is what viewport-protocol announces.
const protocolVersion = "1"

// Announced is what the relay tells every admitted peer in its response headers.
type Announced struct {
	// RelayID is the identity of this process.
	RelayID string
	// SessionWindow, MaxEnvelope and MaxMessage are in bytes.
	SessionWindow, MaxEnvelope, MaxMessage int
	// Heartbeat is the interval; 0 is off.
	Heartbeat time.Duration
}

func (a Announced) header() metadata.MD {
	return metadata.Pairs(
		"viewport-protocol", protocolVersion,
		"viewport-relay-id", a.RelayID,
		"viewport-session-window", strconv.Itoa(a.SessionWindow),
		"viewport-max-envelope", strconv.Itoa(a.MaxEnvelope),
		"viewport-max-message", strconv.Itoa(a.MaxMessage),
		"viewport-heartbeat", strconv.FormatInt(a.Heartbeat.Milliseconds(), 10),
	)
}

// Service is RelayService.
type Service struct {
	hub      *hub.Hub
	admitter *admission.Admitter
	header   metadata.MD
	log      *slog.Logger
	refused  func(reason.Code)
}

// New returns the service. refused is told of every stream that is not admitted, for counting.
func New(h *hub.Hub, a *admission.Admitter, announced Announced, log *slog.Logger, refused func(reason.Code)) *Service {
	return &Service{hub: h, admitter: a, header: announced.header(), log: log, refused: refused}
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
