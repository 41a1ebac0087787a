package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
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

// run returns the exit code of the remote command, or an error and the code to exit with (docs/terminal.md, The client).
func (c *attachCommand) run(home string) (code int, err error) {
	level := slog.LevelWarn
	if c.Verbose {
		level = slog.LevelDebug
	}
	log := newLog(os.Stderr, level)
	store, err := identity.Open(home)
	if err != nil {
		return exitAttach, err
	}
	cfg, pin, err := c.dialConfig(store, log)
	if err != nil {
		return exitAttach, err
	}
	// Until the terminal takes over, Ctrl-C ends the attempt.
	ctx, stop := untilSignal()
	dialled, session, err := open(ctx, cfg)
	stop()
	if signalled, ok := errors.AsType[*interrupted](context.Cause(ctx)); ok {
		if err == nil {
			session.Abort()
			_ = dialled.Close()
		}
		return exitSignal + int(signalled.signal), signalled
	}
	if err != nil {
		return exitAttach, err
	}
	defer func() { _ = dialled.Close() }()
	log.Debug("session opened", "session", session.ID()[:6], "daemon", session.Peer().Fingerprint(),
		"profile", session.Profile(), "runs", session.PeerVersion(), "transport", dialled.Transport())
	if err := pin(); err != nil {
		session.Abort()
		return exitAttach, err
	}
	code, err = c.join(session)
	log.Debug("session ended", "code", code, "error", err)
	return code, err
}

// join runs the command and ends the session with it.
func (c *attachCommand) join(session *client.Session) (code int, err error) {
	o := terminal.AttachOptions{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Command: c.words(), Escape: terminal.DefaultEscape,
		Reachable: session.Reachable,
	}
	switch {
	case c.ForcePTY:
		o.PTY = terminal.PTYAlways
	case c.NoPTY:
		o.PTY = terminal.PTYNever
	}
	code, err = terminal.Attach(context.Background(), session, o)
	switch {
	case err == nil:
		// The exit status has arrived: how the session closes after it changes nothing for the user.
		_ = session.Close()
		return code, nil
	case errors.Is(err, terminal.ErrDetached):
		err = nil
	default:
		err = &sessionError{err}
	}
	session.Abort()
	return code, err
}

func open(ctx context.Context, cfg client.DialConfig) (*client.Client, *client.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
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

// dialConfig is what to dial with; pin pins a daemon that a pairing string named, once it has proved itself.
func (c *attachCommand) dialConfig(store *identity.Store, log *slog.Logger) (
	cfg client.DialConfig, pin func() error, err error,
) {
	var pairing identity.Pairing
	if c.Pair != "" {
		if pairing, err = identity.ParsePairing(strings.TrimSpace(c.Pair)); err != nil {
			return cfg, nil, &usageError{"--pair: " + err.Error()}
		}
		if c.Workspace != "" && c.Workspace != pairing.Workspace || c.Target != "" && c.Target != pairing.Target {
			return cfg, nil, &usageError{"the pairing string is for workspace " + pairing.Workspace + ", target " +
				pairing.Target + ": leave out --workspace and --target, or give these"}
		}
		c.Workspace, c.Target = pairing.Workspace, pairing.Target
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
		return cfg, nil, errors.New("not paired with the daemon of target " + c.Target +
			": run `viewport pair` on its machine and give the string to --pair here")
	}
	cfg.Daemon = peer
	return cfg, func() error { return nil }, nil
}
