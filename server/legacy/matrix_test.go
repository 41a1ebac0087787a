package legacy_test

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"testing"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/devplatform"
)

// One hub: legacy and native ends meet, with frames that only they can read.

func nativeClaims(role, workspace string) devplatform.Claims {
	return devplatform.Claims{Role: role, WorkspaceID: workspace, RuntimeTargetID: home, Algorithm: devplatform.EdDSA}
}

func TestALegacyClientAndALegacyDaemonMeet(t *testing.T) {
	t.Parallel()
	r := start(t)
	s := r.pair("w")
	for range 5 {
		s.exchange()
	}
}

func TestALegacyClientAndANativeDaemonMeet(t *testing.T) {
	t.Parallel()
	r := start(t)
	daemon := r.native(relayv1.Role_ROLE_DAEMON, nativeClaims(devplatform.RoleDaemon, "w"))
	client, other, pairing := r.connect(clientOf("w")), r.connect(clientOf("w")), r.connect(pairingOf("w"))
	client.send(initFrame("r1"))
	e := daemon.want(typeInit, "r1", initFrame("r1"))
	if e.GetProfile() != relayv1.Profile_PROFILE_NOISE_IK || e.GetSequence() != 0 {
		t.Errorf("got the header %v", e)
	}
	other.send(initFrame("r2"))
	daemon.want(typeInit, "r2", initFrame("r2"))
	// What is in an envelope is nobody's business on its way.
	answer := legacyOf(typeResponse, "s1", "anything at all \x00\xff"[:16])
	answer.RequestId, answer.Profile = "r1", relayv1.Profile_PROFILE_NOISE_IK
	daemon.send(answer)
	client.want("anything at all ")
	client.send(e2eeFrame("s1", 1, 1, "dXA"))
	if e := daemon.want(typeData, "s1", e2eeFrame("s1", 1, 1, "dXA")); e.GetSequence() != 1 || e.GetEpoch() != 1 {
		t.Errorf("got the header %v", e)
	}
	down, stale := dataOf("s1", 1, 5, "one"), dataOf("s1", 1, 5, "again")
	next := dataOf("s1", 2, 1, "two")
	daemon.send(down, stale, next, legacyOf(typeUpdate, "s1", "update"))
	client.want("one", "two", "update")
	// Only its owner sends in a session.
	other.send(e2eeFrame("s1", 1, 2, "c3RvbGVu"))
	other.quiet("w")
	pairing.send(offerRequest("p1"))
	daemon.want(typeAsk, "p1", offerRequest("p1"))
	daemon.send(legacyOf(typeAnswer, "p1", "offer"))
	pairing.want("offer")
	client.quiet("w")
	// The daemon goes, and the client hears of it in its own words.
	daemon.leave()
	client.want(unavailable("w", home, ""))
}

func TestANativeClientAndALegacyDaemonMeet(t *testing.T) {
	t.Parallel()
	r := start(t)
	client := r.native(relayv1.Role_ROLE_CLIENT, nativeClaims(devplatform.RoleClient, "w"))
	ask := func(request, text string) *relayv1.Envelope {
		e := legacyOf(typeInit, request, text)
		e.Profile = relayv1.Profile_PROFILE_NOISE_IK
		return e
	}
	client.send(ask("r0", "to nobody"))
	client.wantStatus("PEER_UNAVAILABLE")
	daemon := r.connect(daemonOf("w"))
	client.send(ask("r1", initFrame("r1")))
	daemon.want(initFrame("r1"))
	daemon.send(responseFrame("r1", "s1"))
	if e := client.want(typeResponse, "s1", responseFrame("r1", "s1")); e.GetRequestId() != "r1" {
		t.Errorf("got the header %v", e)
	}
	client.send(dataOf("s1", 1, 1, e2eeFrame("s1", 1, 1, "dXA")), dataOf("s1", 1, 1, "stale"))
	daemon.want(e2eeFrame("s1", 1, 1, "dXA"))
	daemon.send(e2eeFrame("s1", 1, 1, "ZG93bg"), updateFrame("s1", 2))
	client.want(typeData, "s1", e2eeFrame("s1", 1, 1, "ZG93bg"))
	client.want(typeUpdate, "s1", updateFrame("s1", 2))
	client.send(legacyOf(typeAsk, "p1", redeemRequest("p1")))
	daemon.want(redeemRequest("p1"))
	daemon.send(redeemResponse("p1"))
	client.want(typeAnswer, "p1", redeemResponse("p1"))
	// Nothing that its daemon could be made to send on is for envelopes.
	client.send(legacyOf(relayv1.FrameType_FRAME_TYPE_PRESENCE, "s1", "x"))
	if why := client.end(); why != "FRAME_INVALID" {
		t.Errorf("got the end %q, want FRAME_INVALID", why)
	}
}

func TestANativeSessionFindsNoDaemonInALegacyOne(t *testing.T) {
	t.Parallel()
	r := start(t)
	s := r.pair("w")
	client := r.native(relayv1.Role_ROLE_CLIENT, nativeClaims(devplatform.RoleClient, "w"))
	bind := [16]byte{7}
	sum := sha256.Sum256(bind[:])
	client.send(&relayv1.Envelope{
		Type: typeInit, Sequence: 1, BindKey: bind[:], Profile: relayv1.Profile_PROFILE_NOISE_IKPSK2,
		SessionId: strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16])),
		Encoding:  relayv1.Encoding_ENCODING_NOISE, Ciphertext: []byte("opaque"),
	})
	client.wantStatus("PEER_UNAVAILABLE")
	s.exchange()
}

// The same ids at two tenants, legacy and native.
func TestTenantsDoNotMeetWhateverTheySpeak(t *testing.T) {
	t.Parallel()
	r := start(t)
	one := r.pair("one")
	one = open(one.client, one.daemon, "same")
	daemon := r.native(relayv1.Role_ROLE_DAEMON, nativeClaims(devplatform.RoleDaemon, "two"))
	client := r.connect(clientOf("two"))
	client.send(initFrame("req_same"))
	daemon.want(typeInit, "req_same", initFrame("req_same"))
	answer := legacyOf(typeResponse, "same", "welcome")
	answer.RequestId, answer.Profile = "req_same", relayv1.Profile_PROFILE_NOISE_IK
	daemon.send(answer)
	client.want("welcome")
	stranger := r.native(relayv1.Role_ROLE_CLIENT, nativeClaims(devplatform.RoleClient, "one"))
	stranger.send(dataOf("same", 100, 100, "forged"))
	for n := 1; n < 4; n++ {
		one.exchange()
		client.send(e2eeFrame("same", 1, n, "dXA"))
		daemon.want(typeData, "same", e2eeFrame("same", 1, n, "dXA"))
		daemon.send(dataOf("same", 1, uint64(n), "down"))
		client.want("down")
	}
	// Of another tenant's workspace an envelope ends its link.
	of := stranger.of
	stranger.of.WorkspaceID = "two"
	stranger.send(dataOf("same", 100, 101, "forged"))
	stranger.of = of
	if why := stranger.end(); why != "ENVELOPE_MISMATCH" {
		t.Errorf("got the end %q, want ENVELOPE_MISMATCH", why)
	}
	one.exchange()
}
