package legacylink

import (
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/legacywire"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/wsconn"
)

const (
	// takeBytes is about how much is written with one system call.
	takeBytes = 64 << 10
	// pooledBuffer is the largest buffer that is kept for another link.
	pooledBuffer = 256 << 10
)

// taken bounds what the hub gives out: nothing that it has not let in itself.
var taken = envelope.Limits{MaxEnvelope: 8 << 20, MaxBatch: 8 << 20}

// Send sends until the link's queue is empty or the connection has ended. The hub starts it when there is something and
// no Send runs.
func (p *Peer) Send() {
	in, out := p.bridge.buffer(), p.bridge.buffer()
	defer p.bridge.keep(in)
	defer p.bridge.keep(out)
	var b envelope.Batch
	for {
		var o envelope.Outgoing
		if !p.link.Take(takeBytes, &o) {
			return
		}
		*in = o.AppendTo((*in)[:0])
		b.Load(*in)
		if err := b.Split(taken); err != nil {
			p.bridge.Log.Error("the relay's own queue has no envelopes", "error", err)
			p.end(&reason.Error{Code: reason.Internal})
		}
		*out = (*out)[:0]
		for i := range b.Frames() {
			*out = p.appendFrame(*out, &b.Frames()[i].Header, b.Ciphertext(i))
		}
		b.Free()
		if len(*out) > 0 && p.conn.Send(*out) != nil {
			p.link.Detach()
			return
		}
	}
}

// appendFrame appends what an envelope is to a legacy peer.
func (p *Peer) appendFrame(out []byte, h *envelope.Header, text []byte) []byte {
	switch {
	case h.Encoding == relayv1.Encoding_ENCODING_LEGACY_JSON:
		return p.conn.AppendMessage(out, wsconn.Text, text)
	case h.Type == relayv1.FrameType_FRAME_TYPE_HEARTBEAT:
		p.conn.Ping()
		return out
	case h.Type != relayv1.FrameType_FRAME_TYPE_STATUS || len(h.Session) > 0:
		return out // about a session as native peers have them
	}
	s, err := envelope.DecodeStatus(h.Status)
	switch {
	case err != nil:
	case s.Code == reason.Draining:
		p.leaveIn(s.RetryAfter)
	case s.Code == reason.PeerUnavailable && p.role == legacywire.Client && p.scope != legacywire.SessionEvents:
		return p.conn.AppendMessage(out, wsconn.Text, p.status(legacywire.DaemonUnavailable))
	}
	return out
}

// leaveIn ends the connection of a link that is asked to leave when its peer is to be back: it does not go by itself.
func (p *Peer) leaveIn(d time.Duration) {
	if p.leaving == nil {
		p.leaving = time.AfterFunc(d, func() { p.end(&reason.Error{Code: reason.Draining}) })
	} else {
		p.leaving.Reset(d)
	}
}

func (b *Bridge) buffer() *[]byte { return b.buffers.Get().(*[]byte) }

func (b *Bridge) keep(buf *[]byte) {
	if cap(*buf) <= pooledBuffer {
		b.buffers.Put(buf)
	}
}
