package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets this binary stand in for another process of the same user: see TestProcessesThat….
func TestMain(m *testing.M) {
	home := os.Getenv("IDENTITY_TEST_HOME")
	if home == "" {
		os.Exit(m.Run())
	}
	if err := child(home, os.Getenv("IDENTITY_TEST_PAIRING")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child draws the daemon's identity, or redeems the pairing string as a client with a new key, and prints the key.
func child(home, pairing string) error {
	s, err := Open(home)
	if err != nil {
		return err
	}
	if pairing == "" {
		id, err := s.LoadOrCreate(Daemon, "acme")
		fmt.Print(id.Public)
		return err
	}
	p, err := ParsePairing(pairing)
	if err != nil {
		return err
	}
	pairings, err := s.Pairings("acme")
	if err != nil {
		return err
	}
	client, err := generate(Client, "acme")
	if err != nil {
		return err
	}
	if _, err = pairings.Redeem(p.Target, p.ID(), client.Public, time.Now()); errors.Is(err, ErrPairingUnknown) {
		return nil
	}
	fmt.Print(client.Public)
	return err
}

func processes(t *testing.T, n int, env ...string) (printed []string) {
	t.Helper()
	commands, out, errs := make([]*exec.Cmd, n), make([]bytes.Buffer, n), make([]bytes.Buffer, n)
	for i := range commands {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), env...)
		c.Stdout, c.Stderr = &out[i], &errs[i]
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		commands[i] = c
	}
	for i, c := range commands {
		if err := c.Wait(); err != nil {
			t.Fatalf("process %d: %v: %s", i, err, errs[i].String())
		}
		printed = append(printed, out[i].String())
	}
	return printed
}

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "it's home")) // the quoting of commands in errors has something to do
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t *testing.T, s *Store, role Role) Identity {
	t.Helper()
	id, err := s.LoadOrCreate(role, "acme")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func pathOf(t *testing.T, s *Store, role Role) string {
	t.Helper()
	path, err := s.Path(role, "acme")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProcessesThatMakeOneIdentityAtOnceEndWithOneKey(t *testing.T) {
	home := t.TempDir()
	printed := processes(t, 8, "IDENTITY_TEST_HOME="+home)
	for _, key := range printed {
		if _, err := ParseKey(key); err != nil || key != printed[0] {
			t.Fatalf("got key %q, want %q everywhere (%v)", key, printed[0], err)
		}
	}
}

func TestGoroutinesThatMakeOneIdentityAtOnceEndWithOneKey(t *testing.T) {
	s := open(t)
	keys := make([]Key, 32)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			id, err := s.LoadOrCreate(Client, "acme")
			if err != nil {
				t.Error(err)
			}
			keys[i] = id.Public
		})
	}
	wg.Wait()
	want := create(t, s, Client).Public
	for _, got := range keys {
		if got != want {
			t.Errorf("got key %v, want %v", got, want)
		}
	}
}

