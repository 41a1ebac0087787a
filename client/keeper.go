package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

// daemonPatience is how long Open waits for a daemon that was there and is away: when a relay or a network comes back,
// client and daemon seldom come back in the same instant.
const daemonPatience = 30 * time.Second

// keeper keeps a Client or a Listener linked to the relay and carries its sessions from one link to the next.
type keeper struct {
	// Static.
	cfg     *Config
	dialer  *dialer                        // used by whoever starts it, and then by run
	orphan  func(*envelope.Header, []byte) // a frame of a session that is not here; must not block; nil: dropped
	gone    func(id string)                // a session was forgotten; must not block; nil: nobody cares
	ctx     context.Context                // ends with close
	cancel  context.CancelFunc
	running sync.WaitGroup // run, and links that are being closed
	done    chan struct{}  // closed when there will be no link any more; err is set before

	// mu guards what follows. It is taken after a session's mutex, never before it.
	mu       sync.Mutex
	sessions map[string]*Session
	link     *link         // nil while there is none
	over     string        // by what the last link goes or went
	changed  chan struct{} // closed and replaced when link, err or the daemon's presence change
	trouble  *Error        // why the last link ended or the last attempt failed; nil before
	err      *Error        // why there will be no link any more
	daemon   presence      // what a client knows of its daemon
}

// errClosedHere is what is left of a Client or Listener after Close, and how sessions end that still lived.
var errClosedHere = &Error{Reason: Closed, By: "local", Text: "the link to the relay was closed here"}

// presence is whether a client's daemon is there, by what the relay and the sessions say.
type presence struct {
	here   bool      // it was, and nothing said that it left
	expect time.Time // when it is away: until when it is expected back; zero: it never was there
}

func newKeeper(ctx context.Context, cfg *Config, method string) *keeper {
	k := &keeper{
		cfg: cfg, dialer: &dialer{cfg: cfg, method: method}, done: make(chan struct{}),
		sessions: make(map[string]*Session), changed: make(chan struct{}),
	}
	k.ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return k
}

// start lets the keeper run. first, if not nil, is the link to begin with.
func (k *keeper) start(first *link) {
	if first != nil {
		k.over = first.name
	}
	k.running.Go(func() { k.run(first) })
}

// close cancels the sessions that still live, ends the link, and returns when all is over.
func (k *keeper) close() {
	k.cancel()
	k.running.Wait()
}

// run keeps a link, l to begin with, until close or a reason that is final.
func (k *keeper) run(l *link) {
	defer close(k.done)
	var back backoff
	for attempt := 1; ; attempt++ {
		var err error
		if l == nil {
			l, err = k.dialer.connect(k.ctx, attempt)
		}
		if err == nil {
			back.attached = true
			k.cfg.Log.Info("attached to the relay", "relay_id", l.relay.relayID, "transport", l.name)
			l, err = k.serve(l, &back)
			if back.healthy(time.Since(l.since)) {
				attempt = 0
			}
			l = nil
		}
		if k.ctx.Err() != nil {
			k.giveUp(errClosedHere)
			return
		}
		why := linkError(err)
		pause, final := back.after(why)
		if final != nil {
			k.giveUp(linkError(final))
			return
		}
		k.cfg.Log.Warn("no link to the relay; connecting again", "error", why, "pause", pause)
		k.mu.Lock()
		k.trouble = why
		k.mu.Unlock()
		sleep(k.ctx, pause)
	}
}

// serve carries the sessions on l, and on each link that replaces it in good time, and returns the last one and why it
// ended. How often a relay may have a link replaced is back's business: one that tells each to leave at once is not
// obeyed at once.
func (k *keeper) serve(l *link, back *backoff) (*link, error) {
	k.install(l)
	var again backoff
	renewal := time.NewTimer(l.renewIn())
	defer renewal.Stop()
	for {
		select {
		case <-l.done:
			k.drop(l)
			l.closeAndWait()
			return l, l.err
		case <-k.ctx.Done():
			k.cancelSessions()
			l.closeAndWait()
			return l, l.err
		case after := <-l.leave:
			if !l.leaving { // told again it is another time, and the same pause
				back.healthy(time.Since(l.since))
				l.leaving, l.pace = true, back.next()
			}
			renewal.Reset(after + l.pace)
			continue
		case <-renewal.C:
		}
		next, pause := k.renew(l, &again)
		if next == nil {
			renewal.Reset(pause)
			continue
		}
		k.install(next)
		k.running.Go(l.closeAndWait)
		l, again = next, backoff{}
		renewal.Reset(l.renewIn())
	}
}

// renew opens the link that shall take over from l, which goes on meanwhile, or says how long to wait before the next
// attempt. A link that is not asked to leave is only worth replacing with a token that lasts longer.
func (k *keeper) renew(l *link, again *backoff) (next *link, pause time.Duration) {
	ctx, stop := context.WithTimeout(k.ctx, dialTimeout)
	defer stop()
	token, err := k.cfg.token(ctx)
	if err == nil && !l.leaving && !token.expires.After(l.expires) {
		return nil, max(time.Until(l.expires)/2, renewRetry)
	}
	if err == nil {
		next, err = k.dialer.connectWith(ctx, token, 1)
	}
	if err == nil {
		k.cfg.Log.Info("moved to a new link", "relay_id", next.relay.relayID, "transport", next.name)
		return next, 0
	}
	why := linkError(err)
	if pause, err = again.after(why); err != nil {
		pause = maxPause // what is final for a new link is not for the one that lives
	}
	k.cfg.Log.Warn("could not replace the link in good time; trying again", "error", why, "pause", pause)
	return nil, pause
}

