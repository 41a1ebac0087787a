package legacy_test

import (
	"fmt"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/getviewport/relay/internal/devplatform"
)

// platform is shared by all tests, for its keys take long to make; workspaces are each test's own.
var platform *devplatform.Server

type withPlatform struct{ *testing.M }

func (m withPlatform) Run() int {
	var err error
	if platform, err = startPlatform(); err != nil {
		fmt.Fprintln(os.Stderr, "the development platform:", err)
		return 1
	}
	defer func() { _ = platform.Close() }()
	return m.M.Run()
}

func startPlatform() (*devplatform.Server, error) {
	p, err := devplatform.New(devplatform.Config{})
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return p, p.Start(ln)
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(withPlatform{m}) }
