package wslink

import (
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/relayws"
	"github.com/getviewport/relay/internal/wsconn"
	"github.com/getviewport/relay/server/internal/hub"
)

// native is the native protocol (docs/protocol.md, WebSocket): one binary message is one EnvelopeBatch. It has no
// heartbeats of its own: those of the protocol are envelopes.
type native struct {
	announcement []byte
	batch        hub.Batch
}

var errText = reason.New(reason.FrameInvalid, "a message is text; a native endpoint sends binary ones")

func (n *native) limit(s *Service) int { return s.MessageBytes }

// greet announces the limits, as a text: a page can't see the headers of an upgrade.
func (n *native) greet(c *wsconn.Conn, dst []byte) []byte {
	return c.AppendMessage(dst, wsconn.Text, n.announcement)
}

// receive hands on what the guard lets through. Envelopes in front of one that ends the link still count.
func (n *native) receive(l *hub.Link, kind wsconn.Kind, msg []byte) *reason.Error {
	if kind != wsconn.Binary {
		return errText
	}
	n.batch.Load(msg)
	defer n.batch.Free()
	passed, end := l.Sequence(&n.batch)
	if passed > 0 {
		l.Forward(&n.batch)
	}
	return end
}

func (n *native) heard(*hub.Link) {}

func (n *native) send(c *wsconn.Conn, dst []byte, o *envelope.Outgoing) []byte {
	dst = c.AppendHeader(dst, wsconn.Binary, o.Bytes())
	at := len(dst)
	dst = o.AppendTo(dst)
	c.Mask(dst, at)
	return dst
}

func (n *native) farewell(why *reason.Error) (code int, text string) {
	return relayws.CodeEnded, relayws.FormatEnd(why)
}
