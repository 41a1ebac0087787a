package server_test

import (
	"errors"
	"testing"

	"github.com/getviewport/relay/client"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/reason"
)

func TestARevokedClientOfTheSDKGivesUpAndItsDaemonsSessionEndsWithoutWaiting(t *testing.T) {
	r := start(t)
	pair := connectSDK(t, client.Config{Relay: "http://" + r.addr}, "sdk-revoked")
	up, down := pair.open()
	if err := up.Send(patient(t), []byte("before")); err != nil {
		t.Fatal(err)
	}
	if got, err := down.Recv(patient(t)); err != nil || string(got) != "before" {
		t.Fatalf("got %q, %v", got, err)
	}
	o := r.operator("sdk-revoked")
	id := o.connections(relayv1.Role_ROLE_CLIENT)[0].GetTokenId()
	request := &relayv1.RevokePairingRequest{Pairing: &relayv1.RevokePairingRequest_TokenId{TokenId: id}}
	if n := o.revoke(request).GetLinksEnded(); n != 1 {
		t.Errorf("got %d links ended, want 1", n)
	}
	for who, s := range map[string]struct {
		session *client.Session
		want    reason.Code
	}{"the client": {up, reason.PairingRevoked}, "the daemon": {down, reason.PeerRevoked}} {
		_, err := s.session.Recv(patient(t))
		var end *client.Error
		if !errors.As(err, &end) || end.Reason != client.Reason(s.want) || end.By != "relay" {
			t.Errorf("%s's session: got %v, want %s by the relay", who, err, s.want)
		}
	}
	// It does not come back by itself.
	select {
	case <-pair.dialer.Done():
	case <-patient(t).Done():
		t.Fatal("the client has not given up")
	}
	if err := pair.dialer.Err(); !errors.Is(err, client.Reason(reason.PairingRevoked)) {
		t.Errorf("the client gave up with %v, want PAIRING_REVOKED", err)
	}
	if n := len(o.connections(relayv1.Role_ROLE_DAEMON)); n != 1 {
		t.Errorf("got %d daemons, want the one to stay", n)
	}
}
