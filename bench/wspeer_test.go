package bench

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/relayws"
	"github.com/getviewport/relay/internal/wsconn"
)

// dial opens a WebSocket as a peer of a workspace's target, of the native protocol or of today's.
func dial(addr string, config *tls.Config, native bool, role, workspace, target, token string) (*wsconn.Conn, error) {
	scheme, d := "ws", wsconn.Dialer{TLS: config}
	if config != nil {
		scheme = "wss"
	}
	if native {
		d.Protocols = []string{relayws.Subprotocol, relayws.TokenEntry(token)}
	} else {
		d.Header = http.Header{"Authorization": {"Bearer " + token}}
	}
	ctx, cancel := context.WithTimeout(context.Background(), leanWait)
	defer cancel()
	c, _, err := d.Dial(ctx, fmt.Sprintf("%s://%s%s?role=%s&workspaceId=%s&runtimeTargetId=%s", scheme, addr, relayws.Path,
		role, workspace, target), wsconn.Config{Limit: 2 << 20})
	return c, err
}

// wsStream is the native protocol over WebSocket as a stream.
type wsStream struct{ *wsconn.Conn }

func (s wsStream) SendMsg(m any) error {
	o := m.(*envelope.Outgoing)
	buf := s.AppendHeader(nil, wsconn.Binary, o.Bytes())
	at := len(buf)
	buf = o.AppendTo(buf)
	s.Mask(buf, at)
	return s.Send(buf)
}

// RecvMsg passes over the relay's announcement.
func (s wsStream) RecvMsg(m any) error {
	for {
		kind, message, err := s.ReadMessage(nil)
		if err != nil {
			return err
		}
		if kind == wsconn.Binary {
			m.(*envelope.Batch).Load(message)
			return nil
		}
	}
}

// openWebSocketPair is openPair over WebSocket.
func openWebSocketPair(b *testing.B, addr string, platform *devplatform.Server, n, size int) *pair {
	b.Helper()
	p := newPair(n, size)
	open := func(role string) stream {
		b.Helper()
		token, err := platform.Mint(devplatform.Claims{Role: role, WorkspaceID: p.workspace, RuntimeTargetID: target})
		if err != nil {
			b.Fatal(err)
		}
		c, err := dial(addr, nil, true, role, p.workspace, target, token)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(c.Abort)
		return wsStream{c}
	}
	p.daemon, p.client = open(devplatform.RoleDaemon), open(devplatform.RoleClient)
	p.handshake(b)
	return p
}

// legacyPair is a client and a daemon of today's protocol with a session, in which the client sends.
type legacyPair struct {
	flow
	client, daemon *wsconn.Conn
	perWrite       int    // frames that the client writes at once
	cost           int    // of a frame
	text           []byte // the next frame
	sequence       int    // where its sequence is in it, always of as many digits
	next           uint64
}

// legacyText is an encrypted frame as today's peers write it, with so many bytes in its ciphertext.
func legacyText(session string, size int) (text []byte, sequence int) {
	b64 := base64.RawURLEncoding.EncodeToString
	text = fmt.Appendf(nil, `{"type":"e2ee","version":2,"profile":"noise-ik","sessionId":"%s","epoch":1,"seq":`, session)
	sequence = len(text)
	return fmt.Appendf(text, `%d,"iv":"%s","tag":"%s","ciphertext":"%s"}`, uint64(firstLegacySequence), b64(make([]byte, 12)),
		b64(make([]byte, 16)), b64(make([]byte, size))), sequence
}

const firstLegacySequence = 1_000_000_000

