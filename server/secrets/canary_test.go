package secrets_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
)

// What must be found: the search is worth nothing if it finds nothing.
const (
	workspace = "canary-workspace-3b91"
	target    = "canary-target-a1c7"
)

// canaries are two people's ends of a session, with everything about them marked.
type canaries struct {
	t *testing.T
	// people are what tokens say about people, tokens the tokens, and endToEnd what only the two ends may ever have.
	people, tokens, endToEnd marks

	daemon client.ListenConfig
	client client.DialConfig
	// words are marked plaintext.
	words [4]string
}

// person are claims about one, all marked.
func (c *canaries) person(who string) map[string]any {
	text := func(what string) string { return c.people.addText(who+"'s "+what, "canary-"+who+"-"+what) }
	return map[string]any{
		"sub": text("subject"), "userId": text("user-id"), "clientId": text("client-id"), "deviceId": text("device-id"),
		"name": text("display-name"), "email": text("mail") + "@example.com",
		"organisation": map[string]any{"members": []any{text("colleague"), 1}, "owner": text("owner")},
	}
}

// token mints one with claims about a person and marks it.
func (c *canaries) token(what string, claims devplatform.Claims, more ...map[string]any) string {
	c.t.Helper()
	claims.Extra = map[string]any{}
	for _, m := range more {
		maps.Copy(claims.Extra, m)
	}
	if claims.WorkspaceID == "" {
		claims.WorkspaceID = workspace
	}
	if claims.RuntimeTargetID == "" {
		claims.RuntimeTargetID = target
	}
	token, err := issuer.Mint(claims)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mark(what, token)
	return token
}

// mark marks a token by its beginning, which many tokens share, its claims and its signature.
func (c *canaries) mark(what, token string) {
	for i, part := range splitToken(token) {
		c.tokens.addText(fmt.Sprintf("%s, part %d", what, i), part)
	}
}

// splitToken returns a token's claims and signature in pieces: who holds a piece of 64 characters holds too much.
func splitToken(token string) (parts []string) {
	dots := 0
	for i := range len(token) {
		if token[i] == '.' {
			dots++
		}
		if dots > 0 && len(token)-i >= 64 && i%64 == 0 {
			parts = append(parts, token[i:i+64])
		}
	}
	return parts
}

func newCanaries(t *testing.T, addr string) *canaries {
	t.Helper()
	c := &canaries{t: t}
	daemonStore, daemon := c.identity(identity.Daemon)
	_, own := c.identity(identity.Client)
	pairings, err := daemonStore.Pairings(workspace)
	if err != nil {
		t.Fatal(err)
	}
	pairing, err := pairings.Create(target, identity.NoiseIKpsk2, "canary label of the pairing", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	text, err := pairing.Encode()
	if err != nil {
		t.Fatal(err)
	}
	id, psk := pairing.ID(), pairing.PSK().Reveal()
	c.endToEnd.add("the PSK", psk[:])
	c.endToEnd.addText("the pairing string", text)
	c.endToEnd.add("the pairing id with the PSK", append(id[:], psk[:]...))
	for i := range c.words {
		c.words[i] = c.endToEnd.addText("plaintext", fmt.Sprintf("canary-plaintext-%d: ls -la /home; password: hunter%d", i, i))
	}
	authorise, err := client.Paired(daemonStore, workspace, target)
	if err != nil {
		t.Fatal(err)
	}
	config := client.Config{Relay: "http://" + addr, Workspace: workspace, Target: target, Version: "canary 1"}
	c.daemon = client.ListenConfig{Config: config, Identity: daemon, Authorise: authorise}
	c.daemon.Token = client.StaticToken(c.token("the daemon's token", devplatform.Claims{
		Role: devplatform.RoleDaemon, InstallID: "install-1", DaemonIssueGeneration: 1, PolicyMode: "crypto_pairing",
	}, c.person("daemon-owner")))
	c.client = client.DialConfig{Config: config, Identity: own}
	c.client.Token = client.StaticToken(c.token("the client's token",
		devplatform.Claims{Role: devplatform.RoleClient, Algorithm: devplatform.ES256}, c.person("client-user")))
	parsed, err := identity.ParsePairing(text)
	if err != nil {
		t.Fatal(err)
	}
	c.client.Pair(parsed)
	return c
}

func (c *canaries) identity(role identity.Role) (*identity.Store, identity.Identity) {
	c.t.Helper()
	store, err := identity.Open(c.t.TempDir())
	if err != nil {
		c.t.Fatal(err)
	}
	id, err := store.LoadOrCreate(role, workspace)
	if err != nil {
		c.t.Fatal(err)
	}
	private := id.Private.Reveal()
	c.endToEnd.add(string(role)+"'s private key", private[:])
	return store, id
}

// live is a session that runs.
type live struct {
	listener *client.Listener
	dialled  *client.Client
	up, down *client.Session // the client's and the daemon's end
}

// admitted tries until the relay has the platform's keys.
func admitted[T any](ctx context.Context, f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if err == nil || !errors.Is(err, client.PlatformUnavailable) || ctx.Err() != nil {
			return v, err
		}
	}
}

