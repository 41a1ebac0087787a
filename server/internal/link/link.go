// Package link is what links have in common whatever carries them, gRPC or WebSocket: what an admitted peer is told,
// and what is kept of it.
//
// It admits nobody and moves nothing.
package link

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/server/internal/admission"
	"github.com/getviewport/relay/server/internal/hub"
)

// protocolVersion is what viewport-protocol announces.
const protocolVersion = "1"

// Announced is what the relay tells every admitted peer.
type Announced struct {
	// RelayID is the identity of this process.
	RelayID string
	// SessionWindow, MaxEnvelope and MaxMessage are in bytes.
	SessionWindow, MaxEnvelope, MaxMessage int
	// Heartbeat is the interval; 0 is off.
	Heartbeat time.Duration
}

// Pairs are the names and values (docs/protocol.md, Service).
func (a Announced) Pairs() [][2]string {
	return [][2]string{
		{"viewport-protocol", protocolVersion},
		{"viewport-relay-id", a.RelayID},
		{"viewport-session-window", strconv.Itoa(a.SessionWindow)},
		{"viewport-max-envelope", strconv.Itoa(a.MaxEnvelope)},
		{"viewport-max-message", strconv.Itoa(a.MaxMessage)},
		{"viewport-heartbeat", strconv.FormatInt(a.Heartbeat.Milliseconds(), 10)},
	}
}

// Said is what a peer says of itself, as it came.
type Said struct {
	// Version and Attempt are viewport-version and viewport-connect-attempt.
	Version, Attempt string
	// Source is the address that it comes from.
	Source string
}

// Info is what is kept of a link: connection metadata, nothing about people. It shares no memory with its arguments,
// which may be parts of a request that holds a token.
func Info(grant *admission.Grant, said Said) hub.Info {
	info := hub.Info{
		Workspace: strings.Clone(grant.Workspace), Target: strings.Clone(grant.Target),
		Peer: route.Peer{
			Role: route.Client, InstallID: grant.InstallID, Generation: grant.Generation, RequirePSK: grant.RequirePSK,
		},
		TokenID: grant.TokenID, Expires: grant.ExpiresAt,
		Version: printable(said.Version), Source: said.Source,
	}
	if grant.Role == admission.RoleDaemon {
		info.Peer.Role = route.Daemon
	}
	if n, err := strconv.ParseUint(said.Attempt, 10, 32); err == nil {
		info.Attempt = uint32(n)
	}
	return info
}

// printable keeps what a peer says of itself fit for logs and admin answers: at most 64 bytes of printable ASCII.
func printable(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return ""
		}
	}
	return strings.Clone(s)
}

// EverySecond lets something happen at most once a second: a line in the log about a flood, say.
type EverySecond struct{ last atomic.Int64 }

// Allow reports whether it may happen now.
func (e *EverySecond) Allow(now time.Time) bool {
	last := e.last.Load()
	return now.UnixNano()-last >= int64(time.Second) && e.last.CompareAndSwap(last, now.UnixNano())
}
