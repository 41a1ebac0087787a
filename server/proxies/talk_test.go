//go:build unix

package proxies_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/relaytest"
)

const target = "host-1"

// end is the daemon or a client of a target, with how many links it has had.
type end struct {
	mu      sync.Mutex
	links   int
	changed chan struct{} // closed and replaced with each link
}

func newEnd() *end { return &end{changed: make(chan struct{})} }

// hasHad waits until the end has had n links.
func (e *end) hasHad(t *testing.T, n int) {
	t.Helper()
	for ctx := patient(t); ; {
		links, changed := e.count()
		if links >= n {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("an end has had %d links, want %d", links, n)
		}
	}
}

func (e *end) count() (links int, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.links, e.changed
}

// The end is the handler of its log, because that tells of links.

func (e *end) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (e *end) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "attached to the relay" || r.Message == "moved to a new link" {
		e.mu.Lock()
		e.links++
		close(e.changed)
		e.changed = make(chan struct{})
		e.mu.Unlock()
	}
	return nil
}

func (e *end) WithAttrs([]slog.Attr) slog.Handler { return e }
func (e *end) WithGroup(string) slog.Handler      { return e }

// pair is the daemon of a target and a client of it, at a proxy.
type pair struct {
	t              *testing.T
	ends           *relaytest.Ends
	config         client.Config
	listener       *client.Listener
	dialer         *client.Client
	daemon, client *end
}

// connect connects both through p.
func connect(t *testing.T, p *proxy, workspace string) *pair {
	t.Helper()
	c := &pair{t: t, ends: relaytest.Pair(t, workspace, target), daemon: newEnd()}
	c.config = client.Config{Relay: p.url(), TLS: p.home.trust, Workspace: workspace, Target: target}
	authorise, err := client.Paired(c.ends.DaemonStore, workspace, target)
	if err != nil {
		t.Fatal(err)
	}
	config := c.config
	config.Token, config.Log = c.token(identity.Daemon), slog.New(c.daemon)
	c.listener, err = client.Listen(patient(t), client.ListenConfig{
		Config: config, Identity: c.ends.Daemon, Authorise: authorise,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.listener.Close() })
	c.dialer, c.client = c.dial()
	return c
}

func (c *pair) token(role identity.Role) client.TokenSource {
	c.t.Helper()
	claims := devplatform.Claims{Role: devplatform.RoleClient, WorkspaceID: c.config.Workspace, RuntimeTargetID: target}
	if role == identity.Daemon {
		claims.Role, claims.InstallID, claims.DaemonIssueGeneration = devplatform.RoleDaemon, "install", 1
	}
	token, err := platform.Mint(claims)
	if err != nil {
		c.t.Fatal(err)
	}
	return client.StaticToken(token)
}

// dial connects a client, of which there may be several.
func (c *pair) dial() (*client.Client, *end) {
	c.t.Helper()
	e, config := newEnd(), c.config
	config.Token, config.Log = c.token(identity.Client), slog.New(e)
	dialer, err := client.Dial(patient(c.t), client.DialConfig{
		Config: config, Identity: c.ends.Client, Daemon: c.ends.PinnedDaemon,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = dialer.Close() })
	return dialer, e
}

// open opens a session and returns both ends of it.
func (c *pair) open(dialer *client.Client) (up, down *client.Session) {
	c.t.Helper()
	up, err := dialer.Open(patient(c.t))
	if err != nil {
		c.t.Fatal(err)
	}
	down, err = c.listener.Accept(patient(c.t))
	if err != nil {
		c.t.Fatal(err)
	}
	return up, down
}

// flow sends numbered messages one way until stop, and checks that all arrive, once, unchanged and in order.
type flow struct {
	t        *testing.T
	name     string
	from, to *client.Session
	manner   manner
	stop     atomic.Bool
	running  sync.WaitGroup
	sent     int // owned by the sender, and read after the end

	mu sync.Mutex
	// Guarded by mu: how many messages have arrived, who waits for how many, when the last one came, and the longest time
	// between two since watch.
	arrived int
	waiting map[chan struct{}]int
	last    time.Time
	longest time.Duration
}

// manner is how a flow is sent.
type manner struct {
	pace time.Duration // between two messages; 0: as fast as they are taken
	most int           // bytes of the longest message; 0: as many as one may have
}

