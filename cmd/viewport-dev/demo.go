package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/cmd/viewport-dev/internal/tap"
	"github.com/getviewport/relay/internal/devplatform"
)

// demoTime bounds a demo as a whole, its end apart.
const demoTime = 60 * time.Second

// headersShown is how many envelopes the demo prints one by one.
const headersShown = 16

type demoCommand struct {
	PushMiB int64 `name:"push-mib" default:"64" hidden:"" help:"How much to push each way."`
}

// demo is one run. Its processes are real ones, and each link passes a tap.Proxy of its own, in the clear.
type demo struct {
	// Static.
	out               io.Writer
	began             time.Time
	dir               string // removed at the end
	self, viewport    string
	workspace, target string
	push              int64 // bytes each way
	typed, seed       string
	log               *tail // of relay and daemon

	// Set by the steps, in their order.
	stack       *stack
	pairing     string
	marks       *tap.Marks
	names       []string // of the marks that must not be found
	record      *tap.Record
	links       []*tap.Proxy
	clientRelay string
	clientToken string
	daemon      *process
	control     []*tap.Search // over plaintext: what a search finds if there is something
	relay       relayView
}

// run does everything and leaves nothing behind.
func (c *demoCommand) run(parent context.Context, stdout io.Writer) (err error) {
	ctx, cancel := context.WithTimeoutCause(parent, demoTime, fmt.Errorf("it took longer than %v", demoTime))
	defer cancel()
	if c.PushMiB < 1 {
		return errors.New("--push-mib: at least 1")
	}
	d := &demo{
		out: stdout, began: time.Now(), workspace: "demo", target: "target-" + randomHex(8), push: c.PushMiB << 20,
		typed: "typed-" + randomHex(12), seed: randomHex(16), log: &tail{},
	}
	if d.self, d.viewport, err = binaries(); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "viewport-demo-"); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, d.stop(), survivors(d.dir), os.RemoveAll(d.dir))
		if err == nil {
			d.say("cleaned up: no process left, %s removed. All is well.", d.dir)
		}
	}()
	return d.steps(ctx)
}

func (d *demo) steps(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"starting relay and platform", d.startRelay},
		{"making a pairing string", d.makePairing},
		{"starting the daemon", d.startDaemon},
		{"pairing", d.pair},
		{"running a command in a terminal", d.runTerminal},
		{"pushing", d.runPush},
		{"asking what the relay saw", d.showRelay},
		{"ending the processes", func(context.Context) error { return d.stop() }},
		{"searching the links", d.verdict},
	} {
		err := context.Cause(ctx)
		if err == nil {
			err = step.do(ctx)
		}
		if err != nil {
			if log := d.log.String(); log != "" {
				err = fmt.Errorf("%w\n--- the last lines of relay and daemon\n%s", err, log)
			}
			return fmt.Errorf("demo: failed while %s: %w", step.name, err)
		}
	}
	return nil
}

// say prints a line of progress.
func (d *demo) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, "%5.1f s  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) startRelay(context.Context) (err error) {
	const free = "127.0.0.1:0"
	log := slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if d.stack, err = startStack(addresses{free, free, free}, log); err != nil {
		return err
	}
	if d.clientToken, err = d.stack.token(devplatform.RoleClient, d.workspace, d.target); err != nil {
		return err
	}
	d.say("a relay on %s and a platform on %s, in this process", d.stack.addresses.relay, d.stack.addresses.platform)
	return nil
}

// makePairing runs `viewport pair` on the daemon's side. From then on all that must not be seen is known.
func (d *demo) makePairing(ctx context.Context) error {
	cmd := exec.Command(d.viewport, "pair", "--workspace", d.workspace, "--target", d.target, "--label", "demo client")
	cmd.Env = environment(d.dir, "VIEWPORT_HOME="+d.home("daemon"))
	output, err := d.finish(ctx, "viewport pair", cmd)
	if err != nil {
		return err
	}
	d.pairing = strings.TrimSpace(output)
	pairing, err := identity.ParsePairing(d.pairing)
	if err != nil {
		return fmt.Errorf("viewport pair printed something else than a pairing string: %w", err)
	}
	psk := pairing.PSK().Reveal()
	secret := []tap.Mark{
		{Name: "the pairing's secret", Bytes: psk[:]},
		{Name: "what was typed", Bytes: []byte(d.typed)},
		{Name: "what the terminal answered", Bytes: []byte(strings.ToUpper(d.typed))},
		{Name: "an argument of the command", Bytes: []byte(d.seed)},
		{Name: "what was pushed up", Bytes: pushMark(d.seed, pushUp)},
		{Name: "what was pushed down", Bytes: pushMark(d.seed, pushDown)},
	}
	for _, m := range secret {
		d.names = append(d.names, m.Name)
	}
	if d.marks, err = tap.NewMarks(append(secret, tap.Mark{Name: targetMark, Bytes: []byte(d.target)})...); err != nil {
		return err
	}
	// The search must find the secret where it is: base64 within the string.
	_, _ = d.plain().Write([]byte(d.pairing))
	d.say("`viewport pair` made a pairing string (%d characters, Noise IKpsk2) for daemon %s", len(d.pairing),
		pairing.Daemon.Fingerprint())
	return nil
}

