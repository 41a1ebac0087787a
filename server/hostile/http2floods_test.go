package hostile_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

// over is a row about one HTTP/2 connection.
func over(name string, attack func(s *siege, c *conn)) row {
	return row{name, func(s *siege) { attack(s, s.http2()) }}
}

// repeat does f n times and lets the witness have its turn now and then. It ends when writing fails, for the relay may
// have closed the connection.
func (s *siege) repeat(n int, f func(i int) error) {
	s.t.Helper()
	for i := range n {
		if f(i) != nil {
			return
		}
		if (i+1)%(n/4) == 0 {
			s.step()
		}
	}
}

func TestAFloodOfHTTP2FramesCostsItsConnectionOnly(t *testing.T) {
	g := start(t)
	g.withstand(t, []row{
		over("rapid reset", func(s *siege, c *conn) {
			s.repeat(1000, func(int) error { return c.WriteRSTStream(c.stream(), http2.ErrCodeCancel) })
			c.serves()
		}),
		over("rapid reset of admitted links", func(s *siege, c *conn) {
			fields := c.as(clientRole)
			s.repeat(200, func(int) error { return c.WriteRSTStream(c.stream(fields...), http2.ErrCodeCancel) })
			c.serves()
		}),
		over("streams that make the relay reset them", func(s *siege, c *conn) {
			fields := c.as(clientRole)
			s.repeat(200, func(int) error { return c.WriteWindowUpdate(c.stream(fields...), 0) })
			c.serves()
		}),
		over("streams beyond the connection's limit", func(s *siege, c *conn) {
			// Of health checks, for links have limits of their own. No request comes, so they stay.
			ids := []uint32{}
			for range limits.StreamsPerConnection {
				ids = append(ids, c.open("/grpc.health.v1.Health/Watch"))
			}
			for range 50 {
				c.wantReset(c.open("/grpc.health.v1.Health/Watch"), http2.ErrCodeRefusedStream)
			}
			s.step()
			c.must(c.WriteRSTStream(ids[0], http2.ErrCodeCancel))
			c.wantEnd(c.stream(), codes.Unauthenticated, "TOKEN_MISSING")
		}),
		over("CONTINUATION without end", func(s *siege, c *conn) {
			if _, err := c.begin(c.fields(), false); err != nil {
				s.t.Fatal(err)
			}
			// An endless field: none of it is decoded before it is whole, all of it counts.
			s.repeat(2000, func(int) error { return c.WriteContinuation(1, false, bytes.Repeat(literal("x", "y"), 2000)) })
			c.wantClosed(http2.ErrCodeNo, "")
		}),
		over("empty CONTINUATION frames", func(s *siege, c *conn) {
			id, err := c.begin(c.fields(), false)
			c.must(err)
			s.repeat(2000, func(int) error { return c.WriteContinuation(id, false, nil) })
			c.must(c.WriteContinuation(id, true, nil))
			c.wantEnd(id, codes.Unauthenticated, "TOKEN_MISSING")
		}),
		over("headers of one byte a frame", func(s *siege, c *conn) {
			block := c.fields("x-slow", "1")
			id, err := c.begin(block[:1], false)
			c.must(err)
			for i, b := range block[1:] {
				c.must(c.WriteContinuation(id, i+2 == len(block), []byte{b}))
				if i%16 == 0 {
					s.step()
				}
			}
			c.wantEnd(id, codes.Unauthenticated, "TOKEN_MISSING")
		}),
		over("headers above the limit", func(s *siege, c *conn) {
			c.wantEnd(c.huge(limits.HeaderBytes+1000), codes.InvalidArgument, "FRAME_TOO_LARGE")
			c.serves()
		}),
		over("headers far above the limit", func(s *siege, c *conn) {
			s.repeat(40, func(int) error {
				c.wantReset(c.huge(2*limits.HeaderBytes+2000), http2.ErrCodeFrameSize)
				return nil
			})
			c.serves()
		}),
		over("headers of which each byte becomes thousands", func(s *siege, c *conn) {
			// The first call puts a field of 3,000 bytes into the table, the others name it 4,000 times.
			c.wantEnd(c.stream("x-bomb", string(bytes.Repeat([]byte("b"), 3000))), codes.Unauthenticated, "TOKEN_MISSING")
			block := c.fields()
			s.repeat(40, func(int) error {
				id, err := c.begin(append(bytes.Clone(block), bytes.Repeat([]byte{0x80 | 62}, 4000)...), true)
				c.must(err)
				c.wantReset(id, http2.ErrCodeFrameSize)
				return nil
			})
			c.serves()
		}),
		over("a HEADERS frame above 16 KiB", func(s *siege, c *conn) {
			_, _ = c.begin(make([]byte, 20_000), true)
			c.wantClosed(http2.ErrCodeNo, "")
		}),
		over("headers that are no HPACK", func(s *siege, c *conn) {
			_, _ = c.begin(bytes.Repeat([]byte{0xff}, 100), true)
			c.wantClosed(http2.ErrCodeNo, "")
		}),
		over("PING", func(s *siege, c *conn) {
			s.repeat(2000, func(int) error { return c.WritePing(false, [8]byte{}) })
			c.wantClosed(http2.ErrCodeEnhanceYourCalm, "too_many_pings")
		}),
		over("keepalives of a link, too often", func(s *siege, c *conn) {
			id := c.stream(c.as(clientRole)...)
			c.wantAdmitted(id)
			for range 5 {
				_ = c.WritePing(false, [8]byte{})
			}
			c.wantClosed(http2.ErrCodeEnhanceYourCalm, "too_many_pings")
		}),
		over("PING answers that nobody asked for", func(s *siege, c *conn) {
			s.repeat(2000, func(i int) error { return c.WritePing(true, [8]byte{byte(i)}) })
			c.serves()
		}),
		over("SETTINGS", func(s *siege, c *conn) {
			s.repeat(2000, func(i int) error {
				return c.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(i)},
					http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i % 2 * 65535)})
			})
			c.wait("SETTINGS acknowledged", func(s *seen) bool { return s.settings == 2001 })
			c.must(c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535}))
			c.serves()
		}),
		{"SETTINGS whose acknowledgements nobody reads", func(s *siege) {
			c := s.mute(s.tcp())
			s.repeat(12_000, func(int) error { return c.WriteSettings() })
		}},
		over("SETTINGS that can't be", func(s *siege, c *conn) {
			_ = c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
			c.wantClosed(http2.ErrCodeNo, "")
		}),
		over("WINDOW_UPDATE", func(s *siege, c *conn) {
			id := c.stream(c.as(clientRole)...)
			c.wantAdmitted(id)
			s.repeat(2000, func(i int) error { return c.WriteWindowUpdate(id*uint32(i%2), 1) })
			c.serves()
		}),
		over("WINDOW_UPDATE of nothing on a stream", func(s *siege, c *conn) {
			id := c.stream(c.as(clientRole)...)
			c.wantAdmitted(id)
			c.must(c.WriteWindowUpdate(id, 0))
			c.wantReset(id, http2.ErrCodeProtocol)
			c.serves()
		}),
		over("WINDOW_UPDATE of nothing on the connection", func(s *siege, c *conn) {
			_ = c.WriteWindowUpdate(0, 0)
			c.wantClosed(http2.ErrCodeNo, "")
		}),
		over("PRIORITY and frames of unknown types", func(s *siege, c *conn) {
			s.repeat(2000, func(i int) error {
				if i%2 == 0 {
					return c.WritePriority(uint32(i+1), http2.PriorityParam{StreamDep: uint32(i + 3), Weight: 255})
				}
				return c.WriteRawFrame(http2.FrameType(200), 0xff, uint32(i), make([]byte, 100))
			})
			c.serves()
		}),
		over("RST_STREAM of streams that are not", func(s *siege, c *conn) {
			s.repeat(2000, func(i int) error { return c.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel) })
			c.next = 20_001
			c.serves()
		}),
		over("DATA of a stream that is not", func(s *siege, c *conn) {
			s.repeat(400, func(i int) error { return c.WriteData(uint32(2*i+1), false, make([]byte, 16_000)) })
			c.next = 20_001
			c.serves()
		}),
		over("DATA of the connection", func(s *siege, c *conn) {
			_ = c.WriteRawFrame(http2.FrameData, 0, 0, make([]byte, 100))
			c.wantClosed(http2.ErrCodeNo, "")
		}),
		over("a stream id that goes back", func(s *siege, c *conn) {
			c.next = 9
			c.wantEnd(c.stream(), codes.Unauthenticated, "TOKEN_MISSING")
			c.next = 5
			_ = c.stream()
			c.wantGoAway(http2.ErrCodeProtocol)
		}),
		over("messages that never arrive whole", func(s *siege, c *conn) {
			fields := c.as(clientRole)
			for range limits.LinksPerTarget - 1 {
				id := c.stream(fields...)
				c.wantAdmitted(id)
				c.must(c.WriteData(id, false, append(prefix(0, 4<<20), 0x0a)))
			}
			s.step()
			c.lives()
		}),
		over("a message of 4 GiB", func(s *siege, c *conn) {
			id := c.stream(c.as(clientRole)...)
			c.wantAdmitted(id)
			c.must(c.WriteData(id, false, prefix(0, 1<<32-1)))
			c.wantEnd(id, codes.ResourceExhausted, "") // gRPC's own limit: nothing is kept for it
			c.serves()
		}),
		over("a compressed message", func(s *siege, c *conn) {
			id := c.stream(append(c.as(clientRole), "grpc-encoding", "gzip")...)
			c.wantEnd(id, codes.Unimplemented, "") // a bomb needs somebody who unpacks it
			c.serves()
		}),
	})
}

