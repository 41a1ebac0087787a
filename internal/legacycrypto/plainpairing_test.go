package legacycrypto

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// What a stranger does who has only the description of the wire: the client's side, byte for byte.
func TestOurDaemonPairsAClientWrittenByAStranger(t *testing.T) {
	d := pairingDaemon(t)
	own := plainKey(t, 'p')
	sum := func(parts ...string) []byte { s := sha256.Sum256([]byte(strings.Join(parts, "\n"))); return s[:] }
	request := fmt.Appendf(nil, `{"type":"relay_pairing_offer_request","requestId":"req 1","clientChannelPublicKey":%q}`,
		b64(own.PublicKey().Bytes()))
	answer := plainFields(t, offered(t, d, request))
	key, err := hkdf.Key(sha256.New, plainDH(t, own, unb64(t, answer["daemonChannelPublicKey"])), sum("offer:req 1"),
		"viewport-relay-pairing-channel-v1", 32)
	if err != nil {
		t.Fatal(err)
	}
	sealed := append(unb64(t, answer["encCiphertext"]), unb64(t, answer["encTag"])...)
	text, err := plainGCM(key).Open(nil, unb64(t, answer["encIv"]), sealed, []byte("offer:req 1"))
	if err != nil || answer["ok"] != true {
		t.Fatalf("the offer: %v", err)
	}
	offer := plainFields(t, text)
	offerID, secret := offer["offerId"].(string), offer["redeemSecret"].(string)
	daemonPEM := offer["daemonPublicKey"].(string)
	wantText := fmt.Sprintf(`{"offerId":%q,"createdAt":1700000000123,"expiresAt":1700000600123,"redeemSecret":%q,`+
		`"trustAnchor":%q,"daemonDeviceId":"machine 1","daemonPublicKey":%q}`, offerID, secret, testAnchor, daemonPEM)
	if string(text) != wantText {
		t.Errorf("offer: got %s, want %s", text, wantText)
	}

	_, private, err := ed25519.GenerateKey(source("stranger"))
	if err != nil {
		t.Fatal(err)
	}
	clientPEM := publicPEM(private.Public().(ed25519.PublicKey))
	proof := ed25519.Sign(private,
		[]byte("viewport-pair-redeem-v1\n"+offerID+"\n"+secret+"\n"+testAnchor+"\n"+clientPEM))
	inner, err := json.Marshal(map[string]string{
		"redeemSecret": secret, "trustAnchor": testAnchor, "clientPublicKey": clientPEM, "clientProof": b64(proof),
	})
	if err != nil {
		t.Fatal(err)
	}
	sealed = plainGCM(key).Seal(nil, []byte("another 12 b"), inner, []byte("redeem:req 2:"+offerID))
	response, paired, err := redeem(t, d, begun, fmt.Appendf(nil,
		`{"type":"relay_pairing_redeem_request","requestId":"req 2",`+
			`"offerId":%q,"encIv":%q,"encTag":%q,"encCiphertext":%q}`,
		offerID, b64([]byte("another 12 b")), b64(sealed[len(sealed)-16:]), b64(sealed[:len(sealed)-16])))
	if err != nil {
		t.Fatal(err)
	}
	peerID := hex.EncodeToString(sum(clientPEM))
	redeemed := plainFields(t, response)["redeemed"].(map[string]any)
	want := fmt.Sprintf(`{"type":"relay_pairing_redeem_response","requestId":"req 2","ok":true,`+
		`"redeemed":{"offerId":%q,"createdAt":1700000000123,"expiresAt":1700000600123,"peerId":%q,`+
		`"daemonDeviceId":"machine 1","daemonPublicKey":%q,"relayPairingPeerId":%q,"serverSignature":%q}}`,
		offerID, peerID, daemonPEM, peerID, redeemed["serverSignature"])
	if string(response) != want {
		t.Errorf("got %s, want %s", response, want)
	}
	signed := "viewport-pair-redeem-response-v1\n" + offerID + "\n" + peerID + "\n" + testAnchor + "\n1700000600123"
	if !ed25519.Verify(d.c.Key.Public(), []byte(signed), unb64(t, redeemed["serverSignature"])) {
		t.Error("the daemon's signature does not verify")
	}
	psk, err := hkdf.Key(sha256.New, []byte(secret),
		sum("viewport-relay-policyc-pair-v1", offerID, testAnchor, clientPEM, strings.TrimSpace(daemonPEM)),
		"viewport-relay-policyc-pair-v1", 32)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(paired.PSK.Reveal(), psk) {
		t.Error("got another PSK than the stranger")
	}
}
