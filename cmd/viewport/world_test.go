package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/cmd/viewport/internal/desk"
	"github.com/getviewport/relay/relaytest"
)

// binary is `viewport` as a user has it.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests mostly wait for processes: more of them fit than there are cores.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "viewport-test")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "viewport")
	build := exec.Command("go", "build", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build viewport: %v\n%s", err, out)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// patience ends what hangs.
const patience = 60 * time.Second

const (
	workspace = "acme"
	target    = "laptop"
)

// world is a relay, and homes of a daemon and a client that have paired.
type world struct {
	*testing.T
	ctx                    context.Context
	relay                  *relaytest.Relay
	daemonHome, clientHome string
	daemonToken            string // files
	clientToken            string
}

func newWorld(t *testing.T, options ...relaytest.Option) *world {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	w := &world{T: t, ctx: ctx, relay: relaytest.Start(t, options...), daemonHome: t.TempDir(), clientHome: t.TempDir()}
	w.daemonToken = w.file("daemon.token", w.relay.Token(identity.Daemon, workspace, target)+"\n")
	w.clientToken = w.file("client.token", w.relay.Token(identity.Client, workspace, target)+"\n")
	return w
}

// paired makes the homes know each other.
func (w *world) paired() *world {
	w.Helper()
	daemons, err := identity.Open(w.daemonHome)
	w.must(err)
	pairings, err := daemons.Pairings(workspace)
	w.must(err)
	pairing, err := pairings.Create(target, identity.NoiseIKpsk2, "", time.Now())
	w.must(err)
	clients, err := identity.Open(w.clientHome)
	w.must(err)
	client, err := clients.LoadOrCreate(identity.Client, workspace)
	w.must(err)
	_, err = pairings.Redeem(target, pairing.ID(), client.Public, time.Now())
	w.must(err)
	peers, err := clients.Peers(identity.Client, workspace)
	w.must(err)
	peer := pairing.Peer()
	peer.PairedAt = time.Now()
	w.must(peers.Add(peer))
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// file writes a file that ends with the test and returns its name.
func (w *world) file(name, content string) string {
	w.Helper()
	path := filepath.Join(w.TempDir(), name)
	w.must(os.WriteFile(path, []byte(content), 0o600))
	return path
}

// environment is a plain one: what commands write does not depend on who runs the test. Later words win.
func environment(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "TERM=xterm", "LANG=C.UTF-8", "SHELL=/bin/sh",
		"PS1=prompt> ", "LESSHISTFILE=-"}, more...)
}

func (w *world) daemonEnv(more ...string) []string {
	return environment(append([]string{"VIEWPORT_HOME=" + w.daemonHome, "VIEWPORT_RELAY=" + w.relay.URL,
		"VIEWPORT_WORKSPACE=" + workspace, "VIEWPORT_TARGET=" + target, "VIEWPORT_TOKEN_FILE=" + w.daemonToken,
		"MARK=of the daemon"}, more...)...)
}

func (w *world) clientEnv(more ...string) []string {
	return environment(append([]string{"VIEWPORT_HOME=" + w.clientHome, "VIEWPORT_RELAY=" + w.relay.URL,
		"VIEWPORT_WORKSPACE=" + workspace, "VIEWPORT_TARGET=" + target, "VIEWPORT_TOKEN_FILE=" + w.clientToken}, more...)...)
}

// daemon is a `viewport daemon`.
type daemon struct {
	*world
	cmd   *exec.Cmd
	out   *words // standard output
	log   *words // standard error
	ended bool
}

// daemon starts a daemon and returns when it is attached to the relay.
func (w *world) daemon(args ...string) *daemon {
	w.Helper()
	d := w.startDaemon(nil, args...)
	d.log.wait(w.ctx, w.T, "msg=attached ")
	return d
}

