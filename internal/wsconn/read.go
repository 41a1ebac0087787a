package wsconn

import (
	"encoding/binary"
	"errors"
	"os"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

const (
	// maxControl is the longest payload of a control frame.
	maxControl = ws.MaxControlFramePayloadSize
	// firstBytes is what a message gets before any of it has arrived; from then on as much again as has.
	firstBytes = 4 << 10
)

// ReadMessage waits for the next message and appends it to buf, which may be nil; the memory is the caller's again when
// it returns. In between it answers pings and calls OnPong.
//
// The error is a *CloseError when the connection has ended by a close frame: the peer's, End's, or the one that a peer
// got that broke the protocol. It is io.EOF when the connection has ended without one, or whatever it failed with.
// After an error every call returns it; then call Close.
func (c *Conn) ReadMessage(buf []byte) (kind Kind, msg []byte, err error) {
	if c.readErr == nil {
		if kind, msg, err = c.readMessage(buf); err == nil {
			return kind, msg, nil
		}
		c.readErr = c.explain(err)
		c.in.drop()
	}
	return 0, nil, c.readErr
}

// explain puts what the connection was ended with in front of what its reader met then, and answers a peer that broke
// the protocol.
func (c *Conn) explain(err error) error {
	if e, ok := errors.AsType[*CloseError](err); ok {
		if e.Local {
			c.end(e)
		} else {
			reply := &CloseError{Code: e.Code}
			c.end(reply)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended != nil && c.ended.Local && errors.Is(err, os.ErrDeadlineExceeded):
		return c.ended
	case c.broken != nil:
		return c.broken
	}
	return err
}

func (c *Conn) readMessage(buf []byte) (kind Kind, msg []byte, err error) {
	state := ws.StateServerSide
	if c.config.Client {
		state = ws.StateClientSide
	}
	msg = buf
	for {
		h, err := c.readHeader()
		if err != nil {
			return 0, nil, err
		}
		if err := ws.CheckHeader(h, state); err != nil {
			return 0, nil, protocolError(err.Error())
		}
		if h.OpCode.IsControl() {
			if err := c.readControl(h); err != nil {
				return 0, nil, err
			}
			continue
		}
		if h.OpCode != ws.OpContinuation {
			kind = Kind(h.OpCode)
		}
		if h.Length > int64(c.config.Limit-(len(msg)-len(buf))) {
			return 0, nil, &CloseError{Code: CodeTooLarge, Local: true, Reason: "frame too large"} // as today's relays say it
		}
		if msg, err = c.readPayload(msg, h); err != nil {
			return 0, nil, err
		}
		if h.Fin {
			break
		}
		state = state.Set(ws.StateFragmented)
	}
	if kind == Text && !utf8.Valid(msg[len(buf):]) {
		return 0, nil, &CloseError{Code: CodeNotUTF8, Local: true, Reason: "text has to be UTF-8"}
	}
	if c.isEnded() {
		return 0, nil, os.ErrDeadlineExceeded // as if it had come too late
	}
	return kind, msg, nil
}

func (c *Conn) isEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended != nil
}

func protocolError(text string) error {
	return &CloseError{Code: CodeProtocol, Local: true, Reason: text}
}

// readHeader reads the header of the next frame.
func (c *Conn) readHeader() (h ws.Header, err error) {
	for {
		h, n, err := parseHeader(c.in.data)
		if n > 0 || err != nil {
			c.in.data = c.in.data[n:]
			return h, err
		}
		if err := c.in.fill(); err != nil {
			return h, err
		}
	}
}

// parseHeader reads a header of n bytes; 0: there are more to come.
func parseHeader(b []byte) (h ws.Header, n int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.Fin = b[0]&0x80 != 0
	h.Rsv = b[0] & 0x70 >> 4
	h.OpCode = ws.OpCode(b[0] & 0x0f)
	h.Masked = b[1]&0x80 != 0
	n = 2
	switch length := b[1] & 0x7f; {
	case length < 126:
		h.Length = int64(length)
	case length == 126:
		if n += 2; len(b) < n {
			return h, 0, nil
		}
		h.Length = int64(binary.BigEndian.Uint16(b[2:]))
	default:
		if n += 8; len(b) < n {
			return h, 0, nil
		}
		if h.Length = int64(binary.BigEndian.Uint64(b[2:])); h.Length < 0 {
			return h, 0, protocolError("a length has its first bit set")
		}
	}
	if h.Masked {
		if n += 4; len(b) < n {
			return h, 0, nil
		}
		copy(h.Mask[:], b[n-4:])
	}
	return h, n, nil
}

// readPayload appends the payload of a frame to msg.
func (c *Conn) readPayload(msg []byte, h ws.Header) ([]byte, error) {
	for at, end := len(msg), len(msg)+int(h.Length); len(msg) < end; at = len(msg) {
		msg = grow(msg, end, len(c.in.data))
		free := msg[at:min(end, cap(msg))]
		n := copy(free, c.in.data)
		if n > 0 {
			c.in.data = c.in.data[n:]
		} else if c.in.raw == nil || len(free) >= directBytes {
			var err error
			if n, err = c.in.read(free); err != nil {
				return nil, err
			}
		} else if err := c.in.fill(); err != nil {
			return nil, err
		}
		msg = msg[:at+n]
		if h.Masked {
			ws.Cipher(msg[at:], h.Mask, int(h.Length)-(end-at))
		}
	}
	return msg, nil
}

// grow makes room for more of a message that will end at end and of which ready bytes can be appended now: the whole,
// if it is small or about to be complete, else as much again as there is. What a peer only says it will send costs
// nothing.
func grow(msg []byte, end, ready int) []byte {
	if cap(msg) >= end || cap(msg) > len(msg) {
		return msg
	}
	room := min(end, max(2*len(msg), len(msg)+ready, firstBytes))
	return append(make([]byte, 0, room), msg...)
}

// readControl reads the rest of a control frame and does what it asks for.
func (c *Conn) readControl(h ws.Header) error {
	payload := c.control[:h.Length]
	for got := 0; got < len(payload); {
		n := copy(payload[got:], c.in.data)
		c.in.data = c.in.data[n:]
		if got += n; n == 0 {
			if err := c.in.fill(); err != nil {
				return err
			}
		}
	}
	if h.Masked {
		ws.Cipher(payload, h.Mask, 0)
	}
	switch h.OpCode {
	case ws.OpPing:
		c.pong(payload)
	case ws.OpPong:
		if c.config.OnPong != nil {
			c.config.OnPong()
		}
	case ws.OpClose:
		return closed(payload)
	}
	return nil
}

// closed is the error of a peer's close frame.
func closed(payload []byte) error {
	if len(payload) == 0 {
		return &CloseError{Code: CodeNone}
	}
	if len(payload) == 1 {
		return protocolError("half a close code")
	}
	code, reason := int(binary.BigEndian.Uint16(payload)), payload[2:]
	if !(code >= 1000 && code <= 1014 && (code < 1004 || code > 1006) || code >= 3000 && code < 5000) {
		return protocolError("a close code that must not be sent")
	}
	if !utf8.Valid(reason) {
		return &CloseError{Code: CodeNotUTF8, Local: true, Reason: "a close reason has to be UTF-8"}
	}
	return &CloseError{Code: code, Reason: string(reason)}
}
