//go:build unix

package revocation

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the lock file at path: two relays on one folder would write over each other's revocations. The kernel
// gives it back when its holder dies, so no lock is ever stale; the file stays, because removing it would let two hold
// different files of one name.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another relay has %s: each needs a folder of its own, and one that ends keeps it "+
				"until its last link has left; see who it is with: lsof %q", path, path)
		}
		return nil, fmt.Errorf("can't lock %s: %w", path, err)
	}
	return f.Close, nil
}
