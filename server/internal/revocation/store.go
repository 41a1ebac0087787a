package revocation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	// fileName is the file in RELAY_STATE_DIR; its successor is written beside it and renamed.
	fileName, newName, lockName = "revocations.json", "revocations.json.new", "revocations.lock"
	// fileVersion is what this relay reads and writes.
	fileVersion = 1
	// maxFile is the longest file that is read, in bytes: the longest list of the longest rows fits.
	maxFile = 256 << 20
)

// store is the file of a list. Its methods are not for concurrent use.
type store struct {
	dir    string
	unlock func() error
}

// document is the file. A row has exactly one of the three ids.
type document struct {
	Version     int   `json:"version"`
	Revocations []row `json:"revocations"`
}

type row struct {
	Workspace string    `json:"workspaceId"`
	InstallID string    `json:"installId,omitempty"`
	Target    string    `json:"runtimeTargetId,omitempty"`
	TokenID   string    `json:"tokenId,omitempty"`
	Reason    string    `json:"reason"`
	At        time.Time `json:"revokedAt"`
}

// openStore reads the file of dir and makes sure that it could be written. What dir did not have before but the lock's
// file it does not have after.
func openStore(dir string) (*store, map[Subject]Revocation, error) {
	if err := checkDir(dir); err != nil {
		return nil, nil, err
	}
	unlock, err := lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, nil, fmt.Errorf("revocation: %w", err)
	}
	s := &store{dir: dir, unlock: unlock}
	rows, err := s.read()
	if err == nil {
		err = s.tryToWrite()
	}
	if err != nil {
		return nil, nil, errors.Join(err, unlock())
	}
	return s, rows, nil
}

// tryToWrite finds a disk that can't be written now, not at the revocation that needs it.
func (s *store) tryToWrite() error {
	if err := s.writeNew([]byte("{}\n")); err != nil {
		return err
	}
	if err := os.Remove(s.path(newName)); err != nil {
		return fmt.Errorf("revocation: %w", err)
	}
	return nil
}

// checkDir wants a folder that nobody else can write, or somebody could take the file away. It makes none: where the
// folder is missing its disk may be, and with it the revocations.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("revocation: there is no folder %s; if it never was there, make it: mkdir -m 700 %q", dir, dir)
	case err != nil:
		return fmt.Errorf("revocation: %w", err)
	case !info.IsDir():
		return fmt.Errorf("revocation: %s is no folder", dir)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("revocation: others can write in %s (mode %#o) and could take revocations away; "+
			"mend it with: chmod 700 %q", dir, info.Mode().Perm(), dir)
	}
	return nil
}

func (s *store) path(name string) string { return filepath.Join(s.dir, name) }

func (s *store) close() error { return s.unlock() }

// read returns what the file holds; without a file nothing.
func (s *store) read() (map[Subject]Revocation, error) {
	path := s.path(fileName)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return make(map[Subject]Revocation), nil
	case err != nil:
		return nil, fmt.Errorf("revocation: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("revocation: %s is not a regular file; put the file itself there", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("revocation: others can get at %s (mode %#o); see whether it still says what it should, "+
			"then mend it with: chmod 600 %q", path, info.Mode().Perm(), path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("revocation: %w", err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("revocation: %w", err)
	}
	rows, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("revocation: %s is damaged: %w. The relay does not start, because it would admit who is "+
			"revoked: restore the file from a backup, or move it away and revoke again", path, err)
	}
	return rows, nil
}

// parse reads a document; everything in it must be as write leaves it.
func parse(b []byte) (map[Subject]Revocation, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	// The version first: what else stands in a file of another version is nothing to complain about.
	var version struct{ Version int }
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, errors.New("it is not the JSON that was written")
	}
	if version.Version != fileVersion {
		return nil, fmt.Errorf("its version is %d and this relay reads %d; was it written by a newer one?",
			version.Version, fileVersion)
	}
	var d document
	strict := json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&d); err != nil {
		return nil, errors.New("it is not the JSON that was written")
	}
	if len(d.Revocations) > Max {
		return nil, fmt.Errorf("it has more than %d revocations", Max)
	}
	rows := make(map[Subject]Revocation, len(d.Revocations))
	for i, r := range d.Revocations {
		v, err := r.revocation()
		if err == nil {
			err = v.Problem()
		}
		if _, twice := rows[v.Subject]; err == nil && twice {
			err = errors.New("it comes twice")
		}
		if err != nil {
			return nil, fmt.Errorf("revocation %d: %w", i+1, err)
		}
		rows[v.Subject] = v
	}
	return rows, nil
}

func (r row) revocation() (Revocation, error) {
	v := Revocation{Subject: Subject{Workspace: r.Workspace}, Reason: r.Reason, At: r.At.UTC()}
	named := 0
	for kind, value := range map[Kind]string{Install: r.InstallID, Target: r.Target, Token: r.TokenID} {
		if value != "" {
			v.Kind, v.Value = kind, value
			named++
		}
	}
	if named != 1 {
		return v, errors.New("it has not exactly one of installId, runtimeTargetId and tokenId")
	}
	return v, nil
}

func rowOf(v Revocation) row {
	r := row{Workspace: v.Workspace, Reason: v.Reason, At: v.At}
	switch v.Kind {
	case Install:
		r.InstallID = v.Value
	case Target:
		r.Target = v.Value
	case Token:
		r.TokenID = v.Value
	}
	return r
}

// write replaces the file: after a crash there is the old one or the new one, whole.
func (s *store) write(all []Revocation) error {
	d := document{Version: fileVersion, Revocations: make([]row, 0, len(all))}
	for _, v := range all {
		d.Revocations = append(d.Revocations, rowOf(v))
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return errors.New("revocation: the list can't be written as JSON")
	}
	if err := s.writeNew(b.Bytes()); err != nil {
		return err
	}
	if err := os.Rename(s.path(newName), s.path(fileName)); err != nil {
		_ = os.Remove(s.path(newName))
		return fmt.Errorf("revocation: %w", err)
	}
	if err := syncDir(s.dir); err != nil {
		return fmt.Errorf("revocation: %w", err)
	}
	return nil
}

// writeNew writes the successor of the file, to the disk.
func (s *store) writeNew(b []byte) error {
	// What a crash left may have any mode.
	if err := os.Remove(s.path(newName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("revocation: %w", err)
	}
	f, err := os.OpenFile(s.path(newName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("revocation: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(s.path(newName))
		return fmt.Errorf("revocation: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closed := d.Close(); err == nil {
		err = closed
	}
	return err
}
