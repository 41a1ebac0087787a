package client

import (
	"context"
	"errors"
	"sync"
	"time"

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

// Listener is a daemon at the relay: it accepts sessions and reconnects by itself until Close.
type Listener struct {
	// Static.
	cfg      ListenConfig
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	accepted chan *Session
	attached chan struct{} // closed when a link was admitted for the first time
	done     chan struct{} // closed when it gave up or was closed; err is set before
	intake   *intake
	err      error

	running sync.WaitGroup // the loop and what intake started
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
	l := &Listener{
		cfg: cfg, accepted: make(chan *Session, backlog),
		attached: make(chan struct{}), done: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.intake = newIntake(l, static)
	l.running.Add(1)
	go l.loop()
	select {
	case <-l.attached:
		return l, nil
	case <-l.done:
		return nil, l.err
	case <-ctx.Done():
		_ = l.Close()
		return nil, context.Cause(ctx)
	}
}

// Accept returns the next session, whose client has proved itself and is authorised. It fails when ctx ends, after Close,
// and when the relay refused the daemon for good.
func (l *Listener) Accept(ctx context.Context) (*Session, error) {
	select {
	case s := <-l.accepted:
		return s, nil
	case <-l.done:
		return nil, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Done is closed when the Listener has ended; Accept then says why.
func (l *Listener) Done() <-chan struct{} { return l.done }

// Close ends the Listener and its link; sessions that still live end with LinkLost. It returns when all is over.
func (l *Listener) Close() error {
	l.cancel()
	l.running.Wait()
	return nil
}

// loop keeps a link to the relay.
func (l *Listener) loop() {
	defer l.running.Done()
	defer close(l.done)
	var back backoff
	for attempt := 1; ; attempt++ {
		link, err := connect(l.ctx, &l.cfg.Config, "ConnectDaemon", attempt, l.intake.orphan)
		if err == nil {
			l.cfg.Log.Info("attached to the relay", "relay_id", link.relay.relayID)
			if !isClosed(l.attached) {
				close(l.attached)
			}
			since := time.Now()
			select {
			case <-link.done:
			case <-l.ctx.Done():
			}
			link.closeAndWait()
			err = link.err
			if back.healthy(time.Since(since)) {
				attempt = 0
			}
		}
		if l.ctx.Err() != nil {
			l.err = &Error{Reason: Closed, By: "local", Text: "the listener was closed here"}
			return
		}
		pause, final := back.after(linkError(err))
		if final != nil {
			l.err = final
			return
		}
		l.cfg.Log.Warn("no link to the relay; connecting again", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-l.ctx.Done():
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
