package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/cmd/viewport/internal/terminal"
)

// openTimeout bounds connecting and the handshake.
const openTimeout = 30 * time.Second

type attachCommand struct {
	connection
	Pair     string `env:"VIEWPORT_PAIR" help:"The pairing string, on the first contact; workspace and target come from it." placeholder:"STRING"`
	ForcePTY bool   `short:"t" name:"pty" xor:"pty" help:"Ask for a pseudo-terminal even if this is none."`
	NoPTY    bool   `short:"T" name:"no-pty" xor:"pty" help:"Ask for none: input and output carry every byte as it is."`
	command
}

// run returns the remote command's exit code, or 255 when there is none.
func (c *attachCommand) run(home string) int {
	code, err := c.attach(home)
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "viewport:", err)
		return exitUsage
	case errors.Is(err, terminal.ErrDetached):
		return code
	case err != nil:
		fmt.Fprintln(os.Stderr, "viewport:", err)
	}
	return code
}

func (c *attachCommand) attach(home string) (code int, err error) {
	store, err := identity.Open(home)
	if err != nil {
		return exitAttach, err
	}
	cfg, pinned, err := c.dialConfig(store)
	if err != nil {
		return exitAttach, err
	}
	// Until the terminal takes over, Ctrl-C ends the attempt.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	dialled, session, err := open(opening, cfg)
	cancel()
	stop()
	if err != nil {
		return exitAttach, err
	}
	defer func() { _ = dialled.Close() }()
	if err := pinned(); err != nil {
		return exitAttach, err
	}
	o := terminal.AttachOptions{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Command: c.words(), Escape: terminal.DefaultEscape}
	switch {
	case c.ForcePTY:
		o.PTY = terminal.PTYAlways
	case c.NoPTY:
		o.PTY = terminal.PTYNever
	}
	code, err = terminal.Attach(context.Background(), session, o)
	if err != nil {
		session.Abort()
		return code, err
	}
	if err := session.Close(); err != nil {
		slog.Debug("closing the session", "error", err)
	}
	return code, nil
}

func open(ctx context.Context, cfg client.DialConfig) (*client.Client, *client.Session, error) {
	dialled, err := client.Dial(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	session, err := dialled.Open(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, dialled.Close())
	}
	return dialled, session, nil
}

// dialConfig is what to dial with; pinned pins a daemon that a pairing string named, once it has proved itself.
func (c *attachCommand) dialConfig(store *identity.Store) (cfg client.DialConfig, pinned func() error, err error) {
	var pairing identity.Pairing
	if c.Pair != "" {
		if pairing, err = identity.ParsePairing(strings.TrimSpace(c.Pair)); err != nil {
			return cfg, nil, err
		}
		if c.Workspace != "" && c.Workspace != pairing.Workspace || c.Target != "" && c.Target != pairing.Target {
			return cfg, nil, &usageError{"the pairing string is for workspace " + pairing.Workspace + ", target " + pairing.Target +
				"; leave out --workspace and --target, or give these"}
		}
		c.Workspace, c.Target = pairing.Workspace, pairing.Target
	}
	var log *slog.Logger
	if c.Verbose {
		log = newLog(os.Stderr, true)
	}
	if cfg.Config, err = c.config(log); err != nil {
		return cfg, nil, err
	}
	if cfg.Identity, err = store.LoadOrCreate(identity.Client, c.Workspace); err != nil {
		return cfg, nil, err
	}
	peers, err := store.Peers(identity.Client, c.Workspace)
	if err != nil {
		return cfg, nil, err
	}
	if c.Pair != "" {
		cfg.Pair(pairing)
		return cfg, func() error {
			peer := pairing.Peer()
			peer.PairedAt = time.Now()
			return peers.Add(peer)
		}, nil
	}
	peer, found, err := peers.ByTarget(c.Target)
	if err != nil {
		return cfg, nil, err
	}
	if !found {
		return cfg, nil, &usageError{"not paired with a daemon for target " + c.Target + ": run `viewport pair` on its machine and " +
			"give the string to --pair here"}
	}
	cfg.Daemon = peer
	return cfg, func() error { return nil }, nil
}
