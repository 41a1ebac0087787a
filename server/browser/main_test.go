package browser_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/getviewport/relay/relaytest"
)

// patience ends a test that would hang; nothing is asserted about time.
const patience = 2 * time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// start starts a relay and waits until it has the platform's keys: before that it refuses everybody.
func start(t *testing.T) *relaytest.Relay {
	t.Helper()
	relay := relaytest.Start(t)
	for ctx := patient(t); ; {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+relay.Addr+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			http.DefaultClient.CloseIdleConnections()
			return relay
		}
	}
}
