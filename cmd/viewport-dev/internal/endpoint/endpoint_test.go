package endpoint

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/relaytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends what hangs.
const patience = time.Minute

// proc is a process in this one.
type proc struct {
	*testing.T
	ctx    context.Context
	stdin  io.WriteCloser
	events chan Event // room for all: who is not read does not go on
	ended  chan error
}

func start(t *testing.T, ctx context.Context, c Config) *proc {
	t.Helper()
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	p := &proc{t, ctx, stdin, make(chan Event, 4096), make(chan error, 1)}
	go func() {
		p.ended <- Run(ctx, in, out, io.Discard)
		_ = out.Close()
	}()
	go func() {
		defer close(p.events)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var e Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				e.Failed = err.Error()
			}
			p.events <- e
		}
	}()
	if err := json.NewEncoder(stdin).Encode(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

// stop ends its input and waits for its end.
func (p *proc) stop() {
	_ = p.stdin.Close()
	for range p.events {
	}
	if err := <-p.ended; err != nil {
		p.Error(err)
	}
	p.ended <- nil // stopping twice is no error
}

// until returns the events up to one that is wanted.
func (p *proc) until(is func(Event) bool) (all []Event) {
	p.Helper()
	for {
		select {
		case e, ok := <-p.events:
			if !ok || e.Failed != "" {
				p.Fatalf("got %+v, ended %v", e, !ok)
			}
			if all = append(all, e); is(e) {
				return all
			}
		case <-p.ctx.Done():
			p.Fatal(p.ctx.Err())
		}
	}
}

func (p *proc) say(command string) { _, _ = io.WriteString(p.stdin, command+"\n") }

func ready(e Event) bool    { return e.Ready }
func finished(e Event) bool { return e.Finished }

// results are the results by name of events.
func results(all []Event) map[string]Result {
	m := map[string]Result{}
	for _, e := range all {
		if e.Result != nil {
			m[e.Result.Name] = *e.Result
		}
	}
	return m
}

// pairUp starts a daemon and one client of it that plays scripts.
func pairUp(t *testing.T, scripts ...Script) (daemon, client *proc) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	relay := relaytest.Start(t)
	link := func(role identity.Role) Link {
		return Link{Relay: relay.Addr, Target: "host", Token: relay.Token(role, "acme", "host"), Key: NewKey()}
	}
	d, c := Daemon{Link: link(identity.Daemon)}, Client{Link: link(identity.Client), PSK: NewKey(), Sessions: scripts}
	var err error
	if c.Daemon, err = d.Key.Public(); err != nil {
		t.Fatal(err)
	}
	key, err := c.Key.Public()
	if err != nil {
		t.Fatal(err)
	}
	d.Admits = []Admitted{{Key: key, PSK: c.PSK}}
	daemon = start(t, ctx, Config{Workspace: "acme", Seed: "7", Daemon: &d})
	daemon.until(ready)
	client = start(t, ctx, Config{Workspace: "acme", Seed: "7", Clients: []Client{c}})
	return daemon, client
}

