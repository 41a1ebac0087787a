package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/relayws"
	"github.com/getviewport/relay/internal/rpcerr"
	"github.com/getviewport/relay/internal/wsconn"
)

// This file is the daemon or client of peer_test.go over WebSocket.

// wsStream is a native WebSocket with the methods of the stream that carries the same over gRPC, and its errors.
type wsStream struct {
	grpc.ClientStream // nil: what is not below is not used
	conn              *wsconn.Conn
}

func (s *wsStream) Send(b *relayv1.EnvelopeBatch) error {
	message, err := proto.Marshal(b)
	if err != nil {
		return err
	}
	return s.conn.Send(s.conn.AppendMessage(nil, wsconn.Binary, message))
}

func (s *wsStream) Recv() (*relayv1.EnvelopeBatch, error) {
	kind, message, err := s.conn.ReadMessage(nil)
	if e, ok := errors.AsType[*wsconn.CloseError](err); ok && e.Code == relayws.CodeEnded && !e.Local {
		return nil, rpcerr.Status(relayws.ParseEnd(e.Reason))
	}
	if err != nil {
		return nil, err
	}
	if kind != wsconn.Binary {
		return nil, fmt.Errorf("a message of kind %d", kind)
	}
	b := new(relayv1.EnvelopeBatch)
	return b, proto.Unmarshal(message, b)
}

func (s *wsStream) CloseSend() error {
	s.conn.End(wsconn.CodeNormal, "")
	return nil
}

// wsQuery is the query of an upgrade.
func wsQuery(daemon bool, workspace, target string) string {
	role := "client"
	if daemon {
		role = "workspace-daemon"
	}
	q := url.Values{"role": {role}, "workspaceId": {workspace}}
	if target != "" {
		q.Set("runtimeTargetId", target)
	}
	return q.Encode()
}

// dialWS upgrades as e, with the token as a second subprotocol as a browser would, or says why not.
func (r *relay) dialWS(ctx context.Context, e endpoint) (*peer, error) {
	r.t.Helper()
	header := make(http.Header)
	for i := 0; i+1 < len(e.extra); i += 2 {
		header.Add(e.extra[i], e.extra[i+1])
	}
	d := &wsconn.Dialer{TLS: r.tls, Header: header, Protocols: []string{relayws.Subprotocol, relayws.TokenEntry(e.token(r.t))}}
	scheme := "ws"
	if r.tls != nil {
		scheme = "wss"
	}
	conn, protocol, err := d.Dial(ctx, scheme+"://"+r.addr+relayws.Path+"?"+wsQuery(e.daemon, e.workspace, target),
		wsconn.Config{Limit: 4 << 20})
	if err != nil {
		return nil, err
	}
	p := &peer{t: r.t, workspace: e.workspace, stream: &wsStream{conn: conn}, cancel: conn.Abort}
	r.t.Cleanup(conn.Abort)
	if protocol != relayws.Subprotocol {
		return nil, fmt.Errorf("the relay selects %q", protocol)
	}
	kind, text, err := conn.ReadMessage(nil)
	if err != nil || kind != wsconn.Text {
		return nil, fmt.Errorf("the first message is of kind %d, %w", kind, err)
	}
	announced, err := relayws.ParseAnnouncement(text)
	p.header = metadata.New(announced)
	return p, err
}

// connectWS is connect over WebSocket.
func (r *relay) connectWS(e endpoint) *peer {
	r.t.Helper()
	p, err := r.dialWS(patient(r.t), e)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// wantRefusal wants an upgrade as e to be refused.
func (r *relay) wantRefusal(e endpoint, status int, reason string) *wsconn.DialError {
	r.t.Helper()
	_, err := r.dialWS(patient(r.t), e)
	refused, ok := errors.AsType[*wsconn.DialError](err)
	if !ok || refused.Status != status || string(refused.Body) != `{"ok":false,"reason":"`+reason+`"}` {
		r.t.Fatalf("got %v %s, want %d %s", err, bodyOf(refused), status, reason)
	}
	return refused
}

func bodyOf(e *wsconn.DialError) string {
	if e == nil {
		return ""
	}
	return string(e.Body)
}

// raw sends bytes and returns all that comes back until the relay closes the connection.
func (r *relay) raw(t *testing.T, text string) string {
	t.Helper()
	nc := dialTCP(t, r.addr)
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(nc) // a reset is an answer, too
	return string(answer)
}
