// Package wsconn is one WebSocket connection (RFC 6455) as relay and SDK use it, at either end: whole messages of
// bounded size, several of them in one write, no compression, and no goroutine of its own. Besides that it has the two
// halves of the opening handshake: Check and AppendAccept for a server, Dial for a client.
//
// A connection that waits for a message costs little: it holds no buffer meanwhile, and none grows before the bytes
// that fill it have arrived. (Over TLS the TLS connection has a buffer of its own.)
//
// Frame rules and masking are of gobwas/ws, the rest is here, because of what whole libraries cost: forwarding a message
// of 1 KiB with 64 on the way took 11.4 µs of CPU with gorilla, 14.4 with coder, 24.4 with gobwas and its own reader and
// writer, and 10.6 so; an idle connection 7.6, 14.7, 5.2 and 3.4 KB of heap and stack; with one message on the way they
// do not differ by more than a busy machine does (median of three runs in turns; gorilla 1.5.3, coder 1.8.15). None of
// them writes several messages at once.
//
// It decides nothing about who may connect, what messages mean or how long silence may last.
package wsconn

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Kind is what a message is.
type Kind uint8

// The kinds, numbered as on the wire.
const (
	// Text is UTF-8.
	Text Kind = 1
	// Binary is anything.
	Binary Kind = 2
)

// Close codes (RFC 6455, section 7.4). Codes from 4000 on are the application's.
const (
	CodeNormal    = 1000
	CodeGoingAway = 1001
	CodeProtocol  = 1002
	// CodeNone stands for a close frame without a code. It is never on the wire.
	CodeNone     = 1005
	CodeNotUTF8  = 1007
	CodeTooLarge = 1009
)

// MaxReason is the longest reason of a close frame, in bytes.
const MaxReason = maxControl - 2

// CloseError says that a connection has ended by a close frame.
type CloseError struct {
	// Code and Reason are those of the close frame.
	Code   int
	Reason string
	// Local: this end sent it first, by Conn.End or because its peer broke the protocol.
	Local bool
}

// Error implements error.
func (e *CloseError) Error() string {
	who := "the peer"
	if e.Local {
		who = "this end"
	}
	if e.Reason == "" {
		return fmt.Sprintf("wsconn: %s closed with code %d", who, e.Code)
	}
	return fmt.Sprintf("wsconn: %s closed with code %d: %q", who, e.Code, e.Reason)
}

// Config is what a Conn is made of.
type Config struct {
	// Client: this end opened the connection, so it masks what it sends and its peer does not.
	Client bool
	// Limit is the longest message that is received, in bytes; then the connection ends with CodeTooLarge.
	Limit int
	// WriteTimeout is how long a write may make no end; then the connection is cut. A write that begins while the time
	// of an earlier one runs gets at least half of it. 0: DefaultWriteTimeout.
	WriteTimeout time.Duration
	// OnPong is called by ReadMessage, in its goroutine, for each pong; nil: nothing is.
	OnPong func()
}

// DefaultWriteTimeout is the WriteTimeout of a Config that has none.
const DefaultWriteTimeout = 10 * time.Second

// lingerTime is how long a connection that has said its last word waits for it to be taken: what a peer has sent and
// nobody has read would make the kernel reset the connection, and the last word would be lost.
const lingerTime = time.Second

// Conn is one connection. One goroutine calls ReadMessage, and any may call the other methods.
type Conn struct {
	// Static.
	config Config
	nc     net.Conn

	// Owned by the reader.
	in      source
	control [maxControl]byte // the payload of the last control frame
	readErr error            // what ReadMessage has ended with

	// turn is held by whoever writes to the socket. Who gives it up sends first what is pending.
	turn  sync.Mutex
	armed time.Time // until when the socket's write deadline is; guarded by turn
	small []byte    // for control frames; guarded by turn

	// mu guards what follows and is never held while writing.
	mu      sync.Mutex
	pending control
	ended   *CloseError // what was sent last; nil: not yet
	broken  error       // why nothing can be written any more
}

// New makes a connection of nc, after the handshake. received is what was read from nc and comes before everything that
// is still to be read; New copies it.
func New(nc net.Conn, received []byte, config Config) *Conn {
	if config.WriteTimeout == 0 {
		config.WriteTimeout = DefaultWriteTimeout
	}
	c := &Conn{config: config, nc: nc}
	c.in.init(nc, received)
	return c
}

// NetConn is the connection beneath. Whoever reads from it or writes to it breaks the protocol.
func (c *Conn) NetConn() net.Conn { return c.nc }

// End says a last word: a close frame. What was given to Send before goes first, nothing after it, and ReadMessage ends
// at once. It does not wait for a write that is under way. More calls do nothing. A reason that is longer than
// MaxReason is cut. Call Close for the rest.
func (c *Conn) End(code int, reason string) {
	if len(reason) > MaxReason {
		reason = reason[:MaxReason]
	}
	c.end(&CloseError{Code: code, Reason: reason, Local: true})
	_ = c.nc.SetReadDeadline(longAgo) // wakes the reader
}

// longAgo is a deadline that ends what waits for it.
var longAgo = time.Unix(1, 0)

// end has a close frame sent, once.
func (c *Conn) end(e *CloseError) {
	c.mu.Lock()
	if c.ended != nil || c.broken != nil {
		c.mu.Unlock()
		return
	}
	c.ended = e
	c.pending.close = e
	c.mu.Unlock()
	if !c.flush() {
		// Somebody writes. It is the last thing that is waited for, and not for long.
		_ = c.nc.SetWriteDeadline(time.Now().Add(lingerTime))
	}
}

// Close frees the connection. After a close frame, from either end, it waits until the peer has taken it, at most a
// second; otherwise it cuts the connection. ReadMessage must not be running: a connection that is read is ended by End,
// or Abort, and closed by its reader.
func (c *Conn) Close() error {
	c.mu.Lock()
	linger := c.ended != nil && c.broken == nil
	c.mu.Unlock()
	if linger {
		c.in.drop()
		_ = c.nc.SetReadDeadline(time.Now().Add(lingerTime))
		for rest := make([]byte, 1024); ; {
			if _, err := c.nc.Read(rest); err != nil {
				break
			}
		}
	}
	return c.nc.Close()
}

// Abort cuts the connection: whatever reads or writes ends with an error.
func (c *Conn) Abort() {
	c.fail(net.ErrClosed)
}

// fail makes sure that nothing is written any more.
func (c *Conn) fail(why error) {
	c.mu.Lock()
	if c.broken == nil {
		c.broken = why
	}
	c.mu.Unlock()
	_ = c.nc.Close()
}

// errEnded is the error of a Send after a close frame.
var errEnded = errors.New("wsconn: the connection was ended")
