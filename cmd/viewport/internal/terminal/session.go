package terminal

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookEvery is how often endSession looks whether processes are gone: they are not our children, nobody tells us.
	lookEvery = 10 * time.Millisecond
	// killPatience is how long a killed process may take to go away: it may be writing to a slow disk.
	killPatience = 10 * time.Second
)

// endSession ends every process of session sid: SIGHUP (and SIGCONT, for one that is stopped), then after grace
// SIGKILL. It returns when none is left, or with an error when one can't be ended, such as another user's.
func endSession(sid int, grace time.Duration) error {
	pids := members(sid)
	if len(pids) == 0 {
		return nil
	}
	began := time.Now()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	told := make(map[int]bool)
	for ; len(pids) > 0; pids = members(sid) {
		since := time.Since(began)
		if since > grace+killPatience {
			return fmt.Errorf("process %d of the session can't be ended", pids[0])
		}
		for _, pid := range pids {
			switch {
			case since > grace:
				_ = unix.Kill(pid, unix.SIGKILL)
			case !told[pid]:
				told[pid] = true
				_ = unix.Kill(pid, unix.SIGHUP)
				_ = unix.Kill(pid, unix.SIGCONT)
			}
		}
		<-look.C
	}
	return nil
}
