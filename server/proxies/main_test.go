//go:build unix

package proxies_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/getviewport/relay/internal/devplatform"
	_ "github.com/getviewport/relay/server" // relayCommand is made of it: no result in Go's cache outlives its change
)

// patience ends a test that would hang; nothing is asserted about time.
const patience = 4 * time.Minute

var (
	// relayCommand is the real relay, built once.
	relayCommand string
	// platform is shared by all tests, for its keys take long to make; its workspaces are each test's own.
	platform *devplatform.Server
	// busy is held by a test that keeps the machine busy, so that none makes another one miss its heartbeats.
	busy = make(chan struct{}, 1)
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(prepared{m}) }

type prepared struct{ *testing.M }

func (p prepared) Run() int {
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		_ = platform.Close()
		_ = os.RemoveAll(filepath.Dir(relayCommand))
	}()
	return p.M.Run()
}

func prepare() error {
	dir, err := os.MkdirTemp("", "viewport-proxies-")
	if err != nil {
		return err
	}
	relayCommand = filepath.Join(dir, "viewport-relay")
	build := exec.Command("go", "build", "-o", relayCommand, "github.com/getviewport/relay/cmd/viewport-relay")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if platform, err = devplatform.New(devplatform.Config{}); err != nil {
		return err
	}
	return platform.Start(ln)
}

// alone makes a test run while no other one does, but for those that only wait for a minute.
func alone(t *testing.T) {
	t.Parallel()
	busy <- struct{}{}
	t.Cleanup(func() { <-busy })
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
