package server_test

import (
	"testing"

	"google.golang.org/grpc/codes"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

func TestADaemonThatComesBackReplacesItsOldLinkAtOnce(t *testing.T) {
	r := start(t)
	old, client, _ := r.pair("back")
	daemon := r.connect(endpoint{workspace: "back", daemon: true, install: "i1", gen: 1})
	old.wantEnd(codes.Aborted, "REPLACED")
	client.wantStatus("PEER_AVAILABLE", "")
	handshake(client, daemon, newSession(3))
}

func TestADaemonWithAnOlderTokenIsStale(t *testing.T) {
	r := start(t)
	_ = r.connect(endpoint{workspace: "stale", daemon: true, install: "i2", gen: 2})
	late := r.request(endpoint{workspace: "stale", daemon: true, install: "i1", gen: 1})
	late.wantEnd(codes.AlreadyExists, "STALE_GENERATION")
}

func TestADaemonOfAnotherInstallIsRefusedWhileTheFirstAnswersTheProbe(t *testing.T) {
	r := start(t)
	first, client, s := r.pair("two")
	second := r.request(endpoint{workspace: "two", daemon: true, install: "i2", gen: 1})
	probe, err := first.next()
	if err != nil || probe.GetType() != typeHeartbeat || probe.GetStatus().GetCode() != "PROBE" {
		t.Fatalf("got %v, %v, want a HEARTBEAT with PROBE", probe, err)
	}
	first.send(&relayv1.Envelope{Type: typeHeartbeat})
	second.wantEnd(codes.AlreadyExists, "DAEMON_ALREADY_CONNECTED")
	client.send(s.data(2))
	first.want(typeData, 2)
}

func TestADaemonThatDoesNotAnswerTheProbeGivesWay(t *testing.T) {
	t.Parallel()
	r := start(t)
	silent, client, _ := r.pair("mute")
	second := r.connect(endpoint{workspace: "mute", daemon: true, install: "i2", gen: 1})
	silent.wantEnd(codes.Aborted, "REPLACED")
	client.wantStatus("PEER_AVAILABLE", "")
	handshake(client, second, newSession(3))
}

func TestADaemonThatLeavesWhileItsSuccessorIsProbedMakesRoomAtOnce(t *testing.T) {
	r := start(t)
	first, _, _ := r.pair("leaving")
	second := r.request(endpoint{workspace: "leaving", daemon: true, install: "i2", gen: 1})
	if probe, err := first.next(); err != nil || probe.GetStatus().GetCode() != "PROBE" {
		t.Fatalf("got %v, %v, want a HEARTBEAT with PROBE", probe, err)
	}
	first.cancel()
	second.admitted()
}

func TestAStrictWorkspaceGetsNoHandshakeWithoutASharedKey(t *testing.T) {
	r := start(t)
	daemon := r.connect(endpoint{workspace: "strict", daemon: true})
	client := r.connect(endpoint{workspace: "strict", policy: "crypto_pairing"})
	s := newSession(1)
	weak := s.init()
	weak.Profile = relayv1.Profile_PROFILE_NOISE_IK
	client.send(weak)
	client.wantStatus("PROFILE_TOO_WEAK", s.id)
	handshake(client, daemon, newSession(2))
}
