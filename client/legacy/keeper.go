package legacy

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/getviewport/relay/client"
)

// keeper keeps a Client or a Listener linked to the relay. Sessions end with their link.
type keeper struct {
	// Static.
	cfg     *Config
	role    string
	stray   func(l *link, frame any)
	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	running sync.WaitGroup
	done    chan struct{} // closed when there will be no link any more; err is set before

	// mu guards what follows.
	mu      sync.Mutex
	link    *link         // nil while there is none
	changed chan struct{} // closed and replaced when link or err change
	trouble *client.Error // why the last link ended or the last attempt failed; nil before
	err     *client.Error // why there will be no link any more
}

func newKeeper(ctx context.Context, cfg *Config, role string, stray func(l *link, frame any)) *keeper {
	k := &keeper{cfg: cfg, role: role, stray: stray, done: make(chan struct{}), changed: make(chan struct{})}
	k.ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return k
}

// start lets the keeper run. first, if not nil, is the link to begin with.
func (k *keeper) start(first *link) { k.running.Go(func() { k.run(first) }) }

// close ends the link and its sessions, and returns when all is over.
func (k *keeper) close() {
	k.cancel()
	k.running.Wait()
}

// connect opens a link, on which nothing moves before start.
func (k *keeper) connect(ctx context.Context) (*link, error) {
	return connect(ctx, k.cfg, k.role, k.stray)
}

func connect(ctx context.Context, cfg *Config, role string, stray func(l *link, frame any)) (*link, error) {
	l := newLink(cfg.Log, stray)
	conn, err := dial(ctx, cfg, role, l.pong)
	if err != nil {
		l.cancel()
		return nil, err
	}
	l.conn = conn
	return l, nil
}

// run keeps a link, l to begin with, until close, or until the first attempt is refused for good.
func (k *keeper) run(l *link) {
	defer close(k.done)
	var back backoff
	for attached := l != nil; ; {
		var err error
		if l == nil {
			l, err = k.connect(k.ctx)
		}
		var why *client.Error
		if err == nil {
			attached = true
			why = k.serve(l)
			back.lived(time.Since(l.since))
			l = nil
		} else {
			why = linkError(err)
		}
		switch {
		case k.ctx.Err() != nil:
			k.set(nil, nil, errClosedHere)
			return
		case !attached && final(why):
			k.set(nil, nil, why)
			return
		}
		pause := max(back.next(), why.RetryAfter)
		k.set(nil, why, nil)
		k.cfg.Log.Warn("no link to the relay; connecting again", "error", why, "pause", pause)
		sleep(k.ctx, pause)
	}
}

// serve has sessions on l until it ends, and returns why.
func (k *keeper) serve(l *link) *client.Error {
	l.since = time.Now()
	l.start()
	k.cfg.Log.Info("linked to the relay")
	k.set(l, nil, nil)
	select {
	case <-l.done:
	case <-k.ctx.Done():
	}
	k.set(nil, nil, nil)
	l.closeAndWait()
	return l.err
}

// set notes what there is now.
func (k *keeper) set(l *link, trouble, err *client.Error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.link, k.err = l, err
	if trouble != nil {
		k.trouble = trouble
	}
	close(k.changed)
	k.changed = make(chan struct{})
}

// wait returns the link as soon as there is one. It fails when ctx ends, and when there will be none.
func (k *keeper) wait(ctx context.Context) (*link, error) {
	for {
		k.mu.Lock()
		l, err, trouble, changed := k.link, k.err, k.trouble, k.changed
		k.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case l != nil:
			return l, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if trouble != nil {
				return nil, fmt.Errorf("legacy: no link to the relay (%w): %w", trouble, ctx.Err())
			}
			return nil, ctx.Err()
		}
	}
}

// ended is why there will be no link any more; nil while there may be one.
func (k *keeper) ended() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		return nil
	}
	return k.err
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