// install makes l the link of all sessions and starts it. Those that live come before those that are over, which only
// answer their peers.
func (k *keeper) install(l *link) {
	l.keeper, l.since = k, time.Now()
	k.mu.Lock()
	if k.link == nil && k.trouble != nil {
		k.daemon.expect = time.Now().Add(daemonPatience) // it may come back after us
	}
	k.link, k.over = l, l.name
	k.notify()
	all := k.all()
	k.mu.Unlock()
	for _, over := range []bool{false, true} {
		for _, s := range all {
			if isClosed(s.over) == over {
				s.linkUp(l)
			}
		}
	}
	l.start()
}

// drop takes l, which has ended, from the sessions that were on it.
func (k *keeper) drop(l *link) {
	k.mu.Lock()
	if k.link == l {
		k.link = nil
		k.notify()
	}
	k.trouble = l.err
	all := k.all()
	k.mu.Unlock()
	for _, s := range all {
		s.linkLost(l)
	}
}

// cancelSessions ends all sessions so that their peers are told.
func (k *keeper) cancelSessions() {
	k.mu.Lock()
	all := k.all()
	k.mu.Unlock()
	for _, s := range all {
		s.abort(reason.Closed)
	}
}

// giveUp ends all sessions with e.
func (k *keeper) giveUp(e *Error) {
	k.mu.Lock()
	k.err, k.link = e, nil
	k.notify()
	all := k.all()
	k.mu.Unlock()
	for _, s := range all {
		s.abandon(e)
	}
}

// notify wakes whoever waits for a change. Called with k.mu held.
func (k *keeper) notify() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// all are the sessions there are. Called with k.mu held.
func (k *keeper) all() []*Session {
	all := make([]*Session, 0, len(k.sessions))
	for _, s := range k.sessions {
		all = append(all, s)
	}
	return all
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
				return nil, fmt.Errorf("client: no link to the relay (%w): %w", trouble, ctx.Err())
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

// current is the link, nil while there is none.
func (k *keeper) current() *link {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.link
}

// transport is over what the link goes, or went if there is none now.
func (k *keeper) transport() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.over
}

// add registers a session that nothing was done with yet; it fails while there is no link.
func (k *keeper) add(s *Session) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.err != nil:
		return k.err
	case k.link == nil:
		return &Error{Reason: LinkLost, By: "link", Text: "there is no link to the relay"}
	}
	s.on = k.link
	k.sessions[s.id] = s
	return nil
}

// remove forgets a session whose machine has nothing left to do on the wire. Called with s.mu held.
func (k *keeper) remove(s *Session) {
	k.mu.Lock()
	known := k.sessions[s.id] == s
	if known {
		delete(k.sessions, s.id)
	}
	k.mu.Unlock()
	if known && k.gone != nil {
		k.gone(s.id)
	}
}

// receive hands an envelope of a session to it.
func (k *keeper) receive(l *link, h *envelope.Header, ciphertext []byte, now time.Time) {
	k.mu.Lock()
	s := k.sessions[string(h.Session)]
	k.mu.Unlock()
	if s != nil {
		s.receive(l, h, ciphertext, now)
	} else if k.orphan != nil {
		k.orphan(h, ciphertext)
	}
}

// status handles a STATUS about the whole link: a reason that ends streams is followed by the end of this one, which
// reports it; the others concern every session.
func (k *keeper) status(l *link, st envelope.Status, now time.Time) {
	switch st.Code {
	case reason.Draining:
		l.askToLeave(st.RetryAfter)
		return
	case reason.PeerAvailable, reason.PeerUnavailable:
		k.daemonIs(st.Code == reason.PeerAvailable, st.RetryAfter > 0)
	}
	k.mu.Lock()
	all := k.all()
	k.mu.Unlock()
	for _, s := range all {
		s.linkStatus(l, st, now)
	}
}

// daemonIs notes whether the daemon is there; if it is not, left says that the relay has seen it leave a moment ago.
func (k *keeper) daemonIs(here, left bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !here && (k.daemon.here || left && k.daemon.expect.IsZero()) {
		k.daemon.expect = time.Now().Add(daemonPatience)
	}
	if here {
		k.daemon.expect = time.Time{}
	}
	if k.daemon.here != here {
		k.daemon.here = here
		k.notify()
	}
}

// waitForDaemon waits for a daemon that is away to come back, or for another link, and reports whether to try again: not
// if it never was there, and not when it is not expected any more.
func (k *keeper) waitForDaemon(ctx context.Context) bool {
	k.mu.Lock()
	left, here, changed := time.Until(k.daemon.expect), k.daemon.here, k.changed
	k.mu.Unlock()
	switch {
	case here:
		return true
	case left <= 0:
		return false
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}

// reply queues an envelope that belongs to no session here, if there is a link.
func (k *keeper) reply(e []byte) {
	if l := k.current(); l != nil {
		l.reply(e)
	}
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
