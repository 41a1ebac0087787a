package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// peer speaks the protocol to a Serve that runs beside it.
type peer struct {
	*testing.T
	ctx    context.Context
	stop   context.CancelFunc // ends Serve's context
	conn   *memory
	served chan error
	output bytes.Buffer // STDOUT so far
	stderr bytes.Buffer
}

// newPeer starts Serve and says nothing yet.
func newPeer(t *testing.T, o ServeOptions) *peer {
	client, daemon := newPair()
	p := &peer{T: t, ctx: guard(t), conn: client, served: make(chan error, 1)}
	var ctx context.Context
	ctx, p.stop = context.WithCancel(p.ctx)
	if o.Grace == 0 {
		o.Grace = 100 * time.Millisecond
	}
	done := make(chan struct{})
	go func() { defer close(done); p.served <- Serve(ctx, daemon, o) }()
	t.Cleanup(func() { p.conn.lose(); <-done })
	return p
}

// run starts Serve and the command.
func run(t *testing.T, pty bool, command ...string) *peer {
	t.Helper()
	p := newPeer(t, ServeOptions{})
	p.send(message{kind: kindHello, version: Version, hello: hello{pty: pty, size: size{100, 30, 0, 0}, command: command}})
	if m := p.next(); m.kind != kindAccept || m.credit != inputWindow {
		t.Fatalf("got %+v, want ACCEPT with a window of %d bytes", m, inputWindow)
	}
	return p
}

func (p *peer) send(m message) {
	p.Helper()
	if err := p.conn.Send(p.ctx, m.append(nil)); err != nil {
		p.Fatalf("send: %v", err)
	}
}

func (p *peer) input(s string) { p.Helper(); p.send(message{kind: kindStdin, data: []byte(s)}) }

// next returns the next message, and keeps output.
func (p *peer) next() message {
	p.Helper()
	b, err := p.conn.Recv(p.ctx)
	if err != nil {
		p.Fatalf("receive: %v; output so far %q", err, p.output.String())
	}
	m, err := parse(b)
	if err != nil {
		p.Fatalf("parse %q: %v", b, err)
	}
	switch m.kind {
	case kindStdout:
		p.output.Write(m.data)
	case kindStderr:
		p.stderr.Write(m.data)
	}
	return m
}

// wait receives until the output holds text, and returns what came before it.
func (p *peer) wait(text string) string {
	p.Helper()
	for !strings.Contains(p.output.String(), text) {
		if m := p.next(); m.kind == kindExit || m.kind == kindError {
			p.Fatalf("got %+v and output %q, want %q in the output", m, p.output.String(), text)
		}
	}
	before, after, _ := strings.Cut(p.output.String(), text)
	p.output.Reset()
	p.output.WriteString(after)
	return before
}

// exit receives until EXIT, says goodbye and returns it.
func (p *peer) exit() message {
	p.Helper()
	for {
		m := p.next()
		if m.kind == kindError {
			p.Fatalf("got %+v, want EXIT", m)
		}
		if m.kind == kindExit {
			p.goodbye()
			if err := <-p.served; err != nil {
				p.Errorf("Serve: got %v, want nil", err)
			}
			return m
		}
	}
}

func (p *peer) goodbye() {
	p.Helper()
	if b, err := p.conn.Recv(p.ctx); err != io.EOF {
		p.Errorf("after the last message: got %q, %v, want EOF", b, err)
	}
	_ = p.conn.CloseWrite()
}

// gone fails the test if process pid runs.
func (p *peer) gone(pid string) {
	p.Helper()
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err == nil && !strings.Contains(string(stat), ") Z ") {
		p.Errorf("process %s runs, want it gone: %s", pid, stat)
	}
}

func TestAClientGetsTheExitStatus(t *testing.T) {
	for _, pty := range []bool{false, true} {
		for _, tt := range []struct {
			script, signal string
			code           uint8
		}{
			{"exit 0", "", 0},
			{"exit 7", "", 7},
			{"exit 255", "", 255},
			{"kill -TERM $$", "TERM", 143},
			{"kill -KILL $$", "KILL", 137},
		} {
			t.Run(fmt.Sprintf("%s pty=%v", tt.script, pty), func(t *testing.T) {
				m := run(t, pty, "sh", "-c", tt.script).exit()
				if m.code != tt.code || m.signal != tt.signal {
					t.Errorf("got %d %q, want %d %q", m.code, m.signal, tt.code, tt.signal)
				}
			})
		}
	}
}

