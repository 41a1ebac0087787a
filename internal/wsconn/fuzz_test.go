package wsconn

import (
	"bytes"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// recorded is a connection that brings some bytes, so many at a time, and keeps what is written.
type recorded struct {
	net.Conn
	in    []byte
	piece int
	out   bytes.Buffer
}

func (r *recorded) Read(b []byte) (int, error) {
	n := copy(b[:min(len(b), r.piece)], r.in)
	if r.in = r.in[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (r *recorded) Write(b []byte) (int, error)      { return r.out.Write(b) }
func (r *recorded) SetReadDeadline(time.Time) error  { return nil }
func (r *recorded) SetWriteDeadline(time.Time) error { return nil }
func (r *recorded) Close() error                     { return nil }

func FuzzWhatIsReadDoesNotDependOnHowBytesArrive(f *testing.F) {
	for _, seed := range [][]byte{
		frame(ws.OpText, true, "hello"),
		join(frame(ws.OpText, false, "f\xc3"), frame(ws.OpPing, true, "?"), frame(ws.OpContinuation, true, "\xbcnf")),
		join(frame(ws.OpBinary, true, strings.Repeat("x", 300)), frame(ws.OpClose, true, "\x03\xe8bye")),
		{0x82, 0xff, 0, 0, 0, 0, 0x30, 0, 0, 0, 1, 2, 3, 4},
		frame(ws.OpText, true, "\xff"),
		compiled(ws.NewTextFrame([]byte("x"))),
	} {
		f.Add(seed, uint8(3), false)
		f.Add(seed, uint8(70), true)
	}
	f.Fuzz(func(t *testing.T, sent []byte, piece uint8, client bool) {
		const limit = 500
		type outcome struct {
			kinds    []Kind
			messages [][]byte
			err      string
			replies  string
		}
		var whole, pieces outcome
		for o, n := range map[*outcome]int{&whole: len(sent) + 1, &pieces: int(piece) + 1} {
			nc := &recorded{in: sent, piece: n}
			c := New(nc, nil, Config{Client: client, Limit: limit})
			for {
				kind, msg, err := c.ReadMessage(nil)
				if err != nil {
					o.err = err.Error()
					break
				}
				if len(msg) > limit || kind != Text && kind != Binary || kind == Text && !utf8.Valid(msg) {
					t.Fatalf("got a message of kind %d and %d bytes: %q", kind, len(msg), msg)
				}
				o.kinds, o.messages = append(o.kinds, kind), append(o.messages, msg)
			}
			if o.replies = nc.out.String(); client {
				o.replies = "" // masked at random
			}
		}
		if !reflect.DeepEqual(whole, pieces) {
			t.Errorf("all at once: %+v\nin pieces: %+v", whole, pieces)
		}
	})
}
