package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxFile is the longest file that is read, in bytes: 4,096 peers with the longest names and labels fit.
const maxFile = 8 << 20

// file is one file of a store: read without a lock, because it is only ever replaced whole; changed under the lock of
// its directory.
type file struct {
	home, dir, name string
	lockWait        time.Duration
}

func (f file) path() string { return filepath.Join(f.dir, f.name) }

// read returns the file's bytes once it is sure that nobody else has had them, and what it saw of the file.
// The error wraps ErrNotFound if there is no file.
func (f file) read() ([]byte, fs.FileInfo, error) {
	r, info, err := f.open()
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("identity: %w", err)
	}
	if len(b) > maxFile {
		return nil, nil, f.corrupt("it is longer than 8 MiB")
	}
	return b, info, nil
}

// open opens the file for reading and checks what was opened, not what the name stood for before.
func (f file) open() (*os.File, fs.FileInfo, error) {
	if err := f.checkDir(); err != nil {
		return nil, nil, err
	}
	r, err := openNoFollow(f.path(), os.O_RDONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := r.Stat()
	if err == nil {
		err = f.checkInfo(info)
	}
	if err != nil {
		_ = r.Close()
		return nil, nil, err
	}
	return r, info, nil
}

func (f file) checkInfo(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("identity: %s is not a regular file", f.path())
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("identity: %s has mode %#o: %w; if nobody used it, mend it with: chmod 600 %s (if somebody "+
			"may have, move it away and pair again)", f.path(), perm, ErrPermissions, shellQuote(f.path()))
	}
	return nil
}

// checkDir refuses a directory in which somebody else could replace a file. A missing one is no fault.
func (f file) checkDir() error {
	for _, dir := range []string{filepath.Dir(f.dir), f.dir} {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("identity: %s: %w", f.path(), ErrNotFound)
		}
		if err != nil {
			return fmt.Errorf("identity: %w", err)
		}
		if perm := info.Mode().Perm(); perm&0o022 != 0 {
			return fmt.Errorf("identity: %s has mode %#o: %w and could replace keys; mend it with: chmod 700 %s",
				dir, perm, ErrPermissions, shellQuote(dir))
		}
	}
	return nil
}

// locked calls change while no other process or goroutine changes a file of the directory, which it makes if needed.
func (f file) locked(change func() error) error {
	if err := f.makeDir(); err != nil {
		return err
	}
	if err := f.checkDir(); err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(f.dir, ".lock"), f.lockWait)
	if err != nil {
		return err
	}
	defer unlock()
	return change()
}

// makeDir makes the directory and those above it that are missing, and syncs them: a key that was told to a peer must
// not vanish with its directory.
func (f file) makeDir() error {
	if _, err := os.Stat(f.dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	for dir := filepath.Dir(f.dir); len(dir) >= len(f.home); dir = filepath.Dir(dir) {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// replace writes v as JSON in the file's place: after a crash there is the old file or the new one. The lock is held,
// so the temporary file has a fixed name and what a crash left of it is written over.
func (f file) replace(v any) (err error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("identity: %s can't be written as JSON", f.path())
	}
	temporary := filepath.Join(f.dir, ".new")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("identity: %w", err)
	}
	w, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	_, err = w.Write(append(b, '\n'))
	if err == nil {
		err = w.Sync()
	}
	if closed := w.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(temporary, f.path())
	}
	if err != nil {
		_ = os.Remove(temporary)
		return fmt.Errorf("identity: %w", err)
	}
	return syncDir(f.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	err = d.Sync()
	if closed := d.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// decode reads JSON into v. What the decoder says is left out of the error: it may repeat what it read.
func (f file) decode(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return f.corrupt("it is not the JSON that was written")
	}
	return nil
}

func (f file) corrupt(why string) error {
	return fmt.Errorf("identity: %s: %w: %s; restore it, or move it away to begin anew (peers must pair again)",
		f.path(), ErrCorrupt, why)
}

// shellQuote returns s as one word of a POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("/._-+%:@,", r)
	}
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
