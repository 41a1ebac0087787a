package terminal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/getviewport/relay/cmd/viewport/internal/desk"
)

// attachTo runs Attach against Serve with pipes.
func attachTo(t *testing.T, so ServeOptions, ao AttachOptions) (int, error) {
	t.Helper()
	ctx := guard(t)
	client, daemon := newPair()
	served := make(chan struct{})
	go func() { defer close(served); _ = Serve(ctx, daemon, so) }()
	code, err := Attach(ctx, client, ao)
	<-served
	return code, err
}

func TestAnExitStatusIsPassedThrough(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 42": 42, "kill -TERM $$": 143} {
		for _, pty := range []PTY{PTYNever, PTYAlways} {
			code, err := attachTo(t, ServeOptions{},
				AttachOptions{Out: io.Discard, Err: io.Discard, Command: []string{"sh", "-c", script}, PTY: pty})
			if code != want || err != nil {
				t.Errorf("%s: got %d, %v, want %d, nil", script, code, err, want)
			}
		}
	}
}

func TestACommandThatCannotRunIsSaidSo(t *testing.T) {
	code, err := attachTo(t, ServeOptions{}, AttachOptions{Command: []string{"no-such-command"}})
	var told *Error
	if code != 127 || !errors.As(err, &told) || told.Code != CodeStart {
		t.Errorf("got %d, %v, want 127 and code %d", code, err, CodeStart)
	}
	code, err = attachTo(t, ServeOptions{Command: []string{"cat"}}, AttachOptions{Command: []string{"sh"}})
	if code != 255 || !errors.As(err, &told) || told.Code != CodeRefused {
		t.Errorf("got %d, %v, want 255 and code %d", code, err, CodeRefused)
	}
	code, err = attachTo(t, ServeOptions{}, AttachOptions{Command: []string{strings.Repeat("x", MaxMessage)}})
	if code != 255 || err == nil || !strings.Contains(err.Error(), "at most 64000 fit") {
		t.Errorf("got %d, %v, want 255 and the limit", code, err)
	}
}

func TestMegabytesPassBothWaysAtOnceByteForByte(t *testing.T) {
	const size = 8 << 20
	source := rand.NewChaCha8([32]byte{1})
	data := make([]byte, size)
	source.Read(data)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() { defer w.Close(); w.Write(data) }()
	var out, errs bytes.Buffer
	// tee sends everything back while sha256sum says what arrived.
	code, err := attachTo(t, ServeOptions{}, AttachOptions{In: r, Out: &out, Err: &errs, PTY: PTYNever,
		Command: []string{"bash", "-c", "tee >(sha256sum >&2)"}})
	if code != 0 || err != nil {
		t.Errorf("got %d, %v, want 0, nil", code, err)
	}
	if got, want := sha256.Sum256(out.Bytes()), sha256.Sum256(data); got != want {
		t.Errorf("down: got %d bytes with checksum %x, want %d with %x", out.Len(), got, size, want)
	}
	if got, want := strings.Fields(errs.String() + " -")[0], sum(data); got != want {
		t.Errorf("up: got checksum %s, want %s", got, want)
	}
}

func sum(b []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

func TestACommandThatDoesNotReadEndsWhileInputWaits(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() // never written, never closed before: Attach does not wait for it
	defer r.Close()
	code, err := attachTo(t, ServeOptions{},
		AttachOptions{In: r, Out: io.Discard, Command: []string{"sh", "-c", "exit 3"}})
	if code != 3 || err != nil {
		t.Errorf("got %d, %v, want 3, nil", code, err)
	}
}

func TestAttachEndsWhenItsContextDoes(t *testing.T) {
	ctx, cancel := context.WithCancelCause(guard(t))
	client, daemon := newPair()
	served := make(chan error, 1)
	go func() { served <- Serve(guard(t), daemon, ServeOptions{}) }()
	why := errors.New("enough")
	out := saboteur{io.Discard, func() { cancel(why) }}
	code, err := Attach(ctx, client, AttachOptions{Out: out, Command: []string{"sh", "-c", "echo now; exec sleep 1000"}})
	if code != 255 || !errors.Is(err, why) {
		t.Errorf("got %d, %v, want 255, %v", code, err, why)
	}
	if err := <-served; !errors.Is(err, errClosedByClient) {
		t.Errorf("Serve: got %v, want %v", err, errClosedByClient)
	}
}

func TestAClientSaysClearlyWhatItCannotTalkTo(t *testing.T) {
	accept := "\x02\x01\x00\x10\x00\x00"
	for _, tt := range []struct {
		name    string
		daemon  []string
		message string
	}{
		{"garbage", []string{"SSH-2.0-x"}, "want ACCEPT (2), got a message of kind 83"},
		{"nothing", []string{""}, "empty message"},
		{"a later version", []string{"\x02\x07"}, "speaks version 7 of the terminal protocol, this client version 1"},
		{"no window", []string{"\x02\x01\x00\x00\x00\x01"}, "input window of 1 bytes"},
		{"an error", []string{"\x03\x63later \x1b[31mcode"}, "later ?[31mcode"},
		{"closed at once", nil, "wait for the daemon to accept: EOF"},
		{"closed without exit", []string{accept}, "without an exit status"},
		{"garbage later", []string{accept, "\x63ignored", "\x0b"}, "malformed message of kind 11"},
		{"an error later", []string{accept, "\x03\x05bye"}, "bye"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, daemon := newPair()
			ctx := guard(t)
			for _, m := range tt.daemon {
				if err := daemon.Send(ctx, []byte(m)); err != nil {
					t.Fatal(err)
				}
			}
			_ = daemon.CloseWrite()
			code, err := Attach(ctx, client, AttachOptions{Out: io.Discard, Err: io.Discard})
			if code != 255 || err == nil || !strings.Contains(err.Error(), tt.message) {
				t.Errorf("got %d, %v, want 255 and %q", code, err, tt.message)
			}
		})
	}
}

