package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/getviewport/relay/cmd/viewport-dev/internal/faults"
)

// faults does what the seed says and returns when all is whole again.
func (r *chaos) faults(ctx context.Context) error {
	began := time.Now()
	var lasting sync.WaitGroup
	defer lasting.Wait()
	stop := make(chan struct{})
	defer close(stop)
	// until returns false when ctx ends or faults fails first.
	until := func(at time.Duration) bool {
		timer := time.NewTimer(time.Until(began.Add(at)))
		defer timer.Stop()
		select {
		case <-timer.C:
			return ctx.Err() == nil
		case <-ctx.Done():
			return false
		case <-stop:
			return false
		}
	}
	for _, f := range faults.Schedule(r.command.Seed, r.command.Time, len(r.links)) {
		if !until(f.At) {
			return context.Cause(ctx)
		}
		if f.Kind == faults.Kill {
			r.tell(began, f, "relay")
			r.result.Kills++
			if err := r.relay.kill(); err != nil {
				return err
			}
			if !until(f.At + f.For) {
				return context.Cause(ctx)
			}
			if err := r.relay.start(ctx); err != nil {
				return err
			}
			continue
		}
		link := r.links[f.Link]
		r.tell(began, f, link.name)
		n, undo := do(f.Kind, link.proxy)
		r.result.Cuts += n
		lasting.Go(func() {
			until(f.At + f.For)
			undo()
		})
	}
	if !until(r.command.Time) {
		return context.Cause(ctx)
	}
	return nil
}

// do does a fault to a link. It returns how many connections it hits, and what ends it.
func do(kind faults.Kind, link *faults.Proxy) (n int, undo func()) {
	switch kind {
	case faults.Reset:
		return link.Reset(), func() {}
	case faults.Finish:
		return link.Finish(), func() {}
	case faults.Forget:
		return link.Forget()
	case faults.Move:
		return link.Move()
	default:
		return link.Freeze(), link.Thaw
	}
}

func (r *chaos) tell(began time.Time, f faults.Fault, what string) {
	if r.command.Verbose {
		_, _ = fmt.Fprintf(r.stderr, "%5.1f s  %s: %v\n", time.Since(began).Seconds(), what, f)
	}
}
