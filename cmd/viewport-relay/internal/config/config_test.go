package config

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// enough is the least that makes a configuration usable.
const enough = "RELAY_VALIDATE_URL=https://platform.example/validate"

// load loads an environment, with enough of it.
func load(environ ...string) (Config, []Problem) { return Load(append(environ, enough), Options{}) }

// serious returns what is not a note, one problem a line.
func serious(problems []Problem) string {
	var lines []string
	for _, p := range problems {
		if p.Severity != Note {
			lines = append(lines, p.String())
		}
	}
	return strings.Join(lines, "\n")
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheDefaultsAreTheDocumentedOnes(t *testing.T) {
	got, problems := load()
	if text := serious(problems); text != "" {
		t.Errorf("got %s", text)
	}
	want := Config{
		Listen: "127.0.0.1:7781", ValidateURL: "https://platform.example/validate",
		Issuer: "viewport-server", Audience: "viewport-relay", ValidateTimeout: 2 * time.Second, ValidateConcurrency: 64,
		RecheckInterval: time.Minute,
		Heartbeat:       20 * time.Second, ReadinessDelay: 5 * time.Second, DrainTime: 25 * time.Second,
		SessionWindow: 1048576, MaxEnvelope: 2097152, MaxMessage: 524288,
		MaxLinks: 20000, MaxLinksPerAddress: 1000, MaxLinksPerWorkspace: 5000, MaxLinksPerTarget: 1000,
		LegacyRates: LegacyRates{
			Upgrades: 120, KeyExchanges: 60, Pairings: 30, ClientFrames: 240, WorkspaceFrames: 1200, DaemonFrames: 2400,
		},
		QueueBytes: 1 << 30, LinkQueueBytes: 64 << 20,
		LogLevel: slog.LevelInfo, LogJSON: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEverySettingReachesItsField(t *testing.T) {
	state := t.TempDir()
	got, problems := Load([]string{
		"RELAY_LISTEN_PORT=8000", "RELAY_HOST=::1", "RELAY_ADMIN_LISTEN=127.0.0.1:8001",
		"RELAY_ADMIN_TOKEN=one-token-of-twenty-four-and-more\ntwo-token-of-twenty-four-and-more",
		"RELAY_ID=relay-7", "RELAY_JWKS_URL=https://p/jwks", "RELAY_VALIDATE_URL=http://127.0.0.1:7780/v?a=b",
		"RELAY_INTERNAL_KEY=0123456789abcdef0123456789", "RELAY_TOKEN_ISSUER=iss", "RELAY_TOKEN_AUDIENCE=aud",
		"RELAY_VALIDATE_TIMEOUT=1500ms", "RELAY_VALIDATE_CONCURRENCY=8", "RELAY_HEARTBEAT=0", "RELAY_SESSION_WINDOW=2MiB",
		"RELAY_READINESS_DELAY=0", "RELAY_DRAIN_TIME=1m", "RELAY_RECHECK_INTERVAL=0", "RELAY_STATE_DIR=" + state,
		"RELAY_MAX_ENVELOPE=64KiB", "RELAY_MAX_MESSAGE= 16000 ", "RELAY_LOG_LEVEL=debug", "RELAY_LOG_FORMAT=text",
		"RELAY_TLS=0", "RELAY_MAX_LINKS=7", "RELAY_MAX_LINKS_PER_ADDRESS=0", "RELAY_MAX_LINKS_PER_WORKSPACE=5",
		"RELAY_MAX_LINKS_PER_TARGET=2", "RELAY_QUEUE_BYTES=2048MiB", "RELAY_LINK_QUEUE_BYTES=64KiB",
		"RELAY_UPGRADE_RATE_PER_MINUTE=11", "RELAY_KEX_INIT_RATE_PER_MINUTE=12", "RELAY_PAIRING_RATE_PER_MINUTE=13",
		"RELAY_RUNTIME_RATE_PER_MINUTE=14", "RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE=15",
		"RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE=0", "RELAY_WORKER_TRANSPORT=on", "RELAY_MODE=dev",
		"RELAY_TRUSTED_PROXIES=10.1.2.3/8, 192.0.2.7,::ffff:198.51.100.0/120,2001:db8::1",
	}, Options{})
	if text := serious(problems); text != "" {
		t.Errorf("got %s", text)
	}
	want := Config{
		Listen: "[::1]:8000", AdminListen: "127.0.0.1:8001",
		AdminTokens: []string{"one-token-of-twenty-four-and-more", "two-token-of-twenty-four-and-more"},
		RelayID:     "relay-7", JWKSURL: "https://p/jwks", ValidateURL: "http://127.0.0.1:7780/v?a=b",
		InternalKey: "0123456789abcdef0123456789", Issuer: "iss", Audience: "aud",
		ValidateTimeout: 1500 * time.Millisecond, ValidateConcurrency: 8, Heartbeat: 0, SessionWindow: 2 << 20,
		ReadinessDelay: 0, DrainTime: time.Minute, RecheckInterval: 0, StateDir: state,
		MaxEnvelope: 64 << 10, MaxMessage: 16000, LogLevel: slog.LevelDebug, LogJSON: false,
		MaxLinks: 7, MaxLinksPerAddress: 0, MaxLinksPerWorkspace: 5, MaxLinksPerTarget: 2,
		QueueBytes: 2 << 30, LinkQueueBytes: 64 << 10,
		LegacyRates: LegacyRates{
			Upgrades: 11, KeyExchanges: 12, Pairings: 13, ClientFrames: 14, WorkspaceFrames: 15, DaemonFrames: 0,
		},
		WorkerTransport: true, QueryTokens: true,
		TrustedProxies: []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"),
			netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::1/128"),
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestUpgradesAreNotCountedWhereAllComeFromOneAddressUnlessThatIsAskedFor(t *testing.T) {
	for _, test := range []struct {
		environ []string
		want    int
	}{
		{nil, 120},
		{[]string{"RELAY_MAX_LINKS_PER_ADDRESS=0"}, 0},
		{[]string{"RELAY_MAX_LINKS_PER_ADDRESS=0", "RELAY_UPGRADE_RATE_PER_MINUTE=9"}, 9},
	} {
		if got, _ := load(test.environ...); got.LegacyRates.Upgrades != test.want {
			t.Errorf("%q: got %d upgrades, want %d", test.environ, got.LegacyRates.Upgrades, test.want)
		}
	}
}

func TestWorkersAreNotLetInWithoutAPlatformToAsk(t *testing.T) {
	_, problems := Load([]string{"RELAY_JWKS_URL=https://p/jwks", "RELAY_WORKER_TRANSPORT=on"}, Options{})
	if text := serious(problems); !strings.Contains(text, "RELAY_WORKER_TRANSPORT is on without RELAY_VALIDATE_URL") {
		t.Errorf("got %q", text)
	}
}

func TestTodaysNamesAreHonoured(t *testing.T) {
	secret := write(t, "  from-a-file-of-twenty-four-chars\n")
	for name, test := range map[string]struct {
		environ []string
		field   func(Config) any
		want    any
	}{
		"PORT": {[]string{"PORT=1234"}, func(c Config) any { return c.Listen }, "127.0.0.1:1234"},
		"RELAY_PORT": {
			[]string{"RELAY_PORT=1234"},
			func(c Config) any { return c.Listen }, "127.0.0.1:1234",
		},
		"HOST": {[]string{"HOST=0.0.0.0"}, func(c Config) any { return c.Listen }, "0.0.0.0:7781"},
		"equal under two names": {
			[]string{"PORT=1234", "RELAY_LISTEN_PORT=01234"},
			func(c Config) any { return c.Listen }, "127.0.0.1:1234",
		},
		"empty is unset": {
			[]string{"RELAY_LISTEN_PORT= ", "PORT=1234"},
			func(c Config) any { return c.Listen }, "127.0.0.1:1234",
		},
		"RELAY_ADMISSION_TIMEOUT_MS": {
			[]string{"RELAY_ADMISSION_TIMEOUT_MS=3000"},
			func(c Config) any { return c.ValidateTimeout }, 3 * time.Second,
		},
		"RELAY_MAX_TOTAL_CONNECTIONS": {
			[]string{"RELAY_MAX_TOTAL_CONNECTIONS=2000"}, func(c Config) any { return c.MaxLinks }, 2000,
		},
		"RELAY_MAX_CONNECTIONS_PER_IP": {
			[]string{"RELAY_MAX_CONNECTIONS_PER_IP=50"}, func(c Config) any { return c.MaxLinksPerAddress }, 50,
		},
		"RELAY_MAX_CLIENTS_PER_WORKSPACE": {
			[]string{"RELAY_MAX_CLIENTS_PER_WORKSPACE=100"}, func(c Config) any { return c.MaxLinksPerTarget }, 101,
		},
		"RELAY_INTERNAL_KEY_FILE": {
			[]string{"RELAY_INTERNAL_KEY_FILE=" + secret},
			func(c Config) any { return c.InternalKey }, "from-a-file-of-twenty-four-chars",
		},
		"RELAY_ADMIN_TOKEN_FILE": {
			[]string{"RELAY_ADMIN_TOKEN_FILE=" + secret},
			func(c Config) any { return c.AdminListen }, "127.0.0.1:7782",
		},
		"no token, no admin listener": {nil, func(c Config) any { return c.AdminListen }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, problems := load(test.environ...)
			if text := serious(problems); text != "" {
				t.Errorf("got %s", text)
			}
			if got := test.field(c); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	t.Run("SERVER_URL", func(t *testing.T) {
		c, _ := Load([]string{"SERVER_URL=https://api.example:8443/some/path"}, Options{})
		if want := "https://api.example:8443/api/runtime/internal/relay/validate"; c.ValidateURL != want {
			t.Errorf("got %s, want %s", c.ValidateURL, want)
		}
	})
}

func TestAFlagWinsOverTheEnvironmentAndThatOverTheFile(t *testing.T) {
	file := write(t, "# a comment\n\nRELAY_HEARTBEAT = '1s'\nRELAY_MAX_MESSAGE=20480\nRELAY_ID=\"from-file\"\nPORT=3\n")
	c, problems := Load(
		[]string{"RELAY_MAX_MESSAGE=40960", "RELAY_ID=from-environment", "RELAY_LISTEN_PORT=2", enough},
		Options{File: file, Flags: map[string]string{"RELAY_ID": "from-flag"}})
	if text := serious(problems); text != "" {
		t.Errorf("got %s", text)
	}
	// PORT in the file and RELAY_LISTEN_PORT in the environment are no contradiction.
	if c.Heartbeat != time.Second || c.MaxMessage != 40960 || c.RelayID != "from-flag" || c.Listen != "127.0.0.1:2" {
		t.Errorf("got %+v", c)
	}
}

// problemTests are environments (besides enough) with what must be said about them.
var problemTests = map[string]struct {
	environ []string
	want    []string // substrings of the problems that are no notes; none: there must be none
	usable  bool
}{
	"port too large": {
		[]string{"RELAY_LISTEN_PORT=65536"},
		[]string{
			`RELAY_LISTEN_PORT="65536" (from the environment): too large`, "0 to 65535", "RELAY_LISTEN_PORT=7781",
			"default 7781",
		}, false,
	},
	"port no number":         {[]string{"PORT=http"}, []string{`PORT="http"`, "not a whole number"}, false},
	"host with a port":       {[]string{"HOST=0.0.0.0:80"}, []string{"the port is another setting"}, false},
	"host in brackets":       {[]string{"RELAY_HOST=[::1]"}, []string{"without brackets"}, false},
	"time without a unit":    {[]string{"RELAY_HEARTBEAT=20"}, []string{"has no unit", "RELAY_HEARTBEAT=20s"}, false},
	"time too short":         {[]string{"RELAY_HEARTBEAT=1ms"}, []string{"too short", "100ms"}, false},
	"zero where it must not": {[]string{"RELAY_VALIDATE_TIMEOUT=0"}, []string{"too short"}, false},
	"bytes":                  {[]string{"RELAY_MAX_ENVELOPE=5MiB"}, []string{"too large", "4128768"}, false},
	"bytes overflow":         {[]string{"RELAY_MAX_ENVELOPE=99999999999999999999MiB"}, []string{"out of range"}, false},
	"bytes negative":         {[]string{"RELAY_MAX_MESSAGE=-1"}, []string{"too small"}, false},
	"URL scheme":             {[]string{"RELAY_JWKS_URL=ftp://x"}, []string{"does not start with https://"}, false},
	"URL without host":       {[]string{"RELAY_JWKS_URL=https:///x"}, []string{"has no host"}, false},
	"URL with a password": {
		[]string{"RELAY_JWKS_URL=https://u:hunter2@x/"},
		[]string{"//***@x/", "user name or password"}, false,
	},
	"proxies": {[]string{"RELAY_TRUSTED_PROXIES=10.0.0.0/8,nginx"}, []string{"no address or CIDR"}, false},
	"proxies that are all IPv4 and more": {
		[]string{"RELAY_TRUSTED_PROXIES=::ffff:0:0/95"}, []string{"a part of ::ffff:0:0/96"}, false,
	},
	"id":                {[]string{"RELAY_ID=a b"}, []string{`RELAY_ID="a b"`}, false},
	"level":             {[]string{"RELAY_LOG_LEVEL=loud"}, []string{"debug, info, warn, error"}, false},
	"TLS without files": {[]string{"RELAY_TLS=1"}, []string{"RELAY_TLS=1 without a certificate"}, false},
	"certificate missing": {
		[]string{"RELAY_TLS_CERT=/nonexistent/a", "RELAY_TLS_KEY=/nonexistent/b"},
		[]string{`RELAY_TLS_CERT="/nonexistent/a"`, `RELAY_TLS_KEY="/nonexistent/b"`, "no such file"}, false,
	},
	"certificate alone": {
		[]string{"RELAY_TLS_CERT_PATH=/dev/null"},
		[]string{"RELAY_TLS_CERT_PATH is set without RELAY_TLS_KEY"}, false,
	},
	"key alone": {
		[]string{"RELAY_TLS_KEY=/dev/null"},
		[]string{"RELAY_TLS_KEY is set without RELAY_TLS_CERT"}, false,
	},
	"no certificate in it": {
		[]string{"RELAY_TLS_CERT=/dev/null", "RELAY_TLS_KEY=/dev/null"},
		[]string{"failed to find any PEM data"}, false,
	},
	"no TLS, but files": {
		[]string{"RELAY_TLS=0", "RELAY_TLS_CERT=/dev/null", "RELAY_TLS_KEY=/dev/null"},
		[]string{"RELAY_TLS=0 contradicts"}, false,
	},

	"two names differ": {
		[]string{"RELAY_LISTEN_PORT=1", "PORT=2"},
		[]string{`RELAY_LISTEN_PORT="1" and PORT="2"`, "contradict each other", "unset PORT"}, false,
	},
	"two platforms": {
		[]string{"SERVER_URL=https://other.example"},
		[]string{"RELAY_VALIDATE_URL=", "SERVER_URL=", "contradict"}, false,
	},
	"two ports are one": {
		[]string{"RELAY_ADMIN_LISTEN=0.0.0.0:7781", "RELAY_ADMIN_TOKEN=0123456789abcdef0123456789"},
		[]string{"contradicts the public port"}, false,
	},
	"secret file missing": {
		[]string{"RELAY_INTERNAL_KEY_FILE=/nonexistent/k"},
		[]string{"RELAY_INTERNAL_KEY_FILE", "no such file"}, false,
	},
	"secret file empty": {
		[]string{"RELAY_INTERNAL_KEY_FILE=/dev/null"},
		[]string{"the file is empty"}, false,
	},
	"no state folder": {
		[]string{"RELAY_STATE_DIR=/nonexistent/state"},
		[]string{`RELAY_STATE_DIR="/nonexistent/state"`, "no such file", "a folder that is there"}, false,
	},
	"a state folder that is none": {[]string{"RELAY_STATE_DIR=/dev/null"}, []string{"is no folder"}, false},
	"re-checks too often":         {[]string{"RELAY_RECHECK_INTERVAL=10ms"}, []string{"too short", "1s to 1h"}, false},
	"three admin tokens":          {[]string{"RELAY_ADMIN_TOKEN=a\nb\nc"}, []string{"too many lines"}, false},
	"clustered": {
		[]string{"RELAY_BACKPLANE_MODE=redis"},
		[]string{`RELAY_BACKPLANE_MODE="redis"`, "can't be honoured", "run one relay"}, false,
	},
	"not clustered": {[]string{"RELAY_BACKPLANE_MODE=single"}, nil, true},
	"mTLS":          {[]string{"RELAY_SERVER_MTLS=1"}, []string{"client certificate"}, false},
	"no mTLS":       {[]string{"RELAY_SERVER_MTLS=off"}, nil, true},
	"unverified":    {[]string{"RELAY_SERVER_TLS_VERIFY=0"}, []string{"always verified"}, false},
	"a bad value of no use": {
		[]string{"RELAY_MAX_FRAME_BYTES=many"},
		[]string{`RELAY_MAX_FRAME_BYTES="many"`, "not a whole number"}, false,
	},
	"a good value of no use": {
		[]string{"RELAY_MAX_FRAME_BYTES=1048576"},
		[]string{"warning: RELAY_MAX_FRAME_BYTES", "no effect"}, true,
	},
	"unknown": {
		[]string{"RELAY_MAX_ENVELOP=1"},
		[]string{"warning: RELAY_MAX_ENVELOP ", "did you mean RELAY_MAX_ENVELOPE?"}, true,
	},
	"unknown, like nothing": {
		[]string{"RELAY_FROBNICATION_QUOTIENT=1"},
		[]string{"is no setting", "check --docs"}, true,
	},
	"another program's": {
		[]string{"NODE_ENV=production", "VIEWPORT_RELAY_INTERNAL_KEY=x", "PATH=/bin", "MY_RELAY_X=1"},
		nil, true,
	},
	"Kubernetes": {
		[]string{
			"RELAY_PORT=tcp://10.0.0.1:7781", "RELAY_SERVICE_HOST=10.0.0.1", "RELAY_SERVICE_PORT=7781",
			"RELAY_SERVICE_PORT_GRPC=7781", "RELAY_PORT_7781_TCP=tcp://10.0.0.1:7781", "RELAY_PORT_7781_TCP_PROTO=tcp",
			"RELAY_PORT_7781_TCP_ADDR=10.0.0.1",
		},
		nil, true,
	},
	"Kubernetes, relay-admin": {
		[]string{
			"RELAY_ADMIN_PORT=tcp://10.0.0.1:7782", "RELAY_ADMIN_SERVICE_HOST=10.0.0.1",
			"RELAY_ADMIN_SERVICE_PORT=7782", "RELAY_ADMIN_PORT_7782_TCP_ADDR=10.0.0.1",
		},
		nil, true,
	},
	"Kubernetes' value where none belongs": {
		[]string{"RELAY_LISTEN_PORT=tcp://10.0.0.1:7781"},
		[]string{"not a whole number"}, false,
	},

	"admin without a token": {
		[]string{"RELAY_ADMIN_LISTEN=127.0.0.1:7782"},
		[]string{"warning: RELAY_ADMIN_LISTEN is set and has no effect without RELAY_ADMIN_TOKEN"}, true,
	},
	"issuer without keys": {[]string{"RELAY_TOKEN_ISSUER=x"}, []string{"no effect without RELAY_JWKS_URL"}, true},
	"a short secret": {
		[]string{"RELAY_INTERNAL_KEY=short"},
		[]string{"warning: RELAY_INTERNAL_KEY=(not shown) looks easy to guess"}, true,
	},
	"keys in the clear": {
		[]string{"RELAY_JWKS_URL=http://platform:3000/jwks"},
		[]string{"warning: RELAY_JWKS_URL", "http to another machine"}, true,
	},
	"keys from this machine": {[]string{"RELAY_JWKS_URL=http://localhost:3000/jwks"}, nil, true},
}

func TestEachProblemIsNamedWithItsMend(t *testing.T) {
	for name, test := range problemTests {
		t.Run(name, func(t *testing.T) {
			_, problems := load(test.environ...)
			text := serious(problems)
			if len(test.want) == 0 && text != "" {
				t.Errorf("got %s\nwant nothing", text)
			}
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("got %s\nwant it to contain %q", text, want)
				}
			}
			if got := Usable(problems, false); got != test.usable {
				t.Errorf("usable: got %v, want %v", got, test.usable)
			}
			if got := Usable(problems, true); got != (text == "") {
				t.Errorf("usable, strictly: got %v with %q", got, text)
			}
			for _, p := range problems {
				if p.Severity != Note && p.Mend == "" {
					t.Errorf("%s: does not say how to mend it", p)
				}
			}
		})
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	file := write(t, "nonsense\nRELAY_ID=!\nPORT=1\nPORT=1\n")
	environ := []string{"RELAY_LISTEN_PORT=x", "RELAY_HEARTBEAT=y", "RELAY_BUS_ENABLED=on", "RELAY_X=1"}
	_, problems := Load(environ, Options{File: file})
	text := serious(problems)
	for _, want := range []string{
		"line 1 has no =", "RELAY_ID=", "line 4 sets PORT again, after line 3", "RELAY_LISTEN_PORT=", "RELAY_HEARTBEAT=",
		"RELAY_BUS_ENABLED=", "RELAY_X", "neither RELAY_JWKS_URL nor RELAY_VALIDATE_URL",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got %s\nwant it to contain %q", text, want)
		}
	}
	for i := range problems[1:] {
		if problems[i].Severity < problems[i+1].Severity {
			t.Errorf("got %s before %s, want errors first", problems[i], problems[i+1])
		}
	}
}

func TestWhatOneOfTheTwoChecksLacksIsSaid(t *testing.T) {
	for environ, want := range map[string]string{
		enough:                          "validate alone leaves the token opaque beyond length and alphabet",
		"RELAY_JWKS_URL=https://p/jwks": "JWKS alone never hears of a revocation",
	} {
		_, problems := Load([]string{environ}, Options{})
		if len(problems) != 1 || problems[0].Severity != Note || !strings.Contains(problems[0].Text, want) {
			t.Errorf("%s: got %v, want a note with %q", environ, problems, want)
		}
	}
	if _, problems := load("RELAY_JWKS_URL=https://p/jwks"); len(problems) != 0 {
		t.Errorf("with both: got %v, want nothing", problems)
	}
}

func TestThatARestartForgetsRevocationsIsSaid(t *testing.T) {
	const admin = "RELAY_ADMIN_TOKEN=0123456789abcdef0123456789"
	for environ, want := range map[string]bool{"": false, admin: true, admin + "\nRELAY_STATE_DIR=" + t.TempDir(): false} {
		_, problems := load(strings.Split(environ, "\n")...)
		if got := slices.ContainsFunc(problems, func(p Problem) bool {
			return p.Severity == Note && strings.Contains(p.Text, "forgets at each restart")
		}); got != want {
			t.Errorf("%q: got the note: %v, want %v", environ, got, want)
		}
	}
}

func TestThatNobodyCanBeAskedForRechecksIsSaid(t *testing.T) {
	for interval, want := range map[string]bool{"30s": true, "0": false} {
		_, problems := Load([]string{"RELAY_JWKS_URL=https://p/jwks", "RELAY_RECHECK_INTERVAL=" + interval}, Options{})
		if text := serious(problems); strings.Contains(text, "no effect without RELAY_VALIDATE_URL") != want {
			t.Errorf("%s: got %q", interval, text)
		}
	}
}

func TestThatATerminatorIsOneAddressIsSaid(t *testing.T) {
	has := func(environ ...string) bool {
		_, problems := load(append(environ, "RELAY_HOST=0.0.0.0")...)
		return slices.ContainsFunc(problems, func(p Problem) bool {
			return p.Severity == Note && strings.Contains(p.Text, "RELAY_MAX_LINKS_PER_ADDRESS bounds them together")
		})
	}
	if !has() {
		t.Error("a plain public port says nothing of the limit by address")
	}
	if has("RELAY_MAX_LINKS_PER_ADDRESS=0") || has("RELAY_MAX_LINKS_PER_ADDRESS=20000") {
		t.Error("a limit by address that bounds nothing is complained of")
	}
}

func TestNoSecretIsEverShown(t *testing.T) {
	const canary = "canary-93d1"
	for _, s := range settings() {
		if !s.secret {
			continue
		}
		for _, bad := range []string{canary, canary + " " + canary, canary + "\n1\n2\n3", canary + strings.Repeat("x", 600)} {
			for _, environ := range [][]string{
				{s.name + "=" + bad},
				{s.name + "=" + bad, s.name + "_FILE=" + write(t, canary+"other")},
				{s.name + "_FILE=" + write(t, bad)},
				{s.name + "X=" + bad},
			} {
				_, problems := load(environ...)
				for _, p := range problems {
					if strings.Contains(p.String(), canary) {
						t.Errorf("%s shows the secret", p)
					}
				}
			}
		}
	}
	_, problems := Load(nil, Options{File: write(t, canary+"\n"+canary+" x=1\nA="+canary+"\x00\n")})
	if text := serious(problems); strings.Contains(text, canary) {
		t.Errorf("%s shows what may be a secret", text)
	}
}

func TestAFileThatIsTooLongIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		environ []string
		options Options
	}{
		"secret":        {[]string{"RELAY_INTERNAL_KEY_FILE=" + write(t, strings.Repeat("\n", maxSecret+1))}, Options{}},
		"configuration": {nil, Options{File: write(t, strings.Repeat("\n", maxFile+1))}},
		"endless":       {nil, Options{File: "/dev/zero"}},
	} {
		_, problems := Load(append(test.environ, enough), test.options)
		if text := serious(problems); !strings.Contains(text, "longer than") {
			t.Errorf("%s: got %q, want it refused for its length", name, text)
		}
	}
}
