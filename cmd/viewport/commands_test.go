package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/relaytest"
)

func TestIdentityShowsTheKeyTheFingerprintAndTheFile(t *testing.T) {
	w := newWorld(t)
	first := w.run(nil, nil, "identity")
	if first.code != 0 || first.err != "" {
		t.Fatalf("got %v, want success and no word on standard error", first)
	}
	store, err := identity.Open(w.clientHome)
	w.must(err)
	id, err := store.Load(identity.Client, workspace)
	w.must(err)
	path, err := store.Path(identity.Client, workspace)
	w.must(err)
	for _, want := range []string{id.Public.String(), id.Public.Fingerprint(), path} {
		if !strings.Contains(first.out, want) {
			t.Errorf("got %q, want %q in it", first.out, want)
		}
	}
	w.want(w.run(nil, nil, "identity"), first.out, "", 0)
	daemon := w.run(nil, nil, "identity", "--role", "daemon")
	if daemon.code != 0 || strings.Contains(daemon.out, id.Public.String()) {
		t.Errorf("got %v for the daemon's role, want a key of its own", daemon)
	}

	w.must(os.Chmod(path, 0o644))
	refused := w.run(nil, nil, "identity")
	w.says(refused, 1, path, "chmod 600 "+path)
	w.says(w.run(nil, nil, "attach"), 255, "chmod 600 "+path)
	w.must(exec.Command("sh", "-c", regexp.MustCompile(`chmod 600 \S+`).FindString(refused.err)).Run())
	w.want(w.run(nil, nil, "identity"), first.out, "", 0)
}

func TestPairingWorksOnceAndIsRemembered(t *testing.T) {
	w := newWorld(t)
	served := w.daemon("--pair")
	printed := served.out.wait(w.ctx, t, "\n")
	if _, err := identity.ParsePairing(printed); err != nil {
		t.Fatalf("got %q on the daemon's standard output, want the pairing string alone: %v", printed, err)
	}
	w.says(w.run(nil, nil, "attach", "true"), 255, "not paired", "`viewport pair`", "--pair")
	w.want(w.run(nil, nil, "attach", "--pair", printed, "echo", "first"), "first\n", "", 0)
	w.want(w.run(nil, nil, "attach", "echo", "again"), "again\n", "", 0)

	// Another client comes too late with it, and gets one of its own.
	other := "VIEWPORT_HOME=" + t.TempDir()
	w.says(w.run([]string{other}, nil, "attach", "--pair", printed, "true"), 255, "used up", "`viewport pair`", "(PAIRING_UNKNOWN)")
	made := w.runIn(w.daemonEnv(), nil, "pair", "--label", "other")
	if made.code != 0 || strings.Count(made.out, "\n") != 1 || !strings.Contains(made.err, "10 minutes") {
		t.Errorf("got %v, want the string alone on standard output", made)
	}
	// Workspace and target come from the string; the space of a paste does not matter.
	env := []string{other, "VIEWPORT_WORKSPACE=", "VIEWPORT_TARGET=", "VIEWPORT_PAIR= " + made.out}
	w.want(w.run(env, nil, "attach", "echo", "other"), "other\n", "", 0)
	w.want(w.run([]string{other}, nil, "attach", "echo", "other"), "other\n", "", 0)
}

func TestAPairingStringThatIsNoGoodSaysSo(t *testing.T) {
	w := newWorld(t)
	w.daemon()
	store, err := identity.Open(w.daemonHome)
	w.must(err)
	pairings, err := store.Pairings(workspace)
	w.must(err)
	old, err := pairings.Create(target, identity.NoiseIKpsk2, "", time.Now().Add(-identity.PairingLifetime-time.Minute))
	w.must(err)
	expired, err := old.Encode()
	w.must(err)
	w.says(w.run(nil, nil, "attach", "--pair", expired), 255, "too old", "`viewport pair`", "(PAIRING_UNKNOWN)")
	for _, bad := range []string{"vp1.AQ", "hello", expired[:len(expired)-1], expired + "A"} {
		got := w.run(nil, nil, "attach", "--pair", bad)
		w.says(got, 2, "--pair", "no pairing string")
		if strings.Contains(got.err, bad) {
			t.Errorf("got %q, which repeats what may be a secret", got.err)
		}
	}
	w.says(w.run([]string{"VIEWPORT_TARGET=desktop"}, nil, "attach", "--pair", expired), 2, "target "+target)
}

func TestABadCommandLineExits2AndSaysWhatToDo(t *testing.T) {
	w := newWorld(t).paired()
	bare := environment("VIEWPORT_HOME=" + t.TempDir())
	connection := []string{"--relay", "VIEWPORT_RELAY", "--workspace", "--target", "--token-file", "VIEWPORT_TOKEN_FILE"}
	for _, tt := range []struct {
		args  string
		words []string
	}{
		{"attach", connection},
		{"daemon", connection},
		{"daemon --relay 127.0.0.1:1 --workspace w --target t", []string{"missing: --token-file (or VIEWPORT_TOKEN_FILE)\n"}},
		{"identity", []string{"--workspace", "VIEWPORT_WORKSPACE"}},
		{"pair --workspace w", []string{"missing: --target (or VIEWPORT_TARGET)\n"}},
		{"pair --workspace w --target a/b", []string{"--target takes"}},
		{"attach --relay r:1 --workspace w --target t --token x --token-file y", []string{"exclude each other"}},
	} {
		w.says(w.runIn(bare, nil, strings.Fields(tt.args)...), 2, tt.words...)
	}
	for _, args := range []string{"", "attach --tokenn x", "nothing", "attach -t -T", "identity --role boss", "pair --profile none"} {
		if got := w.run(nil, nil, strings.Fields(args)...); got.code != 2 || !strings.HasPrefix(got.err, "viewport: ") {
			t.Errorf("viewport %s: got %v, want exit code 2 and what is wrong", args, got)
		}
	}
}

