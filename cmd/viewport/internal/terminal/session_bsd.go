//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package terminal

import "golang.org/x/sys/unix"

const getTermios = unix.TIOCGETA

// awaitExit returns when the leader has ended. These systems give no way to wait and leave the id taken, so it is
// reaped.
func (p *process) awaitExit() {
	err := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.state, p.reaped = err, p.cmd.ProcessState, true
}

// members returns the session's first process group as one negative id: there is no /proc to look further.
func members(sid int) []int {
	if unix.Kill(-sid, 0) != nil {
		return nil
	}
	return []int{-sid}
}
