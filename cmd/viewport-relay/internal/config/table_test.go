package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// todaysNames are the variables of today's relay, of its documentation and of the scripts around it.
const todaysNames = `
HOST PORT SERVER_URL RELAY_MODE MAX_LOGS RELAY_TLS RELAY_TLS_TERMINATION RELAY_TLS_HOST RELAY_TLS_CERT_DIR
RELAY_TLS_CERT_PATH RELAY_TLS_KEY_PATH RELAY_ADMIN_TOKEN RELAY_ENABLE_ADMIN_HTTP RELAY_HEALTH_VERBOSE
RELAY_STATE_INCLUDE_CLIENT_IDS RELAY_ADMISSION_TIMEOUT_MS RELAY_ADMISSION_MAX_RESPONSE_BYTES
RELAY_INTERNAL_API_TIMEOUT_MS RELAY_INTERNAL_API_MAX_RESPONSE_BYTES RELAY_SERVER_TLS_VERIFY RELAY_SERVER_AUTH_MODE
RELAY_SERVER_CA_CERT_PATH RELAY_SERVER_MTLS RELAY_SERVER_CLIENT_CERT_PATH RELAY_SERVER_CLIENT_KEY_PATH
RELAY_SERVER_CLIENT_KEY_PASSPHRASE RELAY_MAX_TOTAL_CONNECTIONS RELAY_MAX_CONNECTIONS_PER_IP
RELAY_MAX_CLIENTS_PER_WORKSPACE RELAY_MAX_FRAME_BYTES RELAY_MAX_PENDING_BYTES RELAY_UPGRADE_RATE_PER_MINUTE
RELAY_UPGRADE_BUCKET_MAX RELAY_KEX_INIT_RATE_PER_MINUTE RELAY_KEX_RATE_LIMITER_MAX_KEYS RELAY_RUNTIME_RATE_PER_MINUTE
RELAY_RUNTIME_RATE_LIMITER_MAX_KEYS RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE
RELAY_RUNTIME_WORKSPACE_RATE_LIMITER_MAX_KEYS RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE RELAY_DAEMON_RATE_LIMITER_MAX_KEYS
RELAY_PAIRING_RATE_PER_MINUTE RELAY_PAIRING_RATE_LIMITER_MAX_KEYS RELAY_PAIRING_REQUEST_TRACK_MAX
RELAY_SESSION_OWNER_TRACK_MAX RELAY_PING_INTERVAL_MS RELAY_PONG_TIMEOUT_MS RELAY_IDLE_TIMEOUT_MS
RELAY_EMPTY_WORKSPACE_TTL_MS RELAY_CLEANUP_INTERVAL_MS RELAY_ID RELAY_PUBLIC_WS_BASE_URL RELAY_INTERNAL_KEY
RELAY_BACKPLANE_MODE RELAY_REDIS_URL RELAY_REDIS_KEY_PREFIX RELAY_REDIS_CONNECT_TIMEOUT_MS
RELAY_REDIS_PRESENCE_TTL_MS RELAY_REDIS_QUEUE_MAX RELAY_PRESENCE_SYNC_ENABLED RELAY_PRESENCE_SYNC_INTERVAL_MS
RELAY_PRESENCE_RESOLVE_CACHE_MAX RELAY_BUS_ENABLED RELAY_BUS_HMAC_KEY RELAY_BUS_POLL_INTERVAL_MS RELAY_BUS_PULL_LIMIT
RELAY_BUS_PULL_WAIT_MS RELAY_BUS_SIGNATURE_MAX_SKEW_MS RELAY_BUS_FRESHNESS_TRACK_MAX RELAY_CLIENT_REDIRECT_ENABLED
RELAY_REDIRECT_ALLOWED_HOSTS RELAY_TRUSTED_PROXIES
RELAY_HOST RELAY_PORT RELAY_LOG_FILE NODE_BIN CONTAINER_BIN CONTAINER_NETWORK RELAY_IMAGE_TAG RELAY_CONTAINER_NAME
REDIS_IMAGE_TAG REDIS_CONTAINER_NAME VIEWPORT_TLS_CERT_DIR NODE_ENV
RELAY_WS_URL VIEWPORT_RELAY_HTTP_URL VIEWPORT_RELAY_INTERNAL_KEY VIEWPORT_RELAY_ADMIN_TOKEN VIEWPORT_RELAY_VERIFY_TLS
VIEWPORT_RELAY_INTERNAL_ALLOW_LOOPBACK_LOCAL
RELAY_LISTEN_PORT RELAY_VALIDATE_URL RELAY_JWKS_URL RELAY_BACKPLANE_URL RELAY_TLS_CERT RELAY_TLS_KEY`

func TestEveryNameOfTodayHasAVerdictInTheReference(t *testing.T) {
	table, reference := byName(), Reference()
	for _, n := range strings.Fields(todaysNames) {
		if _, ok := table[n]; !ok {
			t.Errorf("%s is not in the table", n)
		}
		if !strings.Contains(reference, "\n| `"+n+"` | ") {
			t.Errorf("%s is not in the reference", n)
		}
	}
}

func TestTheTableIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range settings() {
		for _, n := range s.allNames() {
			if seen[n.name] {
				t.Errorf("%s is in the table twice", n.name)
			}
			seen[n.name] = true
			if n.kind.example != "" {
				if _, err := n.kind.parse(n.kind.example); err != nil && n.kind.want != file.want && n.kind.want != folder.want {
					t.Errorf("%s: its example %q: %v", n.name, n.kind.example, err)
				}
			}
		}
		if s.def != "" {
			if _, err := s.kind.parse(s.def); err != nil {
				t.Errorf("%s: its default %q: %v", s.name, s.def, err)
			}
		}
		for _, f := range s.fine {
			if _, err := s.kind.parse(f); err != nil {
				t.Errorf("%s: the value that is fine %q: %v", s.name, f, err)
			}
		}
		switch {
		case s.verdict == honoured && (s.doc == "" || s.set == nil):
			t.Errorf("%s is honoured without a text or a field", s.name)
		case s.verdict != honoured && (s.why == "" || s.set != nil):
			t.Errorf("%s is not honoured, and has no why, or a field", s.name)
		case s.verdict == refused && s.mend == "":
			t.Errorf("%s is refused without a mend", s.name)
		}
	}
	for _, f := range Flags() {
		if f.Variable != strings.TrimSuffix(f.Variable, "_FILE") {
			continue
		}
		if byName()[f.Variable].setting.secret {
			t.Errorf("--%s takes a secret on the command line", f.Name)
		}
	}
}

func TestADocumentedBoundIsTheBound(t *testing.T) {
	for _, k := range []struct {
		kind             kind
		in, below, above string
	}{
		{integer(2, 9, ""), "2 9", "1 -1", "10 99999999999999999999"},
		{integer(1, math.MaxInt, ""), "1 9223372036854775807", "0", "9223372036854775808"},
		{byteCount(1024, 1<<20, ""), "1024 1KiB 1MiB 1024KiB", "1023 0KiB", "1048577 1025KiB 2MiB 9223372036854775807KiB"},
		{duration(1e9, 60e9, true, ""), "1s 60s 1m 0 0s 1000ms", "999ms -1s", "61s 24h"},
		{tokens(1), strings.Repeat("x", 512), "\x00", strings.Repeat("x", 513)},
		{id, strings.Repeat("x", 128), "ä", strings.Repeat("x", 129)},
	} {
		for _, v := range strings.Fields(k.in) {
			if _, err := k.kind.parse(v); err != nil {
				t.Errorf("%q: got %v, want it allowed (%s)", v, err, k.kind.want)
			}
		}
		for _, v := range strings.Fields(k.below + " " + k.above) {
			if got, err := k.kind.parse(v); err == nil {
				t.Errorf("%q: got %v, want an error (%s)", v, got, k.kind.want)
			}
		}
	}
}

func TestTheNearestNameIsTheOneMeant(t *testing.T) {
	for typed, want := range map[string]string{
		"RELAY_HARTBEAT": "RELAY_HEARTBEAT", "RELAY_JWKS_URI": "RELAY_JWKS_URL", "RELAY_ADMINTOKEN": "RELAY_ADMIN_TOKEN",
		"RELAY_TLS_CRT": "RELAY_TLS_CERT", "RELAY_VALIDATION_URL": "RELAY_VALIDATE_URL", "RELAY_IDD": "RELAY_ID",
		"RELAY_INTERNAL_KEYFILE": "RELAY_INTERNAL_KEY_FILE", "RELAY_QQQQQQQQQQ": "",
	} {
		if got := nearest(typed); got != want {
			t.Errorf("%s: got %q, want %q", typed, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"A=b\n", "# c\n\n A = 'x y' \r\nB=\"\"", "A=1\nA=2", "=", "A", "A=\x00", "\xff=1", "A=\"'x'\"", "A===",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		lines, errs := Parse(content)
		if count := strings.Count(string(content), "\n") + 1; len(lines)+len(errs) > count {
			t.Fatalf("got %d lines and %d errors of %d lines", len(lines), len(errs), count)
		}
		var again strings.Builder
		for i := range lines {
			lines[i].Number = i + 1
			fmt.Fprintf(&again, "%s=\"%s\"\n", lines[i].Name, lines[i].Value)
		}
		got, errs := Parse([]byte(again.String()))
		if len(errs) > 0 || !slices.Equal(got, lines) {
			t.Fatalf("got %+v, %v, want %+v", got, errs, lines)
		}
	})
}

func FuzzLoad(f *testing.F) {
	names := slices.Sorted(func(yield func(string) bool) {
		for n := range byName() {
			if !yield(n) {
				return
			}
		}
	})
	f.Add(uint8(0), "0", "https://u:p@h/x#y")
	f.Add(uint8(40), "1MiB", "-1")
	f.Fuzz(func(t *testing.T, which uint8, a, b string) {
		first, second := names[int(which)%len(names)], names[(int(which)+1)%len(names)]
		if strings.HasSuffix(first, "_FILE") || strings.HasSuffix(second, "_FILE") {
			return // reads files
		}
		c, problems := load(first+"="+a, second+"="+b)
		good := c.SessionWindow >= 16<<10 && c.Listen != "" && c.ValidateTimeout > 0 && c.MaxEnvelope < 4<<20
		if Usable(problems, false) && !good {
			t.Fatalf("usable, but %+v", c)
		}
	})
}
