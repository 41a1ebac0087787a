package client

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/relayws"
	"github.com/getviewport/relay/internal/wsconn"
)

// announcement is what a relay says first.
var announcement = relayws.Announcement([][2]string{
	{"viewport-protocol", "1"}, {"viewport-session-window", "1048576"}, {"viewport-max-envelope", "2097152"},
	{"viewport-max-message", "524288"}, {"viewport-heartbeat", "0"}, {"viewport-relay-id", "r"},
})

// upgrade answers with this subprotocol and then does what serve does.
func upgrade(protocol string, serve func(*wsconn.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		received, _ := rw.Reader.Peek(rw.Reader.Buffered())
		if _, err := nc.Write(wsconn.AppendAccept(nil, r.Header.Get("Sec-WebSocket-Key"), protocol)); err == nil {
			c := wsconn.New(nc, received, wsconn.Config{Limit: messageBytes})
			serve(c)
			_ = c.Close()
		}
	}
}

func says(kind wsconn.Kind, text string) func(*wsconn.Conn) {
	return func(c *wsconn.Conn) {
		_ = c.Send(c.AppendMessage(nil, kind, []byte(text)))
		_, _, _ = c.ReadMessage(nil)
	}
}

func TestAWebSocketThatIsNotOfARelayIsNoLinkAndNoRefusal(t *testing.T) {
	f := newFront(t)
	d := newTestDialer(t, strings.Replace(f.URL, "http", "ws", 1), new(bytes.Buffer))
	d.cfg.Token = StaticToken("secret.secret")
	for name, serve := range map[string]http.HandlerFunc{
		"the token selected":      upgrade("auth.secret.secret", says(wsconn.Text, string(announcement))),
		"nothing selected":        upgrade("", says(wsconn.Text, string(announcement))),
		"a first message of ours": upgrade(relayws.Subprotocol, says(wsconn.Binary, string(announcement))),
		"a first message of none": upgrade(relayws.Subprotocol, says(wsconn.Text, "hello")),
		"closed by today's relay": upgrade(relayws.Subprotocol, func(c *wsconn.Conn) { c.End(4008, "buffer overflow") }),
		"gone":                    upgrade(relayws.Subprotocol, (*wsconn.Conn).Abort),
	} {
		f.answer = serve
		if why := d.fails(t); why.By != "link" || strings.Contains(why.Error(), "secret") {
			t.Errorf("%s: got %v", name, why)
		}
	}
}

func TestWhyARelayEndsAWebSocketIsTheReasonThatGRPCGives(t *testing.T) {
	f := newFront(t)
	d := newTestDialer(t, strings.Replace(f.URL, "http", "ws", 1), new(bytes.Buffer))
	for _, code := range []reason.Code{reason.Replaced, reason.TokenExpired, "A_CODE_TO_COME"} {
		f.answer = upgrade(relayws.Subprotocol, func(c *wsconn.Conn) {
			_ = c.Send(c.AppendMessage(nil, wsconn.Text, announcement))
			c.End(relayws.CodeEnded, string(code)+" 1500")
		})
		l, err := d.connect(t.Context(), 1)
		if err != nil {
			t.Fatalf("%s: %v", code, err)
		}
		why := linkError(l.over.receive(new(envelope.Batch)))
		l.over.close()
		if why.Reason != Reason(code) || why.By != "relay" || why.RetryAfter.Milliseconds() != 1500 {
			t.Errorf("%s: got %+v", code, why)
		}
	}
}

func TestWhatWasSentBeforeAWebSocketWasClosedArrives(t *testing.T) {
	f := newFront(t)
	d := newTestDialer(t, strings.Replace(f.URL, "http", "ws", 1), new(bytes.Buffer))
	const messages = 100
	unread, cancelled, arrived := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	f.answer = upgrade(relayws.Subprotocol, func(c *wsconn.Conn) {
		_ = c.Send(c.AppendMessage(nil, wsconn.Text, announcement))
		_, _, err := c.ReadMessage(nil)
		// This is never read: it would have the kernel reset a connection that is merely closed, and forget what is still
		// to be sent.
		_ = c.Send(c.AppendMessage(nil, wsconn.Binary, make([]byte, 1000)))
		close(unread)
		<-cancelled
		n := 1
		for ; err == nil; n++ {
			_, _, err = c.ReadMessage(nil)
		}
		if end, ok := errors.AsType[*wsconn.CloseError](err); ok && end.Code == wsconn.CodeNormal && n == messages+1 {
			err = nil
		}
		arrived <- err
	})
	l, err := d.connect(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.over.(*webSocket).conn.NetConn().(*net.TCPConn).SetWriteBuffer(1 << 20)
	batch := bytes.Repeat(envelope.AppendHeartbeat(nil, "acme", "laptop", false), 100)
	for i := range messages {
		if i == 1 {
			<-unread
		}
		var o envelope.Outgoing
		o.Add(envelope.RunOf(batch, 100))
		if err := l.over.send(&o); err != nil {
			t.Fatal(err)
		}
	}
	l.over.closeSend()
	l.over.cancel()
	close(cancelled)
	l.over.close()
	if err := <-arrived; err != nil {
		t.Errorf("the relay got %v", err)
	}
}
