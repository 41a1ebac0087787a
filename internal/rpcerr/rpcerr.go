// Package rpcerr carries a reason.Error over gRPC: as a status with google.rpc.ErrorInfo (and RetryInfo) on the relay's
// side, and back into a reason.Error on the peer's (docs/protocol.md, Errors).
package rpcerr

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/getviewport/relay/internal/reason"
)

// Domain is the ErrorInfo domain of every error of the relay.
const Domain = "relay.viewport"

// Status returns e as an error that gRPC sends as it is.
func Status(e *reason.Error) error {
	info, ok := reason.Lookup(e.Code)
	code := info.GRPC
	if !ok || code == codes.OK {
		code = codes.Internal
	}
	s := status.New(code, e.Error())
	withInfo, err := s.WithDetails(&errdetails.ErrorInfo{Reason: string(e.Code), Domain: Domain, Metadata: e.Meta})
	if err != nil {
		return s.Err()
	}
	if e.RetryAfter > 0 {
		withRetry, err := withInfo.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
		if err == nil {
			withInfo = withRetry
		}
	}
	return withInfo.Err()
}

// From returns the reason in a gRPC error, or nil when err did not come from a relay (a terminator's 502, a lost
// connection, a local deadline).
func From(err error) *reason.Error {
	s, ok := status.FromError(err)
	if !ok {
		return nil
	}
	var e *reason.Error
	var retry time.Duration
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == Domain {
				code := reason.Code(d.GetReason())
				e = &reason.Error{Code: code, Text: trimCode(s.Message(), code), Meta: d.GetMetadata()}
			}
		case *errdetails.RetryInfo:
			retry = d.GetRetryDelay().AsDuration()
		}
	}
	if e != nil {
		e.RetryAfter = retry
	}
	return e
}

// trimCode takes "CODE: " from the front, which Error puts there again.
func trimCode(message string, code reason.Code) string {
	if prefix := string(code) + ": "; len(message) >= len(prefix) && message[:len(prefix)] == prefix {
		return message[len(prefix):]
	}
	return message
}
