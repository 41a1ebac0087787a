package server

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/server/internal/hub"
	"github.com/getviewport/relay/server/internal/quota"
	"github.com/getviewport/relay/server/internal/revocation"
)

// Unlimited switches a limit off, where its comment allows that.
const Unlimited = -1

// Limits are all bounds of a relay, by what they are counted for. A zero field means its default.
//
// Whoever meets one is told so by a reason that names the limit and its value in ErrorInfo's metadata ("limit",
// "value"; for a session in the text of its STATUS), with a retry_after where waiting helps. The name stands behind
// each; /metrics has relay_limit, relay_limit_used and relay_limit_refusals_total by it.
type Limits struct {
	// The process.

	// Links is how many links there may be, those that are not admitted yet included; then CAPACITY. Default 20,000.
	// Name: links.
	Links int
	// Admissions is how many of them may be waiting to be admitted: what strangers can make the relay hold; then
	// CAPACITY. Default 1,024. Name: admissions.
	Admissions int
	// Watches is how many grpc.health.v1 Watch streams, which need no token, there may be; then CAPACITY. Default 256.
	// Name: watches.
	Watches int
	// ProcessBytes is what all queues together may keep, in bytes; then new sessions get CAPACITY, and those there are
	// trickle. Default 1 GiB. Name: queue-bytes.
	ProcessBytes int64
	// PendingConnections is how many connections may be waiting to say what they speak; then the oldest is closed,
	// which can be told to nobody. Default 1,024. Name: pending-connections.
	PendingConnections int

	// A connection.

	// ConnectTime is how long a connection may take to say what it speaks, a TLS handshake included, and then to begin
	// HTTP/2; then it is closed. Default 10 s. Name: connect-time (seconds).
	ConnectTime time.Duration
	// IdleTime is how long an HTTP/2 connection without a stream may stay; then it gets GOAWAY. Default 1 minute. Name:
	// idle-time (seconds).
	IdleTime time.Duration
	// StreamsPerConnection is HTTP/2's SETTINGS_MAX_CONCURRENT_STREAMS; a peer that opens more gets REFUSED_STREAM.
	// Default 1,024. Name: streams-per-connection.
	StreamsPerConnection int
	// HeaderBytes is the most request metadata a stream may bring, counted as in RFC 9113, section 6.5.2; then
	// FRAME_TOO_LARGE. Beyond twice as much HTTP/2 resets the stream. Default 32 KiB. Name: header-bytes.
	HeaderBytes int

	// An address: an IPv4 address, or the /64 of an IPv6 one.

	// LinksPerAddress is how many links one may have; then CAPACITY. Behind a TLS terminator all links come from its
	// address: set Unlimited there, or as many as Links. Default 1,000. Name: links-per-address.
	LinksPerAddress int
	// AdmissionsPerAddress is how many of them may be waiting to be admitted; then CAPACITY. Default 256, or Unlimited
	// when LinksPerAddress is. Name: admissions-per-address.
	AdmissionsPerAddress int

	// A workspace.

	// LinksPerWorkspace is how many admitted links it may have; then CAPACITY. Unlimited is allowed. Default 5,000.
	// Name: links-per-workspace.
	LinksPerWorkspace int
	// TargetsPerWorkspace is how many runtime targets the relay knows of it, those that are only remembered included;
	// then CAPACITY. Unlimited is allowed. Default 1,000. Name: targets-per-workspace.
	TargetsPerWorkspace int

	// A target.

	// LinksPerTarget is how many links it may have; the last place is kept for the daemon. Then CAPACITY. Unlimited is
	// allowed. Default 1,000. Name: links-per-target.
	LinksPerTarget int
	// SessionsPerTarget is how many sessions a target remembers; then one that is over or away gives way, else
	// CAPACITY. Default 16,384. Name: sessions-per-target.
	SessionsPerTarget int

	// A link.

	// SessionsPerClient is how many open sessions a client link may have; then CAPACITY. Default 256. Name:
	// sessions-per-link.
	SessionsPerClient int
	// HandshakesPerSecond is how many HANDSHAKE_INIT a client link may send in the long run, and HandshakeBurst how many
	// at once after a pause; then the session gets RATE_LIMITED. Unlimited is allowed. Default 5, and 20. Name:
	// handshakes-per-second.
	HandshakesPerSecond, HandshakeBurst int
	// LinkBytes is what the queue of a link may keep, in bytes; then as ProcessBytes. Default 64 MiB. Name:
	// link-queue-bytes.
	LinkBytes int64
	// FramesPerBatch is how many envelopes one message may have; then FRAME_TOO_LARGE. Default 1,024. Name:
	// frames-per-batch.
	FramesPerBatch int
	// MaxEnvelope is the longest envelope in bytes: 65,536 to 4,128,768 (it has to fit into a message); then
	// FRAME_TOO_LARGE. Default 2,097,152. Name: max-envelope.
	MaxEnvelope int

	// A session.

	// SessionWindow is announced as viewport-session-window, in bytes: 131,072 to 16,777,216. A session may queue about
	// twice as much at a link in each direction; then its frames are dropped, and at the third time within a minute it
	// ends with SLOW_CONSUMER. Default 1,048,576. Name: session-window.
	SessionWindow int
	// MaxMessage is announced as viewport-max-message, in bytes of plaintext: 16,000 to 16,777,216. The ends obey it;
	// the relay sees fragments only. Default 524,288. Name: max-message.
	MaxMessage int
}

