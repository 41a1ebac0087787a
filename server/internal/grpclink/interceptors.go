package grpclink

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/selector"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/rpcerr"
	"github.com/getviewport/relay/server/internal/admission"
)

// Request metadata of RelayService (docs/protocol.md, Service).
const (
	metaAuthorization = "authorization"
	metaWorkspace     = "viewport-workspace-id"
	metaTarget        = "viewport-runtime-target-id"
	metaVersion       = "viewport-version"
	metaAttempt       = "viewport-connect-attempt"
)

// Interceptors returns what stands around every stream, outermost first: RPC metrics, limits, logging, recovery,
// admission (JWT) and, inside the admitted stream, link and sequencing.
func (s *Service) Interceptors(rpc *RPCMetrics) []grpc.StreamServerInterceptor {
	return []grpc.StreamServerInterceptor{
		rpc.Stream(),
		s.reserve,
		logging.StreamServerInterceptor(logTo(s.log), logging.WithLogOnEvents(logging.FinishCall),
			logging.WithLevels(logLevel), logging.WithDisableLoggingFields(logging.ComponentFieldKey)),
		recovery.StreamServerInterceptor(recovery.WithRecoveryHandlerContext(s.recovered)),
		onlyRelay(auth.StreamServerInterceptor(s.admit)),
		onlyRelay(s.attach),
		onlyRelay(s.sequence),
	}
}

// onlyRelay keeps an interceptor to RelayService: health checks carry no token.
func onlyRelay(i grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	return selector.StreamServerInterceptor(i, selector.MatchFunc(func(_ context.Context, c interceptors.CallMeta) bool {
		return c.Service == relayv1.RelayService_ServiceDesc.ServiceName
	}))
}

type grantKey struct{}

// admit is the JWT interceptor: it turns the bearer token into a Grant, or the stream into a refusal.
func (s *Service) admit(ctx context.Context) (context.Context, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	request := admission.Request{Workspace: single(md, metaWorkspace), Target: single(md, metaTarget)}
	switch method, _ := grpc.Method(ctx); method {
	case relayv1.RelayService_ConnectDaemon_FullMethodName:
		request.Role = admission.RoleDaemon
	case relayv1.RelayService_ConnectClient_FullMethodName:
		request.Role = admission.RoleClient
	}
	scheme, token, _ := strings.Cut(single(md, metaAuthorization), " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return nil, s.refuse(&reason.Error{Code: reason.TokenMissing})
	}
	request.Token = token
	grant, err := s.admitter.Admit(ctx, request)
	if err != nil {
		return nil, s.refuse(reason.Of(err))
	}
	return context.WithValue(ctx, grantKey{}, grant), nil
}

// single returns the one value of a metadata key, or nothing if it is absent or doubled: whoever sends two must not have
// one part of the relay look at the first and another at the second.
func single(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) == 1 {
		return v[0]
	}
	return ""
}

// refuse counts a refusal and returns it as gRPC sends it.
func (s *Service) refuse(e *reason.Error) error {
	s.refused(e)
	return rpcerr.Status(e)
}

// recovered turns a panic into an error of this one stream.
func (s *Service) recovered(_ context.Context, p any) error {
	// The value may hold anything; its type and the stack are enough to find the fault.
	s.log.Error("panic in a stream", "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	return rpcerr.Status(&reason.Error{Code: reason.Internal})
}

func logTo(l *slog.Logger) logging.Logger {
	return logging.LoggerFunc(func(ctx context.Context, level logging.Level, msg string, fields ...any) {
		l.Log(ctx, slog.Level(level), msg, fields...)
	})
}

// logLevel makes a refusal or a lost link a warning: the relay itself is well.
func logLevel(c codes.Code) logging.Level {
	switch c {
	case codes.OK, codes.Canceled:
		return logging.LevelInfo
	case codes.Internal:
		return logging.LevelError
	}
	return logging.LevelWarn
}
