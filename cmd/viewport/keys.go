package main

import (
	"fmt"
	"io"
	"time"

	"github.com/getviewport/relay/client/identity"
)

type identityCommand struct {
	Workspace string `env:"VIEWPORT_WORKSPACE" help:"The workspace: keys are per workspace." placeholder:"ID"`
	Role      string `env:"VIEWPORT_ROLE" enum:"daemon,client" default:"client" help:"Whose key: ${enum}."`
}

func (c *identityCommand) run(home string, stdout io.Writer) error {
	if err := need("--workspace", c.Workspace); err != nil {
		return err
	}
	if err := checkNames("--workspace", c.Workspace); err != nil {
		return err
	}
	store, err := identity.Open(home)
	if err != nil {
		return err
	}
	id, err := store.LoadOrCreate(identity.Role(c.Role), c.Workspace)
	if err != nil {
		return err
	}
	path, err := store.Path(id.Role, id.Workspace)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "role         %s\nworkspace    %s\npublic key   %s\nfingerprint  %s\ncreated      %s\nfile         %s\n",
		id.Role, id.Workspace, id.Public, id.Public.Fingerprint(), id.CreatedAt.Format(time.RFC3339), path)
	return err
}

type pairCommand struct {
	Workspace string `env:"VIEWPORT_WORKSPACE" help:"The workspace." placeholder:"ID"`
	Target    string `env:"VIEWPORT_TARGET" help:"The runtime target." placeholder:"ID"`
	Profile   string `env:"VIEWPORT_PROFILE" enum:"noise-ikpsk2,noise-ik" default:"noise-ikpsk2" help:"The handshake that both sides pin: ${enum}."`
	Label     string `env:"VIEWPORT_LABEL" help:"What this client will be called in the list of peers." placeholder:"NAME"`
}

// run prints the string alone on standard output, so that it can go into a variable or a QR code.
func (c *pairCommand) run(home string, stdout, stderr io.Writer) error {
	if err := need("--workspace", c.Workspace, "--target", c.Target); err != nil {
		return err
	}
	if err := checkNames("--workspace", c.Workspace, "--target", c.Target); err != nil {
		return err
	}
	store, err := identity.Open(home)
	if err != nil {
		return err
	}
	profile, err := identity.ParseProfile(c.Profile)
	if err != nil {
		return err
	}
	text, err := newPairing(store, c.Workspace, c.Target, profile, c.Label)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stderr, "Give this to the client by hand (viewport attach --pair …). It works once, within 10 minutes:"); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, text)
	return err
}

func newPairing(store *identity.Store, workspace, target string, profile identity.Profile, label string) (string, error) {
	pairings, err := store.Pairings(workspace)
	if err != nil {
		return "", err
	}
	p, err := pairings.Create(target, profile, label, time.Now())
	if err != nil {
		return "", err
	}
	return p.Encode()
}
