package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/getviewport/relay/internal/devplatform"
)

// patience ends a test that would hang; nothing is asserted about time.
const patience = 60 * time.Second

var (
	// command is the real command, built once.
	command string
	// issuer signs the tokens of all tests, for its keys take long to make.
	issuer *devplatform.Server
)

func TestMain(m *testing.M) {
	if os.Getenv(aloneVariable) != "" {
		if err := alone(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(prepared{m})
}

type prepared struct{ *testing.M }

func (p prepared) Run() int {
	dir, err := os.MkdirTemp("", "viewport-secrets")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		command = filepath.Join(dir, "viewport-relay")
		build := exec.Command("go", "build", "-o", command, "github.com/getviewport/relay/cmd/viewport-relay")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err == nil {
		issuer, err = devplatform.New(devplatform.Config{InternalKey: internalKey})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { err = errors.Join(err, issuer.Close()) }()
	return p.M.Run()
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// internalKey is what the relay shows to the platform, adminToken what operators show to the relay.
const (
	internalKey = "canary-internal-key-5f0d8c12"
	adminToken  = "canary-admin-token-77ab01c4"
)

const validatePath = "/api/runtime/internal/relay/validate"

// platform is the issuer at an address of its own, where it can also be made to answer anything.
type platform struct {
	*httptest.Server
	// keys answers fetches of keys in place of the issuer if set. Atomic, for what orders it before the request of
	// another process is nothing that the race detector sees.
	keys atomic.Pointer[http.HandlerFunc]
	// odd answers in place of the issuer while it is set.
	odd atomic.Pointer[http.HandlerFunc]
	// validations and fetches count the requests.
	validations, fetches atomic.Int64
}

func startPlatform(t *testing.T) *platform {
	t.Helper()
	p := new(platform)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == validatePath {
			p.validations.Add(1)
		} else {
			p.fetches.Add(1)
			if keys := p.keys.Load(); keys != nil {
				(*keys)(w, r)
				return
			}
		}
		if odd := p.odd.Load(); odd != nil {
			(*odd)(w, r)
			return
		}
		issuer.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *platform) jwks() string     { return p.URL + "/.well-known/jwks.json" }
func (p *platform) validate() string { return p.URL + validatePath }

// answer makes the platform answer so until the end of do.
func (p *platform) answer(odd http.HandlerFunc, do func()) {
	p.odd.Store(&odd)
	defer p.odd.Store(nil)
	do()
}
