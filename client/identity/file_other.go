//go:build !unix

package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Without the modes of Unix nothing says that a key is private, so nothing is kept on disk.
var errUnix = fmt.Errorf("identity: keys are kept on disk on Linux and macOS only: %w", errors.ErrUnsupported)

func openNoFollow(string, int, fs.FileMode) (*os.File, error) { return nil, errUnix }

func lock(string, time.Duration) (unlock func(), err error) { return nil, errUnix }
