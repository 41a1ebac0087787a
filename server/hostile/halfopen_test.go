package hostile_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/getviewport/relay/relaytest"
)

// wantEOF waits until the relay closes a connection.
func (s *siege) wantEOF(name string, nc net.Conn) {
	s.t.Helper()
	_, err := io.Copy(io.Discard, nc)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		s.t.Errorf("%s: it was not closed", name)
	}
}

func TestAConnectionThatIsNeverCompletedIsClosed(t *testing.T) {
	few := limits
	few.ConnectTime, few.IdleTime = 2*time.Second, 2*time.Second
	g := start(t, relaytest.WithLimits(few))
	says := map[string]string{
		"nothing":                        "",
		"half the preface":               http2.ClientPreface[:10],
		"all but the end of the preface": http2.ClientPreface[:len(http2.ClientPreface)-1],
		"the preface without SETTINGS":   http2.ClientPreface,
		"half of SETTINGS":               http2.ClientPreface + "\x00\x00\x06\x04\x00\x00",
		"half a request line":            "GET /hea",
		"headers of HTTP/1 without end":  "GET /health HTTP/1.1\r\nHost: relay\r\nX-Slow: ",
	}
	g.during(t, func(s *siege) {
		open := map[string]net.Conn{}
		for name, text := range says {
			nc := s.tcp()
			if _, err := io.WriteString(nc, text); err != nil {
				t.Fatal(err)
			}
			open[name] = nc
		}
		s.step()
		for name, nc := range open {
			s.run(name, func() { s.wantEOF(name, nc); s.step() })
		}
		s.run("a connection without a stream", func() {
			c := s.http2()
			c.wantClosed(http2.ErrCodeNo, "max_idle")
		})
	})
}

func TestAFloodOfHalfOpenConnectionsGivesWayToTheNewest(t *testing.T) {
	g := start(t)
	g.during(t, func(s *siege) {
		var open []net.Conn
		for i := range 4 * limits.PendingConnections {
			nc := s.tcp()
			if i%2 == 0 {
				_, _ = io.WriteString(nc, http2.ClientPreface[:5])
			}
			open = append(open, nc)
		}
		s.step()
		for _, nc := range open[:3*limits.PendingConnections] {
			s.wantEOF("one of the oldest", nc)
		}
		s.http2().serves()
	})
}

func TestATLSHandshakeThatIsNeverCompletedIsClosed(t *testing.T) {
	few := limits
	few.ConnectTime = 2 * time.Second
	g := start(t, relaytest.WithTLS(), relaytest.WithLimits(few))
	g.during(t, func(s *siege) {
		open := map[string]net.Conn{}
		for name, text := range map[string]string{
			"nothing":                  "",
			"half a ClientHello":       "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
			"the header of a record":   "\x16\x03\x01",
			"HTTP/2 on a TLS port":     http2.ClientPreface,
			"what is no TLS":           "\x00\x00\x00\x00\x00\x00\x00\x00",
			"a record of the most":     "\x16\x03\x01\xff\xff",
			"an alert":                 "\x15\x03\x01\x00\x02\x02\x28",
			"application data at once": "\x17\x03\x03\x00\x05hello",
		} {
			nc := s.tcp()
			_, _ = io.WriteString(nc, text)
			open[name] = nc
		}
		done := tls.Client(s.tcp(), s.trusting())
		if err := done.HandshakeContext(s.ctx); err != nil {
			t.Fatal(err)
		}
		open["a handshake and then nothing"] = done
		s.step()
		for name, nc := range open {
			s.run(name, func() { s.wantEOF(name, nc); s.step() })
		}
	})
	g.during(t, func(s *siege) {
		for range 4 * limits.PendingConnections {
			_, _ = io.WriteString(s.tcp(), "\x16\x03\x01\x02\x00")
		}
		s.step()
		nc := tls.Client(s.tcp(), s.trusting())
		if err := nc.HandshakeContext(s.ctx); err != nil {
			t.Fatalf("an honest handshake: %v", err)
		}
	})
}
