// Package reason is the one table of everything the relay and its endpoints refuse, drop or end, and why: a code that
// programs match, with its gRPC code, HTTP status, scope and whether to try again (docs/protocol.md, Errors).
//
// It knows no transport: package rpcerr turns an *Error into a gRPC status and back.
package reason

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// Code is a reason's name on the wire, in metrics and in logs. It never changes its meaning.
type Code string

// Reasons that refuse or end a stream.
const (
	// TokenMissing: no bearer token came with the request.
	TokenMissing Code = "TOKEN_MISSING"
	// TokenInvalid: the token is malformed, not signed by a key of the platform, or refused by the platform.
	TokenInvalid Code = "TOKEN_INVALID"
	// TokenExpired: the token was good once.
	TokenExpired Code = "TOKEN_EXPIRED"
	// WorkspaceMismatch: the token is for another workspace than the one asked for.
	WorkspaceMismatch Code = "WORKSPACE_MISMATCH"
	// TargetMismatch: the token is for another runtime target than the one asked for.
	TargetMismatch Code = "TARGET_MISMATCH"
	// RoleMismatch: the token's role or scope does not allow this call.
	RoleMismatch Code = "ROLE_MISMATCH"
	// PairingRevoked: the platform or the operator revoked this pairing.
	PairingRevoked Code = "PAIRING_REVOKED"
	// EnvelopeMismatch: an envelope names another workspace or target than its stream was admitted for.
	EnvelopeMismatch Code = "ENVELOPE_MISMATCH"
	// DaemonAlreadyConnected: another daemon serves the target and is alive.
	DaemonAlreadyConnected Code = "DAEMON_ALREADY_CONNECTED"
	// StaleGeneration: the daemon's token is of an older generation than one seen before.
	StaleGeneration Code = "STALE_GENERATION"
	// Replaced: a newer link of this daemon took over.
	Replaced Code = "REPLACED"
	// FrameTooLarge: an envelope or a batch is longer than the limit.
	FrameTooLarge Code = "FRAME_TOO_LARGE"
	// FrameInvalid: an envelope is malformed.
	FrameInvalid Code = "FRAME_INVALID"
	// RateLimited: too many of something in a time; retry_after says when to come back.
	RateLimited Code = "RATE_LIMITED"
	// Capacity: a limit on how many or how much at once is reached.
	Capacity Code = "CAPACITY"
	// PlatformUnavailable: the platform could not be asked; nothing is known against the token.
	PlatformUnavailable Code = "PLATFORM_UNAVAILABLE"
	// Draining: the relay is going away; connect again after retry_after.
	Draining Code = "DRAINING"
	// LinkDead: nothing was received for three heartbeat intervals.
	LinkDead Code = "LINK_DEAD"
	// Internal: a fault of the relay; its log has more.
	Internal Code = "INTERNAL"
)

// Reasons that refuse or end a session; the stream and its other sessions go on.
const (
	// ProfileTooWeak: the workspace or the peer requires Noise IKpsk2.
	ProfileTooWeak Code = "PROFILE_TOO_WEAK"
	// NotAuthorised: the daemon does not accept this client's key.
	NotAuthorised Code = "NOT_AUTHORISED"
	// PairingUnknown: the pairing id is unknown, used or too old.
	PairingUnknown Code = "PAIRING_UNKNOWN"
	// SessionConflict: the session id belongs to somebody else.
	SessionConflict Code = "SESSION_CONFLICT"
	// SlowConsumer: the receiver kept this session over its share of the relay's memory.
	SlowConsumer Code = "SLOW_CONSUMER"
	// SessionUnknown: the peer has no such session (any more).
	SessionUnknown Code = "SESSION_UNKNOWN"
	// DataLost: the peer no longer holds frames that were never received.
	DataLost Code = "DATA_LOST"
	// FlowViolation: the peer sent more than it had credit for.
	FlowViolation Code = "FLOW_VIOLATION"
	// DecryptFailed: 64 frames or proofs in a row did not verify.
	DecryptFailed Code = "DECRYPT_FAILED"
	// Cancelled: the peer's application ended the session without a clean close.
	Cancelled Code = "CANCELLED"
)

// Reasons that are told by STATUS and end nothing.
const (
	// PeerUnavailable: no daemon is attached.
	PeerUnavailable Code = "PEER_UNAVAILABLE"
	// PeerAvailable: a daemon attached.
	PeerAvailable Code = "PEER_AVAILABLE"
	// PeerRevoked: a client of this daemon was revoked.
	PeerRevoked Code = "PEER_REVOKED"
	// SequenceReplay: a sequence that had passed came again.
	SequenceReplay Code = "SEQUENCE_REPLAY"
	// SequenceGap: a sequence above the expected one came.
	SequenceGap Code = "SEQUENCE_GAP"
	// Probe: on a HEARTBEAT, asks for a HEARTBEAT at once.
	Probe Code = "PROBE"
)

