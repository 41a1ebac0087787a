package config

import (
	"log/slog"
	"math"
	"strings"
	"time"
)

// verdict is what the relay does with a name.
type verdict uint8

const (
	honoured verdict = iota
	// warned: accepted, has no effect, and says so.
	warned
	// refused: the relay does not start, because going on without it would break what the operator counts on.
	refused
	// ignored: not a setting of the relay but of something that runs beside it; accepted in silence.
	ignored
)

// setting is one row of the table.
type setting struct {
	name string
	kind kind
	// def is the default as it would be written; empty: none.
	def string
	// doc is what it does, for help and the reference; for names that are not honoured why says why instead.
	doc     string
	verdict verdict
	why     string
	// mend says what to do about a refused one.
	mend string
	// fine are values that need no warning or refusal, because they ask for what the relay does anyway.
	fine []string
	// secret: the value is never shown, has no flag, and may come from the file that NAME_FILE names.
	secret bool
	// others are further names of the same setting, in order: the first that is set wins.
	others []name
	// set stores a parsed value; nil when nothing keeps it.
	set func(*draft, any)
}

// name is one way to give a setting.
type name struct {
	name string
	kind kind
	// file: the value is the name of a file that holds it.
	file bool
	note string
}

// allNames returns the ways to give s, in order.
func (s setting) allNames() []name {
	names := []name{{name: s.name, kind: s.kind}}
	if s.secret && s.verdict == honoured {
		names = append(names, name{name: s.name + "_FILE", kind: s.kind, file: true})
	}
	return append(names, s.others...)
}

// into makes a set function from a field.
func into[T any](field func(*draft) *T) func(*draft, any) {
	return func(d *draft, v any) { *field(d) = v.(T) }
}

