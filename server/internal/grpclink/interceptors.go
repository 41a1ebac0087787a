package grpclink

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/tap"

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

// onlyRelay keeps an interceptor to RelayService: health checks carry no token. (The middleware's selector would do, but
// its frames stay on the stack of every link.)
func onlyRelay(i grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if !strings.HasPrefix(info.FullMethod, "/"+relayv1.RelayService_ServiceDesc.ServiceName+"/") {
			return handler(srv, stream)
		}
		return i(srv, stream, info, handler)
	}
}

type grantKey struct{}

// granted is an admitted stream.
type granted struct {
	admission.Grant
	// token is kept for re-checks until attach hands it on; nil without them. A stream's context lives as long as the
	// stream, so nothing else in it may have the token.
	token []byte
}

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
	scheme, token, _ := strings.Cut(takeBearer(ctx), " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return nil, s.refuse(&reason.Error{Code: reason.TokenMissing})
	}
	request.Token = token
	grant, err := s.ask(ctx, request)
	if err != nil {
		return nil, s.refuse(reason.Of(err))
	}
	g := &granted{Grant: grant}
	if s.recheck != nil {
		g.token = []byte(token)
	}
	return context.WithValue(ctx, grantKey{}, g), nil
}

type authorizationKey struct{}

// authorization is what a stream brought as authorization, until admission takes it.
type authorization struct{ value string }

// Tap takes the bearer token out of a stream's metadata before anything else sees it (grpc.InTapHandle): gRPC keeps the
// metadata for as long as the stream lives, and the relay wants the token only until it is validated, and then, for
// re-checks, in one place that is wiped.
func Tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	a := &authorization{single(info.Header, metaAuthorization)}
	delete(info.Header, metaAuthorization)
	return context.WithValue(ctx, authorizationKey{}, a), nil
}

// takeBearer returns the authorization that Tap kept, once.
func takeBearer(ctx context.Context) string {
	a, ok := ctx.Value(authorizationKey{}).(*authorization)
	if !ok {
		return ""
	}
	value := a.value
	a.value = ""
	return value
}

// ask has the admitter decide in a goroutine of its own: what checks a signature needs a deep stack, which the link's
// would keep for as long as the link lives.
func (s *Service) ask(ctx context.Context, r admission.Request) (grant admission.Grant, err error) {
	done := make(chan struct{})
	s.hub.Go(func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				err = s.recovered(ctx, v)
			}
		}()
		grant, err = s.admitter.Admit(ctx, r)
	})
	<-done
	return grant, err
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
