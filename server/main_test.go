package server_test

import (
	"fmt"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/getviewport/relay/internal/devplatform"
)

// platform is shared by all tests, for its keys take long to make; its names (workspaces) are each test's own.
var platform *devplatform.Server

type withPlatform struct{ *testing.M }

func (m withPlatform) Run() int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		platform, err = devplatform.New(devplatform.Config{})
	}
	if err == nil {
		err = platform.Start(ln)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the development platform:", err)
		return 1
	}
	defer func() { _ = platform.Close() }()
	return m.M.Run()
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(withPlatform{m}) }
