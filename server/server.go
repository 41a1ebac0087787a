// Package server is the relay: New makes one from a Config, Run serves until its context ends and returns only when
// nothing of it is left running. Everything else is inside (docs/architecture.md).
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/relayws"
	"github.com/getviewport/relay/server/internal/admin"
	"github.com/getviewport/relay/server/internal/admission"
	"github.com/getviewport/relay/server/internal/grpclink"
	"github.com/getviewport/relay/server/internal/hub"
	"github.com/getviewport/relay/server/internal/legacyrate"
	"github.com/getviewport/relay/server/internal/link"
	"github.com/getviewport/relay/server/internal/listen"
	"github.com/getviewport/relay/server/internal/quota"
	"github.com/getviewport/relay/server/internal/recheck"
	"github.com/getviewport/relay/server/internal/revocation"
	"github.com/getviewport/relay/server/internal/worker"
	"github.com/getviewport/relay/server/internal/wslink"
)

// Server is one relay process. Make it with New, serve with Run.
type Server struct {
	// Static.
	cfg      Config
	started  time.Time
	admitter *admission.Admitter
	hub      *hub.Hub
	quotas   *quota.Quotas
	limits   *quota.Table
	refusals *admin.Refusals
	// revocations are the operator's; recheck hears of the platform's, nil: it is off.
	revocations *revocation.List
	recheck     *recheck.Checker

	public    *port
	webSocket *wslink.Service   // serves public's upgrades
	workers   *worker.Forwarder // nil: workers are not let in
	admin     *port             // nil without an admin token
	health    *health.Server

	ready atomic.Bool
}

