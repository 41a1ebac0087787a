package legacycrypto

import (
	"bytes"
	"testing"
)

// What the package's comment says is missing is missing, so that nobody takes it for caution.

func TestARelayThatIsInTheMiddleWhenAClientPairsLearnsTheSecret(t *testing.T) {
	daemon := pairingDaemon(t)
	client, fromClient := asking(t, "a client", 0)
	relay := testKey(t, "the relay's channel key")

	// It asks in the client's place, reads the offer, and seals it for the client.
	toDaemon := set(t, fromClient, "clientChannelPublicKey", relay.Public().String())
	fromDaemon := parse[*OfferResponse](t, offered(t, daemon, toDaemon))
	requestID := fromDaemon.RequestID
	down, err := newChannel(relay, fromDaemon.DaemonChannel, requestID)
	if err != nil {
		t.Fatal(err)
	}
	offer, err := down.open(offerData(requestID), fromDaemon.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	up, err := newChannel(relay, parse[*OfferRequest](t, fromClient).ClientChannel, requestID)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := up.seal(nil, offerData(requestID), offer)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := tryOffer(client, encode(offerResponseText{
		typeOfferResponse, requestID, true, relay.Public().String(), sealed.text(),
	}))
	if err != nil || shown.TrustAnchor != testAnchor {
		t.Fatalf("the client sees the genuine anchor %s, %v", shown.TrustAnchor, err)
	}

	// So it goes with the redemption, and both signatures verify.
	text, err := client.Redeem(signingKey(t, "the client's signing key"))
	if err != nil {
		t.Fatal(err)
	}
	r := parse[*RedeemRequest](t, text)
	plaintext, err := up.open(redeemData(r.RequestID, r.OfferID), r.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	if sealed, err = down.seal(nil, redeemData(r.RequestID, r.OfferID), plaintext); err != nil {
		t.Fatal(err)
	}
	answer, atDaemon, err := redeem(t, daemon, begun, encode(redeemRequestText{
		typeRedeemRequest, r.RequestID, r.OfferID, sealed.text(),
	}))
	if err != nil {
		t.Fatal(err)
	}
	atClient, err := client.Finish(parse[*RedeemResponse](t, answer))
	if err != nil {
		t.Fatal(err)
	}
	read, key, err := parseRedeem(plaintext)
	if err != nil {
		t.Fatal(err)
	}
	atRelay := derivePSK(read.RedeemSecret, r.OfferID, read.TrustAnchor, key, atClient.Peer)
	if !bytes.Equal(atRelay.Reveal(), atDaemon.PSK.Reveal()) || !bytes.Equal(atRelay.Reveal(), atClient.PSK.Reveal()) {
		t.Error("got three different secrets: the package's comment is wrong")
	}
}

func TestAnybodyIsAClientWithNoiseIK(t *testing.T) {
	c, d := configs(t, NoiseIK)
	c.Random = source("somebody who knows the daemon's public key")
	h, init := begin(t, c)
	response, daemon := answer(t, d, init, nil)
	client, err := tryResponse(h, response)
	if err != nil {
		t.Fatal(err)
	}
	opens(t, daemon, seal(t, client, "do as I say"), "do as I say")
}