func TestAllOutputComesBeforeTheExitStatus(t *testing.T) {
	for _, pty := range []bool{false, true} {
		t.Run(fmt.Sprint("pty=", pty), func(t *testing.T) {
			p := run(t, pty, "sh", "-c", "head -c 3000000 /dev/zero; exit 3")
			if m := p.exit(); m.code != 3 {
				t.Errorf("got exit status %d, want 3", m.code)
			}
			if got, want := p.output.Len(), 3000000; got != want {
				t.Errorf("got %d bytes, want %d", got, want)
			}
		})
	}
}

func TestOutputOfAProcessThatOutlivesTheCommandForAMomentIsKept(t *testing.T) {
	p := newPeer(t, ServeOptions{
		Command: []string{"sh", "-c", "(read x; sleep 0.1; echo late) <&0 & exit 0"}, Grace: time.Minute})
	p.send(message{kind: kindHello, version: Version})
	p.next()
	p.input("go\n")
	p.exit()
	if got, want := p.output.String(), "late\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWithoutATerminalStandardErrorIsApart(t *testing.T) {
	p := run(t, false, "sh", "-c", "echo out; echo err >&2")
	p.exit()
	if p.output.String() != "out\n" || p.stderr.String() != "err\n" {
		t.Errorf("got %q and %q, want %q and %q", p.output.String(), p.stderr.String(), "out\n", "err\n")
	}
}

func TestTheCommandHasATerminalOfTheClientsSize(t *testing.T) {
	p := run(t, true, "sh", "-c", "tty >/dev/null && stty size; read x; stty size; echo $TERM")
	p.wait("30 100\r\n")
	p.send(message{kind: kindResize, size: size{cols: 132, rows: 43}})
	p.input("\n")
	p.wait("43 132\r\n")
	p.exit()
}

func TestEndOfInputReachesTheProgram(t *testing.T) {
	for _, tt := range []struct {
		name string
		pty  bool
		text string
		want string
	}{
		{"pipe", false, "no end of line", "no end of line"},
		{"terminal at the start of a line", true, "line\n", "line\r\n"},
		{"terminal within a line", true, "part", "part"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := run(t, tt.pty, "sh", "-c", "stty -echo 2>/dev/null; echo ready; cat; echo end")
			p.wait("ready")
			p.input(tt.text)
			p.send(message{kind: kindEOF})
			p.exit()
			if got := strings.TrimLeft(p.output.String(), "\r\n"); !strings.HasPrefix(got, tt.want+"end") {
				t.Errorf("got %q, want %q and end", got, tt.want)
			}
		})
	}
}

func TestSignalsReachTheCommandHoweverMuchInputItHasNotRead(t *testing.T) {
	for _, pty := range []bool{false, true} {
		t.Run(fmt.Sprint("pty=", pty), func(t *testing.T) {
			p := run(t, pty, "sh", "-c", "echo ready; exec sleep 1000")
			p.wait("ready")
			for left := inputWindow; left > 0; left -= min(left, maxData) {
				p.input(strings.Repeat("x", min(left, maxData)))
			}
			p.send(message{kind: kindSignal, signal: "WHAT"})
			p.send(message{kind: kind(200), data: []byte("from a later version")})
			p.send(message{kind: kindSignal, signal: "TERM"})
			if m := p.exit(); m.code != 143 || m.signal != "TERM" {
				t.Errorf("got %d %q, want 143 TERM", m.code, m.signal)
			}
		})
	}
}