// New opens the listeners and makes everything that Run serves; nothing is accepted yet. It fails on a configuration that
// cannot work and on an address that is taken. Whoever does not call Run must call Close.
func New(cfg Config) (*Server, error) {
	if err := cfg.normalise(); err != nil {
		return nil, err
	}
	admitter, err := admission.New(admission.Config{
		JWKSURL: cfg.JWKSURL, ValidateURL: cfg.ValidateURL, InternalKey: cfg.InternalKey,
		Issuer: cfg.Issuer, Audience: cfg.Audience,
		ValidateTimeout: cfg.ValidateTimeout, ValidateConcurrency: cfg.ValidateConcurrency, Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, started: time.Now(), admitter: admitter, refusals: admin.NewRefusals(), health: health.NewServer()}
	s.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	if s.revocations, err = openRevocations(cfg.StateDir); err != nil {
		return nil, err
	}
	s.recheck = s.newRecheck()
	s.hub = hub.New(cfg.Limits.route(cfg.Heartbeat), cfg.Limits.frames())
	s.hub.BoundTargets(cfg.Limits.TargetsPerWorkspace)
	s.hub.Bar(s.revocations.Revoked)
	s.hub.ExpireAfter(cfg.TokenGrace)
	s.quotas = quota.New(cfg.Limits.quotas())
	s.limits = s.limitTable()
	registry := prometheus.NewRegistry()
	if err := s.openPublic(registry); err != nil {
		_ = s.revocations.Close()
		return nil, err
	}
	if err := s.openAdmin(registry); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// openPublic makes the public port: RelayService, grpc.health.v1, the probes and /ws.
func (s *Server) openPublic(registry *prometheus.Registry) error {
	rpc, err := grpclink.NewRPCMetrics(registry)
	if err != nil {
		return err
	}
	limits := s.cfg.Limits
	announced := link.Announced{
		RelayID: s.cfg.RelayID, SessionWindow: limits.SessionWindow, MaxEnvelope: limits.MaxEnvelope,
		MaxMessage: limits.MaxMessage, Heartbeat: s.cfg.Heartbeat,
	}
	refused := func(e *reason.Error) {
		s.refusals.Add(e.Code)
		s.limits.Refused(e)
	}
	service := grpclink.New(grpclink.Config{
		Hub: s.hub, Admitter: s.admitter, Recheck: s.recheck, Quotas: s.quotas, Announced: announced,
		HeaderBytes: limits.HeaderBytes, Log: s.cfg.Log, Refused: refused, Ended: s.limits.Refused,
	})
	rates := legacyrate.New(s.cfg.LegacyRates.limits(limits))
	bridge, err := s.newBridge(rates)
	if err != nil {
		return err
	}
	s.webSocket = wslink.New(wslink.Config{
		Rates: rates, Bridge: bridge,
		Hub: s.hub, Admitter: s.admitter, Recheck: s.recheck, Quotas: s.quotas, Announced: announced,
		MessageBytes: maxMessageBytes, TrustedProxies: s.cfg.TrustedProxies, QueryTokens: s.cfg.QueryTokens,
		Log: s.cfg.Log, Refused: refused, Ended: s.limits.Refused,
	})
	readBuffer := 32 << 10 // gRPC's default, pooled while a connection is silent
	if s.cfg.TLSCert != "" {
		readBuffer = 0 // a TLS connection has its own, and gRPC's would not be pooled
	}
	server := grpc.NewServer(
		grpc.Creds(listen.Credentials()),
		grpc.ReadBufferSize(readBuffer),
		grpc.ForceServerCodecV2(envelope.Codec{}),
		grpc.ChainStreamInterceptor(service.Interceptors(rpc)...),
		grpc.ChainUnaryInterceptor(rpc.Unary()),
		// The two keep no token longer than admission needs it: not with the stream, not in HPACK's table.
		grpc.InTapHandle(grpclink.Tap),
		grpc.HeaderTableSize(0),
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxSendMsgSize(maxMessageBytes),
		grpc.MaxConcurrentStreams(uint32(limits.StreamsPerConnection)),
		// Beyond this HTTP/2 resets a stream without a reason; up to it the limits' interceptor gives one.
		grpc.MaxHeaderListSize(uint32(2*limits.HeaderBytes)),
		grpc.ConnectionTimeout(limits.ConnectTime),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		// Finds peers that vanished even when application heartbeats are off.
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: time.Minute, Timeout: 20 * time.Second, MaxConnectionIdle: limits.IdleTime,
		}),
	)
	service.Register(server)
	healthv1.RegisterHealthServer(server, s.health)
	rpc.Preset(server)
	var tlsConfig *tls.Config
	if s.cfg.TLSCert != "" {
		if tlsConfig, err = listen.LoadTLS(s.cfg.TLSCert, s.cfg.TLSKey); err != nil {
			return err
		}
	}
	s.public, err = newPort(s.cfg.Listen, server, s.publicHTTP(), listen.Options{
		TLS: tlsConfig, SniffTimeout: limits.ConnectTime, MaxPending: limits.PendingConnections, Log: s.cfg.Log,
	})
	return err
}

// openAdmin makes the admin port: AdminService with reflection, and /metrics, every call behind the admin token.
func (s *Server) openAdmin(registry *prometheus.Registry) error {
	tokens := admin.NewTokens(s.cfg.AdminTokens)
	metrics, err := admin.Metrics(registry, admin.Sources{
		Hub: s.hub, Refusals: s.refusals, Admitter: s.admitter, Recheck: s.recheck, Limits: s.limits,
	})
	if err != nil || tokens.None() {
		return err
	}
	server := grpc.NewServer(
		grpc.Creds(listen.Credentials()),
		grpc.ChainUnaryInterceptor(tokens.Unary()),
		grpc.ChainStreamInterceptor(tokens.Stream()),
	)
	relayv1.RegisterAdminServiceServer(server, &admin.Service{
		RelayID: s.cfg.RelayID, Version: s.cfg.Version, Started: s.started, Hub: s.hub, Revocations: s.revocations,
		Refusals: s.refusals, Ready: s.readiness, Limited: s.limits.Refused, Log: s.cfg.Log,
	})
	reflection.Register(server)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	s.admin, err = newPort(s.cfg.AdminListen, server, tokens.HTTP(mux), listen.Options{Log: s.cfg.Log})
	return err
}

