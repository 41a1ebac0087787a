package browser_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
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
