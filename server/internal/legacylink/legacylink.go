// Package legacylink is the bridge to today's daemons, browsers and workers: a link over the hub whose peer speaks JSON
// text over a WebSocket that is open already. It reads each frame once and only as far as routing needs, puts its exact
// text into an envelope for the hub, and writes the texts of the envelopes that come back.
//
// It translates and answers what today's relays answer themselves; where frames go, who owns a session and how much is
// queued is route's, behind the hub. It knows no HTTP and no tokens: who is admitted, and for what, is in the grant.
package legacylink

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/getviewport/relay/internal/legacywire"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/wsconn"
	"github.com/getviewport/relay/server/internal/admission"
	"github.com/getviewport/relay/server/internal/hub"
	"github.com/getviewport/relay/server/internal/legacyrate"
	"github.com/getviewport/relay/server/internal/worker"
)

// MaxFrame is the longest frame that is read, in bytes: all that a daemon sends of a message of 1 MiB.
const MaxFrame = 3 << 19

// holdReplaced is how long the connection of a daemon that was replaced is kept, unused, before it is closed: today's
// daemons connect again at once and for ever, and two of one install would replace each other in a circle.
const holdReplaced = 30 * time.Second

// Config is what a Bridge is made of.
type Config struct {
	// Rates count what legacy peers send.
	Rates *legacyrate.Rates
	// Worker answers what workers ask; nil: none is let in.
	Worker *worker.Forwarder
	// Log gets the faults of the relay itself.
	Log *slog.Logger
	// Ended is told of every link that ends because of a limit or a bad frame: for counting.
	Ended func(*reason.Error)
}

// Bridge makes legacy links.
type Bridge struct {
	Config
	buffers sync.Pool // of *[]byte
}

// New returns a Bridge.
func New(c Config) *Bridge {
	return &Bridge{Config: c, buffers: sync.Pool{New: func() any { return new([]byte) }}}
}

// Workers reports whether workers are let in.
func (b *Bridge) Workers() bool { return b.Worker != nil }

// Peer is the other end of one legacy link.
type Peer struct {
	// Static.
	bridge *Bridge
	role   legacywire.Role
	scope  legacywire.Scope
	grant  admission.LegacyGrant
	client legacyrate.Client
	daemon legacyrate.Peer
	worker *worker.Link // a worker's

	// Static after Run has begun.
	conn *wsconn.Conn
	link *hub.Link

	// The reader's.
	header    headers
	buf       []byte
	batch     hub.Batch
	presented map[string]struct{} // channels on which the viewer is announced

	// The sender's.
	leaving *time.Timer // ends the connection of a link that was told DRAINING
}

// New returns the peer of a link that is admitted but not attached yet. Address is where it comes from.
func (b *Bridge) New(grant admission.LegacyGrant, address netip.Addr) *Peer {
	p := &Peer{
		bridge: b, grant: grant, scope: legacywire.ParseScope(grant.Scope),
		client: legacyrate.Client{Workspace: grant.Workspace, ID: grant.ClientID, Address: address},
		daemon: legacyrate.Peer{Workspace: grant.Workspace, Target: grant.Target, Executor: grant.ExecutorID},
	}
	switch grant.Role {
	case admission.RoleDaemon:
		p.role = legacywire.Daemon
	case admission.RoleClient:
		p.role = legacywire.Client
	case admission.RoleWorker:
		p.role, p.daemon.Target = legacywire.Worker, ""
		p.worker = b.Worker.Link(grant.Workspace, grant.ExecutorID)
	}
	p.header = newHeaders(grant.Workspace, grant.Target)
	return p
}

// Run serves the link until its peer leaves, the relay ends it or ctx does, and returns when nothing of it runs any
// more but perhaps a Send. It closes conn and detaches link. Call it once, after link was attached; Send is the
// function that Attach got.
func (p *Peer) Run(ctx context.Context, conn *wsconn.Conn, link *hub.Link) {
	p.conn, p.link = conn, link
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer func() {
		if v := recover(); v != nil {
			// The value may hold anything; its type and the stack are enough to find the fault.
			p.bridge.Log.Error("panic in a link", "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			p.end(&reason.Error{Code: reason.Internal})
		}
		p.leave(stop)
	}()
	link.OnEnd(func() {
		if why := link.Err(); why.Code != reason.Replaced {
			p.end(why)
		} else {
			time.AfterFunc(holdReplaced, func() { p.end(why) })
		}
	})
	unlink := context.AfterFunc(ctx, func() { conn.End(legacywire.CodeGoingAway, legacywire.CloseShuttingDown) })
	defer unlink()
	link.Open()
	p.read(ctx)
	p.hold(ctx)
}

// hold keeps the connection of a daemon that was replaced for a while.
func (p *Peer) hold(ctx context.Context) {
	select {
	case <-p.link.Done():
		if p.link.Err().Code != reason.Replaced {
			return
		}
	default:
		return
	}
	p.link.Detach()
	timer := time.NewTimer(holdReplaced)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// leave ends everything that belongs to the link.
func (p *Peer) leave(stop func()) {
	for channel := range p.presented {
		p.link.Publish(channel, legacywire.AppendViewerLeft(nil, []byte(channel), p.grant.User.Append(nil)))
	}
	p.batch.Free()
	p.link.Detach()
	stop()
	if p.worker != nil {
		p.worker.Wait()
	}
	_ = p.conn.Close() // whether the peer has heard of it changes nothing
}

// end says the last word for a link that the relay ends.
func (p *Peer) end(why *reason.Error) {
	code, text := lastWord(why)
	p.conn.End(code, text)
}

// lastWord is how a close frame tells a reason: as today's relays do where they have one like it.
func lastWord(why *reason.Error) (code int, text string) {
	switch why.Code {
	case reason.SlowConsumer:
		return legacywire.CodePolicy, legacywire.CloseBufferOverflow
	case reason.Replaced:
		return legacywire.CodePolicy, legacywire.CloseDaemonConnected
	case reason.Draining:
		return legacywire.CodeGoingAway, legacywire.CloseShuttingDown
	case reason.FrameTooLarge:
		return legacywire.CodeTooLarge, legacywire.CloseTooLarge
	}
	return legacywire.CodePolicy, string(why.Code)
}
