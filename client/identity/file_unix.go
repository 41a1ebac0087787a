//go:build unix

package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// openNoFollow opens path unless it is a symbolic link. It does not hang on a named pipe.
func openNoFollow(path string, flag int, perm fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, perm)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EMLINK) { // EMLINK: FreeBSD
		return nil, fmt.Errorf("identity: %s is a symbolic link; put the file itself there, or set VIEWPORT_HOME to "+
			"where it is", path)
	}
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return f, nil
}

// lock takes the lock file at path, waiting at most wait for whoever holds it. The kernel gives it back when its holder
// dies, so no lock is ever stale; the file stays, because removing it would let two hold different files of one name.
func lock(path string, wait time.Duration) (unlock func(), err error) {
	f, err := openNoFollow(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	// Asking again beats a blocking flock: that one can't be given up when the holder is stopped, not dead.
	const again = 5 * time.Millisecond
	for end := time.Now().Add(wait); ; time.Sleep(again) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = f.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			_ = f.Close()
			return nil, fmt.Errorf("identity: can't lock %s: %w", path, err)
		case time.Now().After(end):
			_ = f.Close()
			return nil, fmt.Errorf("identity: another process has held %s for %v; see who with: lsof %s",
				path, wait, shellQuote(path))
		}
	}
}
