package wslink

import (
	"time"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/wsconn"
	"github.com/getviewport/relay/server/internal/hub"
)

// Dialect is what differs between the protocols that a WebSocket carries. Each link has one of its own. Its methods are
// called by the link's reader, but for Send, which the sender calls, and Hold and Farewell, which anybody does: those
// must not depend on the link's state.
type Dialect interface {
	// Limit is the longest message that the peer may send, in bytes.
	Limit() int
	// Greet appends what the relay says first.
	Greet(c *wsconn.Conn, dst []byte) []byte
	// Room is how many bytes Receive wants in front of what the peer has sent, at most maxRoom.
	Room() int
	// Receive handles a message, which it owns, and which has Room bytes in front. An error ends the link.
	Receive(l *hub.Link, kind wsconn.Kind, msg []byte) *reason.Error
	// Heard handles a pong.
	Heard(l *hub.Link)
	// Send appends what o has as messages, and frees o.
	Send(c *wsconn.Conn, dst []byte, o *envelope.Outgoing) []byte
	// Hold is how long the connection is kept, without a use, after the relay has ended the link; 0: not at all.
	Hold(why *reason.Error) time.Duration
	// Farewell is the close frame that tells why the relay ends the link.
	Farewell(why *reason.Error) (code int, text string)
	// Ended is called once when the connection has ended, before l is detached.
	Ended(l *hub.Link)
}

// hold keeps the connection of a link that has ended for a while; Wait ends it earlier.
func (s *Service) hold(x *socket, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := func() { x.conn.End(x.dialect.Farewell(x.link.Err())) }
	if s.closed || x.released {
		end()
		return
	}
	if s.held == nil {
		s.held = make(map[*socket]*time.Timer)
	}
	s.held[x] = time.AfterFunc(d, end)
}

// released forgets a connection that has ended.
func (s *Service) released(x *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.released = true
	if timer := s.held[x]; timer != nil {
		timer.Stop()
		delete(s.held, x)
	}
}

// release ends the connections that are held. Called with s.mu held.
func (s *Service) release() {
	for _, timer := range s.held {
		timer.Reset(0)
	}
}
