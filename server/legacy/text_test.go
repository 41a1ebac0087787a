package legacy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/getviewport/relay/internal/wsconn"
)

// L.3: what a peer writes arrives byte for byte.

// odd are texts of a frame that no encoder would write, and that mean the same.
func odd(frame string) map[string]string {
	body := strings.TrimSuffix(strings.TrimPrefix(frame, "{"), "}")
	return map[string]string{
		"as it is":        frame,
		"white space":     " \n{\t" + body + "\r\n }\t ",
		"blanks inside":   strings.NewReplacer(`":`, `" : `, `,"`, " ,\n\t\"").Replace(frame),
		"more fields":     "{" + body + `,"x":{"y":[null,1e400,-0,{}]},"":""}`,
		"double keys":     `{"type":"?","sessionId":"","epoch":0,` + body + "}",
		"escapes":         fmt.Sprintf(`{"t\u0079pe":"\u%04x%s`, frame[9], frame[10:]),
		"surrogates":      "{" + body + `,"x":"\ud83d\ude00 \udead \/ \b"}`,
		"beyond ASCII":    "{" + body + `,"ключ":"значение 😀 \u2028 ` + "\u2028" + `"}`,
		"a number so odd": "{" + body + `,"n":0.1000000000000000055511151231257827021181583404541015625E+00}`,
		"prototypes":      "{" + body + `,"__proto__":{"type":"x"},"constructor":1}`,
	}
}

func TestATextArrivesByteForByteWhateverItLooksLike(t *testing.T) {
	t.Parallel()
	r := start(t)
	s := r.pair("w")
	pairing := r.connect(pairingOf("w"))
	for name := range odd(initFrame("")) {
		s.seq++
		pass := func(from, to *peer, frame string) {
			t.Helper()
			text := odd(frame)[name]
			from.send(text)
			to.want(text)
		}
		pass(s.client, s.daemon, e2eeFrame(s.id, 1, s.seq, "dXA"))
		pass(s.daemon, s.client, e2eeFrame(s.id, 1, s.seq, "ZG93bg"))
		pass(s.client, s.daemon, initFrame("r"+name))
		pass(s.daemon, s.client, responseFrame("r"+name, "s"+name))
		pass(s.daemon, s.client, updateFrame("s"+name, 2))
		pass(pairing, s.daemon, redeemRequest("p"+name))
		pass(s.daemon, pairing, redeemResponse("p"+name))
	}
}

func TestABinaryMessageArrivesAsText(t *testing.T) {
	t.Parallel()
	r := start(t)
	s := r.pair("w")
	for _, c := range []struct{ sent, arrives string }{
		{`"x":"plain"`, `"x":"plain"`},
		{"\"x\":\"\xff\xc3\"", "\"x\":\"\ufffd\ufffd\""},
	} {
		s.seq++
		up, down := e2eeFrame(s.id, 1, s.seq, "dXA"), e2eeFrame(s.id, 1, s.seq, "ZG93bg")
		with := func(frame, more string) string { return strings.TrimSuffix(frame, "}") + "," + more + "}" }
		s.client.sendBinary(with(up, c.sent))
		s.daemon.want(with(up, c.arrives))
		s.daemon.sendBinary(with(down, c.sent))
		s.client.want(with(down, c.arrives))
	}
	// As text the same ends the connection.
	s.client.send("\xff")
	closed, ok := errors.AsType[*wsconn.CloseError](s.client.wantEnd())
	if !ok || closed.Code != wsconn.CodeNotUTF8 {
		t.Errorf("got %v, want the end with 1007", s.client.err)
	}
}

func TestAMessageInFragmentsArrivesAsOne(t *testing.T) {
	t.Parallel()
	r := start(t)
	daemon := r.connect(daemonOf("w"))
	client := r.raw(clientOf("w"))
	text := initFrame("fragments")
	client.write(fragments(text, 7)...)
	daemon.want(text)
}
