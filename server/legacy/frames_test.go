package legacy_test

import (
	"fmt"
	"strings"
)

// Frames as today's daemons and browsers write them.

func initFrame(requestID string) string {
	return `{"type":"relay_key_exchange_init","version":3,"profile":"noise-ik","requestId":"` + requestID +
		`","clientEphemeralPublicKey":"BAEC","encryptedClientStatic":"c3RhdGlj"}`
}

func responseFrame(requestID, sessionID string) string {
	return `{"type":"relay_key_exchange_response","version":3,"profile":"noise-ik","requestId":"` + requestID +
		`","daemonPublicKey":"BAED","daemonEphemeralPublicKey":"BAEE","encryptedMetadata":"bWV0YQ","sessionId":"` +
		sessionID + `","epoch":1,"proof":"cHJvb2Y"}`
}

func e2eeFrame(sessionID string, epoch, seq int, ciphertext string) string {
	return fmt.Sprintf(`{"type":"e2ee","version":2,"profile":"noise-ik","sessionId":"%s","epoch":%d,"seq":%d,`+
		`"iv":"AAECAwQFBgcICQoL","tag":"EBESExQVFhcYGRobHB0eHw","ciphertext":"%s"}`, sessionID, epoch, seq, ciphertext)
}

func updateFrame(sessionID string, epoch int) string {
	return fmt.Sprintf(`{"type":"relay_key_update_required","sessionId":"%s","nextEpoch":%d,"reason":"message_threshold"}`,
		sessionID, epoch)
}

func offerRequest(requestID string) string {
	return `{"type":"relay_pairing_offer_request","requestId":"` + requestID +
		`","clientChannelPublicKey":"BAEF","ttlSeconds":600}`
}

func offerResponse(requestID string) string {
	return `{"type":"relay_pairing_offer_response","requestId":"` + requestID +
		`","ok":true,"daemonChannelPublicKey":"BAEG","encIv":"aXY","encTag":"dGFn","encCiphertext":"Y3Q"}`
}

func redeemRequest(requestID string) string {
	return `{"type":"relay_pairing_redeem_request","requestId":"` + requestID +
		`","offerId":"o1","encIv":"aXY","encTag":"dGFn","encCiphertext":"Y3Q"}`
}

func redeemResponse(requestID string) string {
	return `{"type":"relay_pairing_redeem_response","requestId":"` + requestID +
		`","ok":false,"errorCode":"OFFER_EXPIRED","error":"x"}`
}

func subscribeFrame(id string, after int) string {
	return fmt.Sprintf(`{"type":"viewport.session_events.subscribe/v1","channel":"agent-session:%s","afterSequence":%d}`,
		id, after)
}

func unsubscribeFrame(id string) string {
	return `{"type":"viewport.session_events.unsubscribe/v1","channel":"agent-session:` + id + `"}`
}

func presenceFrame(id, action, user string) string {
	return `{"type":"viewport.session_viewer_presence/v1","channel":"agent-session:` + id + `","action":"` + action +
		`","userId":"` + user + `","displayName":"D","sentAt":"2026-01-02T03:04:05.678Z"}`
}

func eventFrame(id, event string) string {
	return `{"schema":"viewport.session_event_relay_frame/v1","channel":"agent-session:` + id + `","event":` + event + `}`
}

func subscribed(id string, after int) string {
	return fmt.Sprintf(`{"type":"viewport.session_events.subscribed/v1","channel":"agent-session:%s","afterSequence":%d,`+
		`"authoritativeSource":"session_events","websocketRequiredForBackfill":false}`, id, after)
}

func unavailable(workspace, target, machine string) string {
	text := `{"type":"relay_status","code":"DAEMON_UNAVAILABLE",` +
		`"message":"No machine runtime is connected for this runtime target",` +
		`"workspaceId":"` + workspace + `","retryable":true,"runtimeTargetId":"` + target + `"`
	if machine != "" {
		text += `,"machineId":"` + machine + `"`
	}
	return text + "}"
}

// session is one between a client and a daemon.
type session struct {
	client, daemon *peer
	id             string
	seq            int // of both directions
}

// pair connects a daemon and a client of a workspace and opens a session between them.
func (r *relay) pair(workspace string, more ...claims) *session {
	r.t.Helper()
	daemon := r.connect(daemonOf(workspace, more...))
	return open(r.connect(clientOf(workspace, more...)), daemon, "rs_"+workspace)
}

// open opens a session of this id.
func open(client, daemon *peer, id string) *session {
	client.t.Helper()
	client.send(initFrame("req_" + id))
	daemon.want(initFrame("req_" + id))
	daemon.send(responseFrame("req_"+id, id))
	client.want(responseFrame("req_"+id, id))
	return &session{client: client, daemon: daemon, id: id}
}

// exchange sends a frame up and one down: what both ends have sent before was handled then, and nothing else has come.
func (s *session) exchange() {
	s.client.t.Helper()
	s.seq++
	up, down := e2eeFrame(s.id, 1, s.seq, "dXA"), e2eeFrame(s.id, 1, s.seq, "ZG93bg")
	s.client.send(up)
	s.daemon.want(up)
	s.daemon.send(down)
	s.client.want(down)
}

// long is a ciphertext that makes a frame of so many bytes out of one that has none.
func long(frame string, bytes int) string { return strings.Repeat("A", bytes-len(frame)) }

// viewer connects a client that watches sessions and subscribes it to all of them.
func (r *relay) viewer(workspace, user string, ids ...string) *peer {
	r.t.Helper()
	v := r.connect(viewerOf(workspace, user, ids...))
	for _, id := range ids {
		v.send(subscribeFrame(id, 0))
		v.want(subscribed(id, 0))
	}
	return v
}

// workerRequest is a worker's; headers is the inside of an object, body a string with its quotes or nothing.
func workerRequest(requestID, method, path, headers, body string) string {
	text := `{"type":"viewport.worker_transport.request/v1","requestId":"` + requestID + `","method":"` + method +
		`","path":"` + path + `","headers":{` + headers + `}`
	if body != "" {
		text += `,"body":` + body
	}
	return text + "}"
}

// psk is a frame of the stronger profile.
func psk(frame string) string { return strings.Replace(frame, `"noise-ik"`, `"noise-ikpsk2"`, 1) }