func begin(t *testing.T, name string, from, to *client.Session, m manner) *flow {
	f := &flow{t: t, name: name, from: from, to: to, manner: m, waiting: make(map[chan struct{}]int)}
	if f.manner.most == 0 {
		f.manner.most = from.MaxMessage()
	}
	f.running.Go(f.send)
	f.running.Go(f.receive)
	return f
}

// message is the nth: its number, a checksum, and noise, sometimes as much as a message may have.
func message(n, most int) []byte {
	size := 16 + n*n%3000
	if n%97 == 50 {
		size = most
	}
	m := make([]byte, size)
	noise := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = noise.Read(m[16:])
	binary.BigEndian.PutUint64(m, uint64(n))
	binary.BigEndian.PutUint32(m[8:], crc32.ChecksumIEEE(m[16:]))
	return m
}

func (f *flow) send() {
	ctx := patient(f.t)
	var tick <-chan time.Time
	if f.manner.pace > 0 {
		ticker := time.NewTicker(f.manner.pace)
		defer ticker.Stop()
		tick = ticker.C
	}
	for !f.stop.Load() {
		if err := f.from.Send(ctx, message(f.sent, f.manner.most)); err != nil {
			f.t.Errorf("%s: Send %d: %v", f.name, f.sent, err)
			return
		}
		f.sent++
		if tick != nil {
			<-tick
		}
	}
	if err := f.from.CloseWrite(); err != nil {
		f.t.Errorf("%s: CloseWrite: %v", f.name, err)
	}
}

func (f *flow) receive() {
	ctx := patient(f.t)
	for {
		m, err := f.to.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = check(m, f.count())
		}
		if err != nil {
			f.t.Errorf("%s: Recv: %v", f.name, err)
			f.to.Abort()
			return
		}
		f.note()
	}
}

func (f *flow) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.arrived
}

func (f *flow) note() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.longest, f.last = max(f.longest, now.Sub(f.last)), now
	f.arrived++
	for c, n := range f.waiting {
		if f.arrived >= n {
			close(c)
			delete(f.waiting, c)
		}
	}
}

// watch forgets the pauses until now.
func (f *flow) watch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.longest = time.Now(), 0
}

// pause is the longest time between two messages since watch.
func (f *flow) pause() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.longest
}

// more is closed when n further messages have arrived.
func (f *flow) more(n int) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(chan struct{})
	f.waiting[c] = f.arrived + n
	return c
}

func check(m []byte, want int) error {
	switch {
	case len(m) < 16:
		return fmt.Errorf("a message of %d bytes", len(m))
	case binary.BigEndian.Uint64(m) != uint64(want):
		return fmt.Errorf("message %d, want %d", binary.BigEndian.Uint64(m), want)
	case binary.BigEndian.Uint32(m[8:]) != crc32.ChecksumIEEE(m[16:]):
		return fmt.Errorf("message %d has another checksum", want)
	}
	return nil
}

// end stops the flow, which ends its direction, and waits until everything has arrived.
func (f *flow) end() {
	f.t.Helper()
	f.stop.Store(true)
	f.running.Wait()
	if f.sent != f.count() {
		f.t.Errorf("%s: %d messages were sent, %d arrived", f.name, f.sent, f.count())
	}
}

// talk is a session with a flow each way.
type talk struct{ up, down *flow }

func (c *pair) talk(dialer *client.Client, name string, m manner) talk {
	c.t.Helper()
	up, down := c.open(dialer)
	return talk{begin(c.t, name+" up", up, down, m), begin(c.t, name+" down", down, up, m)}
}

// more waits until n further messages have arrived each way.
func (k talk) more(n int) { more(k.up.t, n, k) }

// more waits until n further messages of every talk have arrived each way.
func more(t *testing.T, n int, talks ...talk) {
	t.Helper()
	arrived := make(map[*flow]<-chan struct{}, 2*len(talks))
	for _, k := range talks {
		arrived[k.up], arrived[k.down] = k.up.more(n), k.down.more(n)
	}
	ctx := patient(t)
	for f, c := range arrived {
		select {
		case <-c:
		case <-ctx.Done():
			t.Fatalf("%s: stuck after %d messages", f.name, f.count())
		}
	}
}

// end ends both ways, and so the session, cleanly.
func (k talk) end() {
	k.up.stop.Store(true)
	k.down.stop.Store(true)
	k.up.end()
	k.down.end()
	for _, f := range []*flow{k.up, k.down} {
		if err := f.from.Close(); err != nil {
			f.t.Errorf("%s: Close: %v", f.name, err)
		}
	}
}
