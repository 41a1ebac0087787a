package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/getviewport/relay/server"
)

const (
	// envChild is the childSpec of a child.
	envChild = "VIEWPORT_BENCH_CHILD"
	// envProfile is set to a directory by whoever looks for what costs: CPU profiles (relay.prof and bare.prof) and heap
	// profiles (idle-*.prof) are written there, for go tool pprof. Each benchmark overwrites them.
	envProfile = "VIEWPORT_BENCH_PROFILE"
	// envFull is set by .ci/bench. Without it, as in CI, benchmarks do a hundredth, so that none rots.
	envFull = "VIEWPORT_BENCH_FULL"
)

// childSpec is what a child is to be.
type childSpec struct {
	Kind      string // relay or bare
	JWKSURL   string // where the relay gets its keys
	Cert, Key string // PEM files; empty: plain
}

// scaled is n, or little enough that nobody waits.
func scaled(n int) int {
	if os.Getenv(envFull) == "" {
		return max(1, n/100)
	}
	return n
}

func TestMain(m *testing.M) {
	text := os.Getenv(envChild)
	if text == "" {
		os.Exit(m.Run())
	}
	var spec childSpec
	err := json.Unmarshal([]byte(text), &spec)
	if err == nil {
		err = serve(spec)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, spec.Kind+":", err)
		os.Exit(1)
	}
}

// serve is a child: it prints its address, answers each line of its input, and ends with its input.
func serve(spec childSpec) error {
	debug.SetGCPercent(400) // as cmd/viewport-relay does, for both
	if dir := os.Getenv(envProfile); dir != "" {
		f, err := os.Create(filepath.Join(dir, spec.Kind+".prof"))
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	var addr net.Addr
	if spec.Kind == "relay" {
		s, err := server.New(server.Config{
			Listen: "127.0.0.1:0", JWKSURL: spec.JWKSURL, TLSCert: spec.Cert, TLSKey: spec.Key,
			Heartbeat: 20 * time.Second, Limits: limits,
		})
		if err != nil {
			cancel()
			return err
		}
		addr = s.Addr()
		go func() { ended <- s.Run(ctx) }()
	} else {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			cancel()
			return err
		}
		addr = ln.Addr()
		var options []grpc.ServerOption
		if spec.Cert != "" {
			secure, err := credentials.NewServerTLSFromFile(spec.Cert, spec.Key)
			if err != nil {
				cancel()
				return err
			}
			options = append(options, grpc.Creds(secure))
		}
		go func() { ended <- serveBare(ctx, ln, options...) }()
	}
	fmt.Println(addr)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch command, path, _ := strings.Cut(in.Text(), " "); command {
		case "cpu":
			fmt.Println(cpuTime().Nanoseconds())
		case "free": // then its memory can be read
			for range 3 { // what lies in a sync.Pool survives one collection
				runtime.GC()
			}
			debug.FreeOSMemory()
			fmt.Println(0)
		case "profile":
			for _, name := range []string{"heap", "goroutine"} {
				if err := writeProfile(name, path); err != nil {
					cancel()
					return err
				}
			}
			fmt.Println(0)
		}
	}
	cancel()
	return <-ended
}

// limits are the relay's defaults, but for those that count what comes from one address: here everybody does.
var limits = server.Limits{LinksPerAddress: server.Unlimited, LinksPerWorkspace: server.Unlimited}

func writeProfile(name, path string) error {
	f, err := os.Create(path + "-" + name + ".prof")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return pprof.Lookup(name).WriteTo(f, 1) // in text: it has the sizes of heap and stacks, too
}

// cpuTime is what this process has used so far, user and system, by its kernel.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are constant
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// child is a running child process.
type child struct {
	b    *testing.B
	pid  int
	addr string
	in   io.WriteCloser
	out  *bufio.Reader
}

func startChild(b *testing.B, spec childSpec) *child {
	b.Helper()
	binary, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		b.Fatal(err)
	}
	command := exec.Command(binary)
	command.Env = append(os.Environ(), envChild+"="+string(text))
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	c := &child{b: b, pid: command.Process.Pid, in: in, out: bufio.NewReader(out)}
	b.Cleanup(func() {
		_ = in.Close()
		if err := command.Wait(); err != nil {
			b.Errorf("%s: %v", spec.Kind, err)
		}
	})
	c.addr = c.line()
	if spec.Kind == "relay" {
		awaitReady(b, c.addr, spec.Cert != "")
	}
	return c
}

// awaitReady waits until a relay has the platform's keys.
func awaitReady(b *testing.B, addr string, secure bool) {
	b.Helper()
	scheme := "http"
	if secure {
		scheme = "https"
	}
	// Whose certificate it is does not matter for a probe of our own child.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	probe := http.Client{Transport: transport}
	for give := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		answer, err := probe.Get(scheme + "://" + addr + "/readyz")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(give) {
			b.Fatalf("the relay is not ready: %v, %v", answer, err)
		}
	}
}

func (c *child) line() string {
	c.b.Helper()
	s, err := c.out.ReadString('\n')
	if err != nil {
		c.b.Fatal(err)
	}
	return strings.TrimSpace(s)
}

// cpu is cpuTime of the child.
func (c *child) cpu() time.Duration {
	c.b.Helper()
	return time.Duration(c.ask("cpu"))
}

// rss is the child's resident memory in bytes, by its kernel, after it has freed what it does not need.
func (c *child) rss() int {
	c.b.Helper()
	c.ask("free")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid))
	if err != nil {
		c.b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kib, err := strconv.Atoi(fields[1])
			if err != nil {
				c.b.Fatal(err)
			}
			return kib << 10
		}
	}
	c.b.Fatal("no VmRSS in /proc")
	return 0
}

// profile has the child write its heap and goroutine profiles if envProfile is set.
func (c *child) profile(name string) {
	c.b.Helper()
	if dir := os.Getenv(envProfile); dir != "" {
		c.ask("profile " + filepath.Join(dir, name))
	}
}

func (c *child) ask(command string) int64 {
	c.b.Helper()
	if _, err := io.WriteString(c.in, command+"\n"); err != nil {
		c.b.Fatal(err)
	}
	n, err := strconv.ParseInt(c.line(), 10, 64)
	if err != nil {
		c.b.Fatal(err)
	}
	return n
}
