package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/getviewport/relay/server"
)

// Environment of a child: what it is, and where the relay asks about tokens. Whoever looks for what a frame costs sets
// envProfile to a directory, in which relay.prof and bare.prof are written (go tool pprof).
const (
	envChild    = "VIEWPORT_BENCH_CHILD"
	envValidate = "VIEWPORT_BENCH_VALIDATE_URL"
	envProfile  = "VIEWPORT_BENCH_PROFILE"
)

func TestMain(m *testing.M) {
	switch kind := os.Getenv(envChild); kind {
	case "":
		os.Exit(m.Run())
	case "relay", "bare":
		if err := serve(kind); err != nil {
			fmt.Fprintln(os.Stderr, kind+":", err)
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, "no such child:", kind)
		os.Exit(2)
	}
}

// serve is a child: it prints its address, answers each line of its input with the CPU time that it has used, and ends
// with its input.
func serve(kind string) error {
	debug.SetGCPercent(400) // as cmd/viewport-relay does, for both
	if dir := os.Getenv(envProfile); dir != "" {
		f, err := os.Create(filepath.Join(dir, kind+".prof"))
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
	if kind == "relay" {
		s, err := server.New(server.Config{
			Listen: "127.0.0.1:0", ValidateURL: os.Getenv(envValidate), Heartbeat: 20 * time.Second,
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
		go func() { ended <- serveBare(ctx, ln) }()
	}
	fmt.Println(addr)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(cpuTime().Nanoseconds())
	}
	cancel()
	return <-ended
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
	addr string
	in   io.WriteCloser
	out  *bufio.Reader
}

func startChild(b *testing.B, kind, validateURL string) *child {
	b.Helper()
	binary, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	command := exec.Command(binary)
	command.Env = append(os.Environ(), envChild+"="+kind, envValidate+"="+validateURL)
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
	c := &child{b: b, in: in, out: bufio.NewReader(out)}
	b.Cleanup(func() {
		_ = in.Close()
		if err := command.Wait(); err != nil {
			b.Errorf("%s: %v", kind, err)
		}
	})
	c.addr = c.line()
	return c
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
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		c.b.Fatal(err)
	}
	n, err := strconv.ParseInt(c.line(), 10, 64)
	if err != nil {
		c.b.Fatal(err)
	}
	return time.Duration(n)
}
