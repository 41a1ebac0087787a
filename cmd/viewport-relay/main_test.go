package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/getviewport/relay/cmd/viewport-relay/internal/config"
)

// patience ends processes that would hang; nothing is asserted about it.
const patience = 30 * time.Second

// binary is the real command, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "viewport-relay-test")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "viewport-relay")
	build := exec.Command("go", "build", "-ldflags", "-X main.version=v0.0.0-test", "-o", binary, ".")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	return m.Run()
}

// command prepares the real binary with nothing but environ in its environment.
func command(t *testing.T, environ []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = environ
	if environ == nil {
		cmd.Env = []string{}
	}
	cmd.WaitDelay = patience
	return cmd
}

// ends runs the real binary to its end.
func ends(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := command(t, environ, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

const enough = "RELAY_VALIDATE_URL=http://127.0.0.1:1/validate"

func TestEachEndHasItsExitCode(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	_, takenPort, _ := net.SplitHostPort(taken.Addr().String())
	file := filepath.Join(t.TempDir(), "relay.env")
	if err := os.WriteFile(file, []byte(enough+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		environ        []string
		args           []string
		code           int
		stdout, stderr string // contained; empty: nothing at all
	}{
		"version":         {nil, []string{"version"}, 0, "viewport-relay v0.0.0-test (go", ""},
		"help":            {nil, []string{"--help"}, 0, "Exit codes: 0 clean, 1 failure, 2 bad configuration", ""},
		"help of serve":   {nil, []string{"serve", "--help"}, 0, "--listen-port=7781", ""},
		"no command":      {nil, nil, 2, "", "Try viewport-relay --help."},
		"unknown flag":    {nil, []string{"serve", "--port", "1"}, 2, "", "unknown flag --port"},
		"secret as flag":  {nil, []string{"serve", "--internal-key", "x"}, 2, "", "unknown flag --internal-key"},
		"check, good":     {[]string{enough}, []string{"check"}, 0, "is good: public port 127.0.0.1:7781", ""},
		"check, bad":      {nil, []string{"check"}, 2, "error: neither RELAY_JWKS_URL nor RELAY_VALIDATE_URL", ""},
		"check, unknown":  {[]string{enough, "RELAY_X=1"}, []string{"check"}, 0, "warning: RELAY_X", ""},
		"check --strict":  {[]string{enough, "RELAY_X=1"}, []string{"check", "--strict"}, 2, "there are warnings", ""},
		"strict and good": {[]string{enough}, []string{"check", "--strict"}, 0, "The configuration is good", ""},
		"check, file":     {nil, []string{"check", "--config", file, "--listen-port", "1"}, 0, "127.0.0.1:1 ", ""},
		"check, no file":  {nil, []string{"check", "--config", file + "x"}, 2, "no such file", ""},
		"serve, bad":      {[]string{"RELAY_LISTEN_PORT=x"}, []string{"serve"}, 2, "", "did not start"},
		"serve, taken":    {[]string{enough, "PORT=" + takenPort}, []string{"serve"}, 1, "", "address already in use"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := ends(t, test.environ, test.args...)
			if code != test.code {
				t.Errorf("exit code: got %d, want %d", code, test.code)
			}
			for what, text := range map[string][2]string{"stdout": {stdout, test.stdout}, "stderr": {stderr, test.stderr}} {
				if !strings.Contains(text[0], text[1]) || text[1] == "" && text[0] != "" {
					t.Errorf("%s: got %q, want %q", what, text[0], text[1])
				}
			}
		})
	}
}

func TestServeThatDoesNotStartTellsAllProblems(t *testing.T) {
	_, _, stderr := ends(t, []string{"RELAY_LISTEN_PORT=x", "RELAY_HEARTBEAT=20", "RELAY_MAX_ENVELOP=1"}, "serve")
	for _, want := range []string{
		"RELAY_LISTEN_PORT", "RELAY_HEARTBEAT", "RELAY_MAX_ENVELOP", "RELAY_JWKS_URL", "mend: ",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("got %q, want it to contain %q", stderr, want)
		}
	}
}

// running is a relay that has started.
type running struct {
	cmd    *exec.Cmd
	stderr *bufio.Scanner
}

// start runs serve, on any free port unless environ says otherwise, and waits for the log to say msg.
func start(t *testing.T, msg string, environ ...string) (running, map[string]any) {
	t.Helper()
	cmd := command(t, append([]string{enough, "RELAY_LISTEN_PORT=0", "RELAY_LOG_LEVEL=debug"}, environ...), "serve")
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := running{cmd, bufio.NewScanner(pipe)}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return r, r.line(t, msg)
}

// line reads the log up to the line with msg.
func (r running) line(t *testing.T, msg string) map[string]any {
	t.Helper()
	for r.stderr.Scan() {
		var line map[string]any
		if err := json.Unmarshal(r.stderr.Bytes(), &line); err != nil {
			t.Errorf("the log has a line that is no JSON: %q", r.stderr.Text())
		}
		if line["msg"] == msg {
			return line
		}
	}
	t.Fatalf("the log ended without %q", msg)
	return nil
}

// rest reads the log to its end and waits for the process.
func (r running) rest(t *testing.T) (code int, log string) {
	t.Helper()
	var lines []string
	for r.stderr.Scan() {
		lines = append(lines, r.stderr.Text())
	}
	var exit *exec.ExitError
	if err := r.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return r.cmd.ProcessState.ExitCode(), strings.Join(lines, "\n")
}

func TestASignalEndsServeCleanly(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(signal.String(), func(t *testing.T) {
			r, line := start(t, "serving", "RELAY_READINESS_DELAY=0")
			if line["version"] != "v0.0.0-test" {
				t.Errorf("got version %v, want v0.0.0-test", line["version"])
			}
			response, err := (&http.Client{Timeout: patience}).Get("http://" + line["listen"].(string) + "/health")
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("/health: got %s, want 200", response.Status)
			}
			if err := r.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if code, log := r.rest(t); code != 0 || !strings.Contains(log, "stopping") {
				t.Errorf("got exit code %d and log %s, want 0 and a line that it stops", code, log)
			}
		})
	}
}

