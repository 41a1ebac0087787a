package legacywire

import "bytes"

// Scope is what a client's token lets it do.
type Scope uint8

// The scopes. The zero Scope is none; daemons and workers have none.
const (
	Runtime Scope = iota + 1
	Pairing
	SessionEvents
)

// ParseScope returns the scope that a claim spells like this, 0 if there is none.
func ParseScope(s string) Scope {
	switch s {
	case "runtime":
		return Runtime
	case "pairing":
		return Pairing
	case "session-events":
		return SessionEvents
	}
	return 0
}

// Action is what to do with a frame.
type Action uint8

// The actions.
const (
	// Pass: the sender may send it; what follows depends on its kind.
	Pass Action = iota
	// Reply: it is dropped and its sender gets Verdict.Reply.
	Reply
	// Close: the connection is closed with CodePolicy and Verdict.Close.
	Close
	// Drop: it is dropped and its sender is told nothing.
	Drop
	// Unroutable: its profile is checked as if it passed, and then it is dropped, because it has nowhere to go.
	Unroutable
)

// Verdict is what becomes of a frame, as far as that depends on who sent it.
type Verdict struct {
	Action Action
	// Reply goes with Reply.
	Reply StatusCode
	// Close goes with Close.
	Close string
}

// Allowed says whether a peer of this role, and if it is a client of this scope, may send a frame of this kind.
func Allowed(r Role, s Scope, k Kind) Verdict {
	switch r {
	case Client:
		return allowedClient(s, k)
	case Daemon:
		switch k {
		case E2EE, KeyExchangeResponse, KeyUpdate, PairingOfferResponse, PairingRedeemResponse:
			return Verdict{}
		case SessionEvent:
			return Verdict{Action: Unroutable}
		}
	case Worker:
		if k == WorkerRequest {
			return Verdict{}
		}
	}
	return Verdict{Action: Drop}
}

func allowedClient(s Scope, k Kind) Verdict {
	switch {
	case k != E2EE && k != KeyExchangeInit && !k.pairing() && !k.sessionEvents():
		return Verdict{Action: Reply, Reply: InvalidFrame}
	case s == SessionEvents && !k.sessionEvents():
		return Verdict{Action: Reply, Reply: SessionEventsScopeOnly}
	case s != SessionEvents && k.sessionEvents():
		return Verdict{Action: Close, Close: CloseSessionEventsScope}
	case s == Pairing && !k.pairing():
		return Verdict{Action: Close, Close: ClosePairingScope}
	case s == Runtime && k.pairing():
		return Verdict{Action: Close, Close: CloseRuntimeScope}
	}
	return Verdict{}
}

// ProfileAllowed says whether a peer whose token claims a profile may send a frame that names one. A client's has to be
// the claimed one, a daemon's at least as strong. It is asked after Allowed, and never for the session events of a
// client.
func ProfileAllowed(r Role, claim, frame Profile) Verdict {
	switch {
	case claim == NoProfile || frame == NoProfile:
	case r == Client && frame != claim:
		return Verdict{Action: Close, Close: CloseClientProfile}
	case r == Daemon && frame < claim:
		return Verdict{Action: Close, Close: CloseDaemonProfile}
	}
	return Verdict{}
}

// ChannelAllowed reports whether a token with this claim sessionChannels authorises its client for a frame's channel,
// which is given trimmed.
func ChannelAllowed(claim []string, channel []byte) bool {
	for _, c := range claim {
		if trimmed := Trim([]byte(c)); bytes.HasPrefix(trimmed, []byte(channelPrefix)) && bytes.Equal(trimmed, channel) {
			return true
		}
	}
	return false
}

// Close codes of WebSocket that a relay uses towards today's peers, besides those of the WebSocket protocol itself.
const (
	CodeGoingAway = 1001
	CodeNotUTF8   = 1007
	CodePolicy    = 4008
	CodeTooLarge  = 1009
)

// The texts that go with CodePolicy.
const (
	CloseMissingWorkspace  = "missing workspace claim"
	CloseWorkspaceMismatch = "workspace claim mismatch"
	CloseTargetMismatch    = "runtime target claim mismatch"
	CloseInvalidScope      = "invalid scope claim"
	CloseMissingTarget     = "missing runtime target claim"
	CloseStaleGeneration   = "stale daemon generation"
	CloseDaemonConnected   = "daemon already connected"

	CloseSessionEventsScope = "session-events scope required"
	ClosePairingScope       = "pairing scope only"
	CloseRuntimeScope       = "runtime scope only"
	CloseClientProfile      = "client frame profile mismatch"
	CloseDaemonProfile      = "daemon frame profile mismatch"

	CloseDaemonRate      = "daemon rate limit exceeded"
	CloseWorkerRate      = "worker rate limit exceeded"
	CloseKeyExchangeRate = "key exchange rate limit exceeded"
	CloseRuntimeRate     = "runtime rate limit exceeded"
	ClosePairingRate     = "pairing rate limit exceeded"
	ClosePresenceRate    = "presence rate limit exceeded"

	CloseBufferOverflow = "buffer overflow"
)

// The texts that go with the other codes.
const (
	CloseShuttingDown = "relay shutting down" // CodeGoingAway
	CloseTooLarge     = "frame too large"     // CodeTooLarge
)
