package legacy_test

import (
	"io"
	"testing"
	"time"

	"github.com/gobwas/ws"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
	"github.com/getviewport/relay/server"
)

// I.3, I.10, I.14 and I.19: how links end.

// I.3.
func TestAMalformedFrameEndsItsOwnConnectionAlone(t *testing.T) {
	t.Parallel()
	r := start(t, workersOn)
	witness := r.pair("witness")
	for name, bytes := range map[string][]byte{
		"an opcode of nobody":    {0x83, 0x80, 0, 0, 0, 0},
		"not masked":             {0x81, 0x01, 'x'},
		"a reserved bit":         {0xf1, 0x80, 0, 0, 0, 0},
		"compressed":             {0xc1, 0x80, 0, 0, 0, 0},
		"a length of 2^63":       {0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"a length of 2^40":       {0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"a continuation of none": {0x80, 0x80, 0, 0, 0, 0},
		"a ping of 126 bytes":    {0x89, 0xfe, 0, 126, 0, 0, 0, 0},
		"a ping in fragments":    {0x09, 0x80, 0, 0, 0, 0},
		"half a close code":      {0x88, 0x81, 0, 0, 0, 0, 3},
		"a code of nobody":       {0x88, 0x82, 0, 0, 0, 0, 0, 0},
		"not UTF-8":              {0x81, 0x81, 0, 0, 0, 0, 0xff},
	} {
		for _, c := range []devplatform.Claims{
			workerOf("w", "e1"), daemonOf("w"), clientOf("w"), viewerOf("w", "ann", "s1"),
		} {
			p := r.raw(c)
			p.write(bytes)
			if _, err := io.Copy(io.Discard, p.in); err != nil {
				t.Errorf("%s from a %s: got %v, want the end", name, c.Role, err)
			}
			_ = p.nc.Close()
		}
		// The same where there is no link: the upgrade is refused.
		nc := r.tcp()
		_, _ = nc.Write(append([]byte(upgradeText(queryOf(clientOf("w")), bearerLine("aaaa.bbbb.cccc"))), bytes...))
		_, _ = io.ReadAll(nc)
		_ = nc.Close()
		witness.exchange()
	}
	r.until("they have left", func() bool { return r.used("links") == 2 })
}

// I.10.
func TestNothingThatComesBehindAnEndIsProcessed(t *testing.T) {
	t.Parallel()
	r := start(t)
	daemon := r.connect(daemonOf("w"))
	witness := open(r.connect(clientOf("w")), daemon, "witness")
	viewer := r.viewer("w", "bob", "s1")
	for name, c := range map[string]struct {
		claims         devplatform.Claims
		breaks, behind string
		code           int
		reason         string
	}{
		"a client":  {clientOf("w"), offerRequest("p"), initFrame("late"), 4008, "runtime scope only"},
		"a pairing": {pairingOf("w"), initFrame("p"), offerRequest("late"), 4008, "pairing scope only"},
		"another client": {
			clientOf("w", profile("noise-ikpsk2")), e2eeFrame("s", 1, 1, "eA"),
			`{"pairingPeerId":"p",` + psk(initFrame("late"))[1:], 4008, "client frame profile mismatch",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := r.raw(c.claims)
			p.t = t
			p.write(textFrame(c.breaks), textFrame(c.behind), textFrame(c.behind))
			p.wantClose(c.code, c.reason)
			p.write(textFrame(c.behind)) // it ignores the end
			_, _ = io.Copy(io.Discard, p.in)
			witness.exchange() // the daemon got nothing else
		})
	}
	t.Run("its own close frame", func(t *testing.T) {
		p := r.raw(clientOf("w"))
		p.write(frame(ws.OpClose, "\x03\xe8"), textFrame(initFrame("late")))
		p.wantClose(1000, "")
		witness.exchange()
	})
	t.Run("a viewer", func(t *testing.T) {
		p := r.raw(viewerOf("w", "ann", "s1"))
		p.write(frame(ws.OpClose, ""), textFrame(presenceFrame("s1", "joined", "ann")))
		_, _ = io.Copy(io.Discard, p.in)
		viewer.quiet("w")
	})
	t.Run("a daemon", func(t *testing.T) {
		p := r.raw(daemonOf("v", profile("noise-ikpsk2")))
		client := r.connect(pairingOf("v", without("e2eeProfile")))
		client.send(offerRequest("p"))
		p.write(textFrame(e2eeFrame("s", 1, 1, "eA")), textFrame(offerResponse("p")))
		p.wantClose(4008, "daemon frame profile mismatch")
		client.want(unavailable("v", home, ""))
	})
}

// I.14: whatever it leaves by.
func TestAViewersLeavingIsToldHoweverItLeaves(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(r *relay, p *peer){
		"its connection is lost": func(_ *relay, p *peer) { p.leave() },
		"it closes":              func(_ *relay, p *peer) { p.conn.End(1000, "") },
		"it breaks a rule":       func(_ *relay, p *peer) { p.send("\xff") },
		"an operator revokes it": func(r *relay, _ *peer) { r.revoke("w", "install-of-ann") },
		"it stops answering": func(r *relay, p *peer) {
			p.leave()
			q := r.raw(viewer("w", "ann", "install-of-ann", "s1"))
			q.write(textFrame(presenceFrame("s1", "heartbeat", "ann")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, quick)
			bob := r.viewer("w", "bob", "s1")
			ann := r.connect(viewer("w", "ann", "install-of-ann", "s1"))
			ann.send(presenceFrame("s1", "joined", "ann"))
			bob.want(presenceFrame("s1", "joined", "ann"))
			leave(r, ann)
			for {
				m, err := bob.next()
				if err != nil {
					t.Fatalf("bob hears nothing: %v", err)
				}
				if m.text == leftFrame("s1", "ann") {
					break
				}
			}
			if name == "it stops answering" {
				for range 2 { // the new one's, and its end
					if _, err := bob.next(); err != nil {
						t.Fatalf("bob hears nothing: %v", err)
					}
				}
			}
		})
	}
}

// viewer is viewerOf with an install.
func viewer(workspace, user, installID, id string) devplatform.Claims {
	c := viewerOf(workspace, user, id)
	c.InstallID = installID
	return c
}

// revoke is an operator's.
func (r *relay) revoke(workspace, installID string) {
	r.t.Helper()
	if _, err := r.admin.RevokePairing(r.events, &relayv1.RevokePairingRequest{
		WorkspaceId: workspace, Pairing: &relayv1.RevokePairingRequest_InstallId{InstallId: installID},
	}); err != nil {
		r.t.Fatal(err)
	}
}

// I.19.
func TestARevokedPeerIsCutAndAnotherIsNot(t *testing.T) {
	t.Parallel()
	asked := ownPlatform(t)
	r := start(t, onPlatform(asked), workersOn, func(c *server.Config) { c.RecheckInterval = 50 * time.Millisecond })
	connect := func(c devplatform.Claims) *peer {
		token, err := asked.MintLegacy(c)
		if err != nil {
			t.Fatal(err)
		}
		p, err := r.dial(request{query: queryOf(c), header: bearer(token)})
		if err != nil {
			t.Fatal(describe(err))
		}
		return p
	}
	daemon := connect(daemonOf("w", install("d")))
	good, bad := connect(clientOf("w", install("good"))), connect(clientOf("w", install("bad")))
	s := open(good, daemon, "good")
	open(bad, daemon, "bad").exchange()
	asked.Revoke(devplatform.Subject{InstallID: "bad"}) // by the platform
	if err := bad.wantEnd(); err == nil {
		t.Error("it goes on")
	}
	s.exchange()
	daemon.send(e2eeFrame("bad", 1, 9, "eA"))
	s.exchange()
	r.revoke("w", "d") // by the operator
	daemon.wantEnd()
	good.want(unavailable("w", home, ""))
	token, err := asked.MintLegacy(daemonOf("w", install("d")))
	if err != nil {
		t.Fatal(err)
	}
	r.refused(request{query: queryOf(daemonOf("w")), header: bearer(token)}, 403, "PAIRING_REVOKED")
}

// I.19: a cut would cost its peer all its sessions.
func TestALinkOutlivesItsToken(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *server.Config) {
		c.JWKSURL, c.ValidateURL, c.TokenGrace = platform.JWKSURL(), "", time.Millisecond
	})
	// Over already, by less than what clocks may differ.
	over := ttl(-5 * time.Second)
	var s *session
	for s == nil { // the keys come first
		token := tokenOf(t, daemonOf("w", over))
		daemon, err := r.dial(request{query: queryOf(daemonOf("w")), header: bearer(token)})
		if err == nil {
			s = open(r.connect(clientOf("w", over)), daemon, "s")
		} else if r.ctx.Err() != nil {
			t.Fatal(describe(err))
		}
	}
	native := r.native(relayv1.Role_ROLE_CLIENT, devplatform.Claims{
		Role: devplatform.RoleClient, WorkspaceID: "w", RuntimeTargetID: home, Algorithm: devplatform.EdDSA,
		TTL: -5 * time.Second,
	})
	if why := native.end(); why != "TOKEN_EXPIRED" {
		t.Errorf("a native link with such a token: got the end %q, want TOKEN_EXPIRED", why)
	}
	s.exchange()
}