// startDaemon puts a proxy into each link and starts `viewport daemon`.
func (d *demo) startDaemon(ctx context.Context) error {
	d.record = tap.NewRecord(headersShown)
	for _, link := range []string{"daemon", "client"} {
		p, err := tap.NewProxy(link, d.stack.addresses.relay, d.marks, d.record)
		if err != nil {
			return err
		}
		d.links = append(d.links, p)
	}
	d.clientRelay = d.links[1].Addr()
	token, err := d.stack.token(devplatform.RoleDaemon, d.workspace, d.target)
	if err != nil {
		return err
	}
	d.daemon, err = startDaemon(ctx, daemonConfig{
		viewport: d.viewport, run: d.dir, home: d.home("daemon"), relay: d.links[0].Addr(), workspace: d.workspace,
		target: d.target, token: token, args: []string{"--require-psk"}, log: d.log,
	})
	if err != nil {
		return err
	}
	d.say("`viewport daemon`, process %d, is attached; every byte of both links is recorded in between",
		d.daemon.cmd.Process.Pid)
	return nil
}

// pair is the client's first contact, with the pairing string.
func (d *demo) pair(ctx context.Context) error {
	cmd := d.attach("-T", "--", "true")
	cmd.Env = append(cmd.Env, "VIEWPORT_PAIR="+d.pairing)
	if _, err := d.finish(ctx, "viewport attach --pair", cmd); err != nil {
		return err
	}
	d.say("`viewport attach --pair …`: daemon and client have pinned each other")
	return nil
}

func (d *demo) home(role string) string { return filepath.Join(d.dir, role) }

// attach is a client, through its proxy.
func (d *demo) attach(args ...string) *exec.Cmd {
	cmd := exec.Command(d.viewport, append([]string{"attach"}, args...)...)
	cmd.Env = environment(d.dir, "VIEWPORT_HOME="+d.home("client"), "VIEWPORT_RELAY="+d.clientRelay,
		"VIEWPORT_WORKSPACE="+d.workspace, "VIEWPORT_TARGET="+d.target, "VIEWPORT_TOKEN="+d.clientToken)
	return cmd
}

// finish runs a process to its end, which must be a good one, and returns what it wrote to standard output.
func (d *demo) finish(ctx context.Context, name string, cmd *exec.Cmd) (string, error) {
	var stdout strings.Builder
	var stderr tail
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	p, err := startProcess(name, cmd)
	if err != nil {
		return "", err
	}
	if err := waitFor(ctx, p); err != nil {
		return "", err
	}
	if code := p.exitCode(); code != 0 {
		return "", fmt.Errorf("%s ended with exit code %d: %s", name, code, stderr.String())
	}
	return stdout.String(), nil
}

// waitFor waits until p has ended; when ctx ends it ends p.
func waitFor(ctx context.Context, p *process) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s: %w", p.name, context.Cause(ctx)), p.end())
	}
}

// stop ends what runs, in the order in which nobody misses another, and waits for it. Stopping twice is no error.
func (d *demo) stop() error {
	var errs []error
	if d.daemon != nil {
		errs = append(errs, d.daemon.end())
		if code := d.daemon.exitCode(); code != 0 {
			errs = append(errs, fmt.Errorf("viewport daemon ended with %v", d.daemon.cmd.ProcessState))
		}
		d.daemon = nil
	}
	if d.stack != nil {
		errs = append(errs, d.stack.stop())
		d.stack = nil
	}
	for _, p := range d.links {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// plain begins a search over plaintext at an end: what it finds shows that the search works.
func (d *demo) plain() *tap.Search {
	s := d.marks.NewSearch()
	d.control = append(d.control, s)
	return s
}

// randomHex returns n random bytes in hex.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
