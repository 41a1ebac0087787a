package envelope

import (
	"encoding/binary"
	"time"
	"unicode/utf8"

	"github.com/getviewport/relay/internal/reason"
)

// Bounds of Status, in bytes (docs/protocol.md, Envelope).
const (
	maxStatusCode    = 64
	maxStatusMessage = 512
)

// Status is a reason with what is needed to act on it, as STATUS, RESET and a HEARTBEAT that asks for one carry it.
type Status struct {
	// Code is the reason; one that is not in the table is final.
	Code reason.Code
	// Message is for people.
	Message string
	// Retryable says whether the same may succeed later without a change on the receiver's side.
	Retryable bool
	// Expected is the next sequence that the relay passes, on SEQUENCE_GAP and SEQUENCE_REPLAY; 0: it knows none.
	Expected uint64
	// RetryAfter is how long to wait at least; 0: as the reason says.
	RetryAfter time.Duration
}

// Append appends s serialized, as Header.Status holds it. What is longer than the bounds of the protocol is cut, a
// message at the end of a character; invalid UTF-8 and a negative RetryAfter are left out.
func (s Status) Append(dst []byte) []byte {
	if utf8.ValidString(string(s.Code)) {
		dst = appendBytes(dst, 1, cut(string(s.Code), maxStatusCode))
	}
	if utf8.ValidString(s.Message) {
		dst = appendBytes(dst, 2, cut(s.Message, maxStatusMessage))
	}
	dst = appendNumber(dst, 3, oneIf(s.Retryable))
	dst = appendNumber(dst, 4, s.Expected)
	if s.RetryAfter > 0 {
		seconds, nanos := uint64(s.RetryAfter/time.Second), uint64(s.RetryAfter%time.Second)
		dst = append(dst, 5<<3|wireBytes)
		dst = binary.AppendUvarint(dst, uint64(numberSize(seconds)+numberSize(nanos)))
		dst = appendNumber(appendNumber(dst, 1, seconds), 2, nanos)
	}
	if dst == nil {
		dst = []byte{} // present, though empty
	}
	return dst
}

// DecodeStatus reads what Header.Status holds. Its error is a *reason.Error FRAME_INVALID. A retry_after outside of 0
// to 292 years counts as absent.
func DecodeStatus(b []byte) (Status, error) {
	p, bad := parseStatus(b)
	if bad != "" {
		return Status{}, reason.New(reason.FrameInvalid, "status: %s", bad)
	}
	return Status{
		Code:       reason.Code(p.code),
		Message:    string(p.message),
		Retryable:  p.retryable,
		Expected:   p.expected,
		RetryAfter: p.retryAfter(),
	}, nil
}

// rawStatus is a Status whose texts alias what it was parsed from, so that checking the form of one costs nothing.
type rawStatus struct {
	code, message  []byte
	retryable      bool
	expected       uint64
	seconds, nanos int64
}

const (
	badStatusText = "a text of status is too long or not valid UTF-8"
	badExpected   = "expected_sequence is 2^63 or above"
)

func parseStatus(b []byte) (s rawStatus, bad string) {
	if len(b) > maxMessage {
		return s, badLength
	}
	f := fields{rest: b}
	var seen uint64
	for f.next() {
		if f.number > 5 {
			continue
		}
		if bit := uint64(1) << f.number; seen&bit != 0 {
			return s, badTwice
		} else {
			seen |= bit
		}
		want := uint64(wireBytes)
		if f.number == 3 || f.number == 4 {
			want = wireVarint
		}
		if f.wire != want {
			return s, badKnownType
		}
		switch f.number {
		case 1:
			s.code = f.val
		case 2:
			s.message = f.val
		case 3:
			s.retryable = f.num != 0
		case 4:
			s.expected = f.num
		case 5:
			var t Timestamp // a Duration has the same two fields
			if bad := t.parse(f.val); bad != "" {
				return s, bad
			}
			s.seconds, s.nanos = t.Seconds, int64(t.Nanos)
		}
	}
	switch {
	case f.bad != "":
		return s, f.bad
	case len(s.code) > maxStatusCode || !utf8.Valid(s.code):
		return s, badStatusText
	case len(s.message) > maxStatusMessage || !utf8.Valid(s.message):
		return s, badStatusText
	case s.expected >= maxNumber:
		return s, badExpected
	}
	return s, ""
}

func (s *rawStatus) retryAfter() time.Duration {
	const most = int64(1<<63-1) / int64(time.Second)
	if s.seconds < 0 || s.seconds >= most || s.nanos < 0 || s.nanos >= int64(time.Second) {
		return 0
	}
	return time.Duration(s.seconds)*time.Second + time.Duration(s.nanos)
}

// cut returns at most the first n bytes of s, without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
