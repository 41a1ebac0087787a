package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/getviewport/relay/internal/devplatform"
)

type runCommand struct {
	Listen         string `default:"127.0.0.1:7781" help:"The relay's public port (${default})." placeholder:"HOST:PORT"`
	AdminListen    string `default:"127.0.0.1:7782" help:"The relay's admin listener (${default})." placeholder:"HOST:PORT"`
	PlatformListen string `default:"127.0.0.1:7780" help:"The platform, on loopback (${default})." placeholder:"HOST:PORT"`
	Workspace      string `default:"dev" help:"The daemon's workspace (${default})." placeholder:"ID"`
	Target         string `default:"laptop" help:"The daemon's runtime target (${default})." placeholder:"ID"`
	Home           string `env:"VIEWPORT_HOME" help:"Where daemon and client keep their keys (default: a temporary folder)." placeholder:"DIR"`
	NoDaemon       bool   `help:"Start no daemon."`
	Legacy         bool   `help:"Start a daemon of today's protocol, too, and a page that is its client."`
	PageListen     string `default:"127.0.0.1:7783" help:"The page of --legacy, on loopback (${default})." placeholder:"HOST:PORT"`
	JSON           bool   `name:"json" help:"Print one line of JSON when everything is ready, instead of commands."`
}

// ready is what --json prints, on one line, once everything works.
type ready struct {
	// Relay and Admin are host:port.
	Relay string `json:"relay"`
	Admin string `json:"admin"`
	// Platform and JWKS are URLs.
	Platform  string `json:"platform"`
	JWKS      string `json:"jwks"`
	Workspace string `json:"workspace"`
	Target    string `json:"target"`
	// DaemonToken and ClientToken are relay tokens for Workspace and Target that work for 24 hours.
	DaemonToken string `json:"daemon_token"`
	ClientToken string `json:"client_token"`
	// AdminToken is the bearer token of the admin listener.
	AdminToken string `json:"admin_token"`
	// Pairing is a pairing string for Target: one use, 10 minutes.
	Pairing string `json:"pairing"`
	// Legacy is there with --legacy.
	Legacy *legacyReady `json:"legacy,omitempty"`
}

// run runs everything until ctx ends.
func (c *runCommand) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	_, viewport, err := binaries()
	if err != nil && !c.NoDaemon {
		return err
	}
	dir, err := os.MkdirTemp("", "viewport-dev-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	home := filepath.Join(dir, "home")
	if c.Home != "" {
		// The commands that are printed must work in other folders, too.
		if home, err = filepath.Abs(c.Home); err != nil {
			return err
		}
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))

	page, err := c.listenPage()
	if err != nil {
		return err
	}
	if page != nil {
		defer func() { _ = page.Close() }() // for when nobody came to serve it
	}
	s, err := startStack(addresses{c.Listen, c.AdminListen, c.PlatformListen}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	r, err := c.prepare(s, home)
	if err != nil {
		return err
	}
	if page != nil {
		l, failed := startLegacy(ctx, s, page, c.Workspace, "legacy-"+c.Target)
		if failed != nil {
			return unlessStopped(ctx, failed)
		}
		r.Legacy = l.ready
		defer func() { err = errors.Join(err, l.end()) }()
	}
	var daemon *process
	ended := make(<-chan struct{}) // a daemon that is not there never ends
	if !c.NoDaemon {
		daemon, err = startDaemon(ctx, daemonConfig{
			viewport: viewport, run: dir, home: home, relay: s.relay, workspace: c.Workspace, target: c.Target,
			token: r.DaemonToken, log: stderr,
		})
		if err != nil {
			return unlessStopped(ctx, err)
		}
		ended = daemon.done
		defer func() { err = errors.Join(err, daemon.end()) }()
	}
	if err := c.tell(stdout, dir, home, viewport, r); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		log.Info("stopping", "reason", context.Cause(ctx))
		return nil
	case <-s.ended:
		return errors.New("the relay has ended by itself")
	case <-ended:
		return fmt.Errorf("viewport daemon has ended: %v", daemon.cmd.ProcessState)
	}
}

// unlessStopped is err, or nil if ctx ended: then somebody did not want it any longer.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// prepare makes the keys, pins and tokens.
func (c *runCommand) prepare(s *stack, home string) (ready, error) {
	r := ready{
		Relay: s.relay, Admin: s.admin, Platform: s.platform.URL(), JWKS: s.platform.JWKSURL(),
		Workspace: c.Workspace, Target: c.Target, AdminToken: s.adminToken,
	}
	err := pin(home, c.Workspace, c.Target)
	if err != nil {
		return r, err
	}
	if r.Pairing, err = newPairing(home, c.Workspace, c.Target); err != nil {
		return r, err
	}
	if r.DaemonToken, err = s.token(devplatform.RoleDaemon, c.Workspace, c.Target); err != nil {
		return r, err
	}
	r.ClientToken, err = s.token(devplatform.RoleClient, c.Workspace, c.Target)
	return r, err
}

// tell says that everything is ready: as JSON, or with commands for people.
func (c *runCommand) tell(stdout io.Writer, dir, home, viewport string, r ready) error {
	if c.JSON {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "%s\n", line)
		return err
	}
	// In files, because a token is hundreds of characters.
	client, daemon := filepath.Join(dir, "client.token"), filepath.Join(dir, "daemon.token")
	for file, token := range map[string]string{client: r.ClientToken, daemon: r.DaemonToken} {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			return err
		}
	}
	var legacyClient string
	if r.Legacy != nil {
		legacyClient = filepath.Join(dir, "legacy-client.token")
		if err := os.WriteFile(legacyClient, []byte(r.Legacy.Token), 0o600); err != nil {
			return err
		}
	}
	return printCommands(stdout, commands{
		ready: r, Viewport: relative(viewport), Home: home, ClientFile: client, DaemonFile: daemon, HasDaemon: !c.NoDaemon,
		LegacyFile: legacyClient,
	})
}