func (w *world) startDaemon(env []string, args ...string) *daemon {
	w.Helper()
	d := &daemon{world: w, out: newWords(), log: newWords()}
	d.cmd = exec.CommandContext(w.ctx, binary, append([]string{"daemon"}, args...)...)
	d.cmd.Env, d.cmd.Stdout, d.cmd.Stderr = w.daemonEnv(env...), d.out, d.log
	d.cmd.WaitDelay = 10 * time.Second // something that it left behind holds its output
	w.must(d.cmd.Start())
	w.Cleanup(func() {
		if !d.ended {
			d.stops(syscall.SIGTERM, 0)
		}
		if w.Failed() {
			w.Logf("the daemon's log:\n%s", d.log.text())
		}
	})
	return d
}

// stops sends a signal, waits for the daemon's end and wants this exit code.
func (d *daemon) stops(s syscall.Signal, code int) {
	d.Helper()
	d.must(d.cmd.Process.Signal(s))
	d.waits(code)
}

func (d *daemon) waits(code int) {
	d.Helper()
	err := d.cmd.Wait()
	d.ended = true
	if errors.Is(err, exec.ErrWaitDelay) {
		d.Errorf("the daemon left a process behind that holds its output")
	}
	if got := d.cmd.ProcessState.ExitCode(); got != code {
		d.Errorf("the daemon ended with %v, want exit code %d; its log:\n%s", d.cmd.ProcessState, code, d.log.text())
	}
}

// attach sits down at a terminal with `viewport attach`.
func (w *world) attach(args ...string) *desk.Desk {
	w.Helper()
	return desk.Sit(w.T, w.clientEnv(), append([]string{binary, "attach"}, args...)...)
}

// sh attaches to a shell script.
func (w *world) sh(script string) *desk.Desk {
	w.Helper()
	return w.attach("--", "sh", "-c", script)
}

// result is how a command ended that has no terminal.
type result struct {
	out, err string
	code     int
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d, output %q, errors %q", r.code, r.out, r.err)
}

// run runs viewport without a terminal; env adds to a client's environment.
func (w *world) run(env []string, input io.Reader, args ...string) result {
	w.Helper()
	return w.runIn(w.clientEnv(env...), input, args...)
}

func (w *world) runIn(env []string, input io.Reader, args ...string) result {
	w.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(w.ctx, binary, args...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, input, &out, &errs
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		w.Fatal(err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// want compares all of a result.
func (w *world) want(got result, out, errs string, code int) {
	w.Helper()
	if want := (result{out, errs, code}); got != want {
		w.Errorf("got %v, want %v", got, want)
	}
}

// says wants an exit code, nothing on standard output, and one line on standard error with all of these words.
func (w *world) says(got result, code int, words ...string) {
	w.Helper()
	if got.code != code || got.out != "" || strings.Count(got.err, "\n") != 1 || !strings.HasPrefix(got.err, "viewport: ") {
		w.Errorf("got %v, want exit code %d and one line", got, code)
	}
	for _, word := range words {
		if !strings.Contains(got.err, word) {
			w.Errorf("got %q, want it to say %q", got.err, word)
		}
	}
}

// words is what a process has written so far.
type words struct {
	mu      sync.Mutex
	all     []byte
	taken   int           // what wait has found ends here
	written chan struct{} // closed at each write, then made anew
}

func newWords() *words { return &words{written: make(chan struct{})} }

func (s *words) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, b...)
	close(s.written)
	s.written = make(chan struct{})
	return len(b), nil
}

func (s *words) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.all)
}

// wait waits for text after what it found before, and returns what came in between.
func (s *words) wait(ctx context.Context, t *testing.T, text string) string {
	t.Helper()
	for {
		s.mu.Lock()
		i := bytes.Index(s.all[s.taken:], []byte(text))
		if i >= 0 {
			before := string(s.all[s.taken : s.taken+i])
			s.taken += i + len(text)
			s.mu.Unlock()
			return before
		}
		written := s.written
		s.mu.Unlock()
		select {
		case <-written:
		case <-ctx.Done():
			t.Fatalf("%v; got %q, want %q", ctx.Err(), s.text(), text)
		}
	}
}
