package worker

import (
	"bytes"
	"context"
	"net/http"
	"sync"

	"github.com/getviewport/relay/internal/legacywire"
)

// Reasons in replies, besides those of package legacywire.
const (
	busyBody     = `{"ok":false,"reason":"WORKER_TRANSPORT_BUSY"}`
	tooLargeBody = `{"ok":false,"reason":"WORKER_TRANSPORT_REQUEST_TOO_LARGE"}`
)

// Link is one worker's link: its requests run beside each other. Go and Wait are for one goroutine.
type Link struct {
	// Static.
	f                   *Forwarder
	workspace, executor string
	slots               chan struct{} // holds one for each request that runs

	running sync.WaitGroup
}

// Link returns a link for a worker that is admitted for a workspace and a managed executor. If it has none, which is
// empty, every path is denied.
func (f *Forwarder) Link(workspace, executor string) *Link {
	return &Link{f: f, workspace: workspace, executor: executor, slots: make(chan struct{}, f.cfg.PerLink)}
}

// Go has a request answered: reply is called exactly once, with the text of the reply, which is its own. Go itself
// never waits: a request that isn't sent is answered before it returns, one that is has a goroutine of its own, which
// ends soon after ctx. So replies come in any order and from any goroutine; where reply waits, PerLink bounds how many
// do. Go keeps r until then, but not requestID.
//
// The reply is the platform's, or one of these, which workers try again from 500 on:
//
//	403  WORKER_TRANSPORT_PATH_DENIED        the path is not the executor's
//	413  WORKER_TRANSPORT_REQUEST_TOO_LARGE  the body is longer than MaxRequest
//	502  WORKER_TRANSPORT_FORWARD_FAILED     no answer came in time, or none that can be passed on
//	503  WORKER_TRANSPORT_BUSY               as many requests as may are running
func (l *Link) Go(ctx context.Context, requestID []byte, r *legacywire.Request, reply func(text []byte)) {
	f := l.f
	switch {
	case !legacywire.WorkerPathAllowed(r.Path, l.workspace, l.executor):
		f.denied.Add(1)
		reply(legacywire.AppendWorkerDenied(nil, requestID))
		return
	case len(r.Body) > f.cfg.MaxRequest && r.Method != http.MethodGet:
		f.tooLarge.Add(1)
		reply(refusal(requestID, http.StatusRequestEntityTooLarge, tooLargeBody))
		return
	case r.BadHeader:
		f.failed.Add(1)
		reply(legacywire.AppendWorkerFailed(nil, requestID))
		return
	case !l.acquire():
		f.busy.Add(1)
		reply(refusal(requestID, http.StatusServiceUnavailable, busyBody))
		return
	}
	requestID = bytes.Clone(requestID)
	l.running.Go(func() {
		defer func() { <-l.slots }() // not before the reply is gone: else no bound on those that wait to go
		text := l.forward(ctx, requestID, r)
		<-l.f.slots
		reply(text)
	})
}

// Wait waits until every request has its reply. End the context of Go before, or it can take as long as Timeout.
func (l *Link) Wait() { l.running.Wait() }

func (l *Link) acquire() bool {
	select {
	case l.slots <- struct{}{}:
	default:
		return false
	}
	select {
	case l.f.slots <- struct{}{}:
		return true
	default:
		<-l.slots
		return false
	}
}

func refusal(requestID []byte, status int, body string) []byte {
	headers := [...]legacywire.Header{{Name: "content-type", Value: "application/json"}}
	return legacywire.AppendWorkerResponse(nil, requestID, status, headers[:], []byte(body))
}
