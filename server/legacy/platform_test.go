package legacy_test

import (
	"testing"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/server"
)

// ownPlatform is one that no other test counts on.
func ownPlatform(t *testing.T) *devplatform.Server {
	t.Helper()
	p, err := startPlatform()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func onPlatform(p *devplatform.Server) func(*server.Config) {
	return func(c *server.Config) { c.ValidateURL = p.ValidateURL() }
}