// literal is a header field that is not put into the table.
func literal(name, value string) []byte {
	return append(append([]byte{0, byte(len(name))}, name...), append([]byte{byte(len(value))}, value...)...)
}

// prefix is what stands before a gRPC message.
func prefix(compressed byte, size uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{compressed}, size)
}

// open opens a stream of another call.
func (c *conn) open(path string) uint32 {
	c.s.t.Helper()
	c.block.Reset()
	for _, f := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "relay"}, {"content-type", "application/grpc"},
	} {
		_ = c.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	id, err := c.begin(bytes.Clone(c.block.Bytes()), true)
	c.must(err)
	return id
}

// huge opens a stream whose header list counts a little above n bytes, in as many frames as that takes.
func (c *conn) huge(n int) uint32 {
	c.s.t.Helper()
	block := c.fields()
	const value = 10 // so short that HTTP/2 decodes all of it
	for size := 0; size < n; size += 1 + value + 32 {
		block = append(block, literal("x", string(bytes.Repeat([]byte("v"), value)))...)
	}
	const most = 16_384
	first := min(len(block), most)
	id, err := c.begin(block[:first], first == len(block))
	c.must(err)
	for block = block[first:]; len(block) > 0; {
		k := min(len(block), most)
		c.must(c.WriteContinuation(id, k == len(block), block[:k]))
		block = block[k:]
	}
	return id
}

// wantGoAway waits for a GOAWAY, and for the connection's end.
func (c *conn) wantGoAway(code http2.ErrCode) {
	c.s.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.closed == nil {
		c.cond.Wait()
	}
	if c.goAway == nil || c.goAway.ErrCode != code {
		c.s.t.Errorf("got GOAWAY %v and %v, want %v", c.goAway, c.closed, code)
	}
}