func TestNoProcessOutlivesItsSession(t *testing.T) {
	ends := map[string]func(p *peer){
		"lost":           func(p *peer) { p.conn.lose() },
		"closed":         func(p *peer) { _ = p.conn.CloseWrite() },
		"daemon stopped": func(p *peer) { p.stop() },
	}
	for name, end := range ends {
		for _, pty := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s pty=%v", name, pty), func(t *testing.T) {
				// A child, a grandchild in a process group of its own, and one that does not care for SIGHUP.
				p := run(t, pty, "bash", "-c",
					`set -m; sleep 1000 & bash -c 'sleep 1000 & echo $! $$; wait' &
					(trap "" HUP TERM; echo $BASHPID; while :; do sleep 1000; done) & echo $$; wait; wait`)
				var pids []string
				for len(pids) < 4 {
					pids = append(pids, strings.Fields(p.wait("\n"))...)
				}
				for _, pid := range pids {
					if _, err := strconv.Atoi(pid); err != nil {
						t.Fatalf("got %q, want process ids", pids)
					}
				}
				end(p)
				if err := <-p.served; err == nil {
					t.Error("Serve: got nil, want why the session ended")
				}
				for _, pid := range pids {
					p.gone(pid)
				}
			})
		}
	}
}

func TestASessionThatIsLostWhileTheProcessReadsNothingEndsIt(t *testing.T) {
	p := run(t, false, "sh", "-c", "echo $$; exec sleep 1000")
	pid := strings.TrimSpace(p.wait("\n"))
	for left := inputWindow; left > 0; left -= min(left, maxData) {
		p.input(strings.Repeat("x", min(left, maxData)))
	}
	p.conn.lose()
	if err := <-p.served; !errors.Is(err, errLost) {
		t.Errorf("got %v, want %v", err, errLost)
	}
	p.gone(pid)
}

func TestASessionThatIsLostWhileTheClientTakesNoOutputEndsTheProcess(t *testing.T) {
	p := run(t, true, "sh", "-c", "echo $$; exec yes")
	pid := strings.TrimSpace(p.wait("\n"))
	p.conn.lose()
	if err := <-p.served; !errors.Is(err, errLost) {
		t.Errorf("got %v, want %v", err, errLost)
	}
	p.gone(pid)
}

func TestTheSessionEndsWithItsCommandWhateverThatLeavesBehind(t *testing.T) {
	for _, pty := range []bool{false, true} {
		t.Run(fmt.Sprint("pty=", pty), func(t *testing.T) {
			p := run(t, pty, "bash", "-c", `set -m; (trap "" HUP; sleep 1000) & echo $!; exit 5`)
			pid := strings.TrimSpace(p.wait("\n"))
			if m := p.exit(); m.code != 5 {
				t.Errorf("got exit status %d, want 5", m.code)
			}
			p.gone(pid)
		})
	}
}

func TestOutputThatADaemonisedProcessKeepsOpenDoesNotHoldTheSession(t *testing.T) {
	p := run(t, false, "sh", "-c", "setsid sh -c 'echo $$; exec sleep 1000' & exec cat")
	pid, err := strconv.Atoi(strings.TrimSpace(p.wait("\n")))
	if err != nil {
		t.Fatal(err)
	}
	p.send(message{kind: kindEOF})
	p.exit()
	// It left the session on purpose, so it lives, and the test ends it.
	process, err := os.FindProcess(pid)
	if err == nil {
		err = process.Kill()
	}
	if err != nil {
		t.Errorf("the process that left the session: got %v, want it alive", err)
	}
}

func TestAStoppedDaemonSaysSo(t *testing.T) {
	p := run(t, true, "yes")
	p.wait("y") // and there is more of it than the session takes
	p.stop()
	m := p.next()
	for m.kind == kindStdout {
		m = p.next()
	}
	if m.kind != kindError || Code(m.code) != CodeStopped {
		t.Errorf("got %+v, want ERROR %d", m, CodeStopped)
	}
	p.goodbye()
	var told *Error
	if err := <-p.served; !errors.As(err, &told) || told.Code != CodeStopped {
		t.Errorf("Serve: got %v, want code %d", err, CodeStopped)
	}
}

