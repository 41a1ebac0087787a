package secrets_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// process is the relay as a process of its own, the real command unless said.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	addr  string // of the public port
	admin string // of the admin port
	out   *output
	ended chan struct{} // closed when it has ended and out is complete
}

// launch starts the real command, through what is in before, and waits until it serves.
func launch(t *testing.T, p *platform, environ []string, before ...string) *process {
	t.Helper()
	args := append(before, command, "serve")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append([]string{
		"RELAY_LISTEN_PORT=0", "RELAY_ADMIN_LISTEN=127.0.0.1:0", "RELAY_ADMIN_TOKEN=" + adminToken,
		"RELAY_INTERNAL_KEY=" + internalKey, "RELAY_JWKS_URL=" + p.jwks(), "RELAY_VALIDATE_URL=" + p.validate(),
		"RELAY_LOG_LEVEL=debug", "RELAY_VALIDATE_TIMEOUT=5s",
		"RELAY_READINESS_DELAY=0", "RELAY_DRAIN_TIME=2s",
	}, environ...)
	r := follow(t, cmd)
	line := r.out.line(t, r.ended, `"msg":"serving"`)
	var serving struct{ Listen, Admin string }
	if err := json.Unmarshal([]byte(line), &serving); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	r.addr, r.admin = serving.Listen, serving.Admin
	return r
}

// follow starts cmd and gathers what it writes; the process ends with the test.
func follow(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	r := &process{t: t, cmd: cmd, out: newOutput(), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = r.out, r.out
	// A group of its own, so that the relay does not survive a strace around it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		_ = cmd.Wait() // it is killed: how it ends says nothing
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-r.ended
		if t.Failed() {
			t.Logf("the relay wrote:\n%.8000s", r.out.bytes())
		}
	})
	return r
}

// crash has the Go runtime dump all goroutines and end, and returns all that the process has written.
func (r *process) crash() []byte {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		r.t.Fatal(err)
	}
	<-r.ended
	return r.out.bytes()
}

func (r *process) dial(addr string) *grpc.ClientConn {
	r.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// get asks over HTTP/1.1 and returns the whole answer.
func (r *process) get(url string, header ...string) string {
	r.t.Helper()
	request, err := http.NewRequestWithContext(patient(r.t), http.MethodGet, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var all strings.Builder
	_ = response.Header.Write(&all)
	if _, err := io.Copy(&all, response.Body); err != nil {
		r.t.Fatal(err)
	}
	return response.Status + "\n" + all.String()
}

// output is what a process writes, for several goroutines.
type output struct {
	mu    sync.Mutex
	all   bytes.Buffer
	wrote chan struct{} // holds one: all has grown
}

func newOutput() *output { return &output{wrote: make(chan struct{}, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.wrote <- struct{}{}:
	default:
	}
	return o.all.Write(p)
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.all.Bytes())
}

// line waits for a line with text and returns it. One reader at a time.
func (o *output) line(t *testing.T, ended <-chan struct{}, text string) string {
	t.Helper()
	find := func() string {
		for line := range strings.Lines(string(o.bytes())) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				return line
			}
		}
		return ""
	}
	ctx := patient(t)
	for {
		if line := find(); line != "" {
			return line
		}
		select {
		case <-o.wrote:
		case <-ended:
			if line := find(); line != "" {
				return line
			}
			t.Fatalf("the process ended without a line with %s:\n%s", text, o.bytes())
		case <-ctx.Done():
			t.Fatalf("no line with %s:\n%s", text, o.bytes())
		}
	}
}

// interrupt ends the process in order. A strace around it ignores the signal and ends with it.
func (r *process) interrupt(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(-r.cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.ended:
	case <-patient(t).Done():
		t.Fatal("the relay does not end")
	}
}
