package wsconn

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/gobwas/ws"
)

// control is what waits to be sent besides messages. It is bounded: of several pongs the last one counts (RFC 6455,
// section 5.5.3), and of several pings any.
type control struct {
	ping   bool
	ponged bool
	pong   []byte // the payload
	close  *CloseError
}

func (p *control) empty() bool { return !p.ping && !p.ponged && p.close == nil }

// AppendMessage appends a message to dst as it is on the wire: what Send takes.
func (c *Conn) AppendMessage(dst []byte, kind Kind, payload []byte) []byte {
	dst = c.AppendHeader(dst, kind, len(payload))
	at := len(dst)
	dst = append(dst, payload...)
	c.Mask(dst, at)
	return dst
}

// AppendHeader appends the header of a message of size bytes, for a caller that appends these itself and then calls
// Mask.
func (c *Conn) AppendHeader(dst []byte, kind Kind, size int) []byte {
	return c.appendHeader(dst, ws.OpCode(kind), size)
}

// Mask ends what AppendHeader began: dst has the message's bytes from at on and nothing behind them.
func (c *Conn) Mask(dst []byte, at int) {
	if c.config.Client {
		ws.Cipher(dst[at:], [4]byte(dst[at-4:at]), 0)
	}
}

func (c *Conn) appendHeader(dst []byte, op ws.OpCode, size int) []byte {
	masked := byte(0)
	if c.config.Client {
		masked = 0x80
	}
	dst = append(dst, 0x80|byte(op))
	switch {
	case size < 126:
		dst = append(dst, masked|byte(size))
	case size < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, masked|126), uint16(size))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, masked|127), uint64(size))
	}
	if c.config.Client {
		// Unpredictable for whoever chooses the payload, as section 10.3 demands: it is seeded by the system.
		dst = binary.BigEndian.AppendUint32(dst, rand.Uint32())
	}
	return dst
}

// Send writes messages, made by AppendMessage or AppendHeader, in one call of the system. It waits for the socket, at
// most for Config.WriteTimeout; after an error the connection is cut.
func (c *Conn) Send(messages []byte) error {
	c.turn.Lock()
	err := c.writable()
	if err == nil {
		err = c.write(messages)
	}
	c.release()
	return err
}

// Ping sends a ping without a payload. If somebody writes just now it does not wait: then they send it.
func (c *Conn) Ping() {
	c.mu.Lock()
	c.pending.ping = c.ended == nil
	c.mu.Unlock()
	c.flush()
}

// pong answers a ping.
func (c *Conn) pong(payload []byte) {
	c.mu.Lock()
	c.pending.ponged = c.ended == nil
	c.pending.pong = append(c.pending.pong[:0], payload...)
	c.mu.Unlock()
	c.flush()
}

// flush sends what is pending, and reports false if somebody else will.
func (c *Conn) flush() bool {
	if !c.turn.TryLock() {
		return false // who holds it looks at pending before they give it up
	}
	c.release()
	return true
}

// writable is nil as long as messages may be sent.
func (c *Conn) writable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.broken != nil:
		return c.broken
	case c.ended != nil:
		return errEnded
	}
	return nil
}

// release sends what is pending and gives up the turn. Pending is looked at and the turn given up in one step, so that
// whoever did not get the turn can count on it.
func (c *Conn) release() {
	for {
		c.mu.Lock()
		if c.broken != nil {
			c.pending = control{}
		}
		if c.pending.empty() {
			c.turn.Unlock()
			c.mu.Unlock()
			return
		}
		b, last := c.appendPending(c.small[:0]), c.pending.close != nil
		c.pending = control{pong: c.pending.pong[:0]}
		c.mu.Unlock()
		c.small = b
		if err := c.write(b); err == nil && last {
			c.closeWrite()
		}
	}
}

// appendPending appends the frames that wait. Called with c.mu held.
func (c *Conn) appendPending(dst []byte) []byte {
	p := &c.pending
	if p.ponged {
		dst = c.appendControl(dst, ws.OpPong, p.pong)
	}
	if p.ping {
		dst = c.appendControl(dst, ws.OpPing, nil)
	}
	if p.close != nil {
		var payload []byte
		if p.close.Code != CodeNone {
			payload = append(binary.BigEndian.AppendUint16(payload, uint16(p.close.Code)), p.close.Reason...)
		}
		dst = c.appendControl(dst, ws.OpClose, payload)
	}
	return dst
}

func (c *Conn) appendControl(dst []byte, op ws.OpCode, payload []byte) []byte {
	dst = c.appendHeader(dst, op, len(payload))
	at := len(dst)
	dst = append(dst, payload...)
	c.Mask(dst, at)
	return dst
}

// write writes b. Called with c.turn held.
func (c *Conn) write(b []byte) error {
	// Setting the deadline anew for each of many small writes would cost more than it is worth.
	if now := time.Now(); c.armed.Sub(now) < c.config.WriteTimeout/2 {
		c.armed = now.Add(c.config.WriteTimeout)
		_ = c.nc.SetWriteDeadline(c.armed) // an error here comes again with the write
	}
	if _, err := c.nc.Write(b); err != nil {
		c.fail(err)
		return err
	}
	return nil
}

// closeWrite tells the peer that nothing follows, if the connection can: then it closes its end without waiting.
func (c *Conn) closeWrite() {
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
