package isolation_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// seed draws the pairs; it comes from the command line to play a failure again.
var seed = flag.Uint64("seed", 1, "which pairs of tenants to draw")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