func TestTheTerminalIsRawWhileTheCommandRunsAndAsBeforeAfterIt(t *testing.T) {
	d := attach(t, "plain", "stty size; read x; echo got $x; exit 11")
	d.Wait("33 77")
	d.Raw()
	d.Type("word\r")
	d.Wait("got word")
	d.Wait("served")
	d.Ended(11)
}

func TestTheTerminalIsAsBeforeHoweverAttachEnds(t *testing.T) {
	const script = "echo ready; read x; echo now; exec sleep 1000"
	kill := func(s syscall.Signal) func(*desk.Desk) {
		return func(d *desk.Desk) { _ = d.Cmd.Process.Signal(s) }
	}
	for _, tt := range []struct {
		name, mode string
		end        func(d *desk.Desk)
		says       string
		code       int
	}{
		{"escape", "plain", func(d *desk.Desk) { d.Type("\r~.") }, "detached", 255},
		{"SIGTERM", "plain", kill(syscall.SIGTERM), "terminated", 143},
		{"SIGHUP", "plain", kill(syscall.SIGHUP), "hangup", 129},
		{"SIGINT from outside", "plain", kill(syscall.SIGINT), "interrupt", 130},
		{"lost session", "lose", func(d *desk.Desk) { d.Type("\r") }, "the link is lost", 255},
		{"broken pipe", "broken pipe", func(d *desk.Desk) { d.Type("\r") }, "broken pipe", 255},
		{"panic", "panic", func(d *desk.Desk) { d.Type("\r") }, "on purpose", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := attach(t, tt.mode, script)
			d.Wait("ready")
			d.Raw()
			tt.end(d)
			d.Wait(tt.says)
			if tt.mode != "panic" {
				d.Wait("served")
			}
			d.Ended(tt.code)
		})
	}
}

func TestCtrlCGoesToTheCommand(t *testing.T) {
	d := attach(t, "plain", `trap "echo interrupted; exit 9" INT; echo ready; while :; do sleep 0.05; done`)
	d.Wait("ready")
	d.Type("\x03")
	d.Wait("interrupted")
	d.Wait("served")
	d.Ended(9)
}

func TestTheCommandSeesTheWindowChange(t *testing.T) {
	d := attach(t, "plain", `trap "stty size; exit 0" WINCH; echo ready; while :; do sleep 0.05; done`)
	d.Wait("ready")
	d.Resize(120, 50)
	d.Wait("50 120")
	d.Wait("served")
	d.Ended(0)
}

func TestMegabytesMayBePastedWhileTheCommandWritesThemBack(t *testing.T) {
	const size = 4 << 20
	d := attach(t, "plain", "stty raw -echo; echo ready; head -c 4194304; echo; echo done")
	d.Wait("ready\n")
	pasted := strings.Repeat("0123456789abcde\n", size/16)
	typed := make(chan error, 1)
	go func() {
		_, err := d.Master.WriteString(pasted)
		typed <- err
	}()
	if got := d.Wait("\ndone"); sum([]byte(got)) != sum([]byte(pasted)) {
		t.Errorf("got %d bytes of checksum %s, want %d of %s", len(got), sum([]byte(got)), size, sum([]byte(pasted)))
	}
	if err := <-typed; err != nil {
		t.Fatal(err)
	}
	d.Wait("served")
	d.Ended(0)
}

func TestAnAttachmentIsSuspendedAndContinuedByItsShell(t *testing.T) {
	for name, stop := range map[string]func(*testing.T, *desk.Desk, int){
		"escape": func(_ *testing.T, d *desk.Desk, _ int) { d.Type("\r~\x1a") },
		"signal": func(t *testing.T, _ *desk.Desk, pid int) {
			if err := syscall.Kill(pid, syscall.SIGTSTP); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := sit(t, "plain", "bash", "--norc", "--noediting", "-i")
			d.Wait("prompt> ")
			shell := d.Modes()
			d.Type("'" + os.Args[0] + `' sh -c 'echo at $PPID.; while read x; do echo "got <$x>"; stty size; done'` + "\n")
			d.Wait("at $PPID.")
			d.Wait("at ")
			pid, err := strconv.Atoi(d.Wait("."))
			if err != nil {
				t.Fatal(err)
			}
			d.Raw()
			stop(t, d, pid)
			d.Wait("Stopped")
			d.Wait("prompt> ")
			if got := d.Modes(); got != shell {
				t.Errorf("the terminal's modes while suspended: got %s, want %s", got, shell)
			}
			d.Resize(40, 20)
			d.Type("fg\n")
			d.Wait("sh -c") // the shell says what it continues
			d.Type("again\r")
			d.Wait("got <again>")
			d.Wait("20 40")
			d.Raw()
			d.Type("\r~.")
			d.Wait("served")
			d.Wait("prompt> ")
			d.Type("exit $?\n")
			d.Wait("exit")
			d.Ended(255)
		})
	}
}
