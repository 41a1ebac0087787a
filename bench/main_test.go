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
	Kind      string // relay, bare or bare-websocket
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
	addr, run, err := subjectOf(spec)
	if err != nil {
		cancel()
		return err
	}
	go func() { ended <- run(ctx) }()
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
		case "in-use": // by Go's account: what the heap holds, and stacks
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Println(m.HeapAlloc + m.StackInuse)
		case "goroutines":
			fmt.Println(runtime.NumGoroutine())
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

// subjectOf makes what a child measures, at the address where it listens.
func subjectOf(spec childSpec) (addr net.Addr, run func(context.Context) error, err error) {
	if spec.Kind == "relay" {
		s, err := server.New(server.Config{
			Listen: "127.0.0.1:0", JWKSURL: spec.JWKSURL, TLSCert: spec.Cert, TLSKey: spec.Key,
			Heartbeat: 20 * time.Second, Limits: limits, LegacyRates: rates,
		})
		if err != nil {
			return nil, nil, err
		}
		return s.Addr(), s.Run, nil
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	var secure *tls.Config
	if spec.Cert != "" {
		cert, err := tls.LoadX509KeyPair(spec.Cert, spec.Key)
		if err != nil {
			return nil, nil, err
		}
		secure = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	serve := serveBare
	if spec.Kind == "bare-websocket" {
		serve = serveBareWebSocket
	}
	return ln.Addr(), func(ctx context.Context) error { return serve(ctx, ln, secure) }, nil
}

// limits are the relay's defaults, but for those that count what comes from one address: here everybody does.
var limits = server.Limits{LinksPerAddress: server.Unlimited, LinksPerWorkspace: server.Unlimited}

// rates bound no legacy peer: today's would end the benchmark.
var rates = server.LegacyRates{
	Upgrades: server.Unlimited, KeyExchanges: server.Unlimited, Pairings: server.Unlimited,
	ClientFrames: server.Unlimited, WorkspaceFrames: server.Unlimited, DaemonFrames: server.Unlimited,
}

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

// memory is what a child uses when it has freed what it does not need, in bytes: resident by its kernel, in use by Go.
type memory struct{ resident, inUse, goroutines int }

func (c *child) memory() memory {
	c.b.Helper()
	c.ask("free")
	return memory{resident: c.rss(), inUse: int(c.ask("in-use")), goroutines: int(c.ask("goroutines"))}
}

func (c *child) rss() int {
	c.b.Helper()
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
