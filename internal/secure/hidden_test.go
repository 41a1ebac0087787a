package secure

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNothingSecretIsEverFormattedLoggedOrMarshalled(t *testing.T) {
	cc, dc := configs(t, ikpsk2)
	i, r := newInitiator(t, cc), newResponder(t, dc)
	client, _ := pair(t, ikpsk2)
	cc, dc = configs(t, ikpsk2)

	secrets := map[string][]byte{
		"client's private key": cc.Static.Private[:], "daemon's private key": dc.Static.Private[:], "psk": cc.PSK,
		"send key": client.send.key[:], "receive key": client.receive.key[:], "resume key": client.own[:],
	}
	type nested struct {
		Value any
		Keys  []KeyPair
	}
	for name, v := range map[string]any{
		"KeyPair": cc.Static, "*KeyPair": &cc.Static, "HandshakeConfig": cc, "*HandshakeConfig": &cc,
		"Initiator": *i, "*Initiator": i, "Responder": *r, "*Responder": r, "Channel": *client, "*Channel": client,
	} {
		var out strings.Builder
		for _, value := range []any{v, nested{v, []KeyPair{cc.Static}}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b", "%o", "%c", "%U"} {
				fmt.Fprintf(&out, verb+"\n", value)
			}
			for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
				slog.New(h).Info("x", "value", value)
			}
			text, err := json.Marshal(value)
			if err != nil {
				t.Errorf("%s: json: %v", name, err)
			}
			out.Write(text)
		}
		// A handler that goes through fields itself never gets that far.
		if got := slog.AnyValue(v).Resolve().Kind(); got != slog.KindString {
			t.Errorf("%s: a handler of slog gets a %v, want a string", name, got)
		}
		if s, ok := v.(fmt.Stringer); ok {
			out.WriteString(s.String())
		}
		if s, ok := v.(fmt.GoStringer); ok {
			out.WriteString(s.GoString())
		}
		if shown := shows(out.String(), secrets); shown != "" {
			t.Errorf("%s shows the %s: %s", name, shown, out.String())
		}
	}
	want := "x25519:" + base64.RawURLEncoding.EncodeToString(cc.Static.Public[:])
	if got := fmt.Sprintf("%+v", cc.Static); got != want {
		t.Errorf("a key pair: got %q, want %q", got, want)
	}
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

func TestNoErrorHoldsASecret(t *testing.T) {
	cc, _ := configs(t, ikpsk2)
	cc.PSK = bytes.Repeat([]byte("secret"), 5)
	if _, err := NewInitiator(cc); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error without the PSK", err)
	}
}
