package hostile_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/getviewport/relay/client/identity"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// This file is an HTTP/2 peer that writes any frame in any order, and notes what comes back.

// conn is a connection that speaks HTTP/2 frame by frame. One goroutine writes, one reads.
type conn struct {
	s  *siege
	nc net.Conn
	*http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
	next  uint32 // the next stream

	mu   sync.Mutex
	cond *sync.Cond
	seen
	reader sync.WaitGroup
}

// seen is what came back so far.
type seen struct {
	pings, settings int // acknowledged
	resets          map[uint32]http2.ErrCode
	heads           map[uint32]map[string]string // the last headers of each stream
	ended           map[uint32]bool
	goAway          *http2.GoAwayFrame
	goAwayText      string
	closed          error
}

// tcp opens a connection that ends with the attack, and says nothing.
func (s *siege) tcp() net.Conn {
	s.t.Helper()
	var d net.Dialer
	nc, err := d.DialContext(s.ctx, "tcp", s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	if end, ok := s.ctx.Deadline(); ok {
		_ = nc.SetDeadline(end)
	}
	s.atEnd(func() { _ = nc.Close() })
	return nc
}

// http2 opens an HTTP/2 connection with these settings that reads what comes.
func (s *siege) http2(settings ...http2.Setting) *conn {
	s.t.Helper()
	c := s.mute(s.tcp(), settings...)
	c.reader.Go(c.read)
	s.atEnd(func() {
		_ = c.nc.Close()
		c.reader.Wait()
	})
	return c
}

// mute is http2 that never reads.
func (s *siege) mute(nc net.Conn, settings ...http2.Setting) *conn {
	s.t.Helper()
	c := &conn{s: s, nc: nc, Framer: http2.NewFramer(nc, nc), next: 1, seen: seen{
		resets: map[uint32]http2.ErrCode{}, heads: map[uint32]map[string]string{}, ended: map[uint32]bool{},
	}}
	c.cond = sync.NewCond(&c.mu)
	c.enc = hpack.NewEncoder(&c.block)
	c.AllowIllegalWrites = true
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := nc.Write([]byte(http2.ClientPreface)); err != nil {
		s.t.Fatal(err)
	}
	c.must(c.WriteSettings(settings...))
	return c
}

// must ends the test at an error in writing.
func (c *conn) must(err error) {
	c.s.t.Helper()
	if err != nil {
		c.s.t.Fatalf("the connection broke: %v", err)
	}
}

func (c *conn) read() {
	for {
		f, err := c.ReadFrame()
		c.mu.Lock()
		switch f := f.(type) {
		case *http2.PingFrame:
			if f.IsAck() {
				c.pings++
			}
		case *http2.SettingsFrame:
			if f.IsAck() {
				c.settings++
			}
		case *http2.RSTStreamFrame:
			c.resets[f.StreamID] = f.ErrCode
		case *http2.GoAwayFrame:
			c.goAway, c.goAwayText = f, string(f.DebugData())
		case *http2.MetaHeadersFrame:
			head := map[string]string{}
			for _, h := range f.Fields {
				head[h.Name] = h.Value
			}
			c.heads[f.StreamID] = head
			c.ended[f.StreamID] = f.StreamEnded()
		}
		c.closed = err
		c.cond.Broadcast()
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// wait waits until ok likes what came back, or the connection is closed.
func (c *conn) wait(what string, ok func(*seen) bool) {
	c.s.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !ok(&c.seen) {
		if c.closed != nil {
			c.s.t.Fatalf("%s: the connection was closed: %v; GOAWAY %v %q", what, c.closed, c.goAway, c.goAwayText)
		}
		c.cond.Wait()
	}
}

// lives shows that the connection lives and that everything sent was read: a PING is answered.
func (c *conn) lives() {
	c.s.t.Helper()
	c.mu.Lock()
	n := c.pings + 1
	c.mu.Unlock()
	c.must(c.WritePing(false, [8]byte{1}))
	c.wait("PING", func(s *seen) bool { return s.pings >= n })
}

// wantClosed waits until the relay closes the connection, with this GOAWAY or with none (NO_ERROR here).
func (c *conn) wantClosed(code http2.ErrCode, text string) {
	c.s.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.closed == nil {
		c.cond.Wait()
	}
	var timeout net.Error
	if errors.As(c.closed, &timeout) && timeout.Timeout() {
		c.s.t.Fatal("the connection was not closed")
	}
	switch {
	case c.goAway == nil && code != http2.ErrCodeNo:
		c.s.t.Errorf("got no GOAWAY (%v), want %v", c.closed, code)
	case c.goAway != nil && (c.goAway.ErrCode != code || text != c.goAwayText):
		c.s.t.Errorf("got GOAWAY %v %q, want %v %q", c.goAway.ErrCode, c.goAwayText, code, text)
	}
}

// wantReset waits for RST_STREAM of a stream.
func (c *conn) wantReset(stream uint32, code http2.ErrCode) {
	c.s.t.Helper()
	c.wait(fmt.Sprintf("RST_STREAM of %d", stream), func(s *seen) bool { _, ok := s.resets[stream]; return ok || s.ended[stream] })
	c.mu.Lock()
	defer c.mu.Unlock()
	if got, ok := c.resets[stream]; !ok || got != code {
		c.s.t.Errorf("stream %d: got %v (%v), want RST_STREAM %v", stream, got, c.heads[stream], code)
	}
}

// wantEnd waits for the status of a stream.
func (c *conn) wantEnd(stream uint32, code codes.Code, reason string) {
	c.s.t.Helper()
	c.wait(fmt.Sprintf("the end of stream %d", stream), func(s *seen) bool { _, reset := s.resets[stream]; return s.ended[stream] || reset })
	c.mu.Lock()
	defer c.mu.Unlock()
	head := c.heads[stream]
	got, err := strconv.Atoi(head["grpc-status"])
	if err != nil || codes.Code(got) != code {
		c.s.t.Errorf("stream %d ended with %v, reset %v, want status %v", stream, head, c.resets[stream], code)
		return
	}
	details, _ := base64.RawStdEncoding.DecodeString(head["grpc-status-details-bin"])
	var st spb.Status
	if err := proto.Unmarshal(details, &st); err != nil || reasonOf(status.FromProto(&st)) != reason {
		c.s.t.Errorf("stream %d ended with %v (%v), want reason %q", stream, &st, err, reason)
	}
}

// wantAdmitted waits until a stream's link is admitted.
func (c *conn) wantAdmitted(stream uint32) {
	c.s.t.Helper()
	c.wait(fmt.Sprintf("headers of stream %d", stream), func(s *seen) bool { return s.heads[stream] != nil || s.ended[stream] })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heads[stream]["viewport-protocol"] != "1" {
		c.s.t.Fatalf("stream %d: got %v, want it admitted", stream, c.heads[stream])
	}
}

// fields encodes header fields, in pairs, behind those of a call of ConnectClient.
func (c *conn) fields(more ...string) []byte {
	c.block.Reset()
	for _, f := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", relayv1.RelayService_ConnectClient_FullMethodName},
		{":authority", "relay"}, {"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		_ = c.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	for i := 0; i < len(more); i += 2 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: more[i], Value: more[i+1]})
	}
	return bytes.Clone(c.block.Bytes())
}

// as are the header fields of a client of the attacked workspace.
func (c *conn) as(role identity.Role) []string {
	return []string{
		"authorization", "Bearer " + c.s.Token(role, c.s.workspace, home),
		"viewport-workspace-id", c.s.workspace, "viewport-runtime-target-id", home,
	}
}

// begin writes the HEADERS of the next stream; block is everything, or with end false the first part.
func (c *conn) begin(block []byte, end bool) (stream uint32, err error) {
	stream = c.next
	c.next += 2
	return stream, c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndHeaders: end})
}

// stream opens a stream with these header fields.
func (c *conn) stream(more ...string) uint32 {
	c.s.t.Helper()
	id, err := c.begin(c.fields(more...), true)
	c.must(err)
	return id
}

// serves shows that the connection is still good for calls: one without a token is refused, one with a token admitted.
func (c *conn) serves() {
	c.s.t.Helper()
	c.wantEnd(c.stream(), codes.Unauthenticated, "TOKEN_MISSING")
	id := c.stream(c.as(clientRole)...)
	c.wantAdmitted(id)
	c.must(c.WriteRSTStream(id, http2.ErrCodeCancel))
}

// trusting is a TLS configuration that offers HTTP/2.
func (s *siege) trusting() *tls.Config {
	cfg := s.TLS.Clone()
	cfg.NextProtos, cfg.ServerName = []string{"h2"}, "127.0.0.1"
	return cfg
}
