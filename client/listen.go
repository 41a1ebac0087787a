package client

import (
	"context"
	"errors"
	"sync"

	"github.com/getviewport/relay/client/identity"
)

// backlog is how many sessions wait for Accept; more are cancelled.
const backlog = 128

// ListenConfig is what a daemon needs beside the relay's address.
type ListenConfig struct {
	Config
	// Identity is the daemon's static key.
	Identity identity.Identity
	// Authorise decides who may open a session; Paired makes one from an identity.Store.
	Authorise Authorise
}

// Listener is a daemon at the relay: it accepts sessions, and reconnects by itself until Close or until the relay refuses
// it for good.
type Listener struct {
	// Static.
	cfg      ListenConfig
	keeper   *keeper
	accepted chan *Session
	intake   *intake

	running sync.WaitGroup // what intake started
}

// Listen starts a daemon and returns when the relay has admitted it. As long as the reason may pass (no network, a relay
// that is away or full) it tries again with growing pauses until ctx ends; a final reason is returned at once. After that ctx
// has no more effect: Close ends the Listener.
func Listen(ctx context.Context, cfg ListenConfig) (*Listener, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := checkIdentity(cfg.Identity, identity.Daemon, cfg.Workspace); err != nil {
		return nil, err
	}
	if cfg.Authorise == nil {
		return nil, errors.New("client: ListenConfig.Authorise is not set; Paired makes one from a store")
	}
	static, err := keyPair(cfg.Identity)
	if err != nil {
		return nil, err
	}
	l := &Listener{cfg: cfg, accepted: make(chan *Session, backlog)}
	l.keeper = newKeeper(ctx, &l.cfg.Config, "ConnectDaemon")
	l.intake = newIntake(l, static)
	l.keeper.orphan, l.keeper.gone = l.intake.orphan, l.intake.note
	l.keeper.start(nil)
	if _, err := l.keeper.wait(ctx); err != nil {
		_ = l.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return l, nil
}

// Accept returns the next session, whose client has proved itself and is authorised. It fails when ctx ends, after Close,
// and when the relay refused the daemon for good.
func (l *Listener) Accept(ctx context.Context) (*Session, error) {
	select {
	case s := <-l.accepted:
		return s, nil
	case <-l.keeper.done:
		return nil, l.keeper.ended()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Done is closed when the Listener has ended; Accept then says why.
func (l *Listener) Done() <-chan struct{} { return l.keeper.done }

// Transport is over what the link to the relay goes, or went if there is none now: "grpc" or "websocket".
func (l *Listener) Transport() string { return l.keeper.transport() }

// Close ends the Listener and its link. Sessions that still live are cancelled, at both ends. It returns when all is over.
func (l *Listener) Close() error {
	l.keeper.close()
	l.running.Wait()
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