func TestBothEndsOfASessionTellThatAllOfItsPlanArrived(t *testing.T) {
	some := func(n int) Plan { return Plan{Blocks: n, Least: 100, Most: 20_000} }
	daemon, client := pairUp(t,
		Script{Name: "both", Up: some(40), Down: some(60)},
		Script{Name: "until told", Up: Plan{Pause: time.Millisecond}, Down: some(1)},
		Script{Name: "late", Up: Plan{Blocks: 2, Late: true}, Down: Plan{Blocks: 3, Late: true}},
		Script{Name: "echo", Up: some(25), Down: Plan{Echo: true}},
		Script{Name: "again", Up: some(2), Down: some(2), Again: true},
	)
	all := client.until(ready)
	// Until the third of those that are opened again has ended.
	all = append(all, client.until(func(e Event) bool { return e.Result != nil && e.Result.Name == "again-3" })...)
	client.say(Finish)
	daemon.say(Finish)
	all = append(all, client.until(finished)...)
	up := results(all)
	down := map[string]Result{}
	for len(down) < len(up) {
		for name, r := range results(daemon.until(func(e Event) bool { return e.Result != nil })) {
			down[name] = r
		}
	}
	for name, c := range up {
		d := down[name]
		if !c.Got.Clean() || !d.Got.Clean() || c.Error+d.Error != "" || c.Resumes != 0 ||
			c.Sent.SHA256 != d.Got.SHA256 || d.Sent.SHA256 != c.Got.SHA256 {
			t.Errorf("%s: got %+v at the client, %+v at the daemon", name, c, d)
		}
	}
	for name, want := range map[string][2]uint64{
		"both": {40, 60}, "late": {2, 3}, "echo": {25, 25}, "again-1": {2, 2}, "again-3": {2, 2},
	} {
		if got := [2]uint64{down[name].Got.Blocks, up[name].Got.Blocks}; got != want {
			t.Errorf("%s: got %d blocks up and down, want %d", name, got, want)
		}
	}
	if up["until told"].Sent.Blocks == 0 {
		t.Error("nothing was sent until it was told to finish")
	}
}

func TestASessionWhoseEndDiesIsTold(t *testing.T) {
	daemon, client := pairUp(t, Script{Name: "s", Up: Plan{Pause: time.Millisecond}, Down: Plan{Pause: time.Millisecond}})
	client.until(ready)
	var state []string
	for len(state) == 0 { // the session is opened after the process is ready
		client.say(State)
		e := client.until(func(e Event) bool { return e.State != nil })
		state = e[len(e)-1].State
	}
	if len(state) != 1 || !strings.HasPrefix(state[0], "s: peer reachable; sent ") {
		t.Errorf("got state %q, want that of one session whose peer is reachable", state)
	}
	daemon.stop()
	if r := results(client.until(finished))["s"]; r.Error == "" || r.Got.Ended {
		t.Errorf("got %+v, want an error", r)
	}
	client.say(State)
	if e := client.until(func(e Event) bool { return e.State != nil }); len(e[len(e)-1].State) != 0 {
		t.Errorf("got %q, want nothing that goes on", e[len(e)-1].State)
	}
}

func TestAProcessEndsWithItsInputWhateverItIsAt(t *testing.T) {
	_, client := pairUp(t, Script{Name: "s", Up: Plan{}, Down: Plan{}})
	client.until(ready)
	client.stop()
}

func TestWithoutAConfigurationItSaysSo(t *testing.T) {
	for input, want := range map[string]string{"": "no configuration", "{\n": "the configuration: "} {
		err := Run(t.Context(), strings.NewReader(input), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", input, err, want)
		}
	}
}

func TestAClientThatTheDaemonDoesNotKnowFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	relay := relaytest.Start(t)
	link := Link{Relay: relay.Addr, Target: "host", Token: relay.Token(identity.Daemon, "acme", "host"), Key: NewKey()}
	daemon := start(t, ctx, Config{Workspace: "acme", Daemon: &Daemon{Link: link}})
	daemon.until(ready)
	c := Client{Link: link, PSK: NewKey(), Sessions: []Script{{Name: "s"}}}
	c.Daemon, _ = link.Key.Public()
	c.Token, c.Key = relay.Token(identity.Client, "acme", "host"), NewKey()
	client := start(t, ctx, Config{Workspace: "acme", Clients: []Client{c}})
	if e := <-client.events; !strings.Contains(e.Failed, "opening s: NOT_AUTHORISED") {
		t.Errorf("got %+v, want that it may not", e)
	}
}

func TestKeysOfTheWrongLengthAreRefused(t *testing.T) {
	if _, err := Key("short").Public(); err == nil {
		t.Error("a short private key was taken")
	}
	if _, err := Key("short").secret(); err == nil {
		t.Error("a short PSK was taken")
	}
	k := NewKey()
	if s, err := k.secret(); err != nil || !bytes.Equal(k, func() []byte { b := s.Reveal(); return b[:] }()) {
		t.Errorf("got %v, want the key", err)
	}
}