// Reasons that an endpoint finds by itself; they are never on the wire.
const (
	// LinkLost: the connection to the relay ended.
	LinkLost Code = "LINK_LOST"
	// PeerSlow: the peer's application does not read.
	PeerSlow Code = "PEER_SLOW"
	// PeerSilent: nothing came from the peer for the session's lifetime.
	PeerSilent Code = "PEER_SILENT"
	// HandshakeTimeout: the peer did not answer the handshake in time.
	HandshakeTimeout Code = "HANDSHAKE_TIMEOUT"
	// HandshakeFailed: the peer's handshake does not verify: it does not hold the pinned key, or the PSK differs.
	HandshakeFailed Code = "HANDSHAKE_FAILED"
	// MessageTooLarge: a message is longer than max-message.
	MessageTooLarge Code = "MESSAGE_TOO_LARGE"
	// Closed: this side closed it before.
	Closed Code = "CLOSED"
)

// Scope says what a reason ends.
type Scope uint8

// Scopes of a reason.
const (
	// ScopeStream ends, or refuses, a stream and with it all its sessions' use of it.
	ScopeStream Scope = iota + 1
	// ScopeSession ends, or refuses, one session.
	ScopeSession
	// ScopeEither is told about a stream, or with a session id about one session.
	ScopeEither
	// ScopeStatus ends nothing.
	ScopeStatus
)

// Info is a row of the table.
type Info struct {
	// GRPC is the status code of a stream that ends with this reason; OK for reasons that never end one.
	GRPC codes.Code
	// HTTP is the status of a refused HTTP request; 0 for reasons that never refuse one.
	HTTP int
	// Scope says what the reason ends.
	Scope Scope
	// Retryable says whether the same may succeed later without a change on the caller's side.
	Retryable bool
	// Text says what happened and what to do, for an error that has nothing better to say.
	Text string
}

