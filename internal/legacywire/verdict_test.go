package legacywire

import (
	"strings"
	"testing"
)

func TestWhoMaySendWhat(t *testing.T) {
	const (
		pass, drop = "pass", "drop"
		invalid    = "reply INVALID_FRAME"
		events     = "reply SESSION_EVENTS_SCOPE_ONLY"
		needEvents = "close session-events scope required"
		pairing    = "close pairing scope only"
		runtime    = "close runtime scope only"
		unroutable = "unroutable"
	)
	// For a client of scope runtime, pairing, session-events; for a daemon; for a worker.
	want := [kinds][5]string{
		Invalid:               {invalid, invalid, invalid, drop, drop},
		E2EE:                  {pass, pairing, events, pass, drop},
		KeyExchangeInit:       {pass, pairing, events, drop, drop},
		KeyExchangeResponse:   {invalid, invalid, invalid, pass, drop},
		KeyUpdate:             {invalid, invalid, invalid, pass, drop},
		PairingOfferRequest:   {runtime, pass, events, drop, drop},
		PairingRedeemRequest:  {runtime, pass, events, drop, drop},
		PairingOfferResponse:  {invalid, invalid, invalid, pass, drop},
		PairingRedeemResponse: {invalid, invalid, invalid, pass, drop},
		Subscribe:             {needEvents, needEvents, pass, drop, drop},
		Unsubscribe:           {needEvents, needEvents, pass, drop, drop},
		ViewerPresence:        {needEvents, needEvents, pass, drop, drop},
		SessionEvent:          {invalid, invalid, invalid, unroutable, drop},
		WorkerRequest:         {invalid, invalid, invalid, drop, pass},
	}
	for k, verdicts := range want {
		for i, sender := range []struct {
			role  Role
			scope Scope
		}{{Client, Runtime}, {Client, Pairing}, {Client, SessionEvents}, {Daemon, 0}, {Worker, 0}} {
			if got := Allowed(sender.role, sender.scope, Kind(k)).describe(); got != verdicts[i] {
				t.Errorf("%s from %v, scope %d: got %s, want %s", Kind(k), sender.role, sender.scope, got, verdicts[i])
			}
		}
		for _, nobody := range []Role{0, Worker + 1} {
			if got := Allowed(nobody, Runtime, Kind(k)).Action; got != Drop {
				t.Errorf("%s from a role that there is not: got action %d, want it dropped", Kind(k), got)
			}
		}
	}
}

func TestAClientKeepsToItsProfileAndADaemonIsNotWeaker(t *testing.T) {
	client, daemon := "close client frame profile mismatch", "close daemon frame profile mismatch"
	for _, c := range []struct {
		claim, frame         Profile
		fromClient, fromHost string
	}{
		{NoProfile, NoProfile, "pass", "pass"},
		{NoProfile, NoiseIK, "pass", "pass"},
		{NoProfile, NoiseIKpsk2, "pass", "pass"},
		{NoiseIK, NoProfile, "pass", "pass"},
		{NoiseIK, NoiseIK, "pass", "pass"},
		{NoiseIK, NoiseIKpsk2, client, "pass"},
		{NoiseIKpsk2, NoProfile, "pass", "pass"},
		{NoiseIKpsk2, NoiseIK, client, daemon},
		{NoiseIKpsk2, NoiseIKpsk2, "pass", "pass"},
	} {
		if got := ProfileAllowed(Client, c.claim, c.frame).describe(); got != c.fromClient {
			t.Errorf("a client, claim %d, frame %d: got %s, want %s", c.claim, c.frame, got, c.fromClient)
		}
		if got := ProfileAllowed(Daemon, c.claim, c.frame).describe(); got != c.fromHost {
			t.Errorf("a daemon, claim %d, frame %d: got %s, want %s", c.claim, c.frame, got, c.fromHost)
		}
	}
}

func TestAClientIsAuthorisedForTheChannelsOfItsTokenOnly(t *testing.T) {
	claim := []string{" agent-session:a\ufeff", "agent-session:b c", "other:c", ""}
	for channel, want := range map[string]bool{
		"agent-session:a": true, "agent-session:b c": true, "agent-session:": false, "agent-session:A": false,
		"agent-session:a ": false, "agent-session:ab": false, "other:c": false, "": false,
	} {
		if got := ChannelAllowed(claim, []byte(channel)); got != want {
			t.Errorf("%q: got %v, want %v", channel, got, want)
		}
	}
	if ChannelAllowed(nil, []byte("agent-session:a")) {
		t.Error("got a channel allowed by a token that names none")
	}
}

func TestClaimsAreReadAsTheyAreSpelt(t *testing.T) {
	for _, s := range []string{"runtime", "pairing", "session-events"} {
		if got := ParseScope(s); got == 0 || ParseScope(strings.ToUpper(s)) != 0 || ParseScope(s+" ") != 0 {
			t.Errorf("scope %s: got %d, and other spellings accepted or not", s, got)
		}
	}
	for _, r := range []Role{Daemon, Client, Worker} {
		if got := ParseRole(r.String()); got != r {
			t.Errorf("role %s: got %v", r, got)
		}
	}
	if ParseRole("none") != 0 || ParseRole("") != 0 || ParseScope("") != 0 || ParseProfile("") != NoProfile {
		t.Error("got a role, scope or profile of a name that is none")
	}
}

func TestEveryFieldIsFoundByItsName(t *testing.T) {
	seen := map[string]bool{}
	for f := field(1); f < fields; f++ {
		if got := fieldOf([]byte(names[f])); got != f || names[f] == "" || seen[names[f]] {
			t.Errorf("field %d, %q: got %d", f, names[f], got)
		}
		seen[names[f]] = true
		if fieldOf([]byte(strings.ToUpper(names[f]))) != 0 {
			t.Errorf("%q: got it found in capitals", names[f])
		}
	}
}

func TestAnErrorNamesTheFieldAndNothingThatThePeerSent(t *testing.T) {
	event := `"schema":"viewport.session_event_relay_frame/v1","channel":"secret"}`
	for text, want := range map[string]string{
		`{"type":"e2ee","version":2,"profile":"noise-ik","sessionId":"secret","epoch":0}`: "FRAME_INVALID: " +
			"e2ee: the field epoch is missing or malformed",
		`{"type":"secret"}`:       "FRAME_INVALID: the frame has no type that the relay knows",
		`{"secret"`:               "FRAME_INVALID: the message is not one JSON object of at most 64 levels",
		"secret\xff":              "the message is not UTF-8, as text has to be",
		`{"type":"e2ee",` + event: "FRAME_INVALID: e2ee: the field version is missing or malformed",
		`{` + event: "FRAME_INVALID: " +
			"viewport.session_event_relay_frame/v1: the field channel is missing or malformed",
	} {
		if _, err := Parse([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
