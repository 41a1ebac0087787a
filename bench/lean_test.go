package bench

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/getviewport/relay/internal/envelope"
)

// HTTP/2 as far as a peer needs it that opens one stream and then is idle (RFC 9113). A grpc.ClientConn for each of
// thousands of links would cost more than the relay under measurement.
const (
	h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

	frameData, frameHeaders, frameReset, frameSettings, framePing, frameGoAway = 0, 1, 3, 4, 6, 7
	flagAck, flagEndStream, flagEndHeaders                                     = 1, 1, 4

	leanStream = 1
	leanWait   = 30 * time.Second
)

var errRefused = errors.New("the stream ended before it was admitted")

// who a lean peer is.
type who struct{ method, workspace, target, token string }

// leanLink is a connection of its own with one open stream of RelayService.
type leanLink struct {
	conn      net.Conn
	who       who
	heartbeat []byte // the HTTP/2 frame that answers one
	payload   []byte // of the frame that was read last
}

// openLean connects and returns when the stream is admitted.
func openLean(addr string, config *tls.Config, w who) (*leanLink, error) {
	conn, err := net.DialTimeout("tcp", addr, leanWait)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(leanWait))
	if config != nil {
		conn = tls.Client(conn, config)
	}
	l := &leanLink{conn: conn, who: w, payload: make([]byte, 0, 128)}
	var headers []byte
	for _, h := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", "/viewport.relay.v1.RelayService/" + w.method},
		{":authority", addr}, {"content-type", "application/grpc"}, {"te", "trailers"},
		{"user-agent", "viewport-bench"}, {"authorization", "Bearer " + w.token},
		{"viewport-workspace-id", w.workspace}, {"viewport-runtime-target-id", w.target},
	} {
		headers = appendLiteral(headers, h[0], h[1])
	}
	hello := append([]byte(h2Preface), appendFrame(nil, frameSettings, 0, 0, nil)...)
	hello = appendFrame(hello, frameHeaders, flagEndHeaders, leanStream, headers)
	if _, err := conn.Write(hello); err != nil {
		_ = conn.Close()
		return nil, err
	}
	for {
		typ, flags, err := l.read()
		switch {
		case err != nil:
		case typ == frameHeaders && flags&flagEndStream == 0:
			_ = conn.SetDeadline(time.Time{})
			return l, nil
		case typ == frameHeaders:
			err = errRefused
		}
		if err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("%s of %s/%s: %w", w.method, w.workspace, w.target, err)
		}
	}
}

// read reads one frame and answers what wants an answer.
func (l *leanLink) read() (typ, flags byte, err error) {
	var head [9]byte
	if _, err := io.ReadFull(l.conn, head[:]); err != nil {
		return 0, 0, err
	}
	n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if n > cap(l.payload) {
		l.payload = make([]byte, n)
	}
	l.payload = l.payload[:n]
	if _, err := io.ReadFull(l.conn, l.payload); err != nil {
		return 0, 0, err
	}
	typ, flags = head[3], head[4]
	switch {
	case typ == frameSettings && flags&flagAck == 0:
		_, err = l.conn.Write(appendFrame(nil, frameSettings, flagAck, 0, nil))
	case typ == framePing && flags&flagAck == 0:
		_, err = l.conn.Write(appendFrame(nil, framePing, flagAck, 0, l.payload))
	case typ == frameReset, typ == frameGoAway:
		err = fmt.Errorf("HTTP/2 frame of type %d: %q", typ, l.payload)
	}
	return typ, flags, err
}

// idle answers pings and heartbeats until the connection is closed. Flow control needs nothing: heartbeats of an hour
// fit into the first window.
func (l *leanLink) idle() {
	for {
		typ, _, err := l.read()
		if err != nil {
			return
		}
		if typ != frameData {
			continue
		}
		if l.heartbeat == nil {
			batch := envelope.AppendHeartbeat(nil, l.who.workspace, l.who.target, false)
			message := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(batch)))
			l.heartbeat = appendFrame(nil, frameData, 0, leanStream, append(message, batch...))
		}
		if _, err := l.conn.Write(l.heartbeat); err != nil {
			return
		}
	}
}

// leave ends the stream, waits for its status and closes the connection.
func (l *leanLink) leave() error {
	defer func() { _ = l.conn.Close() }()
	_ = l.conn.SetDeadline(time.Now().Add(leanWait))
	if _, err := l.conn.Write(appendFrame(nil, frameData, flagEndStream, leanStream, nil)); err != nil {
		return err
	}
	for {
		typ, flags, err := l.read()
		if err != nil {
			return err
		}
		if typ == frameHeaders && flags&flagEndStream != 0 {
			return nil
		}
	}
}

// leanLinks are idle links that are closed together.
type leanLinks struct {
	links   []*leanLink
	running sync.WaitGroup
}

// open adds a link for each of those, some at once.
func (ls *leanLinks) open(addr string, config *tls.Config, all []who) error {
	const atOnce = 16
	var mu sync.Mutex
	var failed error
	var opening sync.WaitGroup
	next := make(chan who)
	for range atOnce {
		opening.Go(func() {
			for w := range next {
				l, err := openLean(addr, config, w)
				mu.Lock()
				if err != nil {
					failed = errors.Join(failed, err)
				} else {
					ls.links = append(ls.links, l)
					ls.running.Go(l.idle)
				}
				mu.Unlock()
			}
		})
	}
	for _, w := range all {
		next <- w
	}
	close(next)
	opening.Wait()
	return failed
}

func (ls *leanLinks) close() {
	for _, l := range ls.links {
		_ = l.conn.Close()
	}
	ls.running.Wait()
}

func appendFrame(dst []byte, typ, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), typ, flags)
	dst = binary.BigEndian.AppendUint32(dst, stream)
	return append(dst, payload...)
}

// appendLiteral writes a header field without indexing and without Huffman (RFC 7541, section 6.2.2).
func appendLiteral(dst []byte, name, value string) []byte {
	dst = appendText(append(dst, 0), name)
	return appendText(dst, value)
}

func appendText(dst []byte, s string) []byte {
	n := uint64(len(s))
	if n < 127 {
		dst = append(dst, byte(n))
	} else {
		dst = binary.AppendUvarint(append(dst, 127), n-127)
	}
	return append(dst, s...)
}