var table = map[Code]Info{
	TokenMissing:           {codes.Unauthenticated, 401, ScopeStream, false, "no bearer token; send metadata authorization: Bearer <token>"},
	TokenInvalid:           {codes.Unauthenticated, 401, ScopeStream, false, "the token was not accepted; get a fresh one from the platform"},
	TokenExpired:           {codes.Unauthenticated, 401, ScopeStream, true, "the token has expired; get a fresh one from the platform"},
	WorkspaceMismatch:      {codes.PermissionDenied, 403, ScopeStream, false, "the token is not for this workspace"},
	TargetMismatch:         {codes.PermissionDenied, 403, ScopeStream, false, "the token is not for this runtime target"},
	RoleMismatch:           {codes.PermissionDenied, 403, ScopeStream, false, "the token's role or scope does not allow this"},
	PairingRevoked:         {codes.PermissionDenied, 403, ScopeStream, false, "the pairing was revoked; pair again"},
	EnvelopeMismatch:       {codes.PermissionDenied, 403, ScopeStream, false, "an envelope names another workspace or target than its stream"},
	DaemonAlreadyConnected: {codes.AlreadyExists, 409, ScopeStream, true, "another daemon serves this target"},
	StaleGeneration:        {codes.AlreadyExists, 409, ScopeStream, false, "a daemon with a newer token has been here; get a fresh token"},
	Replaced:               {codes.Aborted, 409, ScopeStream, true, "a newer link of this daemon took over"},
	FrameTooLarge:          {codes.InvalidArgument, 413, ScopeStream, false, "an envelope, a batch or the request metadata is longer than the limit"},
	FrameInvalid:           {codes.InvalidArgument, 400, ScopeStream, false, "an envelope is malformed"},
	RateLimited:            {codes.ResourceExhausted, 429, ScopeEither, true, "too many requests; come back after retry_after"},
	Capacity:               {codes.ResourceExhausted, 503, ScopeEither, true, "a limit of this relay is reached; come back after retry_after"},
	PlatformUnavailable:    {codes.Unavailable, 503, ScopeStream, true, "the platform can't be asked now; come back after retry_after"},
	Draining:               {codes.Unavailable, 503, ScopeStream, true, "the relay is going away; connect again after retry_after"},
	LinkDead:               {codes.Unavailable, 0, ScopeStream, true, "nothing was received for three heartbeat intervals"},
	Internal:               {codes.Internal, 500, ScopeStream, true, "a fault of the relay; its log has more"},

	ProfileTooWeak:  {codes.PermissionDenied, 0, ScopeSession, false, "Noise IKpsk2 is required; pair this client with the daemon"},
	NotAuthorised:   {codes.PermissionDenied, 0, ScopeSession, false, "the daemon does not accept this client's key; pair it"},
	PairingUnknown:  {codes.PermissionDenied, 0, ScopeSession, false, "the pairing string is unknown, used or too old; make a new one"},
	SessionConflict: {codes.OK, 0, ScopeSession, false, "the session belongs to somebody else"},
	SlowConsumer:    {codes.OK, 0, ScopeSession, false, "the receiver did not keep up"},
	SessionUnknown:  {codes.OK, 0, ScopeSession, false, "the peer has no such session"},
	DataLost:        {codes.OK, 0, ScopeSession, false, "the peer no longer holds frames that were never received"},
	FlowViolation:   {codes.OK, 0, ScopeSession, false, "more was sent than there was credit for"},
	DecryptFailed:   {codes.OK, 0, ScopeSession, false, "frames of this session do not verify"},
	Cancelled:       {codes.OK, 0, ScopeSession, false, "the peer ended the session without a clean close"},

	PeerUnavailable: {codes.OK, 0, ScopeStatus, true, "no daemon is attached"},
	PeerAvailable:   {codes.OK, 0, ScopeStatus, false, "a daemon attached"},
	PeerRevoked:     {codes.OK, 0, ScopeStatus, false, "a client was revoked"},
	SequenceReplay:  {codes.OK, 0, ScopeStatus, false, "a sequence came again"},
	SequenceGap:     {codes.OK, 0, ScopeStatus, false, "a sequence is missing; go on from expected_sequence"},
	Probe:           {codes.OK, 0, ScopeStatus, false, "answer with a heartbeat"},

	LinkLost:         {codes.OK, 0, ScopeStream, true, "the connection to the relay ended"},
	PeerSlow:         {codes.OK, 0, ScopeSession, true, "the peer's application does not read"},
	PeerSilent:       {codes.OK, 0, ScopeSession, true, "nothing came from the peer for too long"},
	HandshakeTimeout: {codes.OK, 0, ScopeSession, true, "the peer did not answer the handshake in time"},
	HandshakeFailed:  {codes.OK, 0, ScopeSession, false, "the peer's handshake does not verify: pair again"},
	MessageTooLarge:  {codes.OK, 0, ScopeSession, false, "the message is longer than the limit"},
	Closed:           {codes.OK, 0, ScopeEither, false, "it was closed here before"},
}

// Lookup returns the row of a code and whether there is one.
func Lookup(c Code) (Info, bool) {
	i, ok := table[c]
	return i, ok
}

// All returns every code in alphabetical order.
func All() []Code { return slices.Sorted(maps.Keys(table)) }

// Error is a refusal or an end with its reason. Its texts never carry a secret, nor what another tenant owns.
type Error struct {
	// Code is the reason.
	Code Code
	// Text says what happened, to whom and what to do; empty: the table's text.
	Text string
	// RetryAfter is how long to wait before trying again; 0: as the reason says.
	RetryAfter time.Duration
	// Meta names what the reason is about, such as a limit and its value. It may be nil.
	Meta map[string]string
}

// New returns an Error with a text made as fmt.Sprintf makes it; an empty format means the table's text.
func New(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Text: fmt.Sprintf(format, args...)}
}

// After sets RetryAfter and returns e.
func (e *Error) After(d time.Duration) *Error {
	e.RetryAfter = d
	return e
}

// With adds a pair to Meta and returns e.
func (e *Error) With(key, value string) *Error {
	if e.Meta == nil {
		e.Meta = make(map[string]string)
	}
	e.Meta[key] = value
	return e
}

// Message is the text of e, or of the table where e has none.
func (e *Error) Message() string {
	if e.Text != "" {
		return e.Text
	}
	return table[e.Code].Text
}

// Error returns "CODE: message".
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message() }

// Is reports whether target is an *Error of the same code, so that errors.Is works with &Error{Code: c}.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Retryable reports what the table says of e's code; an unknown code is final.
func (e *Error) Retryable() bool { return table[e.Code].Retryable }

// Of returns the *Error in err's chain, or one of code INTERNAL that hides err's text (which may be anything).
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: Internal}
}

// Metric is the code as a metric label: lower case.
func (c Code) Metric() string { return strings.ToLower(string(c)) }
