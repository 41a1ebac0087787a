package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Names of ALPN (RFC 7301).
const (
	protoHTTP1 = "http/1.1"
	protoHTTP2 = "h2"
)

// preface opens every HTTP/2 connection of a client (RFC 9113, section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// verdict is what the first bytes of a connection say.
type verdict uint8

const (
	undecided verdict = iota // a true prefix of the preface: more bytes are needed
	isHTTP2
	isHTTP1   // or text that an HTTP/1.1 server answers with 400
	isForeign // no text: a TLS hello on a plain port, a scanner
)

// classify judges the first bytes of a connection.
func classify(b []byte) verdict {
	if n := min(len(b), len(preface)); string(b[:n]) == preface[:n] {
		if n == len(preface) {
			return isHTTP2
		}
		return undecided
	}
	// A request line starts with a letter, after at most an empty line (RFC 9112, section 2.2).
	if c := b[0]; c == '\r' || c == '\n' || c >= 0x20 && c < 0x7f {
		return isHTTP1
	}
	return isForeign
}

// sniff finds out what p speaks and hands it over, or closes it.
func (m *Mux) sniff(p *pendingConn) {
	_ = p.raw.SetDeadline(time.Now().Add(m.timeout)) // an error here comes again with the first read
	var to *sub
	var err error
	if m.tls != nil {
		to, err = m.handshake(p)
	} else {
		to, err = m.peekProtocol(p)
	}
	if err == nil {
		err = p.raw.SetDeadline(time.Time{})
	}
	if err != nil {
		m.drop(p, err)
		return
	}
	select {
	case to.conns <- p:
	case <-p.gone: // closed by who evicted it
	case <-to.done:
		m.unserve(p)
	case <-m.closed:
		m.unserve(p)
	}
}

// errForeign ends connections that speak neither protocol.
var errForeign = errors.New("neither HTTP/1.1 nor HTTP/2")

// peekProtocol waits until enough of the first bytes are there to tell, and leaves them unread.
func (m *Mux) peekProtocol(p *pendingConn) (*sub, error) {
	sc, ok := p.raw.(syscall.Conn)
	if !ok {
		return nil, errors.New("the connection has no descriptor to peek at")
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	says, peekErr := undecided, error(nil)
	// The poller wakes this function for every arrival, also when earlier bytes are still unread (edge-triggered), and
	// ends it at the deadline or when the connection is closed. A peer that half-closes within the preface changes
	// nothing that a peek shows: it is ended by the deadline.
	err = rc.Read(func(fd uintptr) bool {
		var buf [len(preface)]byte
		n, again, err := peek(fd, buf[:])
		switch {
		case again:
			return false
		case err != nil:
			peekErr = os.NewSyscallError("recvfrom", err)
		case n == 0:
			peekErr = io.EOF
		default:
			says = classify(buf[:n])
		}
		return peekErr != nil || says != undecided
	})
	switch {
	case err != nil:
		return nil, err
	case peekErr != nil:
		return nil, peekErr
	case says == isHTTP2:
		return m.grpc, nil
	case says == isHTTP1:
		return m.http, nil
	default:
		return nil, errForeign
	}
}

// plainOnTLS is the answer to an HTTP/1.x request on a TLS port: what its sender needs to know.
const plainOnTLS = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" +
	"This port speaks TLS: use https.\n"

// handshake does the server's side of TLS, and lets ALPN decide. The deadline of p.raw bounds it.
func (m *Mux) handshake(p *pendingConn) (*sub, error) {
	conn := tls.Server(p.raw, m.tls)
	if err := conn.Handshake(); err != nil {
		var record tls.RecordHeaderError
		if errors.As(err, &record) && record.Conn != nil {
			if first := record.RecordHeader[0]; first >= 'A' && first <= 'Z' {
				_, _ = io.WriteString(record.Conn, plainOnTLS)
			}
			return nil, errForeign
		}
		return nil, err
	}
	p.conn = conn
	if conn.ConnectionState().NegotiatedProtocol == protoHTTP2 {
		return m.grpc, nil
	}
	return m.http, nil
}

// drop closes p, whose sniffing failed, and counts why, unless somebody else did. It counts first, so that who sees the
// close also sees the count.
func (m *Mux) drop(p *pendingConn, why error) {
	if !m.release(p) {
		return // evicted, and closed
	}
	var timeout net.Error
	switch {
	case m.isClosed():
		m.unserved.Add(1)
	case errors.Is(why, errForeign):
		m.foreign.Add(1)
	case errors.As(why, &timeout) && timeout.Timeout():
		m.silent.Add(1)
	default:
		m.failed.Add(1)
	}
	m.log.Debug("connection dropped before it said what it speaks", "peer", p.raw.RemoteAddr(), "err", why)
	_ = p.raw.Close()
}

// unserve closes p, which nobody takes.
func (m *Mux) unserve(p *pendingConn) {
	if m.release(p) {
		m.unserved.Add(1)
		_ = p.raw.Close()
	}
}
