package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(removeBinaries)) }

var builtBinaries struct {
	once sync.Once
	dir  string
	err  error
}

// built is a folder with all binaries in it, as `make build` makes it; built once for all tests.
func built(t *testing.T) string {
	t.Helper()
	b := &builtBinaries
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "viewport-built-"); b.err != nil {
			return
		}
		if b.dir, b.err = filepath.EvalSymlinks(b.dir); b.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", b.dir+"/", "../viewport", "../viewport-relay", ".").CombinedOutput()
		if err != nil {
			b.err = errors.New(err.Error() + ": " + string(out))
		}
	})
	if b.err != nil {
		t.Fatalf("building the binaries: %v", b.err)
	}
	return b.dir
}

func removeBinaries(code int) {
	_ = os.RemoveAll(builtBinaries.dir)
	os.Exit(code)
}

// command is viewport-dev, from a folder of binaries, that runs in a folder of the test and has its temporary files
// there.
func command(t *testing.T, bin string, args ...string) (cmd *exec.Cmd, temporary string) {
	t.Helper()
	temporary = t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, filepath.Join(bin, "viewport-dev"), args...)
	cmd.Dir = temporary
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary, "VIEWPORT_HOME=", "VIEWPORT_TOKEN=of-somebody-else")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	return cmd, temporary
}

// nothingLeft fails the test if a process of bin still runs, or a file is left in temporary.
func nothingLeft(t *testing.T, bin, temporary string) {
	t.Helper()
	links, _ := filepath.Glob("/proc/[0-9]*/exe") // none where there is no /proc
	for _, link := range links {
		if exe, err := os.Readlink(link); err == nil && strings.HasPrefix(exe, bin) {
			t.Errorf("a process is left: %s is %s", link, exe)
		}
	}
	left, err := os.ReadDir(temporary)
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

func TestTheDemoRunsARealSessionAndFindsNothingOfItOnTheLinks(t *testing.T) {
	bin := built(t)
	cmd, temporary := command(t, bin, "demo", "--push-mib", "3")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("demo: %v\n%s", err, out)
	}
	for _, want := range []string{
		`(?m)^ +\| TYPED-[0-9A-F]{24}$`,
		`(?m)^ +\| /dev/\S+$`,
		`(?m)^ +\| 29 103$`,
		`exit status 7 was passed on`,
		`3 MiB each way at once in`,
		`(?m)^ +client +to relay +HANDSHAKE_INIT +1 +[a-z2-7]{6}… +104$`,
		`none of the 6 marks was found in the [0-9,]{9,} bytes of both links`,
		`All is well\.`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("got no line that matches %q", want)
		}
	}
	if t.Failed() {
		t.Logf("output:\n%s", out)
	}
	nothingLeft(t, bin, temporary)
}

