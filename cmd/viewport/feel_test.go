package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/getviewport/relay/cmd/viewport/internal/desk"
)

func TestEachKeyArrivesAsItIsTypedAndTheLocalTerminalEchoesNothing(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	d := w.sh(`stty raw -echo; printf 'ready>'; while :; do printf '<%s>' $(dd bs=1 count=1 2>/dev/null | od -An -tx1); done`)
	d.Wait("ready>")
	d.Raw()
	for _, key := range []byte("a\x03\r\n\x1a\x04\x1c\x11\x13\x7f\x00\xff\xc3") {
		d.Type(string([]byte{key}))
		if got := d.Wait(fmt.Sprintf("<%02x>", key)); got != "" {
			t.Errorf("before the answer to %#02x: got %q on the screen, want nothing", key, got)
		}
	}
	d.Type("\r~.")
	d.Ended(255)
}

func TestEveryByteReachesTheScreenAsItWasWritten(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	want := string(all) + "grüße, 世界 🙂 \u0301\x1b]0;title\x07"
	d := w.sh("stty raw -echo; printf 'start>'; cat " + w.file("bytes", want) + "; printf '<end'")
	d.Wait("start>")
	if got := d.Wait("<end"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	d.Ended(0)
}

func TestTheCommandKnowsTheTerminalAndTheLanguage(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	d := desk.Sit(t, w.clientEnv("TERM=vt220", "COLORTERM=truecolor", "LC_TIME=en_GB.UTF-8", "MARK=of the client"), binary, "attach", "--",
		"sh", "-c", `echo "<$TERM $COLORTERM $LC_TIME $MARK>"; tty >/dev/null && echo at a terminal`)
	d.Wait("<vt220 truecolor en_GB.UTF-8 of the daemon>")
	d.Wait("at a terminal")
	d.Ended(0)
}

func TestTheCommandHasTheWindowsSizeAndSeesItChange(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	d := w.sh(`trap 'stty size' WINCH; stty size; echo ready; sleep 1000 & while :; do wait; done`)
	d.Wait(fmt.Sprintf("%d %d\r\nready", desk.Rows, desk.Columns))
	for _, size := range [][2]uint16{{132, 50}, {40, 10}, {80, 24}} {
		d.Resize(size[0], size[1])
		d.Wait(fmt.Sprintf("%d %d\r\n", size[1], size[0]))
	}
	d.Type("\r~.")
	d.Ended(255)
}

func TestTheExitStatusIsTheCommandsAndNothingElseIsPrinted(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	for script, code := range map[string]int{"exit 0": 0, "exit 1": 1, "exit 42": 42, "exit 255": 255,
		"kill -TERM $$": 143, "kill -KILL $$": 137, "kill -INT $$": 130, "kill -HUP $$": 129} {
		w.Run(script, func(t *testing.T) {
			d := w.sh("printf here; " + script)
			d.Ended(code)
			if got := d.Rest(); got != "here" {
				t.Errorf("got %q on the screen, want %q", got, "here")
			}
		})
	}
}

// bash is a remote shell with job control, at its prompt.
func (w *world) bash() *desk.Desk {
	w.Helper()
	d := w.attach("--", "bash", "--norc", "--noprofile", "--noediting", "-i")
	d.Wait("prompt> ")
	return d
}

func TestCtrlCEndsTheForegroundJobAndTheSessionGoesOn(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	d := w.bash()
	for range 3 {
		d.Type("cat\r")
		d.Wait("cat\r\n")
		d.Type("hello\r")
		d.Wait("hello\r\nhello\r\n") // the terminal's echo and cat's answer
		d.Type("\x03")
		d.Wait("prompt> ")
		d.Type("echo status=$?\r")
		d.Wait("status=130")
		d.Wait("prompt> ")
	}
	d.Raw()
	d.Type("exit 3\r")
	d.Ended(3)
}

func TestJobsAreStoppedContinuedAndPutIntoTheBackground(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	d := w.bash()
	d.Type(`sh -c 'trap "echo con""tinued" CONT; echo st""arted; sleep 1000 & while :; do wait; done'` + "\r")
	d.Wait("started")
	d.Type("\x1a")
	d.Wait("Stopped")
	d.Wait("prompt> ")
	d.Type("jobs\r")
	d.Wait("Stopped")
	d.Wait("prompt> ")
	d.Type("fg\r")
	d.Wait("continued")
	d.Type("\x1a")
	d.Wait("Stopped")
	d.Wait("prompt> ")
	d.Type("bg\r")
	d.Wait("continued")
	d.Type("jobs\r")
	d.Wait("Running")
	d.Type("fg\r")
	d.Wait("sh -c")
	d.Type("exit\x15\x03") // whoever reads it
	d.Wait("prompt> ")
	d.Type("kill %1 2>/dev/null; exit 4\r")
	d.Ended(4)
}

func TestAttachIsSuspendedAndResumedByTheLocalShell(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	local := desk.Sit(t, w.clientEnv("PS1=local> "), "bash", "--norc", "--noprofile", "--noediting", "-i")
	local.Wait("local> ")
	shell := local.Modes()
	local.Type("'" + binary + `' attach -- sh -c 'echo rea""dy; while read x; do echo "got <$x>"; stty size; done'` + "\r")
	local.Wait("ready")
	for i, size := range [][2]uint16{{100, 20}, {60, 15}} {
		local.Raw()
		local.Type("\r~\x1a")
		local.Wait("Stopped")
		local.Wait("local> ")
		if got := local.Modes(); got != shell {
			t.Errorf("the terminal's modes while suspended: got %s, want %s", got, shell)
		}
		local.Type("echo lo''cal $((6 * 7))\r")
		local.Wait("local 42")
		local.Resize(size[0], size[1])
		local.Type("fg\r")
		local.Wait("attach")
		local.Type(fmt.Sprintf("again %d\r", i))
		local.Wait(fmt.Sprintf("got <again %d>", i))
		local.Wait(fmt.Sprintf("%d %d", size[1], size[0]))
	}
	local.Type("\r~.")
	local.Wait("local> ")
	local.Type("exit $?\r")
	local.Ended(255)
}

func TestPastedMegabytesArriveByteForByte(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	random := rand.NewChaCha8([32]byte{1})
	pasted := make([]byte, 4<<20)
	_, _ = random.Read(pasted)
	copy(pasted, "\n~.\r~.\n~~\n~\x1a") // inside of a paste these are text
	pasted = bytes.Join([][]byte{[]byte("\x1b[200~"), pasted, []byte("\x1b[201~")}, nil)
	d := w.sh(fmt.Sprintf("stty raw -echo; printf 'ready>'; head -c %d | sha256sum; exec cat >/dev/null", len(pasted)))
	d.Wait("ready>")
	d.Type(string(pasted))
	d.Wait(fmt.Sprintf("%x", sha256.Sum256(pasted)))
	d.Type("\r~.")
	d.Ended(255)
}

func TestMegabytesOfOutputReachTheScreenWhole(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	data := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(data)
	path := t.TempDir() + "/data"
	w.must(os.WriteFile(path, data, 0o600))
	d := w.sh("stty raw; printf 'start>'; cat " + path + "; printf '<the end>'")
	d.Wait("start>")
	if got := sha256.Sum256([]byte(d.Wait("<the end>"))); got != sha256.Sum256(data) {
		t.Errorf("got checksum %x, want %x", got, sha256.Sum256(data))
	}
	d.Ended(0)
}

func TestASlowTerminalDoesNotHoldUpOtherSessions(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	stuck := w.sh(`echo ready; exec yes "$(printf '%01000d' 7)"`)
	stuck.Wait("ready") // and nobody reads on
	data := make([]byte, 2<<20)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(data)
	got := w.run(nil, bytes.NewReader(data), "attach", "-T", "--", "cat")
	if got.code != 0 || got.err != "" || got.out != string(data) {
		t.Errorf("got exit code %d, %q and %d bytes, want 0, nothing and the %d that were sent", got.code, got.err,
			len(got.out), len(data))
	}
	d := w.bash()
	d.Type("echo still''here\r")
	d.Wait("stillhere")
	d.Type("exit\r")
	d.Ended(0)
	// And whoever sits there can leave it.
	stuck.Type("\r~.")
	stuck.Ended(255)
}

func TestPrintableTextIsNotTakenForAnEscapeSequence(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	d := w.sh("stty raw -echo; printf 'ready>'; while :; do dd bs=1 count=1 2>/dev/null; done")
	d.Wait("ready>")
	for typed, want := range map[string]string{"a~.b": "a~.b", "\r~xb": "\r~xb", "\r~~.b": "\r~.b"} {
		d.Type(typed)
		if got := d.Wait("b"); got+"b" != want {
			t.Errorf("typed %q: got %q, want %q", typed, got+"b", want)
		}
	}
	d.Type(strings.Repeat("\r", 3) + "~.")
	d.Ended(255)
}
