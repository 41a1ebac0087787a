// Package hub holds the goroutines and locks around package route: it finds the target of a link, runs one step of the
// target's machine under the target's mutex, and carries out what the machine decided.
//
// It knows no transport: a link hands in received batches and is told when there is something to send. It decides
// nothing about sessions, sequences or budgets: route does.
package hub

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/server/internal/quota"
	"github.com/getviewport/relay/server/internal/revocation"
)

// Hub is all targets of one relay process. Make it with New; Drain and Wait end it.
type Hub struct {
	// Static.
	limits route.Limits
	frames envelope.Limits
	budget *route.Budget
	drops  *route.Drops
	// refusals counts what the machines' limits refused.
	refusals *route.Refusals
	// revoked says which links get none, under the target's mutex; grace is how long a link may outlive its token.
	revoked func(revocation.Names) bool
	grace   time.Duration
	ends    Ends

	// serial is the serial of the link that came last (docs/protocol.md, Links). Drawn under a target's mutex.
	serial atomic.Uint64
	// running counts the goroutines of Go, and the timers of targets that are armed or fire.
	running sync.WaitGroup

	// present counts the links from Attach to the end of Detach, those that wait included. left has an element when one
	// has gone since Drain looked.
	present atomic.Int64
	left    chan struct{}
	// closed is why no link is admitted any more; nil while open. Set under mu: from then on targets gets no new one, and
	// whoever takes a target's mutex afterwards sees it.
	closed atomic.Pointer[reason.Error]

	// mu guards what follows. It is taken before a target's mutex, never after it, and never on the path of a frame.
	mu      sync.RWMutex
	targets map[key]*target
	// workspaces has how many targets a workspace has, which may be at most perWorkspace (0: any number).
	workspaces   map[string]int
	perWorkspace int
	// endedIn and endedOut count the traffic of links that have ended; those that live count for themselves.
	endedIn, endedOut route.Traffic
}

type key struct{ workspace, target string }

// New returns an empty hub.
func New(limits route.Limits, frames envelope.Limits) *Hub {
	limits = limits.WithDefaults()
	return &Hub{
		limits: limits, frames: frames, budget: route.NewBudget(limits.ProcessBytes), drops: new(route.Drops),
		refusals: new(route.Refusals), left: make(chan struct{}, 1),
		targets: make(map[key]*target), workspaces: make(map[string]int),
		revoked: func(revocation.Names) bool { return false },
	}
}

// TargetsPerWorkspace is the limit of BoundTargets in errors and metrics.
const TargetsPerWorkspace = "targets-per-workspace"

// BoundTargets lets a workspace have at most n targets, those included that no link has any more and that are
// remembered for their sessions or their daemon's generation. 0: any number, which is so until it is called.
func (h *Hub) BoundTargets(n int) {
	h.mu.Lock()
	h.perWorkspace = n
	h.mu.Unlock()
}

// Go runs f in a goroutine that Wait waits for.
func (h *Hub) Go(f func()) { h.running.Go(f) }

// Wait returns when nothing of the hub runs any more. Call it after Drain, when the transports have ended.
func (h *Hub) Wait() {
	for _, t := range h.all() {
		t.stop()
	}
	h.running.Wait()
}

// Attach admits a link for the target in info, or says why not with a *reason.Error. It waits while an older daemon of
// another install is probed, at most for the probe's time-out. send is called, under the target's mutex, when the link
// has something to send and no sender runs: it starts one, which calls Take until that is false. The caller calls Detach
// when the transport has ended.
func (h *Hub) Attach(ctx context.Context, info Info, send func()) (*Link, error) {
	h.present.Add(1)
	l, err := h.attach(ctx, info, send)
	if err != nil {
		h.gone()
	}
	return l, err
}

func (h *Hub) attach(ctx context.Context, info Info, send func()) (*Link, error) {
	l := &Link{Info: info, Since: time.Now(), hub: h, send: send, done: make(chan struct{}), verdict: make(chan *reason.Error, 1)}
	for {
		t, err := h.find(key{info.Workspace, info.Target})
		if err != nil {
			return nil, err
		}
		if t.attach(l) {
			break
		}
	}
	select {
	case err := <-l.verdict:
		if err != nil {
			return nil, err
		}
		return l, nil
	case <-ctx.Done():
		l.detach()
		return nil, ctx.Err()
	}
}

// gone tells Drain that a link is no longer present.
func (h *Hub) gone() {
	h.present.Add(-1)
	select {
	case h.left <- struct{}{}:
	default: // Drain has not looked since the one before
	}
}

// find returns the target of k, making it if need be and if its workspace may have another one.
func (h *Hub) find(k key) (*target, error) {
	h.mu.RLock()
	t := h.targets[k]
	h.mu.RUnlock()
	if t != nil {
		return t, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if why := h.closed.Load(); why != nil {
		return nil, why
	}
	if t = h.targets[k]; t != nil {
		return t, nil
	}
	if n := h.workspaces[k.workspace]; h.perWorkspace > 0 && n >= h.perWorkspace {
		return nil, quota.Refusal(TargetsPerWorkspace, h.perWorkspace)
	}
	t = newTarget(h, k)
	h.targets[k] = t
	h.workspaces[k.workspace]++
	return t, nil
}

// forget takes out a target that holds nothing any more. Called without its mutex, after it was marked gone.
func (h *Hub) forget(t *target) {
	h.mu.Lock()
	if h.targets[t.key] == t {
		delete(h.targets, t.key)
		if h.workspaces[t.key.workspace]--; h.workspaces[t.key.workspace] == 0 {
			delete(h.workspaces, t.key.workspace)
		}
	}
	h.mu.Unlock()
}

// all returns the targets there are.
func (h *Hub) all() []*target {
	h.mu.RLock()
	defer h.mu.RUnlock()
	all := make([]*target, 0, len(h.targets))
	for _, t := range h.targets {
		all = append(all, t)
	}
	return all
}

func (h *Hub) attached() (n int) {
	for _, t := range h.all() {
		n += len(t.attached())
	}
	return n
}
