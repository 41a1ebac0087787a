package client

import (
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"
)

func TestARelayAddressSaysWhetherTheLinkIsEncrypted(t *testing.T) {
	for relay, want := range map[string]address{
		"127.0.0.1:7781":        {"127.0.0.1:7781", false, false, "/ws"},
		"[::1]:7781":            {"[::1]:7781", false, false, "/ws"},
		"localhost:7781":        {"localhost:7781", false, false, "/ws"},
		"10.0.0.1:7781":         {"10.0.0.1:7781", true, false, "/ws"},
		"relay.example:443":     {"relay.example:443", true, false, "/ws"},
		"https://relay.example": {"relay.example:443", true, false, "/ws"},
		"https://127.0.0.1:1/":  {"127.0.0.1:1", true, false, "/ws"},
		"http://relay.example":  {"relay.example:80", false, false, "/ws"},
		"wss://relay.example":   {"relay.example:443", true, true, "/ws"},
		"ws://127.0.0.1:7781/":  {"127.0.0.1:7781", false, true, "/ws"},
		"wss://a.example/b%20c": {"a.example:443", true, true, "/b%20c"},
		"http://[2001:db8::1]":  {"[2001:db8::1]:80", false, false, "/ws"},
	} {
		got, err := parseRelay(relay)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", relay, got, err, want)
		}
	}
	for _, relay := range []string{
		"", "relay.example", "ftp://relay.example", "wss://relay.example?x=1", "wss://u@relay.example",
		"https://relay.example/ws", "https://u:p@relay.example", "https://relay.example?x=1",
	} {
		if _, err := parseRelay(relay); err == nil {
			t.Errorf("%q was taken for an address", relay)
		}
	}
}

func TestABadConfigurationIsRefusedWithWhatIsWrong(t *testing.T) {
	good := func() Config {
		return Config{Relay: "127.0.0.1:1", Workspace: "acme", Target: "laptop", Token: StaticToken("x")}
	}
	if c := good(); c.check() != nil || c.SessionLifetime != defaultLifetime || c.Log == nil {
		t.Fatalf("got %v for a good configuration", c.check())
	}
	for name, change := range map[string]func(*Config){
		"Relay":           func(c *Config) { c.Relay = "https://relay.example/ws" },
		"Workspace":       func(c *Config) { c.Workspace = "a b" },
		"Target":          func(c *Config) { c.Target = strings.Repeat("x", 129) },
		"Token":           func(c *Config) { c.Token = nil },
		"Version":         func(c *Config) { c.Version = strings.Repeat("x", 65) },
		"SessionLifetime": func(c *Config) { c.SessionLifetime = 2 * maxLifetime },
		"Window":          func(c *Config) { c.Window = 1 },
	} {
		c := good()
		change(&c)
		if err := c.check(); err == nil || !strings.Contains(err.Error(), "Config."+name) {
			t.Errorf("%s: got %v, want an error that names it", name, err)
		}
	}
}

func TestLimitsThatARelayAnnouncesMustMakeSense(t *testing.T) {
	good := map[string]string{
		"viewport-protocol": "1", "viewport-session-window": "1048576", "viewport-max-envelope": "2097152",
		"viewport-max-message": "524288", "viewport-heartbeat": "20000", "viewport-relay-id": "r",
	}
	if a, err := announcedBy(metadata.New(good)); err != nil || a.window != 1<<20 || a.relayID != "r" || a.heartbeat.Seconds() != 20 {
		t.Fatalf("got %+v, %v", a, err)
	}
	for name, value := range map[string]string{
		"viewport-protocol": "2", "viewport-session-window": "99999999999999999999", "viewport-max-envelope": "-1",
		"viewport-max-message": "1", "viewport-heartbeat": "soon",
	} {
		md := metadata.New(good)
		md.Set(name, value)
		if _, err := announcedBy(md); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %s: got %v, want an error that names it", name, value, err)
		}
		md.Delete(name)
		if _, err := announcedBy(md); err == nil {
			t.Errorf("without %s: got no error", name)
		}
	}
}
