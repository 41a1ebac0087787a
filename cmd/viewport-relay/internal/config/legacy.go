package config

import "math"

// legacySettings are the names that today's relay, its documentation and the scripts around it use, and that this relay
// does not honour. What an operator counts on for security or for reaching a peer is refused; what merely tunes is
// warned about.
func legacySettings() []setting {
	const (
		onePlace  = "this version is one process and routes within it"
		apart     = onePlace + ": peers on different relays would not meet"
		fixed     = "it is fixed here (docs/protocol.md, Legacy frames in envelopes)"
		noHTTP    = "/state and /logs are not served yet"
		inherent  = "this relay needs no such table or timer"
		mTLS      = "this version presents no client certificate to the platform yet"
		mTLSMend  = "unset it, and guard the platform's internal address by RELAY_INTERNAL_KEY and by the network"
		inMachine = "it belongs to the scripts around today's relay; nothing here reads it"
	)
	positive := integer(1, math.MaxInt, "1")
	off := []string{"0", "false", "no", "off"}

	rows := []setting{
		// What would quietly be less safe, or not reach its peer.
		{name: "RELAY_BACKPLANE_MODE", kind: oneOf("single", "server", "redis"), fine: []string{"single"},
			verdict: refused, why: apart, mend: "set RELAY_BACKPLANE_MODE=single and run one relay"},
		{name: "RELAY_BACKPLANE_URL", kind: anything, secret: true, verdict: refused,
			why: apart, mend: "unset it and run one relay"},
		{name: "RELAY_BUS_ENABLED", kind: boolean, fine: off, verdict: refused,
			why: apart, mend: "unset it and run one relay"},
		{name: "RELAY_TLS_CERT_DIR", kind: anything, verdict: refused,
			why:  "no file is looked for by a host's name, and without it the port would be plain where it should be TLS",
			mend: "name the files: RELAY_TLS_CERT=…/relay.crt and RELAY_TLS_KEY=…/relay.key"},
		{name: "RELAY_SERVER_TLS_VERIFY", kind: oneOf("auto", "0", "1"), fine: []string{"1", "auto"}, verdict: refused,
			why:  "the platform's certificate is always verified, for every host",
			mend: "unset it; trust a private CA by SSL_CERT_FILE"},
		{name: "RELAY_SERVER_CA_CERT_PATH", kind: anything, verdict: refused,
			why:  "this version trusts the system's CAs only",
			mend: "unset it, and set SSL_CERT_FILE to a bundle with your CA"},
		{name: "RELAY_SERVER_AUTH_MODE", kind: oneOf("mtls", "private_network_shared_secret"),
			fine: []string{"private_network_shared_secret"}, verdict: refused, why: mTLS, mend: mTLSMend},
		{name: "RELAY_SERVER_MTLS", kind: boolean, fine: off, verdict: refused, why: mTLS, mend: mTLSMend},
		{name: "RELAY_SERVER_CLIENT_CERT_PATH", kind: anything, verdict: refused, why: mTLS, mend: mTLSMend},
		{name: "RELAY_SERVER_CLIENT_KEY_PATH", kind: anything, verdict: refused, why: mTLS, mend: mTLSMend},
		{name: "RELAY_SERVER_CLIENT_KEY_PASSPHRASE", kind: anything, secret: true, verdict: refused,
			why: mTLS, mend: mTLSMend},

		// What has no effect.
		{name: "RELAY_ENABLE_ADMIN_HTTP", kind: boolean, fine: off, verdict: warned,
			why: "the public port serves no admin pages yet; /metrics is on RELAY_ADMIN_LISTEN"},
		{name: "RELAY_TLS_TERMINATION", kind: oneOf("self", "platform"), verdict: warned,
			why: "RELAY_TLS and the certificate alone decide whether the port is TLS or plain"},
		{name: "RELAY_TLS_HOST", kind: anything, verdict: warned,
			why: "clients check the certificate's own names, and no file is looked for by it"},
		{name: "RELAY_PUBLIC_WS_BASE_URL", kind: anything, verdict: warned,
			why: "the relay advertises no address of its own"},
		{name: "RELAY_HEALTH_VERBOSE", kind: boolean, fine: off, verdict: warned,
			why: "/health shows no detail to strangers"},
		{name: "RELAY_STATE_INCLUDE_CLIENT_IDS", kind: boolean, fine: off, verdict: warned, why: noHTTP},
		{name: "MAX_LOGS", kind: positive, verdict: warned, why: noHTTP},
		{name: "RELAY_ADMISSION_MAX_RESPONSE_BYTES", kind: positive, verdict: warned,
			why: "the platform's answers are bounded by a fixed size"},
		{name: "RELAY_REDIS_URL", kind: anything, secret: true, verdict: warned, why: onePlace},
		{name: "RELAY_BUS_HMAC_KEY", kind: anything, secret: true, verdict: warned, why: onePlace},
		{name: "RELAY_PRESENCE_SYNC_ENABLED", kind: boolean, fine: off, verdict: warned, why: onePlace},
		{name: "RELAY_CLIENT_REDIRECT_ENABLED", kind: boolean, fine: off, verdict: warned,
			why: onePlace + "; it sends nobody elsewhere"},
		{name: "RELAY_REDIRECT_ALLOWED_HOSTS", kind: anything, verdict: warned,
			why: onePlace + "; it sends nobody elsewhere"},
		{name: "RELAY_REDIS_KEY_PREFIX", kind: anything, verdict: warned, why: onePlace},
		{name: "RELAY_WS_URL", kind: anything, verdict: warned, why: "it is the platform's setting"},
	}
	many := func(v verdict, k kind, why string, names ...string) {
		for _, n := range names {
			rows = append(rows, setting{name: n, kind: k, verdict: v, why: why})
		}
	}
	many(warned, positive, onePlace, "RELAY_INTERNAL_API_TIMEOUT_MS", "RELAY_INTERNAL_API_MAX_RESPONSE_BYTES",
		"RELAY_REDIS_CONNECT_TIMEOUT_MS", "RELAY_REDIS_PRESENCE_TTL_MS", "RELAY_REDIS_QUEUE_MAX",
		"RELAY_PRESENCE_SYNC_INTERVAL_MS", "RELAY_PRESENCE_RESOLVE_CACHE_MAX",
		"RELAY_BUS_POLL_INTERVAL_MS", "RELAY_BUS_PULL_LIMIT", "RELAY_BUS_PULL_WAIT_MS",
		"RELAY_BUS_SIGNATURE_MAX_SKEW_MS", "RELAY_BUS_FRESHNESS_TRACK_MAX")
	many(warned, positive, fixed, "RELAY_MAX_FRAME_BYTES", "RELAY_MAX_PENDING_BYTES",
		"RELAY_PING_INTERVAL_MS", "RELAY_PONG_TIMEOUT_MS", "RELAY_IDLE_TIMEOUT_MS")
	many(warned, positive, inherent, "RELAY_UPGRADE_BUCKET_MAX", "RELAY_KEX_RATE_LIMITER_MAX_KEYS",
		"RELAY_RUNTIME_RATE_LIMITER_MAX_KEYS", "RELAY_RUNTIME_WORKSPACE_RATE_LIMITER_MAX_KEYS",
		"RELAY_DAEMON_RATE_LIMITER_MAX_KEYS", "RELAY_PAIRING_RATE_LIMITER_MAX_KEYS",
		"RELAY_PAIRING_REQUEST_TRACK_MAX", "RELAY_SESSION_OWNER_TRACK_MAX",
		"RELAY_EMPTY_WORKSPACE_TTL_MS", "RELAY_CLEANUP_INTERVAL_MS")
	many(warned, anything, inMachine, "RELAY_LOG_FILE", "RELAY_IMAGE_TAG", "RELAY_CONTAINER_NAME")
	many(ignored, anything, inMachine, "NODE_BIN", "CONTAINER_BIN", "CONTAINER_NETWORK", "REDIS_IMAGE_TAG",
		"REDIS_CONTAINER_NAME", "VIEWPORT_TLS_CERT_DIR", "NODE_ENV")
	many(ignored, anything, "it is the platform's setting", "VIEWPORT_RELAY_HTTP_URL", "VIEWPORT_RELAY_INTERNAL_KEY",
		"VIEWPORT_RELAY_ADMIN_TOKEN", "VIEWPORT_RELAY_VERIFY_TLS", "VIEWPORT_RELAY_INTERNAL_ALLOW_LOOPBACK_LOCAL")
	return rows
}
