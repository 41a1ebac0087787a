package server_test

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/server"
)

func TestALinkWhoseTokenHasExpiredEndsAndItsSessionGoesOnOverAnother(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *server.Config) { c.TokenGrace = time.Millisecond })
	daemon := r.connect(endpoint{workspace: "expires", daemon: true})
	client, s := r.connect(endpoint{workspace: "expires", ttl: 4 * time.Second}), newSession(1)
	handshake(client, daemon, s)
	client.wantEnd(codes.Unauthenticated, "TOKEN_EXPIRED")
	// What had it open is not gone: it waits at the relay for its client.
	again := r.connect(endpoint{workspace: "expires"})
	resume := s.frame(typeResume, 3)
	resume.BindKey, resume.ResumeAttempt = s.key[:], 1
	again.send(resume)
	daemon.want(typeResume, 3)
	r.wantMetric(`relay_links_ended_total{reason="token_expired"}`, func(n float64) bool { return n == 1 })
}

func TestALinkMayOutliveItsTokenByAMinuteUnlessTheConfigurationSaysOtherwise(t *testing.T) {
	if got := start(t).TokenGrace(); got != time.Minute {
		t.Errorf("got %v, want one minute", got)
	}
}

// wantMetric asks /metrics until a value is as wanted.
func (r *relay) wantMetric(name string, wanted func(float64) bool) {
	r.t.Helper()
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`)
	ctx := patient(r.t)
	for {
		_, body := get(r.t, "http://"+r.AdminAddr().String()+"/metrics", nil, "Bearer "+adminToken)
		m := line.FindStringSubmatch(body)
		if m == nil {
			r.t.Fatalf("/metrics lacks %s", name)
		}
		if n, err := strconv.ParseFloat(m[1], 64); err != nil || wanted(n) {
			return
		}
		if ctx.Err() != nil {
			r.t.Fatalf("%s stays at %s", name, m[1])
		}
	}
}

// often checks live links several times a second, at a platform of the test's own.
func often(p *devplatform.Server) func(*server.Config) {
	return func(c *server.Config) { c.ValidateURL, c.RecheckInterval = p.ValidateURL(), 100*time.Millisecond }
}

func TestALiveLinkEndsWhenThePlatformRevokesItAndNoOtherDoes(t *testing.T) {
	p := ownPlatform(t)
	r := start(t, often(p))
	daemon := r.connect(endpoint{workspace: "rechecked", daemon: true, install: "d", from: p})
	client, s := r.connect(endpoint{workspace: "rechecked", install: "thief", from: p}), newSession(1)
	second, other := r.connect(endpoint{workspace: "rechecked", install: "honest", from: p}), newSession(2)
	handshake(client, daemon, s)
	handshake(second, daemon, other)
	r.wantMetric(`relay_rechecks_total{result="good"}`, func(n float64) bool { return n >= 3 })
	p.Revoke(devplatform.Subject{InstallID: "thief"})
	client.wantEnd(codes.PermissionDenied, "PAIRING_REVOKED")
	daemon.wantStatus("PEER_REVOKED", s.id)
	second.send(other.data(2))
	daemon.want(typeData, 2)
	p.Revoke(devplatform.Subject{InstallID: "d"})
	daemon.wantEnd(codes.PermissionDenied, "PAIRING_REVOKED")
	r.wantMetric(`relay_rechecks_total{result="revoked"}`, func(n float64) bool { return n == 2 })
	r.wantMetric(`relay_links_ended_total{reason="pairing_revoked"}`, func(n float64) bool { return n == 2 })
	second.wantStatus("PEER_UNAVAILABLE", "")
}

func TestNothingThatThePlatformSaysButRevokedEndsALiveLink(t *testing.T) {
	t.Parallel()
	p := ownPlatform(t)
	r := start(t, often(p))
	daemon := r.connect(endpoint{workspace: "outage", daemon: true, from: p})
	client, s := r.connect(endpoint{workspace: "outage", ttl: 2 * time.Second, from: p}), newSession(1)
	handshake(client, daemon, s)
	// It is good no more, but for a minute it may stay.
	r.wantMore(`relay_rechecks_total{result="refused"}`, 3)
	for _, fault := range []devplatform.Fault{
		devplatform.Fail, devplatform.Hang, devplatform.Drip, devplatform.Redirect, devplatform.Endless,
	} {
		p.SetFault(devplatform.Validate, fault)
		r.wantMore(`relay_rechecks_total{result="unavailable"}`, 2)
	}
	client.send(s.data(2))
	daemon.want(typeData, 2)
}

// wantMore waits until a metric has grown by n.
func (r *relay) wantMore(name string, n float64) {
	r.t.Helper()
	first := -1.0
	r.wantMetric(name, func(now float64) bool {
		if first < 0 {
			first = now
		}
		return now >= first+n
	})
}

func TestWithoutAnIntervalThePlatformIsAskedOnceForEachLink(t *testing.T) {
	p := ownPlatform(t)
	r := start(t, func(c *server.Config) { c.ValidateURL = p.ValidateURL() })
	r.connect(endpoint{workspace: "unchecked", from: p})
	waitForHeartbeats(t, start(t, func(c *server.Config) { c.Heartbeat = beat }), 3)
	if n := p.Calls().Validate; n != 1 {
		t.Errorf("got %d validate calls, want 1", n)
	}
}
