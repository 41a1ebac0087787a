package main

import (
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/cmd/viewport-dev/internal/endpoint"
	"github.com/getviewport/relay/internal/devplatform"
)

// cast is a daemon, and the clients that know it and that it knows.
type cast struct {
	ensemble *ensemble
	daemon   endpoint.Daemon
	key      identity.Key
}

// newCast draws a daemon for target, whose links go to relay (host:port).
func (e *ensemble) newCast(target, relay string) (*cast, error) {
	link, err := e.link(devplatform.Claims{
		Role: devplatform.RoleDaemon, RuntimeTargetID: target, InstallID: target, DaemonIssueGeneration: 1,
	}, relay)
	if err != nil {
		return nil, err
	}
	key, err := link.Key.Public()
	return &cast{ensemble: e, daemon: endpoint.Daemon{Link: link}, key: key}, err
}

// client draws a client of the daemon, whose link goes to relay.
func (c *cast) client(relay string, sessions ...endpoint.Script) (endpoint.Client, error) {
	link, err := c.ensemble.link(devplatform.Claims{
		Role: devplatform.RoleClient, RuntimeTargetID: c.daemon.Target,
	}, relay)
	if err != nil {
		return endpoint.Client{}, err
	}
	key, err := link.Key.Public()
	if err != nil {
		return endpoint.Client{}, err
	}
	psk := endpoint.NewKey()
	c.daemon.Admits = append(c.daemon.Admits, endpoint.Admitted{Key: key, PSK: psk})
	return endpoint.Client{Link: link, Daemon: c.key, PSK: psk, Sessions: sessions}, nil
}

// link draws a key and mints a token of these claims.
func (e *ensemble) link(claims devplatform.Claims, relay string) (endpoint.Link, error) {
	claims.WorkspaceID, claims.TTL, claims.Algorithm = e.workspace, tokenLife, devplatform.EdDSA
	token, err := e.platform.Mint(claims)
	return endpoint.Link{Relay: relay, Target: claims.RuntimeTargetID, Token: token, Key: endpoint.NewKey()}, err
}