const (
	// maxMessageBytes is gRPC's limit on one message, both ways (docs/protocol.md, Service). gRPC itself ends the stream
	// then, with RESOURCE_EXHAUSTED and both sizes, because it reads no longer one. Name: message-bytes.
	maxMessageBytes = 4 << 20
	// maxBatchBytes is the longest batch of more than one envelope. Name: max-batch.
	maxBatchBytes = 64 << 10
)

func (l Limits) withDefaults() Limits {
	or(&l.Links, 20_000)
	or(&l.Admissions, 1024)
	or(&l.Watches, 256)
	or(&l.ProcessBytes, 1<<30)
	or(&l.PendingConnections, 1024)
	or(&l.ConnectTime, 10*time.Second)
	or(&l.IdleTime, time.Minute)
	or(&l.StreamsPerConnection, 1024)
	or(&l.HeaderBytes, 32<<10)
	or(&l.LinksPerAddress, 1000)
	if l.LinksPerAddress == Unlimited {
		or(&l.AdmissionsPerAddress, Unlimited)
	}
	or(&l.AdmissionsPerAddress, 256)
	or(&l.LinksPerWorkspace, 5000)
	or(&l.TargetsPerWorkspace, 1000)
	or(&l.LinksPerTarget, 1000)
	or(&l.SessionsPerTarget, 16384)
	or(&l.SessionsPerClient, 256)
	or(&l.HandshakesPerSecond, 5)
	or(&l.HandshakeBurst, 20)
	or(&l.LinkBytes, 64<<20)
	or(&l.FramesPerBatch, 1024)
	or(&l.MaxEnvelope, 2<<20)
	or(&l.SessionWindow, 1<<20)
	or(&l.MaxMessage, 512<<10)
	return l
}

