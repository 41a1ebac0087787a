package grpclink

import (
	grpcprometheus "github.com/grpc-ecosystem/go-grpc-prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// RPCMetrics are the standard metrics of gRPC servers (grpc_server_started_total and so on). go-grpc-prometheus is
// archived upstream, so nothing outside this file knows it.
type RPCMetrics struct{ m *grpcprometheus.ServerMetrics }

// NewRPCMetrics registers the metrics with r.
func NewRPCMetrics(r prometheus.Registerer) (*RPCMetrics, error) {
	m := grpcprometheus.NewServerMetrics()
	if err := r.Register(m); err != nil {
		return nil, err
	}
	return &RPCMetrics{m}, nil
}

// Stream counts streams and their messages: per batch, which it is cheap enough for, never per envelope.
func (r *RPCMetrics) Stream() grpc.StreamServerInterceptor { return r.m.StreamServerInterceptor() }

// Unary counts calls.
func (r *RPCMetrics) Unary() grpc.UnaryServerInterceptor { return r.m.UnaryServerInterceptor() }

// Preset makes every method of s visible as zero before its first call.
func (r *RPCMetrics) Preset(s *grpc.Server) { r.m.InitializeMetrics(s) }
