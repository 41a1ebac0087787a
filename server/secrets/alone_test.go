package secrets_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/server"
)

// aloneVariable makes the test binary a relay that shares its process with nobody and tells what its heap holds. It has
// a loneRelay.
const aloneVariable = "SECRETS_RELAY_ALONE"

// loneRelay is the relay's configuration.
type loneRelay struct {
	JWKS, Validate string
	Recheck        time.Duration // 0: off
}

// alone runs the relay as somebody would who embeds it. Each line of its input is the name of a file that gets a dump of
// the heap; the end of the input ends it.
func alone() error {
	var wanted loneRelay
	if err := json.Unmarshal([]byte(os.Getenv(aloneVariable)), &wanted); err != nil {
		return err
	}
	relay, err := server.New(server.Config{
		Listen: "127.0.0.1:0", JWKSURL: wanted.JWKS, ValidateURL: wanted.Validate, InternalKey: internalKey,
		Heartbeat: 20 * time.Second, RecheckInterval: wanted.Recheck,
		Log: slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- relay.Run(ctx) }()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err = dumpHeap(lines.Text()); err != nil {
			break
		}
		fmt.Fprintln(os.Stderr, "dumped", lines.Text())
	}
	cancel()
	return errors.Join(err, <-ended)
}

// dumpHeap writes all that is reachable, with globals and stacks. Pools of buffers give up what is in them at the second
// collection.
func dumpHeap(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	for range 3 {
		runtime.GC()
	}
	debug.WriteHeapDump(f.Fd())
	return f.Close()
}

// settleTime bounds the wait for what is left to go; what stays, stays for ever.
const settleTime = 15 * time.Second

// embedded is a relay in a process of its own that can dump its heap.
type embedded struct {
	*process
	orders io.Writer
	dir    string // for dumps
	dumps  int
}

func launchAlone(t *testing.T, p *platform, recheck time.Duration) *embedded {
	t.Helper()
	wanted, err := json.Marshal(loneRelay{p.jwks(), p.validate(), recheck})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{aloneVariable + "=" + string(wanted)}
	orders, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r := &embedded{process: follow(t, cmd), orders: orders, dir: t.TempDir()}
	var serving struct{ Listen string }
	if err := json.Unmarshal([]byte(r.out.line(t, r.ended, `"msg":"serving"`)), &serving); err != nil {
		t.Fatal(err)
	}
	r.addr = serving.Listen
	return r
}

// heap returns a dump of what is reachable in the relay's process.
func (r *embedded) heap() []byte {
	r.t.Helper()
	r.dumps++
	name := filepath.Join(r.dir, fmt.Sprintf("heap-%d", r.dumps))
	if _, err := fmt.Fprintln(r.orders, name); err != nil {
		r.t.Fatal(err)
	}
	r.out.line(r.t, r.ended, "dumped "+name)
	dump, err := os.ReadFile(name)
	if err != nil {
		r.t.Fatal(err)
	}
	if !strings.HasPrefix(string(dump), "go1.7 heap dump") {
		r.t.Fatalf("this is no heap dump: %.40q", dump)
	}
	return dump
}

func TestWithoutRechecksTheRelayKeepsATokenOnlyUntilItIsValidated(t *testing.T) {
	p := startPlatform(t)
	r := launchAlone(t, p, 0)
	c := newCanaries(t, r.addr)
	l := c.session()
	r.settles(p, "the heap during the session", &c.endToEnd, &c.people, &c.tokens)
	l.end(c)
	r.settles(p, "the heap after the session", &c.endToEnd, &c.people, &c.tokens)
}

func TestForRechecksTheTokenOfALiveLinkIsKeptOnceAndIsGoneWithTheLink(t *testing.T) {
	p := startPlatform(t)
	r := launchAlone(t, p, time.Hour) // while it is asked about there are more, in the call
	c := newCanaries(t, r.addr)
	l := c.session()
	r.until(p, "the heap during the session", func(heap []byte, last bool) bool {
		once := true
		for who, source := range map[string]client.TokenSource{"daemon": c.daemon.Token, "client": c.client.Token} {
			token, err := source(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n := bytes.Count(heap, []byte(token[len(token)-64:]))
			once = once && n == 1
			if last && n != 1 {
				t.Errorf("the heap during the session has the %s's token %d times, want once", who, n)
			}
		}
		return once
	})
	r.settles(p, "the heap during the session", &c.endToEnd)
	l.end(c)
	r.settles(p, "the heap after the session", &c.endToEnd, &c.people, &c.tokens)
}

// settles dumps the heap until it has none of the marks, and fails the test if that does not come: links and connections
// to the platform end in their own time.
func (r *embedded) settles(p *platform, what string, all ...*marks) {
	r.t.Helper()
	r.until(p, what, func(heap []byte, last bool) bool {
		found := 0
		for _, m := range all {
			found += len(m.find(heap))
			if last {
				m.absent(r.t, what, heap)
			}
		}
		return found == 0
	})
}

// until dumps the heap until it is as it should be; the last time, good says what is wrong with it.
func (r *embedded) until(p *platform, what string, good func(heap []byte, last bool) bool) {
	r.t.Helper()
	var known marks
	known.addText("the workspace's id", workspace)
	deadline, cancel := context.WithTimeout(context.Background(), settleTime)
	defer cancel()
	for last := false; !last; {
		last = deadline.Err() != nil
		// What they have in their buffers ends with them, at the latest 4 s after the last call.
		p.CloseClientConnections()
		heap := r.heap()
		if len(known.find(heap)) == 0 {
			r.t.Fatalf("%s, %d bytes, lacks the workspace's id: it was not searched", what, len(heap))
		}
		if good(heap, last) {
			return
		}
	}
}