func TestAClientThatIsRefusedLearnsWhy(t *testing.T) {
	fixed := ServeOptions{Command: []string{"cat", "-u"}}
	for _, tt := range []struct {
		name  string
		o     ServeOptions
		first string
		code  Code
		text  string
	}{
		{"garbage", ServeOptions{}, "GET / HTTP/1.1\r\n", CodeProtocol, "want HELLO (1) first, got a message of kind 71"},
		{"nothing", ServeOptions{}, "", CodeProtocol, "empty message"},
		{"half a hello", ServeOptions{}, "\x01\x01\x00", CodeProtocol, "malformed message of kind 1"},
		{"a later version", ServeOptions{}, "\x01\x02??", CodeVersion,
			"speaks version 1 of the terminal protocol, the client version 2"},
		{"another command", fixed, helloBytes("sh"), CodeRefused, `runs "cat" only`},
		{"no such command", ServeOptions{}, helloBytes("no-such-command"), CodeStart, `cannot start "no-such-command"`},
		{"a command with a zero byte", ServeOptions{}, helloBytes("cat", "a\x00b"), CodeStart, `cannot start "cat"`},
		{"no such folder", ServeOptions{Dir: "/no/such"}, helloBytes("cat"), CodeStart, "/no/such"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, tt.o)
			if err := p.conn.Send(p.ctx, []byte(tt.first)); err != nil {
				t.Fatal(err)
			}
			m := p.next()
			if m.kind != kindError || Code(m.code) != tt.code || !strings.Contains(m.text, tt.text) {
				t.Errorf("got %+v, want ERROR %d with %q", m, tt.code, tt.text)
			}
			p.goodbye()
			if err := <-p.served; err == nil {
				t.Error("Serve: got nil, want the reason")
			}
		})
	}
}

func helloBytes(command ...string) string {
	m := message{kind: kindHello, version: Version, hello: hello{command: command}}
	return string(m.append(nil))
}

func TestAFixedCommandRunsForAClientThatAsksForNoneOrTheSame(t *testing.T) {
	for _, command := range [][]string{nil, {"sh", "-c", "exit 4"}} {
		p := newPeer(t, ServeOptions{Command: []string{"sh", "-c", "exit 4"}})
		p.send(message{kind: kindHello, version: Version, hello: hello{command: command}})
		if m := p.exit(); m.code != 4 {
			t.Errorf("asked for %q: got exit status %d, want 4", command, m.code)
		}
	}
}

func TestWithoutACommandALoginShellRuns(t *testing.T) {
	p := newPeer(t, ServeOptions{Shell: "/bin/sh"})
	p.send(message{kind: kindHello, version: Version, hello: hello{pty: true}})
	p.input("echo shell: $0\nexit 6\n")
	p.wait("shell: -sh")
	if m := p.exit(); m.code != 6 {
		t.Errorf("got exit status %d, want 6", m.code)
	}
}

func TestTheEnvironmentIsTheDaemonsWithTheClientsTerminalAndLanguage(t *testing.T) {
	t.Setenv("VIEWPORT_TOKEN", "secret")
	t.Setenv("OF_DAEMON", "yes")
	t.Setenv("TERM", "of-daemon")
	p := newPeer(t, ServeOptions{})
	p.send(message{kind: kindHello, version: Version, hello: hello{command: []string{"env"}, env: []variable{
		{"TERM", "of-client"}, {"LC_ALL", "C"}, {"LD_PRELOAD", "evil"}, {"LC_", "x"}, {"LC_A=B", "x"}, {"LANG", "a\x00b"}}}})
	p.exit()
	lines := "\n" + p.output.String()
	for _, want := range []string{"\nOF_DAEMON=yes\n", "\nTERM=of-client\n", "\nLC_ALL=C\n"} {
		if !strings.Contains(lines, want) {
			t.Errorf("got no line %q in the environment", want)
		}
	}
	for _, bad := range []string{"secret", "evil", "of-daemon", "\nLC_=", "LC_A=B"} {
		if strings.Contains(lines, bad) {
			t.Errorf("got %q in the environment, want it left out", bad)
		}
	}
}

func TestAClientThatSendsMoreThanTheWindowIsToldSo(t *testing.T) {
	p := run(t, false, "sleep", "1000")
	// What the pipe takes is out of the queue: a second window does not fit in any case.
	go func() {
		for {
			m := message{kind: kindStdin, data: make([]byte, maxData)}
			if p.conn.Send(p.ctx, m.append(nil)) != nil {
				return
			}
		}
	}()
	m := p.next()
	if m.kind != kindError || Code(m.code) != CodeProtocol || !strings.Contains(m.text, "window") {
		t.Errorf("got %+v, want ERROR %d about the window", m, CodeProtocol)
	}
	p.conn.lose()
	<-p.served
}
