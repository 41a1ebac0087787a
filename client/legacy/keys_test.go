package legacy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getviewport/relay/client/legacy"
)

func TestAnIdentityIsReadAsTodaysDaemonsWriteIt(t *testing.T) {
	id, err := legacy.NewIdentity("box")
	if err != nil {
		t.Fatal(err)
	}
	text, err := id.AppendFile(nil)
	if err != nil {
		t.Fatal(err)
	}
	var f map[string]any
	err = json.Unmarshal(text, &f)
	if err != nil || f["algorithm"] != "p256" || f["publicKey"] != id.Public() || len(id.Public()) != 87 {
		t.Fatalf("%v: algorithm %v, publicKey %v", err, f["algorithm"], f["publicKey"])
	}
	const begin, end = "{\n  \"deviceId\": \"box\",\n  \"createdAt\": ", "\n}\n"
	if !strings.HasPrefix(string(text), begin) || !strings.HasSuffix(string(text), end) {
		t.Error("the file is laid out in another way than today's daemons do it")
	}
	got, err := legacy.ParseIdentity(text)
	if err != nil || got.Public() != id.Public() || got.DeviceID != "box" || !got.CreatedAt.Equal(id.CreatedAt) {
		t.Errorf("read again: %v, %v", got, err)
	}
	if printed := fmt.Sprintf("%v %+v %#v", id, id, &id); strings.Contains(printed, f["privateKey"].(string)) {
		t.Error("it prints its private key")
	}
}

func TestAnIdentityThatIsNoneIsAnErrorAndNoNewKey(t *testing.T) {
	id, _ := legacy.NewIdentity("")
	other, _ := legacy.NewIdentity("")
	text, _ := id.AppendFile(nil)
	for name, bad := range map[string]string{
		"halves of two keys": strings.Replace(string(text), id.Public(), other.Public(), 1),
		"other algorithm":    strings.Replace(string(text), "p256", "x25519", 1),
		"no JSON":            "{",
		"nothing":            "{}",
	} {
		if _, err := legacy.ParseIdentity([]byte(bad)); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if (legacy.Identity{}).Public() != "" {
		t.Error("no key has a public half")
	}
	if _, err := (legacy.Identity{}).AppendFile(nil); err == nil {
		t.Error("no key was written")
	}
}

// The identity of the public vectors.
func TestTheIdentityOfTheVectorsIsRead(t *testing.T) {
	dir, named := os.LookupEnv("RELAY_VECTORS")
	if !named {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	text, err := os.ReadFile(filepath.Join(dir, "relay-noise-v3.json"))
	if os.IsNotExist(err) && !named {
		t.Skip("no folder of public vectors: set RELAY_VECTORS to the one with relay-noise-v3.json")
	}
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		DaemonIdentity struct{ PublicKey, PrivateKey string }
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	k := f.DaemonIdentity
	id, err := legacy.ParseIdentity(fmt.Appendf(nil,
		`{"deviceId":"d","createdAt":1,"algorithm":"p256","publicKey":%q,"privateKey":%q}`, k.PublicKey, k.PrivateKey))
	if err != nil || id.Public() != k.PublicKey {
		t.Errorf("got %v, %v", id.Public(), err)
	}
}
