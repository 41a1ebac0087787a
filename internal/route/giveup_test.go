package route_test

import (
	"testing"

	"github.com/getviewport/relay/internal/route"
)

func TestASessionThatItsClientGaveUpWithoutADaemonMakesRoomForAnother(t *testing.T) {
	play(t, route.Limits{SessionsPerClient: 2}, `
		attach d daemon
		attach c client
		c: INIT a, INIT b
		d> INIT a, INIT b
		d: RESPONSE a, RESPONSE b
		c> RESPONSE a, RESPONSE b
		detach d
		c> STATUS PEER_UNAVAILABLE
		c: RESET a, RESET b
		attach d2 daemon
		c> STATUS PEER_AVAILABLE
		c: INIT e
		d2> INIT e
	`)
}