func TestTheOperatorsMemoryLimitIsObeyedAndElseThereIsOne(t *testing.T) {
	_, line := start(t, "memory", "GOMEMLIMIT=100MiB")
	if line["limit_bytes"] != float64(100<<20) || line["limit_from"] != "GOMEMLIMIT" {
		t.Errorf("got %v, want the operator's limit", line)
	}
	_, line = start(t, "memory")
	if _, err := os.Stat("/proc/meminfo"); err == nil && line["limit_from"] == "GOMEMLIMIT" {
		t.Errorf("got %v, want a limit from the cgroup or the machine", line)
	}
}

func TestTheMemoryIsTheLeastOfCgroupsAndMachine(t *testing.T) {
	meminfo := "MemFree: 1 kB\nMemTotal:       8388608 kB\n"
	for name, test := range map[string]struct {
		files map[string]string
		want  int64
		from  string
	}{
		"nothing known": {nil, 0, ""},
		"machine":       {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n"}, 8 << 30, "the machine"},
		"container": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n",
			"sys/fs/cgroup/memory.max": "268435456\n"}, 256 << 20, "the cgroup"},
		"container without a limit": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n",
			"sys/fs/cgroup/memory.max": "max\n"}, 8 << 30, "the machine"},
		"slice around the unit": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a.slice/b.service\n",
			"sys/fs/cgroup/a.slice/b.service/memory.max": "max\n", "sys/fs/cgroup/a.slice/memory.max": "1073741824\n"},
			1 << 30, "the cgroup"},
		"version 1": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/1\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n"}, 512 << 20, "the cgroup"},
		"version 1 without a limit": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 8 << 30, "the machine"},
		"nonsense": {map[string]string{"proc/meminfo": "MemTotal: many\n",
			"proc/self/cgroup": "::::/../..\n0::/../..\nx\n"}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{}
			for path, content := range test.files {
				root[path] = &fstest.MapFile{Data: []byte(content)}
			}
			if got, from := memoryAvailable(root); got != test.want || from != test.from {
				t.Errorf("got %d from %q, want %d from %q", got, from, test.want, test.from)
			}
		})
	}
}

func TestTheReferenceInTheDocsIsCurrent(t *testing.T) {
	code, stdout, _ := ends(t, nil, "check", "--docs")
	if code != 0 || stdout != config.Reference() {
		t.Errorf("check --docs: got exit code %d and %d bytes, want the reference", code, len(stdout))
	}
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(docs) != config.Reference() {
		t.Error("docs/configuration.md is stale; make it: go run ./cmd/viewport-relay check --docs > docs/configuration.md")
	}
}

func TestAVersionIsAlwaysNamed(t *testing.T) {
	if got := buildVersion(); got == "" || strings.ContainsAny(got, " \n") {
		t.Errorf("got %q, want one word", got)
	}
}

func TestTheCommandLineIsMadeOfTheTable(t *testing.T) {
	var args []string
	want := map[string]string{}
	for _, f := range config.Flags() {
		args = append(args, "--"+f.Name, "v-"+f.Variable)
		want[f.Variable] = "v-" + f.Variable
	}
	for _, verb := range []string{"serve", "check"} {
		c, command, err := parse(append([]string{verb}, args...), io.Discard, io.Discard)
		if err != nil || command != verb {
			t.Fatalf("got %q, %v, want %q", command, err, verb)
		}
		got := c.Serve.options().Flags
		if verb == "check" {
			got = c.Check.options().Flags
		}
		if len(got) != len(want) {
			t.Errorf("%s: got %d flags, want %d", verb, len(got), len(want))
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: flag of %s: got %q, want %q", verb, k, got[k], v)
			}
		}
	}
}