// Addr is the address of the public port.
func (s *Server) Addr() net.Addr { return s.public.mux.Addr() }

// AdminAddr is the address of the admin port; nil if there is none.
func (s *Server) AdminAddr() net.Addr {
	if s.admin == nil {
		return nil
	}
	return s.admin.mux.Addr()
}

// Close closes the ports of a Server whose Run was never called.
func (s *Server) Close() error {
	err := s.public.mux.Close()
	if s.admin != nil {
		err = errors.Join(err, s.admin.mux.Close())
	}
	return errors.Join(err, s.revocations.Close())
}

// Run serves until ctx ends, then drains as Config.ReadinessDelay and Config.DrainTime say, and ends. It returns nil after
// that, and an error when a listener failed. Call it once.
func (s *Server) Run(ctx context.Context) error {
	serving, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	public, closePublic := context.WithCancel(serving)
	defer closePublic()
	var running, links sync.WaitGroup
	run := func(in *sync.WaitGroup, ctx context.Context, name string, f func(context.Context) error) {
		in.Go(func() {
			if err := f(ctx); err != nil {
				stop(fmt.Errorf("server: %s: %w", name, err))
			}
		})
	}
	run(&running, serving, "admission", s.admitter.Run)
	if s.recheck != nil {
		run(&running, serving, "re-check", s.recheck.Run)
	}
	run(&links, public, "public port", s.public.run)
	if s.admin != nil {
		run(&running, serving, "admin port", s.admin.run)
	}
	s.setReady(true)
	s.cfg.Log.Info("serving", "relay_id", s.cfg.RelayID, "version", s.cfg.Version, "listen", s.Addr().String(),
		"tls", s.cfg.TLSCert != "", "admin", addrText(s.AdminAddr()))

	why := ctx
	select {
	case <-ctx.Done():
	case <-serving.Done():
		why = serving
	}
	s.drain(serving, context.Cause(why))
	// The admin port answers, and admission may be asked, until no stream is left.
	closePublic()
	links.Wait()
	s.webSocket.Wait()
	stop(nil)
	running.Wait()
	s.hub.Wait()
	if s.workers != nil {
		s.workers.Close()
	}
	if err := s.revocations.Close(); err != nil {
		s.cfg.Log.Warn("the state folder was not given back in order", "error", err)
	}
	s.cfg.Log.Info("stopped")
	if err := context.Cause(serving); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (s *Server) setReady(ready bool) {
	s.ready.Store(ready)
	status := healthv1.HealthCheckResponse_NOT_SERVING
	if ready {
		status = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", status)
}

// readiness reports whether new links can be admitted, and if not why.
func (s *Server) readiness() (ok bool, why string) {
	switch {
	case !s.ready.Load():
		return false, "not serving: starting or draining"
	case s.cfg.JWKSURL != "" && s.admitter.Stats().Keys == 0:
		return false, "no keys from the platform yet (RELAY_JWKS_URL)"
	}
	return true, ""
}

func addrText(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// publicHTTP is what the public port serves over HTTP/1.1: WebSocket, and what load balancers and orchestrators ask. That
// tells no detail, for anybody can ask.
func (s *Server) publicHTTP() http.Handler {
	answer := func(ok func() bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			if !ok() {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = w.Write([]byte(`{"ok":false}` + "\n"))
				return
			}
			_, _ = w.Write([]byte(`{"ok":true}` + "\n"))
		}
	}
	alive := func() bool { return true }
	mux := http.NewServeMux()
	mux.Handle(relayws.Path, s.webSocket)
	mux.HandleFunc("GET /health", answer(alive))
	mux.HandleFunc("GET /livez", answer(alive))
	mux.HandleFunc("GET /readyz", answer(func() bool { ok, _ := s.readiness(); return ok }))
	return mux
}
