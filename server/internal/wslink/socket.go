package wslink

import (
	"context"
	"errors"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/wsconn"
	"github.com/getviewport/relay/server/internal/admission"
	"github.com/getviewport/relay/server/internal/hub"
	"github.com/getviewport/relay/server/internal/quota"
	"github.com/getviewport/relay/server/internal/recheck"
)

// batchBytes is about the most that one message carries of several envelopes, and keepBytes what a sender's buffer may
// have grown to and still be used again.
const (
	batchBytes = 16 << 10
	keepBytes  = 64 << 10
)

// socket is an upgraded connection as a link: one goroutine reads it, and while there is something to send another one
// writes it. Before the upgrade it holds what the link will need.
type socket struct {
	service *Service
	hold    *quota.Hold
	dialect Dialect
	link    *hub.Link      // nil until attached
	checks  *recheck.Watch // nil without
	conn    *wsconn.Conn   // nil until upgraded

	released bool // guarded by service.mu: the connection has ended, and is not to be held
}

// attach gets a link from the hub: it may wait for a probe of an older daemon, and it is where a second daemon is refused.
func (x *socket) attach(ctx context.Context, info hub.Info) (err error) {
	x.link, err = x.service.Hub.Attach(ctx, info, func() { x.service.Hub.Go(x.send) })
	return err
}

// watch has the platform asked about the token as long as the link lives.
func (x *socket) watch(r admission.Request, token string) {
	if c := x.service.Recheck; c != nil {
		r.Token = ""
		x.checks = c.Watch(r, []byte(token), x.link.Revoke)
	}
}

// run starts the link. Its reader is a goroutine of the hub, for that of HTTP's server has a deep stack, which it would
// keep.
func (x *socket) run() {
	x.link.OnEnd(x.farewell)
	x.link.Open()
	x.service.Hub.Go(x.read)
}

// read reads until the connection ends, and then gives back everything.
func (x *socket) read() {
	defer x.close()
	defer x.recovered()
	n := x.dialect.Room()
	front := room[:n:n]
	for {
		kind, msg, err := x.conn.ReadMessage(front)
		if err != nil {
			x.overlong(err)
			return
		}
		bad := x.dialect.Receive(x.link, kind, msg)
		if bad == nil || x.dialect.Hold(bad) > 0 {
			continue
		}
		x.service.Ended(bad)
		x.conn.End(x.dialect.Farewell(bad))
		return
	}
}

// maxRoom bounds Dialect.Room. Room is what stands in front of messages before a dialect writes there: as it has no
// capacity to be appended to, nothing is ever written to it itself.
const maxRoom = 1 << 10

var room [maxRoom]byte

// overlong counts a message above the limit, which wsconn has ended the connection for.
func (x *socket) overlong(err error) {
	if e, ok := errors.AsType[*wsconn.CloseError](err); ok && e.Local && e.Code == wsconn.CodeTooLarge {
		x.service.Ended(reason.New(reason.FrameTooLarge, "a message is longer than the limit").With("limit", MessageBytes))
	}
}

// close ends the link, once, in whatever state: what waits for its place is told first, the peer's last word comes last.
func (x *socket) close() {
	if x.checks != nil {
		x.checks.Stop()
	}
	if x.link != nil {
		x.dialect.Ended(x.link)
		x.link.Detach()
	}
	if x.conn != nil {
		x.service.released(x)
		_ = x.conn.Close()
	}
	x.hold.Release()
}

// farewell tells the peer why the hub has ended the link, now or after a while. The reader does the rest.
func (x *socket) farewell() {
	why := x.link.Err()
	if d := x.dialect.Hold(why); d > 0 {
		x.link.Detach() // nobody waits for it meanwhile
		x.service.hold(x, d)
		return
	}
	x.conn.End(x.dialect.Farewell(why))
}

func (x *socket) heard() { x.dialect.Heard(x.link) }

// send sends until the queue is empty or the connection has ended. The hub starts it when the link's queue has something
// and no sender runs.
func (x *socket) send() {
	defer x.recovered()
	b := x.service.buffers.Get().(*[]byte)
	defer func() {
		if cap(*b) <= keepBytes {
			x.service.buffers.Put(b)
		}
	}()
	for {
		var o envelope.Outgoing
		if !x.link.Take(batchBytes, &o) {
			return
		}
		*b = x.dialect.Send(x.conn, (*b)[:0], &o)
		if len(*b) > 0 && x.conn.Send(*b) != nil {
			x.link.Detach() // its reader has been woken, and closes it
			return
		}
	}
}

// recovered turns a panic in one of the link's goroutines into its end.
func (x *socket) recovered() {
	if v := recover(); v != nil {
		x.service.panicked(v)
		x.link.Detach()
		x.conn.End(x.dialect.Farewell(&reason.Error{Code: reason.Internal}))
	}
}
