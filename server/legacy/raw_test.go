package legacy_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/getviewport/relay/internal/devplatform"
)

// upgradeText is an upgrade as it is on the wire, with more headers, each ended by a line end.
func upgradeText(query, more string) string {
	return "GET /ws?" + query + " HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + more + "\r\n"
}

// bearerLine is the header of a token.
func bearerLine(token string) string { return "Authorization: Bearer " + token + "\r\n" }

// answerTo sends a request as it stands and returns the answer with its body, which is empty for 101.
func (r *relay) answerTo(t *testing.T, text string) (*http.Response, string) {
	t.Helper()
	nc := r.tcp()
	defer func() { _ = nc.Close() }()
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	answer, err := http.ReadResponse(bufio.NewReader(nc), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return answer, ""
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

// rawPeer is an open connection that is read and answered frame by frame, or not at all.
type rawPeer struct {
	t  *testing.T
	nc io.ReadWriteCloser
	in *bufio.Reader
}

// raw connects with claims that are admitted.
func (r *relay) raw(c devplatform.Claims) *rawPeer {
	r.t.Helper()
	nc := r.tcp()
	if _, err := io.WriteString(nc, upgradeText(queryOf(c), bearerLine(tokenOf(r.t, c)))); err != nil {
		r.t.Fatal(err)
	}
	in := bufio.NewReader(nc)
	answer, err := http.ReadResponse(in, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		r.t.Fatalf("got %v, %v, want an upgrade", answer, err)
	}
	return &rawPeer{r.t, nc, in}
}

// frame is a masked one, as clients send them.
func frame(op ws.OpCode, payload string) []byte {
	return ws.MustCompileFrame(ws.MaskFrameInPlaceWith(ws.NewFrame(op, true, []byte(payload)), [4]byte{1, 2, 3, 4}))
}

func textFrame(text string) []byte { return frame(ws.OpText, text) }

// write sends bytes with one call of the system.
func (p *rawPeer) write(parts ...[]byte) {
	p.t.Helper()
	var all []byte
	for _, b := range parts {
		all = append(all, b...)
	}
	if _, err := p.nc.Write(all); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// next reads a frame.
func (p *rawPeer) next() (ws.Frame, error) {
	h, err := ws.ReadHeader(p.in)
	if err != nil {
		return ws.Frame{}, err
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(p.in, payload)
	return ws.Frame{Header: h, Payload: payload}, err
}

// wantClose reads until the close frame, which must be this one.
func (p *rawPeer) wantClose(code int, reason string) {
	p.t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("got %v, want a close frame", err)
		}
		if f.Header.OpCode == ws.OpClose {
			if got, text := ws.ParseCloseFrameData(f.Payload); int(got) != code || text != reason {
				p.t.Fatalf("got the close frame %d %q, want %d %q", got, text, code, reason)
			}
			return
		}
	}
}

// fragments is a text message in frames of a few bytes.
func fragments(text string, bytes int) (out [][]byte) {
	for op := ws.OpText; text != ""; op = ws.OpContinuation {
		n := min(bytes, len(text))
		f := ws.NewFrame(op, n == len(text), []byte(text[:n]))
		out = append(out, ws.MustCompileFrame(ws.MaskFrameInPlaceWith(f, [4]byte{4, 3, 2, 1})))
		text = text[n:]
	}
	return out
}
