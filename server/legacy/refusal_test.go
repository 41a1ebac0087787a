package legacy_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/server"
)

// L.5: who is refused is so before the upgrade, and a daemon replaces its older link.

func TestWhoeverIsRefusedIsSoBeforeTheUpgrade(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.connect(daemonOf("w", install("one"), generation(5)))
	ask := func(asked, token devplatform.Claims) request {
		return request{query: queryOf(asked), header: bearer(tokenOf(t, token))}
	}
	same := func(c devplatform.Claims) request { return ask(c, c) }
	for name, c := range map[string]struct {
		request request
		status  int
		reason  string
	}{
		"no token": {request{query: queryOf(daemonOf("w"))}, 401, "TOKEN_MISSING"},
		"a token of nobody": {
			request{query: queryOf(daemonOf("w")), header: bearer("aaaa.bbbb.cccc")}, 401, "TOKEN_INVALID",
		},
		"an old token":      {same(daemonOf("w", ttl(-time.Hour))), 401, "TOKEN_EXPIRED"},
		"another workspace": {ask(daemonOf("v"), daemonOf("w")), 403, "WORKSPACE_MISMATCH"},
		"another target":    {ask(daemonOf("w"), daemonOf("w", at("other"))), 403, "TARGET_MISMATCH"},
		"a target that is not in claims": {
			ask(daemonOf("w"), daemonOf("w", without("runtimeTargetId"))), 403, "TARGET_MISMATCH",
		},
		"a daemon without a target": {same(daemonOf("w", at(""))), 403, "TARGET_MISMATCH"},
		"a client without a target": {same(clientOf("w", at(""))), 403, "TARGET_MISMATCH"},
		"a client as daemon":        {ask(daemonOf("w"), clientOf("w")), 403, "ROLE_MISMATCH"},
		"a daemon as client":        {ask(clientOf("w"), daemonOf("w")), 403, "ROLE_MISMATCH"},
		"a client without a scope":  {same(clientOf("w", without("scope"))), 403, "ROLE_MISMATCH"},
		"a scope that is none":      {same(clientOf("w", extra("scope", "all"))), 401, "TOKEN_INVALID"},
		"another install": {
			same(daemonOf("w", install("two"), generation(5))), 409, "DAEMON_ALREADY_CONNECTED",
		},
		"an older generation": {same(daemonOf("w", install("one"), generation(4))), 409, "STALE_GENERATION"},
		"a worker":            {same(workerOf("w", "e1")), 403, "ROLE_MISMATCH"},
	} {
		t.Run(name, func(t *testing.T) { r.refused(c.request, c.status, c.reason) })
	}
}

// I.22, too.
func TestAPlatformThatCannotBeAskedIsNoBadToken(t *testing.T) {
	t.Parallel()
	stub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "<html>", http.StatusBadGateway)
	}))
	defer stub.Close()
	r := start(t, func(c *server.Config) { c.ValidateURL = stub.URL + "/" })
	for _, c := range []devplatform.Claims{daemonOf("w"), clientOf("w")} {
		if refused := r.refused(requestOf(t, c), 503, "PLATFORM_UNAVAILABLE"); refused.Header.Get("Retry-After") == "" {
			t.Error("nothing says when to come back")
		}
	}
}

func TestWhoComesTooOftenGets429AndAFullRelaySays503(t *testing.T) {
	t.Parallel()
	r := start(t, upgradesPerMinute(3), func(c *server.Config) { c.Limits.LinksPerTarget = 2 })
	r.connect(clientOf("w"))
	r.refused(requestOf(t, clientOf("w")), 503, "CAPACITY")
	r.connect(daemonOf("w")) // the last place is kept for it
	if refused := r.refused(requestOf(t, daemonOf("w")), 429, "RATE_LIMITED"); refused.Header.Get("Retry-After") == "" {
		t.Error("nothing says when to come back")
	}
}

func TestADaemonThatConnectsAgainReplacesItsOlderLinkAtOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ old, new []claims }{
		"the same install":    {[]claims{install("one")}, []claims{install("one")}},
		"a higher generation": {[]claims{install("one"), generation(7)}, []claims{install("two"), generation(8)}},
		"a higher generation than none": {
			[]claims{install("one"), without("daemonIssueGeneration")}, []claims{install("two"), generation(1)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			old := r.connect(daemonOf("w", c.old...))
			before := open(r.connect(clientOf("w")), old, "before")
			daemon := r.connect(daemonOf("w", c.new...))
			// The older link still has its connection, and nothing else.
			old.send(e2eeFrame(before.id, 1, 1, "bGF0ZQ"), responseFrame("req", "stolen"))
			s := open(before.client, daemon, "after")
			s.exchange()
			// Its sessions are over: their keys are gone.
			s.client.send(e2eeFrame(before.id, 1, 1, "bG9zdA"))
			s.exchange()
			if len(old.in) != 0 {
				t.Errorf("the older link still gets %v", <-old.in)
			}
		})
	}
}

func TestADaemonWhosePlaceADeadOneHasGetsIt(t *testing.T) {
	t.Parallel()
	r := start(t)
	hole := r.raw(daemonOf("w", install("one"))) // reads nothing and answers nothing
	client := r.connect(clientOf("w"))
	client.send(initFrame("lost"))
	daemon := r.connect(daemonOf("w", install("two")))
	open(client, daemon, "found").exchange()
	_ = hole
}

func TestADaemonThatAnswersItsProbeKeepsItsPlace(t *testing.T) {
	t.Parallel()
	r := start(t)
	s := r.pair("w", install("one"))
	other := requestOf(t, daemonOf("w", install("two")))
	r.refused(other, 409, "DAEMON_ALREADY_CONNECTED")
	s.exchange()
	// Those that name no install are not taken for one: two of them would replace each other in a circle.
	u := r.pair("v", without("installId"), without("daemonIssueGeneration"))
	r.refused(requestOf(t, daemonOf("v", without("installId"), without("daemonIssueGeneration"))), 409,
		"DAEMON_ALREADY_CONNECTED")
	u.exchange()
}

func TestADaemonThatOnlyAnswersPingsIsAlive(t *testing.T) {
	t.Parallel()
	r := start(t)
	p := r.raw(daemonOf("w", install("one")))
	probed := make(chan error, 1)
	go func() {
		for {
			f, err := p.next()
			if err == nil && f.Header.OpCode == ws.OpPing {
				_, err = p.nc.Write(frame(ws.OpPong, string(f.Payload)))
				probed <- err
				return
			}
			if err != nil {
				probed <- err
				return
			}
		}
	}()
	r.refused(requestOf(t, daemonOf("w", install("two"))), 409, "DAEMON_ALREADY_CONNECTED")
	if err := <-probed; err != nil {
		t.Errorf("the daemon was not probed: %v", err)
	}
}
