package terminal

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const getTermios = unix.TCGETS

// awaitExit returns when the leader has ended and leaves its id taken, so that nobody else gets the signals meant for
// it.
func (p *process) awaitExit() {
	for {
		if err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != unix.EINTR {
			return
		}
	}
}

// members returns the ids of the processes that run in session sid, in whichever process group: a shell with job
// control puts each job into its own.
func members(sid int) []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if runsIn(pid, sid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// runsIn reads /proc/PID/stat (proc_pid_stat(5)): "pid (name) state ppid pgrp session …". A zombie does not run.
func runsIn(pid, sid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// The name may hold anything, parentheses too.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 4 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return false
	}
	session, err := strconv.Atoi(string(fields[3]))
	return err == nil && session == sid
}
