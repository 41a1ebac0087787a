package main

import (
	"context"
	_ "embed" // for legacyPage
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/client/legacy"
	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/internal/legacypage"
)

// legacyReady is what --legacy adds to ready.
type legacyReady struct {
	// Page is a page for a browser that is a client.
	Page string `json:"page"`
	// URL is where the client of Token connects.
	URL string `json:"url"`
	// Target is the daemon's, in the same workspace, and Token a client's for it that works for 24 hours.
	Target string `json:"target"`
	Token  string `json:"client_token"`
	// DaemonKey is the daemon's public key.
	DaemonKey string `json:"daemon_key"`
}

// legacySetup is a daemon of today's protocol that answers each message with itself, and a page that speaks to it.
type legacySetup struct {
	ready    *legacyReady
	listener *legacy.Listener
	page     *http.Server
	running  sync.WaitGroup
	stop     context.CancelFunc
}

// listenPage claims the page's port; without --legacy there is none.
func (c *runCommand) listenPage() (net.Listener, error) {
	if !c.Legacy {
		return nil, nil
	}
	ln, err := net.Listen("tcp", c.PageListen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, portInUse("--page-listen", c.PageListen)
	case err != nil:
		return nil, fmt.Errorf("--page-listen: %w", err)
	case !ln.Addr().(*net.TCPAddr).IP.IsLoopback():
		_ = ln.Close()
		return nil, fmt.Errorf("--page-listen %s: the page has a token in it, and is for this machine only", c.PageListen)
	}
	return ln, nil
}

//go:embed legacy.html
var legacyPage []byte

// startLegacy starts both. Whoever gets a set-up must end it.
func startLegacy(ctx context.Context, s *stack, page net.Listener, workspace, target string) (*legacySetup, error) {
	id, err := legacy.NewIdentity("viewport-dev")
	if err != nil {
		return nil, err
	}
	s.platform.SetDaemonKey(workspace, target, id.Public())
	claims := devplatform.Claims{
		Role: devplatform.RoleDaemon, WorkspaceID: workspace, RuntimeTargetID: target, TTL: tokenLife,
		Algorithm: devplatform.EdDSA,
	}
	daemonToken, err := s.platform.MintLegacy(claims)
	if err != nil {
		return nil, err
	}
	claims.Role = devplatform.RoleClient
	clientToken, err := s.platform.MintLegacy(claims)
	if err != nil {
		return nil, err
	}
	endpoint := "ws://" + s.relay + "/ws"
	query := url.Values{"role": {claims.Role}, "workspaceId": {workspace}, "runtimeTargetId": {target}}
	x := &legacySetup{ready: &legacyReady{
		Page: "http://" + page.Addr().String() + "/", URL: endpoint + "?" + query.Encode(), Target: target,
		Token: clientToken, DaemonKey: id.Public(),
	}}
	attaching, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	x.listener, err = legacy.Listen(attaching, legacy.ListenConfig{
		Config: legacy.Config{
			URL: endpoint, Workspace: workspace, Target: target, Token: client.StaticToken(daemonToken),
		},
		Identity: id, Profile: identity.NoiseIK,
	})
	if err != nil {
		return nil, fmt.Errorf("the daemon of today's protocol: %w", err)
	}
	ctx, x.stop = context.WithCancel(context.WithoutCancel(ctx))
	x.running.Go(func() { x.accept(ctx) })
	x.page = &http.Server{Handler: x.handler(page.Addr().String()), ReadHeaderTimeout: 10 * time.Second}
	x.running.Go(func() { _ = x.page.Serve(page) }) // it ends when end closes it
	return x, nil
}

// end ends both and returns when nothing of them runs.
func (x *legacySetup) end() error {
	_ = x.page.Close()
	x.stop()
	err := x.listener.Close()
	x.running.Wait()
	return err
}

// accept serves the daemon's sessions.
func (x *legacySetup) accept(ctx context.Context) {
	for {
		session, err := x.listener.Accept(ctx)
		if err != nil {
			return
		}
		x.running.Go(func() {
			for {
				msg, err := session.Recv(ctx)
				if err != nil || session.Send(ctx, msg) != nil {
					return
				}
			}
		})
	}
}

// handler serves the page. Its settings hold a token, so it answers only who asks for it by its own address: a page of
// elsewhere whose name was made to lead here does not.
func (x *legacySetup) handler(address string) http.Handler {
	mux := http.NewServeMux()
	serve := func(path, kind string, body []byte) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if r.Host != address {
				http.Error(w, "this page is at http://"+address+"/", http.StatusForbidden)
				return
			}
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			_, _ = w.Write(body)
		})
	}
	settings, _ := json.Marshal(x.ready) // strings only: it can't fail
	serve("/{$}", "text/html; charset=utf-8", legacyPage)
	serve("/legacy.js", "text/javascript; charset=utf-8", legacypage.Module)
	serve("/settings", "application/json", settings)
	return mux
}
