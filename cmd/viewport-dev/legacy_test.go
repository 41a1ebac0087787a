package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/client/legacy"
	"github.com/getviewport/relay/internal/legacypage"
)

func TestWithLegacyAClientOfTodayReachesItsDaemonWithWhatIsPrinted(t *testing.T) {
	bin := built(t)
	cmd, temporary := command(t, bin, append([]string{"--json", "--legacy", "--no-daemon"}, anyPort...)...)
	out, wait := lines(t, cmd)
	var r ready
	if err := json.Unmarshal([]byte(<-out), &r); err != nil || r.Legacy == nil {
		t.Fatalf("got %+v, %v; want what --legacy adds", r, err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := legacy.Dial(ctx, legacy.DialConfig{
		Config: legacy.Config{
			URL: "ws://" + r.Relay, Workspace: r.Workspace, Target: r.Legacy.Target,
			Token: client.StaticToken(r.Legacy.Token),
		},
		Daemon: r.Legacy.DaemonKey, Profile: identity.NoiseIK,
	})
	if err != nil {
		t.Fatal(err)
	}
	session, err := c.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Send(ctx, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got, err := session.Recv(ctx); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v, want the message back", got, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	readPage(t, r.Legacy)

	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for range out {
	}
	if stderr, err := wait(); err != nil {
		t.Errorf("after Ctrl-C: got %v, want exit code 0\n%s", err, stderr)
	}
	nothingLeft(t, bin, temporary)
}

// readPage reads the page as a browser does, and as one whom another site has sent.
func readPage(t *testing.T, r *legacyReady) {
	t.Helper()
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	get := func(path, host string) (int, []byte) {
		request, err := http.NewRequest(http.MethodGet, r.Page+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			request.Host = host
		}
		response, err := web.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, body
	}
	if status, body := get("", ""); status != http.StatusOK || !bytes.Equal(body, legacyPage) {
		t.Errorf("the page: got %d %.100q", status, body)
	}
	if status, body := get("legacy.js", ""); status != http.StatusOK || !bytes.Equal(body, legacypage.Module) {
		t.Errorf("its module: got %d %.100q", status, body)
	}
	var settings legacyReady
	if _, body := get("settings", ""); json.Unmarshal(body, &settings) != nil || settings != *r {
		t.Errorf("its settings: got %q", body)
	}
	status, body := get("settings", "evil.example")
	if status != http.StatusForbidden || bytes.Contains(body, []byte(r.Token)) {
		t.Errorf("its settings under another name: got %d %q, want 403", status, body)
	}
}

func TestTheUpgradeForPeopleCanBePasted(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed") // viewport-dev prints commands for it, and needs it for nothing else
	}
	bin := built(t)
	cmd, temporary := command(t, bin, append([]string{"--legacy", "--no-daemon"}, anyPort...)...)
	out, wait := lines(t, cmd)
	var upgrade string
	for line := range out {
		if strings.Contains(line, "Sec-WebSocket-Protocol") {
			upgrade = strings.TrimSpace(line)
			break
		}
	}
	got, _ := exec.Command("sh", "-c", upgrade).Output() // curl gives up after a second, which is no success
	for _, want := range []string{"101 Switching Protocols", "Protocol: viewport.v1\r\n"} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("%s: got %q, want %q in it", upgrade, got, want)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for range out {
	}
	if stderr, err := wait(); err != nil {
		t.Errorf("after Ctrl-C: got %v, want exit code 0\n%s", err, stderr)
	}
	nothingLeft(t, bin, temporary)
}

func TestThePageIsForThisMachineOnly(t *testing.T) {
	var stdout, stderr bytes.Buffer
	args := append(append([]string{"--no-daemon", "--legacy"}, anyPort...), "--page-listen", "0.0.0.0:0")
	code := run(args, nil, &stdout, &stderr)
	if code != exitFailure || !strings.Contains(stderr.String(), "this machine only") {
		t.Errorf("got exit code %d, %q; want %d and why", code, stderr.String(), exitFailure)
	}
}