func TestAttachSaysWhatIsMissingAndWhatToDo(t *testing.T) {
	w := newWorld(t).paired()
	says := func(env string, words ...string) {
		t.Helper()
		w.says(w.run([]string{env}, nil, "attach", "true"), 255, words...)
	}
	says("", "no daemon serves", "start `viewport daemon`", "(PEER_UNAVAILABLE)")
	says("VIEWPORT_RELAY=127.0.0.1:1", "no connection to the relay: dial tcp 127.0.0.1:1", "refused")
	says("VIEWPORT_RELAY=nonsense", "--relay", "https://host")
	says("VIEWPORT_TOKEN_FILE=/nonexistent/token", "/nonexistent/token", "not exist")
	says("VIEWPORT_TOKEN_FILE="+w.file("empty", "\n"), "empty")
	says("VIEWPORT_TOKEN_FILE="+w.file("junk", "junk"), "token", "(TOKEN_INVALID)")
	w.daemon()
	for token, reason := range map[string]string{
		w.relay.Token(identity.Client, workspace, target, relaytest.TTL(-time.Hour)): "(TOKEN_EXPIRED)",
		w.relay.Token(identity.Client, workspace, "desktop"):                         "(TARGET_MISMATCH)",
		w.relay.Token(identity.Client, "other", target):                              "(WORKSPACE_MISMATCH)",
		w.relay.Token(identity.Daemon, workspace, target):                            "(ROLE_MISMATCH)",
	} {
		w.says(w.run([]string{"VIEWPORT_TOKEN_FILE=", "VIEWPORT_TOKEN=" + token}, nil, "attach", "true"), 255, "token", reason)
	}
	says("VIEWPORT_HOME="+w.stranger(), "does not know this client's key", "`viewport pair`", "(NOT_AUTHORISED)")
}

// stranger is a client's home that has pinned the daemon, which has not pinned it.
func (w *world) stranger() string {
	w.Helper()
	home := w.TempDir()
	clients, err := identity.Open(home)
	w.must(err)
	daemons, err := identity.Open(w.daemonHome)
	w.must(err)
	id, err := daemons.Load(identity.Daemon, workspace)
	w.must(err)
	peers, err := clients.Peers(identity.Client, workspace)
	w.must(err)
	w.must(peers.Add(identity.Peer{Key: id.Public, Target: target, Profile: identity.NoiseIK, PairedAt: time.Now()}))
	return home
}

func TestADaemonThatIsRefusedForGoodEndsAndSaysWhy(t *testing.T) {
	w := newWorld(t)
	d := w.startDaemon([]string{"VIEWPORT_TOKEN_FILE=" + w.clientToken})
	d.waits(1)
	if log := d.log.text(); !strings.HasPrefix(log, "viewport: ") || !strings.HasSuffix(log, "(ROLE_MISMATCH)\n") {
		t.Errorf("got %q, want the reason", log)
	}
}

func TestTheTokenThatIsTypedCountsBeforeTheOneOfTheEnvironment(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	good := w.relay.Token(identity.Client, workspace, target)
	w.want(w.run([]string{"VIEWPORT_TOKEN_FILE=/nonexistent"}, nil, "attach", "--token", good, "true"), "", "", 0)
	env := []string{"VIEWPORT_TOKEN=junk", "VIEWPORT_TOKEN_FILE="}
	w.want(w.run(env, nil, "attach", "--token-file", w.clientToken, "true"), "", "", 0)
}

func TestAPreSharedKeyCanBeRequired(t *testing.T) {
	w := newWorld(t)
	served := w.daemon()
	pairing := strings.TrimSpace(w.runIn(w.daemonEnv(), nil, "pair", "--profile", "noise-ik").out)
	w.says(w.run(nil, nil, "attach", "--require-psk", "--pair", pairing, "true"), 255, "IKpsk2", "(PROFILE_TOO_WEAK)")
	w.want(w.run(nil, nil, "attach", "--pair", pairing, "true"), "", "", 0)
	w.says(w.run([]string{"VIEWPORT_REQUIRE_PSK=true"}, nil, "attach", "true"), 255, "IKpsk2", "(PROFILE_TOO_WEAK)")
	served.stops(syscall.SIGINT, 0)

	w.daemon("--require-psk")
	w.says(w.run(nil, nil, "attach", "true"), 255, "IKpsk2", "(PROFILE_TOO_WEAK)")
	pairing = strings.TrimSpace(w.runIn(w.daemonEnv(), nil, "pair").out)
	w.want(w.run(nil, nil, "attach", "--pair", pairing, "true"), "", "", 0)
}

func TestVerboseSaysMoreAndNeverASecret(t *testing.T) {
	w := newWorld(t).paired()
	served := w.daemon("-v")
	token := w.relay.Token(identity.Client, workspace, target)
	env := []string{"VIEWPORT_TOKEN_FILE=", "VIEWPORT_TOKEN=" + token}
	got := w.run(env, nil, "attach", "-v", "echo", "a word of the user")
	if got.code != 0 || got.out != "a word of the user\n" || !strings.Contains(got.err, "session opened") ||
		!strings.Contains(got.err, "profile=noise-ikpsk2") {
		t.Errorf("got %v, want the command's output and the session's story", got)
	}
	served.log.wait(w.ctx, t, "terminal closed")
	for _, log := range []string{got.err, served.log.text()} {
		if strings.Contains(log, token) || strings.Contains(log, "a word of the user") {
			t.Errorf("a secret is in %q", log)
		}
	}
}
