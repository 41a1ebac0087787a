// Package recheck asks the platform at an interval whether the tokens of live links are still good, and tells who holds
// the link when one was revoked.
//
// It is the only place where the relay keeps a token beyond its admission, because the platform's validate call knows a
// token by its bytes alone. A token is kept once, is overwritten with zeros when its link ends, and is never logged.
//
// It decides nothing about answers (admission does) and ends nothing itself.
package recheck

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getviewport/relay/server/internal/admission"
)

// Config is what a Checker is made of.
type Config struct {
	// Interval is how long after its last check a link is checked again, give or take a tenth: those of links that came
	// together drift apart. The first check comes within the first interval, at random. If the platform is too slow to
	// be asked about every link in that time, the links take turns.
	Interval time.Duration
	// AtOnce is how many are asked about at once.
	AtOnce int
	// Ask is admission.Admitter.Recheck.
	Ask func(context.Context, admission.Request) admission.Verdict
}

// Checker checks live links. Make it with New; it is safe for concurrent use.
type Checker struct {
	// Static.
	config Config
	// sooner has an element when a watch has become the first that is due since Run looked.
	sooner chan struct{}
	counts [admission.Verdicts]atomic.Uint64

	mu sync.Mutex
	// Guarded by mu: the watches that wait for their time. Those that are asked about are not in it.
	queue queue
}

// Watch is the check of one link. Stop ends it.
type Watch struct {
	// Static.
	checker *Checker
	role    admission.Role
	// workspace and target are what the link was admitted for.
	workspace, target string
	revoked           func()

	// Guarded by checker.mu.
	token   []byte
	due     time.Time
	index   int // in the queue; -1: not there
	stopped bool
}

// New returns a Checker without links, which checks nothing before Run.
func New(c Config) *Checker { return &Checker{config: c, sooner: make(chan struct{}, 1)} }

// Watch checks a link until Stop. It takes over token, which is r's; r.Token is not looked at. Revoked is called when the
// platform has revoked it, at most once for each check, and must not wait for Stop.
func (c *Checker) Watch(r admission.Request, token []byte, revoked func()) *Watch {
	w := &Watch{
		checker: c, role: r.Role, workspace: r.Workspace, target: r.Target, revoked: revoked, token: token, index: -1,
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// At random over the whole interval: thousands of links that come within a second are checked over a minute.
	c.wait(w, rand.N(c.config.Interval))
	return w
}

// Stop ends the check and wipes the token. When it returns revoked is not called any more, but for a call under way.
// Stopping twice is no error.
func (w *Watch) Stop() {
	c := w.checker
	c.mu.Lock()
	defer c.mu.Unlock()
	w.stopped = true
	clear(w.token)
	if w.index >= 0 {
		heap.Remove(&c.queue, w.index)
	}
}

// Counts are the verdicts so far.
func (c *Checker) Counts(v admission.Verdict) uint64 { return c.counts[v].Load() }

// Watched is how many links wait for their next check.
func (c *Checker) Watched() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)
}

// Run checks links until ctx ends; then it returns nil and nothing of it is left. Call it once.
func (c *Checker) Run(ctx context.Context) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	free := make(chan struct{}, c.config.AtOnce)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		w := c.next(ctx, timer)
		if w == nil {
			return nil
		}
		asking.Go(func() {
			c.check(ctx, w)
			<-free
		})
	}
}

// next waits until a watch is due and takes it out of the queue; nil: ctx has ended.
func (c *Checker) next(ctx context.Context, timer *time.Timer) *Watch {
	for {
		w, after := c.take(time.Now())
		if w != nil {
			return w
		}
		timer.Reset(after)
		select {
		case <-timer.C:
		case <-c.sooner:
		case <-ctx.Done():
			return nil
		}
	}
}

// take takes the first watch out of the queue if it is due, or says how long that takes.
func (c *Checker) take(now time.Time) (w *Watch, after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return nil, time.Hour
	}
	if after = c.queue[0].due.Sub(now); after > 0 {
		return nil, after
	}
	return heap.Pop(&c.queue).(*Watch), 0
}

// wait puts w into the queue. Called with c.mu held.
func (c *Checker) wait(w *Watch, after time.Duration) {
	w.due = time.Now().Add(after)
	heap.Push(&c.queue, w)
	if w.index == 0 {
		select {
		case c.sooner <- struct{}{}:
		default: // Run has not looked since the one before
		}
	}
}

// check asks about one link and lets it wait for the next time.
func (c *Checker) check(ctx context.Context, w *Watch) {
	r := admission.Request{Role: w.role, Workspace: w.workspace, Target: w.target}
	c.mu.Lock()
	if w.stopped {
		c.mu.Unlock()
		return
	}
	r.Token = string(w.token)
	c.mu.Unlock()
	verdict := c.config.Ask(ctx, r)
	if ctx.Err() != nil {
		return // the relay ends, and with it every link
	}
	c.counts[verdict].Add(1)
	if verdict == admission.Revoked {
		w.revoked()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !w.stopped {
		c.wait(w, c.pause(verdict))
	}
}

// pause is how long until the next check.
func (c *Checker) pause(v admission.Verdict) time.Duration {
	if v == admission.Busy {
		// Not at once: what was free for nobody is free for nobody in the next moment.
		return c.config.Interval/8 + rand.N(c.config.Interval/8+1)
	}
	return c.config.Interval - c.config.Interval/10 + rand.N(c.config.Interval/5+1)
}

// queue is a heap by due.
type queue []*Watch

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is for package heap.
func (q *queue) Push(x any) {
	w := x.(*Watch)
	w.index = len(*q)
	*q = append(*q, w)
}

// Pop is for package heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	w := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	w.index = -1
	return w
}
