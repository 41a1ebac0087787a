package legacy_test

import "github.com/getviewport/relay/server"

// unlimited are no rates at all: every test comes from one address.
func unlimited(c *server.Config) {
	const off = server.Unlimited
	c.LegacyRates = server.LegacyRates{
		Upgrades: off, KeyExchanges: off, Pairings: off, ClientFrames: off, WorkspaceFrames: off, DaemonFrames: off,
	}
}

func upgradesPerMinute(n int) func(*server.Config) {
	return func(c *server.Config) { c.LegacyRates.Upgrades = n }
}

func daemonFramesPerMinute(n int) func(*server.Config) {
	return func(c *server.Config) { c.LegacyRates.DaemonFrames = n }
}

// clientPerMinute is the rate of each kind of frame that a client sends.
func clientPerMinute(n int) func(*server.Config) {
	return func(c *server.Config) {
		c.LegacyRates.KeyExchanges, c.LegacyRates.Pairings, c.LegacyRates.ClientFrames = n, n, n
	}
}

func workersOn(c *server.Config) { c.WorkerTransport = true }

// quick makes heartbeats often.
func quick(c *server.Config) { c.Heartbeat = beat }
