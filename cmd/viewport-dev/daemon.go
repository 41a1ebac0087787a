package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/getviewport/relay/client/identity"
)

// attachTimeout is how long a daemon gets to attach.
const attachTimeout = 15 * time.Second

// daemonConfig says what a daemon process serves.
type daemonConfig struct {
	viewport, run, home, relay, workspace, target, token string
	args                                                 []string
	log                                                  io.Writer
}

// startDaemon starts `viewport daemon` and returns when it is attached to the relay. Whoever gets a process must end
// it.
func startDaemon(ctx context.Context, c daemonConfig) (*process, error) {
	cmd := exec.Command(c.viewport, append([]string{"daemon"}, c.args...)...)
	cmd.Env = environment(c.run, "VIEWPORT_HOME="+c.home, "VIEWPORT_RELAY="+c.relay, "VIEWPORT_WORKSPACE="+c.workspace,
		"VIEWPORT_TARGET="+c.target, "VIEWPORT_TOKEN="+c.token)
	attached := &watch{to: c.log, line: []byte("msg=attached"), seen: make(chan struct{})}
	cmd.Stderr = attached
	daemon, err := startProcess("viewport daemon", cmd)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(attachTimeout)
	defer timer.Stop()
	select {
	case <-attached.seen:
		return daemon, nil
	case <-daemon.done:
		err = fmt.Errorf("viewport daemon ended before it was attached: %v", daemon.cmd.ProcessState)
	case <-timer.C:
		err = fmt.Errorf("viewport daemon was not attached within %v", attachTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return nil, errors.Join(err, daemon.end())
}

// watch passes a log on and tells when a line with certain text came.
type watch struct {
	// Static.
	to   io.Writer
	line []byte
	seen chan struct{} // closed then

	once sync.Once
	rest []byte // owned by Write: the line that has not ended
}

// Write takes the next bytes of the log.
func (w *watch) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			break
		}
		if bytes.Contains(w.rest[:i], w.line) {
			w.once.Do(func() { close(w.seen) })
		}
		w.rest = w.rest[i+1:]
	}
	w.rest = bytes.Clone(w.rest[max(0, len(w.rest)-tailSize):])
	return w.to.Write(p)
}

// pin makes the daemon and the client of home know each other, as pairing does, so that attach works as often as one
// likes.
func pin(home, workspace, target string) error {
	store, err := identity.Open(home)
	if err != nil {
		return err
	}
	client, err := store.LoadOrCreate(identity.Client, workspace)
	if err != nil {
		return err
	}
	pairings, err := store.Pairings(workspace)
	if err != nil {
		return err
	}
	now := time.Now()
	pairing, err := pairings.Create(target, identity.NoiseIKpsk2, "viewport-dev", now)
	if err != nil {
		return err
	}
	if _, err := pairings.Redeem(target, pairing.ID(), client.Public, now); err != nil {
		return err
	}
	peers, err := store.Peers(identity.Client, workspace)
	if err != nil {
		return err
	}
	daemon := pairing.Peer()
	daemon.PairedAt = now
	return peers.Add(daemon)
}

// newPairing returns a pairing string for another client of the daemon of home.
func newPairing(home, workspace, target string) (string, error) {
	store, err := identity.Open(home)
	if err != nil {
		return "", err
	}
	pairings, err := store.Pairings(workspace)
	if err != nil {
		return "", err
	}
	pairing, err := pairings.Create(target, identity.NoiseIKpsk2, "", time.Now())
	if err != nil {
		return "", err
	}
	return pairing.Encode()
}