func TestAnIdentityIsTheSameAfterEveryLoad(t *testing.T) {
	s := open(t)
	if _, err := s.Load(Daemon, "acme"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("before the first: got %v, want ErrNotFound", err)
	}
	made := create(t, s, Daemon)
	got, err := s.Load(Daemon, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if got.Public != made.Public || !got.Private.Equal(made.Private) || !got.CreatedAt.Equal(made.CreatedAt) ||
		got.Role != Daemon || got.Workspace != "acme" {
		t.Errorf("got %v, want %v", got, made)
	}
	if other := create(t, s, Client); other.Public == made.Public {
		t.Error("client and daemon share a key, want one each")
	}
}

func TestTheIdentityFileIsWhatTheProtocolSays(t *testing.T) {
	s := open(t)
	id, err := s.LoadOrCreate(Daemon, "a.b:c-D_9")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.home, "relay-identities", "x25519", "daemon", "a%2Eb%3Ac-D_9.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"version": 1.0, "algorithm": "x25519", "publicKey": id.Public.String(), "privateKey": id.Private.encode(),
		"createdAt": id.CreatedAt.Format(time.RFC3339),
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for dir := filepath.Dir(path); dir != filepath.Dir(s.home); dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: got %v (%v), want 0700", dir, info.Mode().Perm(), err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: got %v (%v), want 0600", path, info.Mode().Perm(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 2 {
		t.Errorf("got %v (%v), want the identity and the lock", left, err)
	}
}

func TestTheHomeIsViewportHomeElseBelowTheUsersHome(t *testing.T) {
	t.Setenv("HOME", "/home/ann")
	for _, c := range []struct{ argument, variable, want string }{
		{"/given", "/variable", "/given"},
		{"", "/variable", "/variable"},
		{"", "", "/home/ann/.viewport"},
	} {
		t.Setenv("VIEWPORT_HOME", c.variable)
		s, err := Open(c.argument)
		if err != nil {
			t.Fatal(err)
		}
		path, err := s.Path(Client, "w")
		if want := c.want + "/relay-identities/x25519/client/w.json"; err != nil || path != want {
			t.Errorf("Open(%q) with VIEWPORT_HOME=%q: got %s (%v), want %s", c.argument, c.variable, path, err, want)
		}
	}
	t.Setenv("HOME", "")
	t.Setenv("VIEWPORT_HOME", "")
	if _, err := Open(""); err == nil || !strings.Contains(err.Error(), "set VIEWPORT_HOME") {
		t.Errorf("without any home: got %v, want an error that says to set VIEWPORT_HOME", err)
	}
}

func TestNamesThatCannotBeAreRefused(t *testing.T) {
	s := open(t)
	for _, workspace := range []string{"", "a/b", "..\x00", "ä", strings.Repeat("a", 129), strings.Repeat(".", 100)} {
		if _, err := s.LoadOrCreate(Daemon, workspace); err == nil {
			t.Errorf("workspace %q was accepted", workspace)
		}
	}
	if _, err := s.LoadOrCreate("worker", "acme"); err == nil {
		t.Error("role worker was accepted")
	}
	if id, err := s.LoadOrCreate(Daemon, ".."); err != nil || id.Public.IsZero() {
		t.Errorf("workspace ..: got %v, want an identity in %%2E%%2E.json", err)
	}
}

// secretFiles makes one of each file and returns, by its name, its path and a function that reads it.
func secretFiles(t *testing.T, s *Store) map[string]struct {
	path string
	read func() error
} {
	t.Helper()
	create(t, s, Daemon)
	peers, pairings := daemonFiles(t, s)
	if err := peers.Add(testPeer(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := pairings.Create("host-1", NoiseIKpsk2, "", start); err != nil {
		t.Fatal(err)
	}
	type row = struct {
		path string
		read func() error
	}
	return map[string]row{
		"identity": {pathOf(t, s, Daemon), func() error { _, err := s.LoadOrCreate(Daemon, "acme"); return err }},
		"peers":    {peers.file.path(), func() error { _, err := peers.List(); return err }},
		"pairings": {pairings.file.path(), func() error {
			if _, _, err := pairings.Find("host-1", [8]byte{}, start); !errors.Is(err, ErrPairingUnknown) {
				return err
			}
			return nil
		}},
	}
}

func TestAFileThatOthersCanReachIsRefusedWithTheCommandThatMendsIt(t *testing.T) {
	for name, f := range secretFiles(t, open(t)) {
		for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o644, 0o666} {
			if err := f.read(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := os.Chmod(f.path, mode); err != nil {
				t.Fatal(err)
			}
			err := f.read()
			if !errors.Is(err, ErrPermissions) {
				t.Fatalf("%s with mode %#o: got %v, want ErrPermissions", name, mode, err)
			}
			mend(t, err)
		}
	}
}

// mend runs the chmod of an error's text in a shell, as a person would paste it.
func mend(t *testing.T, err error) {
	t.Helper()
	_, command, ok := strings.Cut(err.Error(), "with: ")
	if !ok {
		t.Fatalf("got %q, want a command in it", err)
	}
	command, _, _ = strings.Cut(command, " (if")
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

func TestADirectoryThatOthersCanWriteIsRefusedWithTheCommandThatMendsIt(t *testing.T) {
	s := open(t)
	files := secretFiles(t, s)
	role := filepath.Dir(pathOf(t, s, Daemon))
	for _, dir := range []string{role, filepath.Dir(role)} {
		for name, f := range files {
			if err := os.Chmod(dir, 0o770); err != nil {
				t.Fatal(err)
			}
			err := f.read()
			if !errors.Is(err, ErrPermissions) {
				t.Fatalf("%s in %s: got %v, want ErrPermissions", name, dir, err)
			}
			mend(t, err)
			if err := f.read(); err != nil {
				t.Fatalf("%s after the command: %v", name, err)
			}
		}
	}
}

func TestALinkOrAPipeInAFilesPlaceIsRefused(t *testing.T) {
	for name, f := range secretFiles(t, open(t)) {
		moved := f.path + ".moved"
		if err := os.Rename(f.path, moved); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(moved, f.path); err != nil {
			t.Fatal(err)
		}
		if err := f.read(); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: got %v, want an error about the symbolic link", name, err)
		}
		if err := os.Remove(f.path); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(f.path, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.read(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: got %v, want an error about the pipe", name, err)
		}
	}
}

func TestADamagedFileIsAnErrorAndStaysAsItIs(t *testing.T) {
	s := open(t)
	id, other := create(t, s, Daemon), create(t, s, Client)
	whole, err := os.ReadFile(pathOf(t, s, Daemon))
	if err != nil {
		t.Fatal(err)
	}
	with := func(old, replacement string) string { return strings.Replace(string(whole), old, replacement, 1) }
	damage := map[string]string{
		"empty":                "",
		"half":                 string(whole[:len(whole)/2]),
		"more after it":        string(whole) + "{}",
		"too long":             string(whole) + strings.Repeat(" ", maxFile),
		"another version":      with(`"version": 1`, `"version": 2`),
		"another algorithm":    with("x25519", "ed25519"),
		"no private key":       with(id.Private.encode(), ""),
		"a short private key":  with(id.Private.encode(), id.Private.encode()[:42]),
		"a broken private key": with(id.Private.encode(), id.Private.encode()[:20]+`\n`+id.Private.encode()[20:]),
		"another's public key": with(id.Public.String(), other.Public.String()),
		"a number for a key":   with(`"`+id.Private.encode()+`"`, "12345678987654321"),
		"no time":              with(id.CreatedAt.Format(time.RFC3339), "yesterday"),
	}
	for name, text := range damage {
		for file, f := range secretFiles(t, open(t)) {
			if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := f.read()
			if !errors.Is(err, ErrCorrupt) && file == "identity" || err == nil {
				t.Errorf("%s, %s: got %v, want ErrCorrupt", file, name, err)
			}
			for _, secret := range []string{id.Private.encode()[:20], "12345678987654321", "yesterday"} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("%s, %s: the error repeats the file: %v", file, name, err)
				}
			}
			if b, err := os.ReadFile(f.path); err != nil || string(b) != text {
				t.Errorf("%s, %s: the file was changed (%v)", file, name, err)
			}
		}
	}
}

func TestAWriteThatFailsLeavesTheOldFileAndWhatACrashLeftIsNoObstacle(t *testing.T) {
	s := open(t)
	create(t, s, Client)
	path := pathOf(t, s, Client)
	f, err := s.file(Client, "acme", ".json")
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.replace(func() {}); err == nil {
		t.Fatal("a function was written as JSON")
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the old file is gone (%v)", err)
	}
	left := filepath.Join(f.dir, ".new")
	if err := os.WriteFile(left, []byte("half a key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LoadOrCreate(Client, "other"); err != nil {
		t.Errorf("after a crash: %v", err)
	}
	if _, err := os.Stat(left); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want what the crash left to be gone", err)
	}
}

func TestWhoWaitsForALockInVainIsToldWhereItLies(t *testing.T) {
	s := open(t)
	create(t, s, Client)
	s.lockWait = 20 * time.Millisecond
	f, err := s.file(Client, "acme", ".json")
	if err != nil {
		t.Fatal(err)
	}
	err = f.locked(func() error {
		_, err := s.LoadOrCreate(Client, "other")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(f.dir, ".lock")) {
		t.Errorf("got %v, want an error that names the lock", err)
	}
	if _, err := s.LoadOrCreate(Client, "other"); err != nil {
		t.Errorf("after the lock was given back: %v", err)
	}
}
