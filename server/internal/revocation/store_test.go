package revocation

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func open(t *testing.T, dir string) *List {
	t.Helper()
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // closed before, in some tests
	return l
}

func keep(t *testing.T, l *List) {
	t.Helper()
	if err := l.Keep(); err != nil {
		t.Fatal(err)
	}
}

// reopened is the list as another process finds it.
func reopened(t *testing.T, l *List, dir string) *List {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, dir)
}

func TestWhatWasKeptIsThereForTheNextProcess(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	revoke(t, l, install, `"stolen" – at <Köln> & \ sold`)
	revoke(t, l, laptop, "")
	revoke(t, l, token, "leaked")
	l.Restore(laptop)
	keep(t, l)
	want := l.All()
	l = reopened(t, l, dir)
	if got := l.All(); !slices.Equal(got, want) || len(got) != 2 {
		t.Errorf("got %v, want %v", got, want)
	}
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
	l.Restore(install)
	l.Restore(token)
	keep(t, l)
	if l = reopened(t, l, dir); l.Len() != 0 {
		t.Errorf("got %v, want nothing: all was restored", l.All())
	}
}

func TestWhatACrashLeftBesideTheFileDoesNotCount(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	revoke(t, l, install, "")
	keep(t, l)
	if err := os.WriteFile(filepath.Join(dir, newName), []byte(`{"version":1,"revo`), 0o644); err != nil {
		t.Fatal(err)
	}
	l = reopened(t, l, dir)
	revoke(t, l, laptop, "")
	keep(t, l)
	if l = reopened(t, l, dir); l.Len() != 2 {
		t.Errorf("got %v, want both", l.All())
	}
}

func TestARevocationHoldsWhileItCannotBeWrittenAndTheNextOneWritesBoth(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	// Works for root, too: a folder with something in it can't be replaced by a file.
	obstacle := filepath.Join(dir, newName)
	if err := os.MkdirAll(filepath.Join(obstacle, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	revoke(t, l, install, "")
	if err := l.Keep(); err == nil || !l.Revoked(link) {
		t.Fatalf("got %v and revoked %v, want an error and a revocation that holds", err, l.Revoked(link))
	}
	if !revoke(t, l, install, "") {
		t.Error("it was not revoked before")
	}
	if l.Keep() == nil {
		t.Error("the second attempt says that it is written")
	}
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	revoke(t, l, install, "")
	keep(t, l)
	if l = reopened(t, l, dir); !l.Revoked(link) {
		t.Error("it is forgotten")
	}
}

func TestADamagedFileIsRefusedRatherThanForgotten(t *testing.T) {
	row := func(fields string) string { return `{"version":1,"revocations":[{` + fields + `}]}` }
	const good = `"workspaceId":"acme","installId":"i-1","reason":"","revokedAt":"2026-11-24T03:00:00Z"`
	for name, content := range map[string]string{
		"empty":                    "",
		"no JSON":                  "revocations",
		"null":                     "null",
		"no version":               `{"revocations":[]}`,
		"another version":          `{"version":2,"revocations":[]}`,
		"more behind":              row(good) + "{}",
		"unknown field":            row(good + `,"until":"tomorrow"`),
		"no pairing":               row(`"workspaceId":"acme","reason":"","revokedAt":"2026-11-24T03:00:00Z"`),
		"two pairings":             row(good + `,"tokenId":"t"`),
		"no workspace":             row(`"installId":"i-1","reason":"","revokedAt":"2026-11-24T03:00:00Z"`),
		"workspace's form":         row(strings.Replace(good, "acme", "a/b", 1)),
		"no time":                  row(`"workspaceId":"acme","installId":"i-1","reason":""`),
		"a time that is no time":   row(strings.Replace(good, "24T", "99T", 1)),
		"a reason that is no text": row(strings.Replace(good, `"reason":""`, `"reason":"\u0007"`, 1)),
		"twice":                    `{"version":1,"revocations":[{` + good + `},{` + good + `}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, fileName)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, dir, path, "damaged", "backup")
			if after, err := os.ReadFile(path); err != nil || string(after) != content {
				t.Errorf("the file was changed: %q, %v", after, err)
			}
		})
	}
}

// refused wants Open to fail with an error that says all this.
func refused(t *testing.T, dir string, says ...string) {
	t.Helper()
	l, err := Open(dir)
	if err == nil {
		_ = l.Close()
		t.Fatalf("opened, with %v", l.All())
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("got %q, want %q in it", err, text)
		}
	}
}

func TestAFileThatWasCutAnywhereIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	for i := range 20 {
		revoke(t, l, Subject{"acme", Install, fmt.Sprint(i)}, "cut")
	}
	keep(t, l)
	whole, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) - 1 { // the last byte is a newline
		if rows, err := parse(whole[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes are read as %d revocations", n, len(whole), len(rows))
		}
	}
	if rows, err := parse(whole); err != nil || len(rows) != 20 {
		t.Errorf("the whole: got %d, %v", len(rows), err)
	}
}

func TestStateThatOthersCanGetAtIsRefusedWithWhatMendsIt(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	l := open(t, dir)
	revoke(t, l, install, "")
	keep(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	chmod := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602} {
		chmod(path, mode)
		refused(t, dir, "chmod 600", path)
	}
	chmod(path, 0o600)
	for _, mode := range []os.FileMode{0o720, 0o702, 0o777} {
		chmod(dir, mode)
		refused(t, dir, "chmod 700", dir)
	}
	chmod(dir, 0o755) // whoever may look in reads nothing
	elsewhere := filepath.Join(t.TempDir(), "real.json")
	if err := os.Rename(path, elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, path); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, "not a regular file", path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(elsewhere, path); err != nil {
		t.Fatal(err)
	}
	if l := open(t, dir); !l.Revoked(link) {
		t.Error("mended, and the revocation is gone")
	}
}

func TestAFolderThatCannotKeepAnythingIsRefusedAtTheStart(t *testing.T) {
	base := t.TempDir()
	refused(t, filepath.Join(base, "none"), "there is no folder", "mkdir -m 700")
	if _, err := os.Stat(filepath.Join(base, "none")); err == nil {
		t.Error("the folder was made: where it is missing its disk may be")
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, file, "is no folder")
	if err := os.MkdirAll(filepath.Join(base, newName, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	refused(t, base, newName)
}

func TestTwoRelaysCannotShareAFolderAndACrashedOneLeavesNoLock(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	refused(t, dir, "another relay", lockName)
	if l = reopened(t, l, dir); l.Len() != 0 {
		t.Errorf("got %v", l.All())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// What a process that was killed leaves is the file without the lock.
	if _, err := os.Stat(filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}
