package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// endGrace is how long a process gets to end after SIGTERM: a daemon gives its terminals 2 s and says goodbye.
	endGrace = 8 * time.Second
	// runVariable is in the environment of every process that is started here, and of what those start.
	runVariable = "VIEWPORT_DEV_RUN"
)

// binaries returns this binary and the viewport beside it.
func binaries() (self, viewport string, err error) {
	if self, err = os.Executable(); err != nil {
		return "", "", err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", "", err
	}
	viewport, err = beside(self, "viewport")
	return self, viewport, err
}

// beside returns the binary of that name in the folder of this one.
func beside(self, name string) (string, error) {
	path := filepath.Join(filepath.Dir(self), name)
	if info, err := os.Stat(path); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("there is no %s beside viewport-dev: run `make build`, which makes all in bin/ (looked for %s)",
			name, path)
	}
	return path, nil
}

// environment is this process's own without what would tell viewport something else, and with what is given.
func environment(run string, with ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "VIEWPORT_") })
	return append(append(env, runVariable+"="+run), with...)
}

// process is a child that leads a process group of its own: Ctrl-C at this terminal is ours to pass on, and it ends
// with all that it started in its group.
type process struct {
	// Static.
	name string
	cmd  *exec.Cmd
	// done is closed when it has ended and its output was read; err is set before.
	done chan struct{}
	err  error
}

// startProcess starts cmd.
func startProcess(name string, cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Whoever inherited the output of a process that has ended does not keep us waiting.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return adopt(name, cmd), nil
}

// adopt takes over cmd, which was started as the leader of a process group.
func adopt(name string, cmd *exec.Cmd) *process {
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	return p
}

// exitCode is the exit code of a process that has ended; -1 if a signal ended it.
func (p *process) exitCode() int { return p.cmd.ProcessState.ExitCode() }

// kill ends the process and its group at once, and waits for it.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// end ends the process and its group, waits for it, and says if it did not end by itself.
func (p *process) end() error {
	late := false
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
		timer := time.NewTimer(endGrace)
		defer timer.Stop()
		select {
		case <-p.done:
		case <-timer.C:
			late = true
		}
	}
	p.kill()
	if late {
		return fmt.Errorf("%s did not end within %v after SIGTERM and was killed", p.name, endGrace)
	}
	return nil
}

// survivors kills the processes that stem from run and still are there, and returns an error that names them. It sees
// them by their environment, so it finds those that left their process group; where there is no /proc it finds none.
func survivors(run string) error {
	if runtime.GOOS != "linux" {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Others' processes can't be read, and one that has just ended has no environment any more.
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), runVariable+"="+run) {
			continue
		}
		line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		errs = append(errs, fmt.Errorf("process %d was left over and killed: %s", pid,
			strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))))
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return errors.Join(errs...)
}

// tail keeps the last lines that were written to it, for a report of what went wrong.
type tail struct {
	mu sync.Mutex
	// Guarded by mu.
	b []byte
}

// tailSize is how much a tail keeps, in bytes.
const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-tailSize):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
