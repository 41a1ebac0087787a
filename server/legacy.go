package server

import (
	"fmt"
	"net/url"

	"github.com/getviewport/relay/server/internal/legacylink"
	"github.com/getviewport/relay/server/internal/legacyrate"
	"github.com/getviewport/relay/server/internal/worker"
)

// LegacyRates are how often today's daemons, browsers and workers may do something in a minute; native peers are bounded
// by credit instead. A zero field means its default, Unlimited switches it off.
type LegacyRates struct {
	// Upgrades is how many upgrades to WebSocket one address may try; then 429. Default 120, or Unlimited when
	// Limits.LinksPerAddress is.
	Upgrades int
	// KeyExchanges and Pairings are how many of these frames a client may send; then its link ends. Default 60 and 30.
	KeyExchanges, Pairings int
	// ClientFrames is how many encrypted frames a client may send, WorkspaceFrames how many all clients of a workspace may;
	// then the link ends. Default 240 and 1,200.
	ClientFrames, WorkspaceFrames int
	// DaemonFrames is how many frames of a daemon go to its clients, and how many a worker may send; beyond that they are
	// slowed down. Default 2,400.
	DaemonFrames int
}

// limits are the rates with their defaults, for so many keys as today's relays remember.
func (r LegacyRates) limits(l Limits) legacyrate.Limits {
	limits := legacyrate.Default()
	if l.LinksPerAddress == Unlimited {
		or(&r.Upgrades, Unlimited)
	}
	for _, f := range []struct {
		set int
		to  *legacyrate.Limit
	}{
		{r.Upgrades, &limits.Upgrade}, {r.KeyExchanges, &limits.KeyExchange}, {r.Pairings, &limits.Pairing},
		{r.ClientFrames, &limits.Client}, {r.WorkspaceFrames, &limits.Workspace}, {r.DaemonFrames, &limits.Daemon},
	} {
		if f.set != 0 {
			f.to.PerMinute = f.set
		}
	}
	return limits
}

// newBridge makes what legacy peers speak to.
func (s *Server) newBridge(rates *legacyrate.Rates) (*legacylink.Bridge, error) {
	config := legacylink.Config{Rates: rates, Log: s.cfg.Log}
	if s.cfg.WorkerTransport {
		platform, err := url.Parse(s.cfg.ValidateURL)
		if err != nil {
			return nil, fmt.Errorf("server: Config.ValidateURL: %w", err)
		}
		if s.workers, err = worker.New(worker.Config{Platform: platform, Log: s.cfg.Log}); err != nil {
			return nil, err
		}
		config.Worker = s.workers
	}
	return legacylink.New(config), nil
}
