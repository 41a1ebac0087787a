package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Role says which side of a session an identity is for.
type Role string

// Roles.
const (
	// Daemon serves a runtime target.
	Daemon Role = "daemon"
	// Client opens sessions to one.
	Client Role = "client"
)

// Errors that a caller may want to tell apart, with errors.Is. What wraps them names the file and what to do.
var (
	// ErrNotFound: there is no such file yet. It is fs.ErrNotExist.
	ErrNotFound = fs.ErrNotExist
	// ErrPermissions: others can read or write the file, or replace it. The text has the command that mends it.
	ErrPermissions = errors.New("others have access")
	// ErrCorrupt: the file is not what this package wrote. It is never replaced.
	ErrCorrupt = errors.New("the file is damaged")
	// ErrPairingUnknown: no such pairing waits: it never did, was used, or is older than PairingLifetime.
	ErrPairingUnknown = errors.New("identity: the pairing is unknown, used or too old")
)

// Store is a home directory with identities in it. It holds nothing open and nothing in memory.
type Store struct {
	home     string        // absolute
	lockWait time.Duration // how long to wait for another process that changes a file
}

// Open returns the store in home; empty means VIEWPORT_HOME, else ~/.viewport. It touches no disk: what is missing is
// made by the first write.
func Open(home string) (*Store, error) {
	if home == "" {
		home = os.Getenv("VIEWPORT_HOME")
	}
	if home == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("identity: no home directory (%w); set VIEWPORT_HOME to a directory for keys", err)
		}
		home = filepath.Join(user, ".viewport")
	}
	home, err := filepath.Abs(home)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return &Store{home: home, lockWait: 10 * time.Second}, nil
}

// Path returns where the identity of role in workspace lies, whether or not it exists.
func (s *Store) Path(role Role, workspace string) (string, error) {
	f, err := s.file(role, workspace, ".json")
	return f.path(), err
}

// Peers returns the pinned peers of role in workspace. There may be none yet.
func (s *Store) Peers(role Role, workspace string) (*Peers, error) {
	f, err := s.file(role, workspace, ".peers.json")
	if err != nil {
		return nil, err
	}
	return &Peers{file: f, role: role, workspace: workspace}, nil
}

// Pairings returns the pairing strings of the daemon of workspace that wait for their client. There may be none yet.
func (s *Store) Pairings(workspace string) (*Pairings, error) {
	f, err := s.file(Daemon, workspace, ".pairings.json")
	if err != nil {
		return nil, err
	}
	peers, err := s.Peers(Daemon, workspace)
	if err != nil {
		return nil, err
	}
	return &Pairings{store: s, workspace: workspace, file: f, peers: peers}, nil
}

// maxFileName is the limit of the file systems we know, in bytes.
const maxFileName = 255

func (s *Store) file(role Role, workspace, suffix string) (file, error) {
	if role != Daemon && role != Client {
		return file{}, fmt.Errorf("identity: role %q is neither daemon nor client", string(role))
	}
	if !ValidName(workspace) {
		return file{}, fmt.Errorf("identity: workspace %q is not 1 to 128 bytes of [A-Za-z0-9._:-]", workspace)
	}
	name := escape(workspace) + suffix
	if len(name) > maxFileName {
		return file{}, fmt.Errorf("identity: workspace %q needs a file name of %d bytes, a file system takes %d: use fewer "+
			"dots and colons", workspace, len(name), maxFileName)
	}
	dir := filepath.Join(s.home, "relay-identities", "x25519", string(role))
	return file{home: s.home, dir: dir, name: name, lockWait: s.lockWait}, nil
}

// escape writes a name as a file name: %XX for each byte outside [A-Za-z0-9_-]. No name becomes "." or starts with one.
func escape(name string) string {
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
