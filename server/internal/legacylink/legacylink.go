// Package legacylink is the bridge to today's daemons, browsers and workers: what a WebSocket carries whose peer speaks
// JSON text (it is a dialect of package wslink). It reads each frame once and only as far as routing needs, puts its
// exact text into an envelope for the hub, and writes the texts of the envelopes that come back.
//
// It translates, and answers what today's relays answer themselves; where frames go, who owns a session and how much is
// queued is route's, behind the hub. It knows no HTTP and no tokens: who is admitted, and for what, is in the grant.
package legacylink

import (
	"context"
	"log/slog"
	"net/netip"
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
}

// Bridge makes legacy links.
type Bridge struct {
	Config
	scratch sync.Pool // of *scratch
}

// New returns a Bridge.
func New(c Config) *Bridge {
	return &Bridge{Config: c, scratch: sync.Pool{New: func() any { return new(scratch) }}}
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
	client legacyrate.Client // a client's
	daemon legacyrate.Peer   // a daemon's or a worker's

	// A worker's: its requests end with ctx.
	worker *worker.Link
	ctx    context.Context
	stop   context.CancelFunc

	// The reader's.
	header    headers
	batch     hub.Batch
	presented map[string]struct{} // channels on which the viewer is announced

	// The sender's.
	leaving *time.Timer // ends the connection of a link that was told DRAINING
}

// New returns the peer of a link that is admitted but not attached yet. Address is where it comes from.
func (b *Bridge) New(grant admission.LegacyGrant, address netip.Addr) *Peer {
	p := &Peer{bridge: b, grant: grant, header: newHeaders(grant.Workspace, grant.Target)}
	switch grant.Role {
	case admission.RoleDaemon:
		p.role = legacywire.Daemon
		p.daemon = legacyrate.Peer{Workspace: grant.Workspace, Target: grant.Target}
	case admission.RoleClient:
		p.role, p.scope = legacywire.Client, legacywire.ParseScope(grant.Scope)
		p.client = legacyrate.Client{Workspace: grant.Workspace, ID: grant.ClientID, Address: address}
	case admission.RoleWorker:
		p.role = legacywire.Worker
		p.daemon = legacyrate.Peer{Workspace: grant.Workspace, Executor: grant.ExecutorID}
		p.worker = b.Worker.Link(grant.Workspace, grant.ExecutorID)
		p.ctx, p.stop = context.WithCancel(context.Background())
	}
	return p
}

// Limit is MaxFrame.
func (p *Peer) Limit() int { return MaxFrame }

// Room is for the header of an envelope.
func (p *Peer) Room() int { return p.header.room }

// Greet says nothing: today's peers wait for nothing.
func (p *Peer) Greet(_ *wsconn.Conn, dst []byte) []byte { return dst }

// Heard takes a pong as the sign of life that it is.
func (p *Peer) Heard(l *hub.Link) { l.Heard() }

// Ended announces that the viewer has left, and ends what a worker still asks.
func (p *Peer) Ended(l *hub.Link) {
	for channel := range p.presented {
		l.PublishEnd(channel, legacywire.AppendViewerLeft(nil, []byte(channel), p.grant.User.Append(nil)))
	}
	p.presented = nil
	if p.worker != nil {
		p.stop()
		p.worker.Wait()
	}
}

// Hold is holdReplaced for a daemon that was replaced.
func (p *Peer) Hold(why *reason.Error) time.Duration {
	if p.role == legacywire.Daemon && why.Code == reason.Replaced {
		return holdReplaced
	}
	return 0
}

// closeText is the name of the metadata of a reason that is told by a text of today's relays.
const closeText = "close"

// closing is the reason of a link that ends for what its peer has sent.
func closing(text string) *reason.Error {
	return reason.New(reason.FrameInvalid, "%s", text).With(closeText, text)
}

// Farewell tells a reason as today's relays do where they have one like it, and by its code where they don't.
func (p *Peer) Farewell(why *reason.Error) (code int, text string) {
	switch {
	case why.Meta[closeText] != "":
		return legacywire.CodePolicy, why.Meta[closeText]
	case why.Code == reason.SlowConsumer:
		return legacywire.CodePolicy, legacywire.CloseBufferOverflow
	case why.Code == reason.Replaced:
		return legacywire.CodePolicy, legacywire.CloseDaemonConnected
	case why.Code == reason.Draining:
		return legacywire.CodeGoingAway, legacywire.CloseShuttingDown
	case why.Code == reason.FrameTooLarge:
		return legacywire.CodeTooLarge, legacywire.CloseTooLarge
	}
	return legacywire.CodePolicy, string(why.Code)
}
