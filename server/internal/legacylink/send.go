package legacylink

import (
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/legacywire"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/wsconn"
)

// keepScratch is the largest scratch that is kept for another link, in bytes.
const keepScratch = 256 << 10

// ours bounds what the hub gives out: nothing that it has not let in itself.
var ours = envelope.Limits{MaxEnvelope: 8 << 20, MaxBatch: 8 << 20}

// scratch is what a sender reads envelopes with.
type scratch struct {
	message []byte
	batch   envelope.Batch
}

// Send writes the text of each envelope as a message of its own.
func (p *Peer) Send(c *wsconn.Conn, dst []byte, o *envelope.Outgoing) []byte {
	s := p.bridge.scratch.Get().(*scratch)
	s.message = o.AppendTo(s.message[:0])
	s.batch.Load(s.message)
	if err := s.batch.Split(ours); err != nil {
		p.bridge.Log.Error("what the relay has queued are no envelopes", "error", err)
	}
	for i := range s.batch.Frames() {
		dst = p.appendFrame(c, dst, &s.batch.Frames()[i].Header, s.batch.Ciphertext(i))
	}
	s.batch.Free()
	if cap(s.message) <= keepScratch {
		p.bridge.scratch.Put(s)
	}
	return dst
}

// appendFrame appends what an envelope is to a legacy peer.
func (p *Peer) appendFrame(c *wsconn.Conn, dst []byte, h *envelope.Header, text []byte) []byte {
	switch {
	case h.Encoding == relayv1.Encoding_ENCODING_LEGACY_JSON:
		return c.AppendMessage(dst, wsconn.Text, text)
	case h.Type == relayv1.FrameType_FRAME_TYPE_HEARTBEAT:
		c.Ping()
		return dst
	case h.Type != relayv1.FrameType_FRAME_TYPE_STATUS || len(h.Session) > 0:
		return dst // about a session as native peers have them
	}
	s, err := envelope.DecodeStatus(h.Status)
	switch {
	case err != nil:
	case s.Code == reason.Draining:
		p.leaveIn(c, s.RetryAfter)
	case s.Code == reason.PeerUnavailable && p.role == legacywire.Client && p.scope != legacywire.SessionEvents:
		return c.AppendMessage(dst, wsconn.Text, p.status(legacywire.DaemonUnavailable))
	}
	return dst
}

// leaveIn ends the connection of a link that is asked to leave when its peer is to be back: it does not go by itself.
func (p *Peer) leaveIn(c *wsconn.Conn, d time.Duration) {
	if p.leaving == nil {
		p.leaving = time.AfterFunc(d, func() { c.End(p.Farewell(&reason.Error{Code: reason.Draining})) })
	} else {
		p.leaving.Reset(d)
	}
}