// session opens one and sends marked words both ways, like a terminal: short ones and one that needs many frames.
func (c *canaries) session() *live {
	t, ctx := c.t, patient(c.t)
	t.Helper()
	var l live
	var err error
	if l.listener, err = client.Listen(ctx, c.daemon); err != nil {
		t.Fatal(err)
	}
	if l.dialled, err = admitted(ctx, func() (*client.Client, error) { return client.Dial(ctx, c.client) }); err != nil {
		t.Fatal(err)
	}
	if l.up, err = l.dialled.Open(ctx); err != nil {
		t.Fatal(err)
	}
	if l.down, err = l.listener.Accept(ctx); err != nil {
		t.Fatal(err)
	}
	pasted := make([]byte, 0, 200<<10)
	for len(pasted) < cap(pasted)-100 {
		pasted = append(pasted, c.words[3]...)
	}
	for _, message := range []string{c.words[0], c.words[1], c.words[2], string(pasted)} {
		for _, way := range [][2]*client.Session{{l.up, l.down}, {l.down, l.up}} {
			if err := way[0].Send(ctx, []byte(message)); err != nil {
				t.Fatal(err)
			}
			if got, err := way[1].Recv(ctx); err != nil || string(got) != message {
				t.Fatalf("got %d bytes, %v, want the %d that were sent", len(got), err, len(message))
			}
		}
	}
	return &l
}

// end ends it: one side says why, in marked words, which go through the relay sealed.
func (l *live) end(c *canaries) {
	c.t.Helper()
	ctx := patient(c.t)
	reason := c.endToEnd.addText("the reason of a CLOSE", "canary-close-reason-c0ffee")
	gone := make(chan error, 1)
	go func() { gone <- l.up.CloseWithError("EXIT_1", reason) }()
	var end *client.Error
	if _, err := l.down.Recv(ctx); !errors.As(err, &end) || end.Text != reason {
		c.t.Errorf("got %v, want the reason that was given", err)
	}
	if err := errors.Join(l.down.Close(), <-gone); err != nil {
		c.t.Errorf("closing: %v", err)
	}
	l.leave()
}

// leave closes both links.
func (l *live) leave() {
	_ = l.dialled.Close()
	_ = l.listener.Close()
}

// stranger opens a stream by hand, sends, and returns all that the relay answers, in a form that can be searched.
func (r *process) stranger(daemon bool, md metadata.MD, frames ...*relayv1.Envelope) string {
	r.t.Helper()
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(patient(r.t), md))
	defer cancel()
	conn := r.dial(r.addr)
	defer func() { _ = conn.Close() }()
	connect := relayv1.NewRelayServiceClient(conn).ConnectClient
	if daemon {
		connect = relayv1.NewRelayServiceClient(conn).ConnectDaemon
	}
	stream, err := connect(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(frames) > 0 {
		_ = stream.Send(&relayv1.EnvelopeBatch{Envelopes: frames}) // the answer tells how that ended
	}
	_ = stream.CloseSend()
	header, _ := stream.Header()
	told := fmt.Sprintln(map[string][]string(header)) // an MD prints itself redacted
	for {
		batch, err := stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return told + fmt.Sprintln(map[string][]string(stream.Trailer()))
			}
			s, _ := status.FromError(err)
			return told + describe(s.Proto()) + fmt.Sprintln(map[string][]string(stream.Trailer()))
		}
		told += describe(batch)
	}
}

// describe writes a message in a form that hides nothing.
func describe(v any) string {
	b, err := json.Marshal(v)
	return fmt.Sprintf("%+v\n%s %v\n", v, b, err)
}