// openLegacyPair opens both links at a child, on connections of their own, and has them exchange keys as far as a relay
// sees that. The client may have so many bytes on the way.
func openLegacyPair(
	b *testing.B, addr string, platform *devplatform.Server, n, size, perWrite, window int,
) *legacyPair {
	b.Helper()
	workspace := fmt.Sprintf("bench-%d", n)
	open := func(role string) *wsconn.Conn {
		b.Helper()
		claims := devplatform.Claims{Role: role, WorkspaceID: workspace, RuntimeTargetID: target}
		queryRole := "workspace-daemon"
		if role == devplatform.RoleClient {
			claims.Scope, queryRole = "runtime", "client"
		}
		token, err := platform.MintLegacy(claims)
		if err != nil {
			b.Fatal(err)
		}
		c, err := dial(addr, nil, false, queryRole, workspace, target, token)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(c.Abort)
		return c
	}
	p := &legacyPair{flow: newFlow(window), perWrite: perWrite, cost: size + frameCost, next: firstLegacySequence}
	p.daemon, p.client = open(devplatform.RoleDaemon), open(devplatform.RoleClient)
	session := fmt.Sprintf("rs_%024x", n)
	for _, step := range []struct {
		from, to *wsconn.Conn
		text     string
	}{
		{p.client, p.daemon, `{"type":"relay_key_exchange_init","version":3,"profile":"noise-ik","requestId":"request-1",` +
			`"clientEphemeralPublicKey":"e","encryptedClientStatic":"s"}`},
		{p.daemon, p.client, `{"type":"relay_key_exchange_response","version":3,"profile":"noise-ik",` +
			`"requestId":"request-1","sessionId":"` + session + `","proof":"p","daemonPublicKey":"k",` +
			`"daemonEphemeralPublicKey":"e","encryptedMetadata":"m","epoch":1}`},
	} {
		if err := step.from.Send(step.from.AppendMessage(nil, wsconn.Text, []byte(step.text))); err != nil {
			b.Fatal(err)
		}
		if _, got, err := step.to.ReadMessage(nil); err != nil || string(got) != step.text {
			b.Fatalf("got %s %v, want %s", got, err, step.text)
		}
	}
	p.text, p.sequence = legacyText(session, size)
	return p
}

// sequenceDigits is what a frame has of its sequence.
func (p *legacyPair) sequenceDigits(text []byte) []byte {
	return text[p.sequence : p.sequence+len("1000000000")]
}

func (p *legacyPair) send(writes int) (frames int, err error) {
	var buf []byte
	return p.through(writes, p.perWrite, p.perWrite*p.cost, func() error {
		buf = buf[:0]
		for range p.perWrite {
			strconv.AppendUint(p.sequenceDigits(p.text)[:0], p.next, 10)
			p.next++
			buf = p.client.AppendMessage(buf, wsconn.Text, p.text)
		}
		return p.client.Send(buf)
	})
}

// receive takes what arrives at the daemon, and checks that nothing is missing.
func (p *legacyPair) receive() {
	var text []byte
	for want := uint64(firstLegacySequence); ; want++ {
		var err error
		if _, text, err = p.daemon.ReadMessage(text[:0]); err != nil {
			p.failed <- err
			return
		}
		got, err := strconv.ParseUint(string(p.sequenceDigits(text)), 10, 64)
		if err != nil || got != want || len(text) != len(p.text) {
			p.failed <- fmt.Errorf("got %d bytes with sequence %d, want %d with %d", len(text), got, len(p.text), want)
			return
		}
		p.taken <- taken{frames: 1, cost: p.cost}
	}
}

// webSockets are idle links of today's clients that are closed together.
type webSockets struct {
	conns   []*wsconn.Conn
	running sync.WaitGroup
}

// open opens links until there are n, some at once, idleTarget to a target.
func (w *webSockets) open(addr string, config *tls.Config, platform *devplatform.Server, n int) error {
	const atOnce = 16
	var mu sync.Mutex
	var failed error
	var opening sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		opening.Go(func() {
			for i := range next {
				c, err := openIdle(addr, config, platform, i)
				mu.Lock()
				if err != nil {
					failed = errors.Join(failed, err)
				} else {
					w.conns = append(w.conns, c)
				}
				mu.Unlock()
				if err == nil {
					w.running.Go(func() { _, _, _ = c.ReadMessage(nil) }) // answers pings
				}
			}
		})
	}
	for i := len(w.conns); i < n; i++ {
		next <- i
	}
	close(next)
	opening.Wait()
	return failed
}

func openIdle(addr string, config *tls.Config, platform *devplatform.Server, i int) (*wsconn.Conn, error) {
	workspace, host := fmt.Sprintf("bench-%d", i/(10*idleTarget)), fmt.Sprintf("host-%d", i/idleTarget)
	token, err := platform.MintLegacy(devplatform.Claims{
		Role: devplatform.RoleClient, Scope: "runtime", WorkspaceID: workspace, RuntimeTargetID: host,
		Algorithm: devplatform.ES256,
	})
	if err != nil {
		return nil, err
	}
	return dial(addr, config, false, "client", workspace, host, token)
}

func (w *webSockets) close() {
	for _, c := range w.conns {
		c.Abort()
	}
	w.running.Wait()
}
