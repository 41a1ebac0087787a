//go:build !unix

package revocation

import (
	"errors"
	"fmt"
)

// Without the modes and locks of Unix nothing says that the file is this relay's alone.
func lock(string) (unlock func() error, err error) {
	return nil, fmt.Errorf("state is kept on Unix only: %w", errors.ErrUnsupported)
}
