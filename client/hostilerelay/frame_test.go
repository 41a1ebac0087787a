package hostilerelay_test

import (
	"bytes"
	"fmt"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

const (
	typeInit      = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_INIT
	typeResponse  = relayv1.FrameType_FRAME_TYPE_HANDSHAKE_RESPONSE
	typeData      = relayv1.FrameType_FRAME_TYPE_DATA
	typeClose     = relayv1.FrameType_FRAME_TYPE_CLOSE
	typeAck       = relayv1.FrameType_FRAME_TYPE_ACK
	typeResume    = relayv1.FrameType_FRAME_TYPE_RESUME
	typeResumed   = relayv1.FrameType_FRAME_TYPE_RESUMED
	typeReset     = relayv1.FrameType_FRAME_TYPE_RESET
	typeHeartbeat = relayv1.FrameType_FRAME_TYPE_HEARTBEAT
	typeStatus    = relayv1.FrameType_FRAME_TYPE_STATUS

	noise = relayv1.Encoding_ENCODING_NOISE
)

// maxEnvelope is more than either side ever sends.
const maxEnvelope = 4 << 20

// frame is one envelope, whose memory is its own.
type frame struct {
	envelope.Header
	ciphertext []byte
	raw        []byte // sent in place of all the rest, as part of a message, if it is set
}

// frames copies the envelopes out of a batch that was split.
func frames(b *envelope.Batch) []*frame {
	all := make([]*frame, 0, len(b.Frames()))
	for i, f := range b.Frames() {
		all = append(all, (&frame{Header: f.Header, ciphertext: b.Ciphertext(i)}).clone())
	}
	return all
}

// clone is a copy that shares nothing with f.
func (f *frame) clone() *frame {
	c := *f
	for _, b := range []*[]byte{
		&c.Workspace, &c.Target, &c.Session, &c.BindKey, &c.Status, &c.ciphertext, &c.raw,
	} {
		*b = bytes.Clone(*b)
	}
	return &c
}

// with is a copy that was changed.
func (f *frame) with(change func(f *frame)) *frame {
	c := f.clone()
	change(c)
	return c
}

// linkStatus is a STATUS about the link that f is on.
func (f *frame) linkStatus(s envelope.Status) *frame { return f.status(s).aboutLink() }

// bytes is f as an element of a batch.
func (f *frame) bytes() []byte {
	if f.raw != nil {
		return f.raw
	}
	return envelope.Append(nil, &f.Header, f.ciphertext)
}

// sequenced reports whether f has a sequence of its own.
func (f *frame) sequenced() bool { return envelope.Sequenced(f.Type) }

// of is a frame of the same session and of another type, with nothing else.
func (f *frame) of(typ relayv1.FrameType) *frame {
	c := &frame{Header: envelope.Header{
		Type: typ, Workspace: f.Workspace, Target: f.Target, Session: f.Session,
	}}
	return c.clone()
}

// status is a STATUS about f's session.
func (f *frame) status(s envelope.Status) *frame {
	c := f.of(typeStatus)
	c.Status = s.Append(nil)
	return c
}

// gap is a SEQUENCE_GAP about f's session.
func (f *frame) gap(expected uint64) *frame {
	return f.status(envelope.Status{Code: reason.SequenceGap, Expected: expected})
}

// aboutLink is f about the link instead of a session.
func (f *frame) aboutLink() *frame { return f.with(func(f *frame) { f.Session = nil }) }

// reset is a RESET of f's session with this code and ciphertext.
func (f *frame) reset(code reason.Code, proof []byte) *frame {
	c := f.of(typeReset)
	c.Status, c.ciphertext, c.Encoding = envelope.Status{Code: code}.Append(nil), proof, noise
	if proof != nil {
		c.ResumeAttempt = 1 << 40
	}
	return c
}

func (f *frame) String() string {
	return fmt.Sprintf("%v %d of %.6s, %d bytes", f.Type, f.Sequence, f.Session, len(f.ciphertext))
}
