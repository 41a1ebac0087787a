package legacy_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/getviewport/relay/internal/wsconn"
)

// L.7 (buffer overflow) and I.17: who does not read.

// wide is a frame of 256 KiB.
func wide(frame string) string {
	return strings.Replace(frame, `"WIDE"`, `"`+strings.Repeat("V", 256<<10)+`"`, 1)
}

func TestAClientThatDoesNotReadIsCutAndItsDaemonIsNot(t *testing.T) {
	t.Parallel()
	r := start(t)
	s := r.pair("w")
	slow := r.raw(clientOf("w"))
	slow.write(textFrame(initFrame("slow")))
	s.daemon.want(initFrame("slow"))
	s.daemon.send(responseFrame("slow", "slow"))
	for n := 1; r.status().GetClientLinks() == 2; n++ { // until what the system buffers is full, and the relay's 4 MiB
		s.daemon.send(wide(e2eeFrame("slow", 1, n, "WIDE")))
	}
	s.exchange()
	_, _ = io.Copy(io.Discard, slow.in) // ends
}

func TestADaemonThatDoesNotReadIsNotCutForWhatAClientSends(t *testing.T) {
	t.Parallel()
	r := start(t)
	daemon := r.raw(daemonOf("w"))
	flood := r.connect(clientOf("w"))
	for n := 0; r.status().GetClientLinks() == 1; n++ {
		text := wide(strings.Replace(initFrame(fmt.Sprint("r", n)), "BAEC", "WIDE", 1))
		if flood.conn.Send(flood.conn.AppendMessage(nil, wsconn.Text, []byte(text))) != nil {
			break
		}
	}
	flood.wantEnd()
	r.until("the flood is cut", func() bool { return r.status().GetClientLinks() == 0 })
	if r.status().GetDaemonLinks() != 1 {
		t.Fatal("the daemon was cut")
	}
	// It reads again, and serves others.
	next := r.connect(clientOf("w"))
	next.send(initFrame("next"))
	for {
		f, err := daemon.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Header.OpCode == ws.OpText && string(f.Payload) == initFrame("next") {
			break
		}
	}
	daemon.write(textFrame(responseFrame("next", "s")))
	next.want(responseFrame("next", "s"))
}
