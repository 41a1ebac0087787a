//go:build unix

package proxies_test

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// relay is a real relay process.
type relay struct {
	t    *testing.T
	addr string
	cmd  *exec.Cmd

	mu sync.Mutex
	// Guarded by mu: its log, and a channel that is closed and replaced when that has grown.
	lines []map[string]any
	grown chan struct{}
	ended chan struct{} // closed when it has ended
}

// startRelay runs one on an address with further settings; port 0 is any free one.
func startRelay(t *testing.T, addr string, environ ...string) *relay {
	t.Helper()
	host, port, _ := strings.Cut(addr, ":")
	cmd := exec.Command(relayCommand, "serve")
	cmd.Env = append([]string{
		"RELAY_HOST=" + host, "RELAY_LISTEN_PORT=" + port, "RELAY_VALIDATE_URL=" + platform.ValidateURL(),
		"RELAY_MAX_LINKS_PER_ADDRESS=0", "RELAY_READINESS_DELAY=0", "RELAY_DRAIN_TIME=0",
	}, environ...)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, cmd: cmd, grown: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		for s := bufio.NewScanner(pipe); s.Scan(); {
			line := map[string]any{}
			if err := json.Unmarshal(s.Bytes(), &line); err != nil {
				line["msg"] = s.Text()
			}
			r.mu.Lock()
			r.lines = append(r.lines, line)
			close(r.grown)
			r.grown = make(chan struct{})
			r.mu.Unlock()
		}
		_ = cmd.Wait() // its exit code is in cmd
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-r.ended
		if t.Failed() {
			for _, line := range r.lines {
				t.Logf("relay %d: %v", cmd.Process.Pid, line)
			}
		}
	})
	r.addr, _ = r.line("serving")["listen"].(string)
	return r
}

// line waits until the log says msg, and returns the line.
func (r *relay) line(msg string) map[string]any {
	r.t.Helper()
	ctx, seen := patient(r.t), 0
	for {
		r.mu.Lock()
		lines, grown := r.lines, r.grown
		r.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if lines[seen]["msg"] == msg {
				return lines[seen]
			}
		}
		select {
		case <-grown:
		case <-r.ended:
			r.t.Fatalf("the relay ended without %q in its log", msg)
		case <-ctx.Done():
			r.t.Fatalf("no %q in the relay's log", msg)
		}
	}
}

// terminate sends SIGTERM.
func (r *relay) terminate() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
}

// wait waits until it has ended, and returns its exit code.
func (r *relay) wait() int {
	r.t.Helper()
	select {
	case <-r.ended:
		return r.cmd.ProcessState.ExitCode()
	case <-patient(r.t).Done():
		r.t.Fatal("the relay does not end")
		return -1
	}
}
