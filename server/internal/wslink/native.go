package wslink

import (
	"time"

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
	messageBytes int
	batch        hub.Batch
}

var errText = reason.New(reason.FrameInvalid, "a message is text; a native endpoint sends binary ones")

// Limit is gRPC's.
func (n *native) Limit() int { return n.messageBytes }

// Room is none: a message is a batch as it is.
func (n *native) Room() int { return 0 }

// Greet announces the limits, as a text: a page can't see the headers of an upgrade.
func (n *native) Greet(c *wsconn.Conn, dst []byte) []byte {
	return c.AppendMessage(dst, wsconn.Text, n.announcement)
}

// Receive hands on what the guard lets through. Envelopes in front of one that ends the link still count.
func (n *native) Receive(l *hub.Link, kind wsconn.Kind, msg []byte) *reason.Error {
	if kind != wsconn.Binary {
		return errText
	}
	_, end := l.Receive(&n.batch, msg)
	return end
}

// Heard does nothing: what keeps the link alive are envelopes.
func (n *native) Heard(*hub.Link) {}

// Send makes one message of o.
func (n *native) Send(c *wsconn.Conn, dst []byte, o *envelope.Outgoing) []byte {
	dst = c.AppendHeader(dst, wsconn.Binary, o.Bytes())
	at := len(dst)
	dst = o.AppendTo(dst)
	c.Mask(dst, at)
	return dst
}

// Hold is never: a native peer does not fight back.
func (n *native) Hold(*reason.Error) time.Duration { return 0 }

// Ended does nothing.
func (n *native) Ended(*hub.Link) {}

// Farewell has the reason itself.
func (n *native) Farewell(why *reason.Error) (code int, text string) {
	return relayws.CodeEnded, relayws.FormatEnd(why)
}