// honouredSettings are the settings of this relay. Limits and defaults: docs/protocol.md.
func honouredSettings() []setting {
	port := integer(0, math.MaxUint16, "7781")
	return []setting{
		{name: "RELAY_LISTEN_PORT", kind: port, def: "7781", set: into(func(d *draft) *int { return &d.port }),
			doc: "Port that serves gRPC and HTTP. 0: any free one, which the log names.",
			others: []name{{name: "PORT", kind: port}, {name: "RELAY_PORT", kind: port,
				note: "unless its value is the tcp://… of Kubernetes"}}},
		{name: "RELAY_HOST", kind: host, def: "127.0.0.1", set: into(func(d *draft) *string { return &d.host }),
			doc:    "Address to listen on; 0.0.0.0, or :: with IPv6, for all of the machine's.",
			others: []name{{name: "HOST", kind: host}}},
		{name: "RELAY_TLS_CERT", kind: file, set: into(func(d *draft) *string { return &d.TLSCert }),
			doc: "PEM file of the certificate and its chain. Without it the port is plain: put a terminator in front " +
				"that speaks HTTP/2 to the relay.",
			others: []name{{name: "RELAY_TLS_CERT_PATH", kind: file}}},
		{name: "RELAY_TLS_KEY", kind: file, set: into(func(d *draft) *string { return &d.TLSKey }),
			doc:    "PEM file of the certificate's key.",
			others: []name{{name: "RELAY_TLS_KEY_PATH", kind: file}}},
		{name: "RELAY_TLS", kind: lowerOneOf("auto", "0", "1"), def: "auto",
			set: into(func(d *draft) *string { return &d.tlsMode }),
			doc: "1: don't start without a certificate and key. 0: don't start with one. auto: TLS when both are given."},

		{name: "RELAY_TRUSTED_PROXIES", kind: networks,
			set: func(d *draft, v any) { d.TrustedProxies = parsedNetworks(v.(string)) },
			doc: "Addresses or networks of the proxies in front that append to X-Forwarded-For. A WebSocket that comes " +
				"from one counts as coming from the right-most address there that is none of them. Unset: the address " +
				"of the connection counts, and X-Forwarded-For is not read."},

		{name: "RELAY_JWKS_URL", kind: address("https://api.example.com/.well-known/jwks.json"),
			set: into(func(d *draft) *string { return &d.JWKSURL }),
			doc: "Where the platform publishes the keys that sign tokens. At least one of this and " +
				"RELAY_VALIDATE_URL is needed; with both, both must agree."},
		{name: "RELAY_VALIDATE_URL", kind: address("https://api.example.com" + validatePath),
			set: into(func(d *draft) *string { return &d.ValidateURL }),
			doc: "Where the platform is asked about each token when a link connects.",
			others: []name{{name: "SERVER_URL", kind: platform,
				note: "the platform's base URL: its scheme and host with " + validatePath}}},
		{name: "RELAY_INTERNAL_KEY", kind: tokens(1), secret: true,
			set: into(func(d *draft) *string { return &d.InternalKey }),
			doc: "Sent to the platform as x-relay-internal-key with the validate call."},
		{name: "RELAY_VALIDATE_TIMEOUT", kind: duration(100*time.Millisecond, time.Minute, false, "2s"), def: "2s",
			set: into(func(d *draft) *time.Duration { return &d.ValidateTimeout }),
			doc: "Total time of one validate call; past it the link is told PLATFORM_UNAVAILABLE and comes back.",
			others: []name{{name: "RELAY_ADMISSION_TIMEOUT_MS", kind: milliseconds(time.Minute),
				note: "in milliseconds; a total time, where today's relay means silence on the socket"}}},
		{name: "RELAY_VALIDATE_CONCURRENCY", kind: integer(1, 4096, "64"), def: "64",
			set: into(func(d *draft) *int { return &d.ValidateConcurrency }),
			doc: "Validate calls at once. Admissions go first; re-checks use at most a quarter."},
		{name: "RELAY_RECHECK_INTERVAL", kind: duration(time.Second, time.Hour, true, "60s"), def: "60s",
			set: into(func(d *draft) *time.Duration { return &d.RecheckInterval }),
			doc: "How often the platform is asked about the token of each live link. Only its word that the token was " +
				"revoked ends the link; an outage does not. Until its end the link's token is in the relay's memory. " +
				"0: off; then a link hears of no revocation by the platform, and no token is kept."},
		{name: "RELAY_TOKEN_ISSUER", kind: claim, def: "viewport-server",
			set: into(func(d *draft) *string { return &d.Issuer }),
			doc: "What a token's iss must be. Checked with RELAY_JWKS_URL."},
		{name: "RELAY_TOKEN_AUDIENCE", kind: claim, def: "viewport-relay",
			set: into(func(d *draft) *string { return &d.Audience }),
			doc: "What a token's aud must be or contain. Checked with RELAY_JWKS_URL."},

		{name: "RELAY_ADMIN_LISTEN", kind: hostPort, def: "127.0.0.1:7782",
			set: into(func(d *draft) *string { return &d.AdminListen }),
			doc: "host:port of AdminService, its reflection and /metrics. Not opened without RELAY_ADMIN_TOKEN."},
		{name: "RELAY_ADMIN_TOKEN", kind: tokens(2), secret: true,
			set: func(d *draft, v any) { d.AdminTokens = strings.Split(v.(string), "\n") },
			doc: "Bearer token of every call on the admin listener. Two lines: two valid tokens, for a rotation."},
		{name: "RELAY_STATE_DIR", kind: folder, set: into(func(d *draft) *string { return &d.StateDir }),
			doc: "Folder of this relay alone, which nobody else can write, for what must outlive it: " +
				"revocations.json, what RevokePairing has revoked. The relay does not start when that is damaged. " +
				"Unset: a restart forgets revocations."},

		{name: "RELAY_HEARTBEAT", kind: duration(100*time.Millisecond, 10*time.Minute, true, "20s"), def: "20s",
			set: into(func(d *draft) *time.Duration { return &d.Heartbeat }),
			doc: "A side that sent nothing for so long sends a HEARTBEAT; three times as long without receiving " +
				"anything is a dead link. 0: off; then terminators cut links that are silent (30 to 100 s with most)."},
		{name: "RELAY_READINESS_DELAY", kind: duration(100*time.Millisecond, 10*time.Minute, true, "5s"), def: "5s",
			set: into(func(d *draft) *time.Duration { return &d.ReadinessDelay }),
			doc: "How long after SIGTERM links are still admitted while /readyz is red, so that load balancers stop " +
				"sending before the port is closed. 0: the port is closed at once, good where none asks."},
		{name: "RELAY_DRAIN_TIME", kind: duration(100*time.Millisecond, time.Hour, true, "25s"), def: "25s",
			set: into(func(d *draft) *time.Duration { return &d.DrainTime }),
			doc: "How long links then get to leave for a successor; what is left is ended. Whatever kills the process " +
				"must wait for the sum of both and 2 s. 0: all links are ended at once, and their sessions resume."},
		{name: "RELAY_SESSION_WINDOW", kind: byteCount(128<<10, 16<<20, "1048576"), def: "1048576",
			set: into(func(d *draft) *int { return &d.SessionWindow }),
			doc: "Bytes a sender may have unconsumed in a session. The relay holds at most about twice as much " +
				"per session and link."},
		{name: "RELAY_MAX_ENVELOPE", kind: byteCount(64<<10, 4<<20-64<<10, "2097152"), def: "2097152",
			set: into(func(d *draft) *int { return &d.MaxEnvelope }),
			doc: "Bytes of one serialized envelope; a longer one ends the link with FRAME_TOO_LARGE."},
		{name: "RELAY_MAX_MESSAGE", kind: byteCount(16000, 16<<20, "524288"), def: "524288",
			set: into(func(d *draft) *int { return &d.MaxMessage }),
			doc: "Bytes of one application message, which the ends obey; the relay sees fragments only."},

		{name: "RELAY_MAX_LINKS", kind: integer(1, 1<<24, "20000"), def: "20000",
			set:    into(func(d *draft) *int { return &d.MaxLinks }),
			doc:    "Links at once, those under admission included; then CAPACITY.",
			others: []name{{name: "RELAY_MAX_TOTAL_CONNECTIONS", kind: integer(1, 1<<24, "20000")}}},
		{name: "RELAY_MAX_LINKS_PER_ADDRESS", kind: limitOr0(1, 1<<24, "1000"), def: "1000",
			set: into(func(d *draft) *int { return &d.MaxLinksPerAddress }),
			doc: "Links of one IPv4 address or IPv6 /64; then CAPACITY. 0: off. Behind a terminator all " +
				"links come from its address: set 0 there, or as much as RELAY_MAX_LINKS.",
			others: []name{{name: "RELAY_MAX_CONNECTIONS_PER_IP", kind: integer(1, 1<<24, "1000")}}},
		{name: "RELAY_MAX_LINKS_PER_WORKSPACE", kind: limitOr0(1, 1<<24, "5000"), def: "5000",
			set: into(func(d *draft) *int { return &d.MaxLinksPerWorkspace }),
			doc: "Admitted links of one workspace; then CAPACITY. 0: off."},
		{name: "RELAY_MAX_LINKS_PER_TARGET", kind: limitOr0(2, 1<<24, "1000"), def: "1000",
			set: into(func(d *draft) *int { return &d.MaxLinksPerTarget }),
			doc: "Links of one runtime target, the last of them kept for its daemon; then CAPACITY. 0: off.",
			others: []name{{name: "RELAY_MAX_CLIENTS_PER_WORKSPACE", kind: clients(1<<24 - 1),
				note: "which counts the clients of a target, despite its name; the daemon comes on top"}}},
		{name: "RELAY_QUEUE_BYTES", kind: byteCount(1<<20, math.MaxInt, "1073741824"), def: "1073741824",
			set: into(func(d *draft) *int { return &d.QueueBytes }),
			doc: "Bytes that all queues together may keep. Beyond it new sessions get CAPACITY, and those there are trickle."},
		{name: "RELAY_LINK_QUEUE_BYTES", kind: byteCount(64<<10, math.MaxInt, "67108864"), def: "67108864",
			set: into(func(d *draft) *int { return &d.LinkQueueBytes }),
			doc: "The same for one link. A terminal that is not read holds about twice RELAY_SESSION_WINDOW."},

		{name: "RELAY_UPGRADE_RATE_PER_MINUTE", kind: limitOr0(1, 1<<24, "120"), def: "120",
			set: into(func(d *draft) *int { return &d.LegacyRates.Upgrades }),
			doc: "Legacy WebSockets that one address may try to open in a minute; then 429. 0: off, and so it is " +
				"where RELAY_MAX_LINKS_PER_ADDRESS is, unless this is set."},
		{name: "RELAY_KEX_INIT_RATE_PER_MINUTE", kind: limitOr0(1, 1<<24, "60"), def: "60",
			set: into(func(d *draft) *int { return &d.LegacyRates.KeyExchanges }),
			doc: "Key exchanges that a legacy client may begin in a minute; then its link ends. 0: off."},
		{name: "RELAY_PAIRING_RATE_PER_MINUTE", kind: limitOr0(1, 1<<24, "30"), def: "30",
			set: into(func(d *draft) *int { return &d.LegacyRates.Pairings }),
			doc: "Pairing requests that a legacy client may send in a minute; then its link ends. 0: off."},
		{name: "RELAY_RUNTIME_RATE_PER_MINUTE", kind: limitOr0(1, 1<<24, "240"), def: "240",
			set: into(func(d *draft) *int { return &d.LegacyRates.ClientFrames }),
			doc: "Encrypted frames that a legacy client may send in a minute; then its link ends. 0: off."},
		{name: "RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE", kind: limitOr0(1, 1<<24, "1200"), def: "1200",
			set: into(func(d *draft) *int { return &d.LegacyRates.WorkspaceFrames }),
			doc: "Encrypted frames that all legacy clients of a workspace may send in a minute. 0: off."},
		{name: "RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE", kind: limitOr0(1, 1<<24, "2400"), def: "2400",
			set: into(func(d *draft) *int { return &d.LegacyRates.DaemonFrames }),
			doc: "Frames of a legacy daemon or worker that are passed on in a minute; beyond that it is slowed down. 0: off."},
		{name: "RELAY_WORKER_TRANSPORT", kind: boolean, def: "off",
			set: func(d *draft, v any) { d.WorkerTransport = on(v.(string)) },
			doc: "on: legacy workers may ask the platform through the relay. Their requests carry credentials for the " +
				"platform, which the relay then sees. Needs RELAY_VALIDATE_URL, whose origin is asked. off: they get 403."},
		{name: "RELAY_MODE", kind: oneOf("dev", "staging", "prod"), def: "prod",
			set: func(d *draft, v any) { d.QueryTokens = v == "dev" },
			doc: "dev: legacy WebSockets may bring their token in the URL (?token=), which proxies log. Nothing else " +
				"depends on it."},

		{name: "RELAY_ID", kind: id, set: into(func(d *draft) *string { return &d.RelayID }),
			doc: "This relay's name in viewport-relay-id and in AdminService. Unset: a random one at each start."},
		{name: "RELAY_LOG_LEVEL", kind: logLevel, def: "info", set: into(func(d *draft) *slog.Level { return &d.LogLevel }),
			doc: "Least level that is logged. Logs go to standard error."},
		{name: "RELAY_LOG_FORMAT", kind: oneOf("json", "text"), def: "json",
			set: func(d *draft, v any) { d.LogJSON = v == "json" },
			doc: "json: one object a line. text: key=value."},
	}
}

// settings is the whole table.
func settings() []setting { return append(honouredSettings(), legacySettings()...) }

// known is what the table says about one name.
type known struct {
	setting setting
	name    name
}

// byName indexes the table.
func byName() map[string]known {
	m := map[string]known{}
	for _, s := range settings() {
		for _, n := range s.allNames() {
			m[n.name] = known{setting: s, name: n}
		}
	}
	return m
}
