package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/cmd/viewport/internal/terminal"
)

// maxTerminals is how many sessions a daemon serves at once.
const maxTerminals = 64

type daemonCommand struct {
	connection
	Pair bool `help:"Print a fresh pairing string on standard output."`
	command
}

func (c *daemonCommand) run(home string, stdout, stderr io.Writer) error {
	level := slog.LevelInfo
	if c.Verbose {
		level = slog.LevelDebug
	}
	log := newLog(stderr, level)
	cfg, err := c.config(log)
	if err != nil {
		return err
	}
	store, err := identity.Open(home)
	if err != nil {
		return err
	}
	id, err := store.LoadOrCreate(identity.Daemon, c.Workspace)
	if err != nil {
		return err
	}
	authorise, err := client.Paired(store, c.Workspace, c.Target)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal()
	defer stop()
	listener, err := client.Listen(ctx, client.ListenConfig{Config: cfg, Identity: id, Authorise: authorise})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	log.Info("attached", "workspace", c.Workspace, "target", c.Target, "key", id.Public.Fingerprint(),
		"transport", listener.Transport())
	if c.Pair {
		err = printPairing(stdout, store, c.Workspace, c.Target)
	}
	if err == nil {
		err = c.serve(ctx, listener, log)
	}
	return errors.Join(err, listener.Close())
}

func printPairing(w io.Writer, store *identity.Store, workspace, target string) error {
	text, err := newPairing(store, workspace, target, identity.NoiseIKpsk2, "")
	if err == nil {
		_, err = fmt.Fprintln(w, text)
	}
	return err
}

// serve runs a terminal for each session until ctx ends, and returns when all of them have ended.
func (c *daemonCommand) serve(ctx context.Context, listener *client.Listener, log *slog.Logger) error {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, maxTerminals)
	for {
		session, err := listener.Accept(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case slots <- struct{}{}:
		default:
			running.Go(func() { _ = session.CloseWithError("CAPACITY", "this daemon serves as many terminals as it may") })
			continue
		}
		running.Go(func() {
			defer func() { <-slots }()
			terminalSession(ctx, session, terminal.ServeOptions{Command: c.words()}, log)
		})
	}
}

func terminalSession(ctx context.Context, session *client.Session, o terminal.ServeOptions, log *slog.Logger) {
	who := []any{"session", session.ID()[:6], "client", session.Peer().Fingerprint()}
	began := time.Now()
	log.Info("terminal opened", who...)
	log.Debug("the session's client", append(who, "profile", session.Profile(), "runs", session.PeerVersion())...)
	err := terminal.Serve(ctx, session, o)
	if err == nil {
		err = session.Close()
	} else {
		session.Abort() // the client was told what there was to tell, as far as it listened
	}
	who = append(who, "lasted", time.Since(began).Round(time.Millisecond))
	if err != nil {
		who = append(who, "error", err)
	}
	log.Info("terminal closed", who...)
}