func or[T int | int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// check reports what is out of its range.
func (l Limits) check() error {
	var errs []error
	for _, f := range []struct {
		name            string
		value           int64
		least, greatest int64
		unlimited       bool
	}{
		{"Links", int64(l.Links), 1, 1 << 24, false},
		{"Admissions", int64(l.Admissions), 1, 1 << 24, false},
		{"Watches", int64(l.Watches), 1, 1 << 24, false},
		{"ProcessBytes", l.ProcessBytes, 1, math.MaxInt64, false},
		{"PendingConnections", int64(l.PendingConnections), 1, 1 << 20, false},
		{"ConnectTime", int64(l.ConnectTime), int64(time.Millisecond), int64(time.Hour), false},
		{"IdleTime", int64(l.IdleTime), int64(time.Millisecond), int64(24 * time.Hour), false},
		{"StreamsPerConnection", int64(l.StreamsPerConnection), 1, 1 << 20, false},
		{"HeaderBytes", int64(l.HeaderBytes), 20 << 10, 1 << 20, false},
		{"LinksPerAddress", int64(l.LinksPerAddress), 1, 1 << 24, true},
		{"AdmissionsPerAddress", int64(l.AdmissionsPerAddress), 1, 1 << 24, true},
		{"LinksPerWorkspace", int64(l.LinksPerWorkspace), 1, 1 << 24, true},
		{"TargetsPerWorkspace", int64(l.TargetsPerWorkspace), 1, 1 << 24, true},
		{"LinksPerTarget", int64(l.LinksPerTarget), 2, 1 << 24, true},
		{"SessionsPerTarget", int64(l.SessionsPerTarget), 1, 1 << 24, false},
		{"SessionsPerClient", int64(l.SessionsPerClient), 1, 1 << 24, false},
		{"HandshakesPerSecond", int64(l.HandshakesPerSecond), 1, 1 << 20, true},
		{"HandshakeBurst", int64(l.HandshakeBurst), 1, 1 << 20, false},
		{"LinkBytes", l.LinkBytes, 1, math.MaxInt64, false},
		{"FramesPerBatch", int64(l.FramesPerBatch), 1, 1 << 16, false},
		{"MaxEnvelope", int64(l.MaxEnvelope), 64 << 10, maxMessageBytes - 64<<10, false},
		{"SessionWindow", int64(l.SessionWindow), 128 << 10, 16 << 20, false},
		{"MaxMessage", int64(l.MaxMessage), 16000, 16 << 20, false},
	} {
		if f.unlimited && f.value == Unlimited || f.value >= f.least && f.value <= f.greatest {
			continue
		}
		errs = append(errs, fmt.Errorf("server: Limits.%s is %d, %d to %d are allowed",
			f.name, f.value, f.least, f.greatest))
	}
	return errors.Join(errs...)
}

// quotas is what streams are counted by.
func (l Limits) quotas() quota.Limits {
	return quota.Limits{
		Links: l.Links, LinksPerAddress: l.LinksPerAddress, Admissions: l.Admissions,
		AdmissionsPerAddress: l.AdmissionsPerAddress, LinksPerWorkspace: l.LinksPerWorkspace, Watches: l.Watches,
	}
}

// route is what a target is bounded by.
func (l Limits) route(heartbeat time.Duration) route.Limits {
	return route.Limits{
		SessionWindow: l.SessionWindow, LinksPerTarget: max(l.LinksPerTarget, 0),
		HandshakesPerSecond: max(l.HandshakesPerSecond, 0), HandshakeBurst: l.HandshakeBurst,
		SessionsPerClient: l.SessionsPerClient, SessionsPerTarget: l.SessionsPerTarget, LinkBytes: l.LinkBytes,
		ProcessBytes: l.ProcessBytes, Heartbeat: heartbeat,
	}
}

// frames is what a message is bounded by.
func (l Limits) frames() envelope.Limits {
	return envelope.Limits{MaxEnvelope: l.MaxEnvelope, MaxBatch: maxBatchBytes, MaxFrames: l.FramesPerBatch}
}

// limitTable is the limits by name, for errors and metrics.
func (s *Server) limitTable() *quota.Table {
	l := s.cfg.Limits
	row := func(name string, value int) *quota.Row { return &quota.Row{Name: name, Value: float64(max(value, 0))} }
	used := func(r *quota.Row, used func() int) *quota.Row {
		r.Used = func() float64 { return float64(used()) }
		return r
	}
	inRoute := func(x route.Limit, value int64) *quota.Row {
		return &quota.Row{
			Name: x.String(), Value: float64(max(value, 0)),
			Refusals: func() uint64 { return s.hub.Refusals().Count(x) },
		}
	}
	queues := inRoute(route.QueueBytes, l.ProcessBytes)
	pending := row("pending-connections", l.PendingConnections)
	pending.Refusals = func() uint64 { return s.public.mux.Stats().Evicted }
	connect := &quota.Row{Name: "connect-time", Value: l.ConnectTime.Seconds()}
	connect.Refusals = func() uint64 { return s.public.mux.Stats().Silent }
	return quota.NewTable(
		used(row(quota.Links, l.Links), func() int { return s.quotas.Used().Links }),
		used(row(quota.Admissions, l.Admissions), func() int { return s.quotas.Used().Admissions }),
		used(row(quota.Watches, l.Watches), func() int { return s.quotas.Used().Watches }),
		used(queues, func() int { return int(s.hub.Queued()) }),
		used(pending, func() int { return s.public.mux.Stats().Pending }),
		connect,
		&quota.Row{Name: "idle-time", Value: l.IdleTime.Seconds()},
		row("streams-per-connection", l.StreamsPerConnection),
		row("header-bytes", l.HeaderBytes),
		row(quota.LinksPerAddress, l.LinksPerAddress),
		row(quota.AdmissionsPerAddress, l.AdmissionsPerAddress),
		row(quota.LinksPerWorkspace, l.LinksPerWorkspace),
		row(hub.TargetsPerWorkspace, l.TargetsPerWorkspace),
		inRoute(route.LinksPerTarget, int64(l.LinksPerTarget)),
		inRoute(route.SessionsPerTarget, int64(l.SessionsPerTarget)),
		inRoute(route.SessionsPerLink, int64(l.SessionsPerClient)),
		inRoute(route.HandshakesPerSecond, int64(l.HandshakesPerSecond)),
		inRoute(route.LinkQueueBytes, l.LinkBytes),
		row("frames-per-batch", l.FramesPerBatch),
		row("max-envelope", l.MaxEnvelope),
		row("max-batch", maxBatchBytes),
		row("message-bytes", maxMessageBytes),
		row("session-window", l.SessionWindow),
		row("max-message", l.MaxMessage),
		used(row(revocation.Limit, revocation.Max), s.revocations.Len),
	)
}
