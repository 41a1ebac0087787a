package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/getviewport/relay/cmd/viewport-dev/internal/endpoint"
)

// take takes an event of a child.
func (e *ensemble) take(c *child, event endpoint.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case event.Failed != "":
		e.fail(fmt.Errorf("%s: %s", c.name, event.Failed))
	case event.Ready:
		e.ready++
	case event.Finished:
		e.finished++
	case event.Back != nil:
		e.back[event.Back.Name] = time.Unix(0, event.Back.At)
	case event.Result != nil:
		r := event.Result
		s := e.sessions[r.Name]
		if s == nil {
			s = &sessionEnds{}
			e.sessions[r.Name] = s
		}
		end := &s.client
		if c.daemon {
			end = &s.daemon
		}
		if *end != nil {
			e.fail(fmt.Errorf("%s: the session %q ended twice", c.name, r.Name))
		}
		*end = r
	case event.State != nil:
		e.states[c] = event.State
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

// fail notes the first failure. The caller holds e.mu.
func (e *ensemble) fail(err error) {
	if e.failed == nil {
		e.failed = err
	}
}

// await waits until what is wanted is so, while the relay runs; is is called under e.mu at each event.
func (e *ensemble) await(ctx context.Context, what string, limit time.Duration, is func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w within %v: %s", errLate, limit, what))
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	died := make(chan *child, len(e.children))
	for _, c := range e.children {
		go func() {
			select {
			case <-c.done:
				died <- c
			case <-stop:
			}
		}()
	}
	for {
		e.mu.Lock()
		changed, failed, done := e.changed, e.failed, is()
		e.mu.Unlock()
		switch {
		case failed != nil:
			return failed
		case done:
			return nil
		}
		select {
		case <-changed:
		case c := <-died:
			return fmt.Errorf("%s has ended by itself: %v", c.name, c.cmd.ProcessState)
		case <-e.relay.process.done:
			return e.relay.ended()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// awaitReady waits until all children that were started are ready.
func (e *ensemble) awaitReady(ctx context.Context) error {
	return e.settled(ctx, e.await(ctx, "all ends attached, all sessions open", e.patience, func() bool {
		return e.ready == len(e.children)
	}))
}

// finish tells all ends to finish, and waits until both ends of all sessions have.
func (e *ensemble) finish(ctx context.Context) error {
	clients := 0
	for _, c := range e.children {
		c.say(endpoint.Finish)
		if !c.daemon {
			clients++
		}
	}
	return e.settled(ctx, e.await(ctx, "all arrived, all sessions ended", e.patience, func() bool {
		if e.finished < clients {
			return false
		}
		for _, s := range e.sessions {
			if s.client == nil || s.daemon == nil {
				return false
			}
		}
		return true
	}))
}

// errLate: something took too long.
var errLate = errors.New("not done")

// settled adds who waits for what to the error of something that is late.
func (e *ensemble) settled(ctx context.Context, err error) error {
	if !errors.Is(err, errLate) {
		return err
	}
	e.mu.Lock()
	clear(e.states)
	e.mu.Unlock()
	for _, c := range e.children {
		c.say(endpoint.State)
	}
	_ = e.await(ctx, "all say what they are at", stateTime, func() bool { return len(e.states) == len(e.children) })
	return errors.Join(err, errors.New("who waits for what:\n"+e.waiting()))
}

// maxShown is how many lines a list has in a report, and maxOfChild how many a child has in one.
const (
	maxShown   = 20
	maxOfChild = 8
)

// waiting lists what the children said that they are at.
func (e *ensemble) waiting() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var lines []string
	for _, c := range e.children {
		state, told := e.states[c]
		switch {
		case !told:
			lines = append(lines, fmt.Sprintf("  %s: says nothing", c.name))
		case len(state) == 0:
			lines = append(lines, fmt.Sprintf("  %s: nothing is open", c.name))
		}
		for _, s := range atMost(state, maxOfChild) {
			lines = append(lines, fmt.Sprintf("  %s: %s", c.name, s))
		}
	}
	return strings.Join(lines, "\n")
}

// atMost shortens a list for people.
func atMost(lines []string, most int) []string {
	if len(lines) <= most {
		return lines
	}
	return append(lines[:most:most], fmt.Sprintf("… and %d more", len(lines)-most))
}
