package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/server"
)

// tokenLife is how long the tokens work that are printed or given to processes.
const tokenLife = 24 * time.Hour

// heartbeat is the relay's default interval.
const heartbeat = 20 * time.Second

// addresses are where a stack listens, host:port.
type addresses struct{ relay, admin, platform string }

// stack is a relay and a development platform in this process.
type stack struct {
	// Static.
	addresses
	adminToken string
	platform   *devplatform.Server
	cancel     context.CancelFunc

	// ended is closed when the relay has ended; err is set before.
	ended chan struct{}
	err   error
}

// startStack starts both. Whoever gets a stack must call stop.
func startStack(at addresses, log *slog.Logger) (*stack, error) {
	platformPort, err := claimPorts(at)
	if err != nil {
		return nil, err
	}
	platform, err := devplatform.New(devplatform.Config{})
	if err == nil {
		err = platform.Start(platformPort)
	}
	if err != nil {
		_ = platformPort.Close()
		return nil, fmt.Errorf("--platform-listen %s: %w", at.platform, err)
	}
	s := &stack{platform: platform, adminToken: rand.Text(), ended: make(chan struct{})}
	relay, err := server.New(server.Config{
		Listen: at.relay, AdminListen: at.admin, AdminTokens: []string{s.adminToken}, Version: "viewport-dev " + version,
		JWKSURL: platform.JWKSURL(), ValidateURL: platform.ValidateURL(), Heartbeat: heartbeat, Log: log,
	})
	if err != nil {
		return nil, errors.Join(err, platform.Close())
	}
	s.addresses = addresses{relay.Addr().String(), relay.AdminAddr().String(), platformPort.Addr().String()}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(s.ended)
		s.err = relay.Run(ctx)
	}()
	return s, nil
}

// stop ends both and returns when nothing of them runs. The relay's links should have gone: it waits 2 s for them.
func (s *stack) stop() error {
	s.cancel()
	<-s.ended
	return errors.Join(s.err, s.platform.Close())
}

// token mints a token for a role of devplatform.
func (s *stack) token(role, workspace, target string) (string, error) {
	c := devplatform.Claims{
		// The shortest kind: people paste it.
		Role: role, WorkspaceID: workspace, RuntimeTargetID: target, TTL: tokenLife, Algorithm: devplatform.EdDSA,
	}
	if role == devplatform.RoleDaemon {
		c.InstallID, c.DaemonIssueGeneration = "viewport-dev", 1
	}
	return s.platform.Mint(c)
}

// claimPorts returns the platform's port, and finds out whether the relay will get its two, so that a port in use is
// told with the flag that changes it.
func claimPorts(at addresses) (platform net.Listener, err error) {
	for _, p := range []struct{ flag, address string }{
		{"--listen", at.relay}, {"--admin-listen", at.admin}, {"--platform-listen", at.platform},
	} {
		ln, err := net.Listen("tcp", p.address)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return nil, portInUse(p.flag, p.address)
		case err != nil:
			return nil, fmt.Errorf("%s: %w", p.flag, err)
		}
		if p.address == at.platform && p.flag == "--platform-listen" {
			return ln, nil
		}
		defer func() { _ = ln.Close() }()
	}
	return nil, errors.New("no port for the platform")
}

func portInUse(flag, address string) error {
	return fmt.Errorf("%s %s: the port is in use; end what listens there, or choose another port (0: any free one)",
		flag, address)
}
