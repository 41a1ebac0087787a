//go:build unix

package wsconn

import (
	"errors"
	"os"
	"syscall"
)

// rawReads: readSocket works here.
const rawReads = true

// readSocket reads what a socket has. again: nothing yet.
func readSocket(fd uintptr, dst []byte) (n int, again bool, err error) {
	for {
		n, err = syscall.Read(int(fd), dst)
		switch {
		case err == nil:
			return n, false, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return 0, true, nil
		default:
			return 0, false, os.NewSyscallError("read", err)
		}
	}
}
