package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/getviewport/relay/cmd/viewport/internal/desk"
)

// cable is a network between a client and the relay that can be cut.
type cable struct {
	ln      net.Listener
	running sync.WaitGroup

	mu    sync.Mutex
	conns []*net.TCPConn // guarded by mu
}

func (w *world) cable() *cable {
	w.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	c := &cable{ln: ln}
	c.running.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", w.relay.Addr)
			if err != nil {
				_ = near.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, near.(*net.TCPConn), far.(*net.TCPConn))
			c.mu.Unlock()
			c.running.Go(func() { _, _ = io.Copy(near, far); _ = near.Close() })
			c.running.Go(func() { _, _ = io.Copy(far, near); _ = far.Close() })
		}
	})
	w.Cleanup(func() {
		_ = ln.Close()
		c.cut()
		c.running.Wait()
	})
	return c
}

// cut resets all connections, as when the relay's machine dies.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}
}

func TestTheLocalTerminalIsRestoredAndSaysWhyHoweverTheSessionEnds(t *testing.T) {
	kill := func(s syscall.Signal) func(*world, *daemon, *desk.Desk, *cable) {
		return func(w *world, _ *daemon, d *desk.Desk, _ *cable) { w.must(d.Cmd.Process.Signal(s)) }
	}
	for _, tt := range []struct {
		name string
		end  func(*world, *daemon, *desk.Desk, *cable)
		code int
		says string // all of it
	}{
		{"remote exit", func(_ *world, _ *daemon, d *desk.Desk, _ *cable) { d.Type("x\r") }, 7, ""},
		{"escape", func(_ *world, _ *daemon, d *desk.Desk, _ *cable) { d.Type("\r~.") }, 255, ""},
		{"SIGTERM", kill(syscall.SIGTERM), 143, "viewport: ended by signal: terminated\r\n"},
		{"SIGHUP", kill(syscall.SIGHUP), 129, "viewport: ended by signal: hangup\r\n"},
		{"SIGQUIT", kill(syscall.SIGQUIT), 131, "viewport: ended by signal: quit\r\n"},
		{"SIGINT from outside", kill(syscall.SIGINT), 130, ""},
		{"daemon killed and started anew", func(w *world, d *daemon, _ *desk.Desk, _ *cable) {
			d.stops(syscall.SIGKILL, -1)
			w.daemon()
		}, 255, "viewport: session ended: the daemon has started anew and knows nothing of this session (SESSION_UNKNOWN)\r\n"},
		{"Ctrl-C at the daemon", func(_ *world, d *daemon, _ *desk.Desk, _ *cable) { d.stops(syscall.SIGINT, 0) }, 255,
			"viewport: the daemon is shutting down\r\n"},
		{"daemon's terminal closed", func(_ *world, d *daemon, _ *desk.Desk, _ *cable) { d.stops(syscall.SIGHUP, 0) }, 255,
			"viewport: the daemon is shutting down\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t).paired()
			served := w.daemon()
			c := w.cable()
			d := desk.Sit(t, w.clientEnv("VIEWPORT_RELAY=http://"+c.ln.Addr().String()), binary, "attach", "--", "sh", "-c",
				"printf ready; stty -echo; read x; exit 7")
			d.Wait("ready")
			d.Raw()
			tt.end(w, served, d, c)
			d.Ended(tt.code)
			begin, end, _ := strings.Cut(tt.says, "…")
			if got := d.Rest(); !strings.HasPrefix(got, begin) || !strings.HasSuffix(got, end) || strings.Count(got, "\n") > 1 {
				t.Errorf("got %q on the screen, want %q", got, tt.says)
			}
		})
	}
}

func TestATerminalThatIsGoneEndsAttachAndItsCommand(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	lives := w.heartbeat()
	d := w.sh("exec 3>" + lives.path + "; echo ready; exec sleep 1000")
	d.Wait("ready")
	w.must(d.Cmd.Process.Signal(syscall.SIGSTOP)) // so that only the hangup can end it
	_ = d.Master.Close()
	_ = d.TTY.Close()
	w.must(d.Cmd.Process.Signal(syscall.SIGCONT))
	err := d.Cmd.Wait()
	if got := d.Cmd.ProcessState.ExitCode(); got != 129 {
		t.Errorf("got %v, want exit code 129", err)
	}
	lives.stops()
}

// heartbeat is a FIFO that processes of a test hold open.
type heartbeat struct {
	*world
	path string
	r    *os.File
}

func (w *world) heartbeat() *heartbeat {
	w.Helper()
	h := &heartbeat{world: w, path: filepath.Join(w.TempDir(), "fifo")}
	w.must(unix.Mkfifo(h.path, 0o600))
	var err error
	h.r, err = os.OpenFile(h.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	w.must(err)
	w.Cleanup(func() { _ = h.r.Close() })
	deadline, _ := w.ctx.Deadline()
	w.must(h.r.SetDeadline(deadline))
	return h
}

// stops returns when nobody holds the FIFO open any more.
func (h *heartbeat) stops() {
	h.Helper()
	if _, err := io.Copy(io.Discard, h.r); err != nil {
		h.Errorf("a process lives on: %v", err)
	}
}

func TestADaemonThatIsKilledLeavesNothingThatRunsAtATerminal(t *testing.T) {
	w := newWorld(t).paired()
	served := w.daemon()
	lives := w.heartbeat()
	d := w.sh("exec 3>" + lives.path + "; echo ready; sleep 1000; exit 3")
	d.Wait("ready")
	served.stops(syscall.SIGKILL, -1)
	lives.stops()
	w.daemon()
	d.Ended(255)
}

func TestADaemonThatEndsEndsItsCommandsFirst(t *testing.T) {
	w := newWorld(t).paired()
	served := w.daemon()
	lives := w.heartbeat()
	d := w.sh("exec 3>" + lives.path + "; trap '' HUP TERM; sleep 1000 & echo ready; wait")
	d.Wait("ready")
	served.stops(syscall.SIGTERM, 0)
	lives.stops()
	d.Ended(255)
}

func TestCtrlCBeforeTheSessionIsOpenEndsAttachWithoutAWord(t *testing.T) {
	w := newWorld(t).paired()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	defer func() { _ = silent.Close() }()
	d := desk.Sit(t, w.clientEnv("VIEWPORT_RELAY="+silent.Addr().String()), binary, "attach")
	conn, err := silent.Accept()
	w.must(err)
	defer func() { _ = conn.Close() }()
	d.Type("\x03")
	d.Ended(130)
	if got := strings.Trim(d.Rest(), "^C\r\n"); got != "" { // as the terminal echoes it
		t.Errorf("got %q on the screen, want nothing", got)
	}
}

func TestAnAttachedTerminalGoesOnAfterTheRelayRestartsAndTheNetworkWasCut(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	c := w.cable()
	d := desk.Sit(t, w.clientEnv("VIEWPORT_RELAY=http://"+c.ln.Addr().String()), binary, "attach", "--", "sh", "-c",
		"printf ready; stty -echo; while read x; do echo got $x; test $x = last && exit 7; done")
	d.Wait("ready")
	w.relay.Restart()
	d.Type("one\r")
	d.Wait("got one")
	c.cut()
	d.Type("two\r")
	d.Wait("got two")
	w.relay.Stop()
	d.Type("last\r")
	d.Wait("reconnecting")
	w.relay.Restart()
	d.Wait("got last")
	d.Ended(7)
}