func TestADemoThatIsInterruptedFailsAndLeavesNothing(t *testing.T) {
	bin := built(t)
	cmd, temporary := command(t, bin, "demo", "--push-mib", "4096")
	out, wait := lines(t, cmd)
	for line := range out {
		if strings.Contains(line, "pushing: ") {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	for range out {
	}
	stderr, err := wait()
	if cmd.ProcessState.ExitCode() != exitFailure || !strings.Contains(stderr, "failed while pushing") {
		t.Errorf("got %v, %q; want exit code %d and an error that says what it was at", err, stderr, exitFailure)
	}
	nothingLeft(t, bin, temporary)
}

// lines starts cmd and gives the lines of its standard output. Wait returns its standard error and how it
// ended.
func lines(t *testing.T, cmd *exec.Cmd) (out <-chan string, wait func() (stderr string, err error)) {
	t.Helper()
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	all := make(chan string)
	go func() {
		defer close(all)
		for s := bufio.NewScanner(pipe); s.Scan(); {
			all <- s.Text()
		}
	}()
	return all, func() (stderr string, err error) {
		err = cmd.Wait()
		return log.String(), err
	}
}

// anyPort makes viewport-dev take free ports.
var anyPort = []string{
	"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--platform-listen", "127.0.0.1:0",
	"--page-listen", "127.0.0.1:0",
}

func TestWithJSONOneLineTellsAllThatIsNeededAndCtrlCEndsAll(t *testing.T) {
	bin := built(t)
	cmd, temporary := command(t, bin, append([]string{"--json"}, anyPort...)...)
	out, wait := lines(t, cmd)
	line, ok := <-out
	if !ok {
		stderr, err := wait()
		t.Fatalf("it ended without a line: %v\n%s", err, stderr)
	}
	var r ready
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		t.Errorf("%q: %v", line, err)
	}
	if r.Workspace != "dev" || r.Target != "laptop" {
		t.Errorf("got workspace %q, target %q, want dev and laptop", r.Workspace, r.Target)
	}
	useReady(t, bin, r)

	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for line := range out {
		t.Errorf("got a second line %q, want one", line)
	}
	if stderr, err := wait(); err != nil {
		t.Errorf("after Ctrl-C: got %v, want exit code 0\n%s", err, stderr)
	}
	nothingLeft(t, bin, temporary)
}

// useReady does with the line what it is for.
func useReady(t *testing.T, bin string, r ready) {
	t.Helper()
	attach := func(env ...string) string {
		cmd := exec.Command(filepath.Join(bin, "viewport"), "attach", "-T", "--", "echo", "from the daemon")
		cmd.Env = append(append(os.Environ(), "VIEWPORT_RELAY="+r.Relay, "VIEWPORT_TOKEN="+r.ClientToken,
			"VIEWPORT_HOME="+t.TempDir()), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("attach: %v: %s", err, out)
		}
		return string(out)
	}
	if got := attach("VIEWPORT_PAIR=" + r.Pairing); got != "from the daemon\n" {
		t.Errorf("attach with the pairing string: got %q, want %q", got, "from the daemon\n")
	}
	get := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for what, c := range map[string]struct{ url, token, want string }{
		"health":  {"http://" + r.Relay + "/health", "", `"ok":true`},
		"metrics": {"http://" + r.Admin + "/metrics", r.AdminToken, "# HELP"},
		"keys":    {r.JWKS, "", `"keys"`},
	} {
		request, err := http.NewRequest(http.MethodGet, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("authorization", "Bearer "+c.token)
		response, err := get.Do(request)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK || !strings.Contains(string(body), c.want) {
			t.Errorf("%s: got %s %.200q, want %q in it", what, response.Status, body, c.want)
		}
	}
	response, err := get.Post(r.Platform+"/dev/tokens", "application/json", strings.NewReader(`{"role":"client"}`))
	if err != nil {
		t.Fatalf("a token: %v", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		t.Errorf("a token: got %s, want 200", response.Status)
	}
}

func TestTheCommandsForPeopleCanBePastedMoreThanOnce(t *testing.T) {
	bin := built(t)
	cmd, temporary := command(t, bin, anyPort...)
	out, wait := lines(t, cmd)
	var attach string
	for line := range out {
		if strings.HasSuffix(line, " -- uname -a") {
			attach = strings.TrimSpace(line)
		}
		if strings.HasPrefix(line, "  vp1.") { // the last
			break
		}
	}
	for range 2 {
		got, err := exec.Command("sh", "-c", attach).Output()
		if want, _ := exec.Command("uname", "-a").Output(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %q, %v; want %q", attach, got, err, want)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range out {
	}
	if stderr, err := wait(); err != nil {
		t.Errorf("after SIGTERM: got %v, want exit code 0\n%s", err, stderr)
	}
	nothingLeft(t, bin, temporary)
}

func TestADaemonThatDiesIsTold(t *testing.T) {
	bin := built(t)
	cmd, temporary := command(t, bin, append([]string{"--json"}, anyPort...)...)
	out, wait := lines(t, cmd)
	<-out
	children, err := exec.Command("pgrep", "-P", strconv.Itoa(cmd.Process.Pid)).Output()
	if err != nil {
		t.Skipf("no pgrep to find the daemon with: %v", err)
	}
	if err := exec.Command("kill", "-9", strings.TrimSpace(string(children))).Run(); err != nil {
		t.Fatal(err)
	}
	for range out {
	}
	stderr, err := wait()
	const want = "viewport daemon has ended: signal: killed"
	if cmd.ProcessState.ExitCode() != exitFailure || !strings.Contains(stderr, want) {
		t.Errorf("got %v, %q; want exit code %d and the daemon's end", err, stderr, exitFailure)
	}
	nothingLeft(t, bin, temporary)
}

func TestAPortInUseIsToldWithItsFlag(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, flag := range []string{"--listen", "--admin-listen", "--platform-listen", "--page-listen"} {
		args := append(append([]string{"--no-daemon", "--legacy"}, anyPort...), flag, taken.Addr().String())
		var stdout, stderr bytes.Buffer
		code := run(args, nil, &stdout, &stderr)
		want := flag + " " + taken.Addr().String() + ": the port is in use"
		if code != exitFailure || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: got exit code %d, %q; want %d and %q", flag, code, stderr.String(), exitFailure, want)
		}
	}
}

func TestWithoutABuiltDaemonItSaysMakeBuild(t *testing.T) {
	var stdout, stderr bytes.Buffer
	// The test binary has no viewport beside it.
	for _, args := range [][]string{anyPort, {"demo"}, {"chaos"}, {"storm", "--clients", "1"}} {
		if code := run(args, nil, &stdout, &stderr); code != exitFailure || !strings.Contains(stderr.String(), "make build") {
			t.Errorf("%v: got exit code %d, %q; want %d and make build", args, code, stderr.String(), exitFailure)
		}
	}
}
