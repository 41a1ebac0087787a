package legacycrypto

import (
	"crypto/aes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNothingSecretIsEverFormattedLoggedOrMarshalled(t *testing.T) {
	cc, dc := configs(t, NoiseIKpsk2)
	h, init := begin(t, cc)
	r, err := ReadInit(dc, parse[*Init](t, init))
	if err != nil {
		t.Fatal(err)
	}
	daemon := pairingDaemon(t)
	pairing, text := redeeming(t, daemon)
	offer := daemon.offers[pairing.offer.ID]
	secrets := map[string][]byte{
		"daemon's static key": dc.Static.Reveal(), "client's static key": h.static.Reveal(),
		"client's ephemeral key": h.ephemeral.Reveal(), "psk": cc.PSK.Reveal(),
		"client's chaining key": h.state.chain[:], "client's cipher key": h.state.key[:],
		"daemon's chaining key": r.state.chain[:], "pairing key": pairing.own.Reveal(),
		"daemon's signing key": daemon.c.Key.Reveal(), "client's signing key": pairing.key.Reveal(),
		"redeem secret": []byte(pairing.secret()), "redeem secret at the daemon": []byte(offer.secret()),
	}
	for name, secret := range secrets {
		secrets[name] = append([]byte(nil), secret...) // of what Wipe clears
	}
	psk := testPSK(t)
	response, session, err := r.Respond(psk, nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := h.Finish(parse[*Response](t, response))
	if err != nil {
		t.Fatal(err)
	}
	handshake, _ := begin(t, cc) // the source goes on: other keys, so these too
	secrets["second chaining key"] = append([]byte(nil), handshake.state.chain[:]...)
	secrets["second ephemeral key"] = handshake.ephemeral.Reveal()
	responder, err := ReadInit(dc, parse[*Init](t, init))
	if err != nil {
		t.Fatal(err)
	}
	_, paired, err := redeem(t, daemon, begun, text)
	if err != nil {
		t.Fatal(err)
	}
	secrets["psk of the pairing"] = paired.PSK.Reveal()

	for name, v := range map[string]any{
		"PrivateKey": dc.Static, "PSK": psk, "SigningKey": daemon.c.Key, "ClientConfig": cc, "DaemonConfig": dc,
		"ClientHandshake": *handshake, "*ClientHandshake": handshake,
		"DaemonHandshake": *responder, "*DaemonHandshake": responder,
		"Session": *client, "*Session": session, "ClientPairing": *pairing, "*ClientPairing": pairing,
		"PairingDaemonConfig": daemon.c, "PairingDaemon": *daemon, "*PairingDaemon": daemon,
		"Paired": paired, "Offer": *pairing.offer,
	} {
		if shown := shows(everyFormOf(t, v), secrets); shown != "" {
			t.Errorf("%s shows the %s", name, shown)
		}
	}
	// Methods can't be called on what lies in an unexported field; fmt then prints what it finds.
	type holder struct {
		key       PrivateKey
		psk       PSK
		signing   SigningKey
		handshake *ClientHandshake
		responder *DaemonHandshake
		session   *Session
		pairing   *ClientPairing
		daemon    *PairingDaemon
		paired    Paired
	}
	held := holder{dc.Static, psk, daemon.c.Key, handshake, responder, client, pairing, daemon, paired}
	if shown := shows(everyFormOf(t, held), secrets); shown != "" {
		t.Errorf("what lies in an unexported field shows the %s", shown)
	}
	if got := fmt.Sprintf("%+v %#v %s", psk, dc.Static, daemon.c.Key); got != "[hidden] [hidden] [hidden]" {
		t.Errorf("got %q", got)
	}
}

// everyFormOf is v as any verb, logger and encoder shows it.
func everyFormOf(t testing.TB, v any) string {
	t.Helper()
	type nested struct {
		Value any
		Keys  []any
	}
	var out strings.Builder
	for _, value := range []any{v, nested{v, []any{v}}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b", "%o", "%c", "%U"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("x", "value", value)
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Errorf("json: %v", err)
		}
		out.Write(text)
	}
	if s, ok := v.(fmt.Stringer); ok {
		out.WriteString(s.String())
	}
	if s, ok := v.(fmt.GoStringer); ok {
		out.WriteString(s.GoString())
	}
	return out.String()
}

// shows names the secret of which eight bytes in a row stand in the text in some form.
func shows(text string, secrets map[string][]byte) string {
	for name, secret := range secrets {
		part := secret[8:16]
		for _, form := range []string{
			string(part), hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part)),
			strings.Trim(fmt.Sprint(part), "[]"), strings.ReplaceAll(strings.Trim(fmt.Sprint(part), "[]"), " ", ","),
			strings.Trim(fmt.Sprintf("%08b", part), "[]"), strings.Trim(fmt.Sprintf("%#v", part), "[]byte{}"),
			strings.Trim(fmt.Sprintf("%o", part), "[]"), base64.RawURLEncoding.EncodeToString(secret)[12:20],
			base64.StdEncoding.EncodeToString(secret)[12:20],
		} {
			if strings.Contains(text, form) {
				return name
			}
		}
	}
	return ""
}

func TestNoErrorHoldsASecretOrQuotesAFrame(t *testing.T) {
	const secret = "5ec7e75ec7e75ec7e75ec7e75ec7e7ff"
	for _, text := range []string{
		secret, `{"type":"` + secret + `"}`, `{"type":"e2ee","version":2,"profile":"` + secret + `"}`,
		`{"type":"relay_key_update_required","sessionId":"s","nextEpoch":"` + secret + `"}`,
	} {
		if _, err := Parse([]byte(text)); err == nil || strings.Contains(err.Error(), secret[:8]) {
			t.Errorf("%s: got %v", text, err)
		}
	}
	for _, f := range []func() error{
		func() error { _, err := ParsePrivateKey(secret + "!"); return err },
		func() error { _, err := NewPrivateKey([]byte(secret + secret)); return err },
		func() error { _, err := NewPSK([]byte(secret[:31])); return err },
		func() error { _, err := NewSigningKey([]byte(secret)); return err },
		func() error { _, _, err := parseRedeem([]byte(`{"redeemSecret":"` + secret + `0"}`)); return err },
		func() error { _, _, err := parseOffer([]byte(`{"redeemSecret":"` + secret + `0"}`)); return err },
	} {
		if err := f(); err == nil || strings.Contains(err.Error(), secret[:8]) {
			t.Errorf("got %v", err)
		}
	}
}

func TestTheKeyOfTheMarksIsNotTheSessions(t *testing.T) {
	client, _ := sessions(t, NoiseIK)
	var block, own [aes.BlockSize]byte
	client.mark.Encrypt(own[:], block[:])
	newBlock(make([]byte, 16)).Encrypt(block[:], block[:])
	if own == block {
		t.Error("got marks made with no key")
	}
}
