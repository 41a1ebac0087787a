package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"time"
)

// serveTimeout is how long a relay gets to serve.
const serveTimeout = 15 * time.Second

// relayProcess is `viewport-relay serve`, which can be killed and started again on the same port.
type relayProcess struct {
	// Static.
	path string
	env  []string
	addr string // host:port
	log  io.Writer

	process *process // nil while it does not run
}

// newRelayProcess prepares a relay that asks a platform at these addresses. Run marks the process, settings are those
// of docs/configuration.md.
func newRelayProcess(path, run, jwks, validate string, log io.Writer, settings ...string) (*relayProcess, error) {
	port, err := quietPort()
	if err != nil {
		return nil, err
	}
	env := append([]string{
		runVariable + "=" + run, "RELAY_LISTEN_PORT=" + strconv.Itoa(port), "RELAY_JWKS_URL=" + jwks,
		"RELAY_VALIDATE_URL=" + validate, "RELAY_LOG_LEVEL=warn",
	}, settings...)
	return &relayProcess{path: path, env: env, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), log: log}, nil
}

// quietPort returns a free port of 127.0.0.1 that no outgoing connection gets: one that did while the relay is away
// would keep it from coming back, and one from this port to this port would be answered by itself.
func quietPort() (int, error) {
	const first, count, tries = 10_000, 20_000, 100 // systems give ports from 32768 on, or above
	var last error
	for range tries {
		port := first + rand.IntN(count)
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, ln.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("found no free port for the relay: %w", last)
}

// start starts the relay and returns when it serves.
func (r *relayProcess) start(ctx context.Context) error {
	cmd := exec.Command(r.path, "serve")
	cmd.Env, cmd.Stderr = r.env, r.log
	p, err := startProcess("viewport-relay", cmd)
	if err != nil {
		return err
	}
	r.process = p
	ctx, cancel := context.WithTimeoutCause(ctx, serveTimeout,
		fmt.Errorf("viewport-relay did not serve within %v", serveTimeout))
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-p.done:
			return r.ended()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// kill ends the relay as kill -9 does. The error says that it had ended before, by itself.
func (r *relayProcess) kill() (err error) {
	if r.process == nil {
		return nil
	}
	select {
	case <-r.process.done:
		err = r.ended()
	default:
		r.process.kill()
	}
	r.process = nil
	return err
}

// ended is the error of a relay that has ended by itself.
func (r *relayProcess) ended() error {
	return fmt.Errorf("viewport-relay has ended by itself: %v", r.process.cmd.ProcessState)
}

// stop ends the relay as an operator does, and says if it did not end well.
func (r *relayProcess) stop() error {
	p := r.process
	if p == nil {
		return nil
	}
	r.process = nil
	err := p.end()
	if code := p.exitCode(); code != 0 {
		err = errors.Join(err, fmt.Errorf("viewport-relay ended with %v", p.cmd.ProcessState))
	}
	return err
}
