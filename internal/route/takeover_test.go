package route_test

import (
	"testing"
	"time"

	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
)

var errDraining = (&reason.Error{Code: reason.Draining}).After(time.Second)

func TestTakeover(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"the same install takes over at once", `
			attach d daemon install=x gen=2
			attach d2 daemon install=x gen=2
			! d closed REPLACED
			! d2 admitted`},
		{"a daemon without install and generation is install \"\", generation 0", `
			attach d daemon
			attach d2 daemon
			! d closed REPLACED
			! d2 admitted`},
		{"a higher generation takes over at once, whatever its install", `
			attach d daemon install=x gen=2
			attach d2 daemon install=y gen=3
			! d closed REPLACED
			! d2 admitted`},
		{"a lower generation is stale, even of the same install", `
			attach d daemon install=x gen=2
			attach d2 daemon install=x gen=1
			! d2 refused STALE_GENERATION
			d> nothing`},
		{"a lower generation is stale for ten minutes after the last daemon", `
			attach d daemon install=x gen=2
			detach d
			+9m59s
			attach d2 daemon install=x gen=1
			! d2 refused STALE_GENERATION
			+1s
			attach d3 daemon install=x gen=1`},
		{"another install waits while the old link is probed, and is refused when it answers", `
			attach d daemon install=x
			attach d2 daemon install=y
			d> HEARTBEAT probe
			+1900ms
			d: HEARTBEAT
			! d2 refused DAEMON_ALREADY_CONNECTED
			+1h`},
		{"anything from the old link is an answer", `
			attach c client
			attach d daemon install=x
			attach d2 daemon install=y
			d: ACK z
			! d2 refused DAEMON_ALREADY_CONNECTED
			c> STATUS PEER_AVAILABLE`},
		{"an old link that is silent for two seconds gives way", `
			attach c client
			attach d daemon install=x
			c> STATUS PEER_AVAILABLE
			c: INIT a
			attach d2 daemon install=y
			+1999ms
			c> nothing
			+1ms
			! d closed REPLACED
			! d2 admitted
			c> STATUS PEER_AVAILABLE
			d> nothing
			d2> nothing`},
		{"one that waits gets the place when the old link ends", `
			attach c client
			attach d daemon install=x
			c> STATUS PEER_AVAILABLE
			attach d2 daemon install=y
			detach d
			! d2 admitted
			c> STATUS PEER_AVAILABLE
			+1h`},
		{"a second one that waits is refused", `
			attach d daemon install=x
			attach d2 daemon install=y
			attach d3 daemon install=z
			! d3 refused DAEMON_ALREADY_CONNECTED
			+2s
			! d closed REPLACED
			! d2 admitted`},
		{"one that goes away does not wait any more", `
			attach d daemon install=x
			attach d2 daemon install=y
			detach d2
			attach d3 daemon install=z
			detach d3
			+1h
			d> HEARTBEAT probe`},
		{"one that waits loses to the old install's new link", `
			attach d daemon install=x
			attach d2 daemon install=y
			attach d3 daemon install=x
			! d2 refused DAEMON_ALREADY_CONNECTED
			! d closed REPLACED
			! d3 admitted`},
		{"one that waits loses to a higher generation", `
			attach d daemon install=x
			attach d2 daemon install=y
			attach d3 daemon install=z gen=1
			! d2 refused STALE_GENERATION
			! d closed REPLACED
			! d3 admitted`},
		{"a link that was replaced has no say any more", `
			attach c client
			attach d daemon
			c: INIT a
			d> INIT a
			attach d2 daemon
			! d closed REPLACED
			! d2 admitted
			d: RESPONSE a
			! d ends REPLACED
			detach d
			c> STATUS PEER_AVAILABLE`},
		{"frames that the old link brought are not forwarded after the takeover", `
			attach d daemon
			attach c client
			c: INIT a
			d> INIT a
			d reads: RESPONSE a, DATA 2 a
			attach d2 daemon
			! d closed REPLACED
			! d2 admitted
			d forwards
			c> STATUS PEER_AVAILABLE`},
		{"frames that a client brought for the old link are not forwarded after the takeover", `
			attach d daemon
			attach c client
			c reads: INIT a
			attach d2 daemon
			! d closed REPLACED
			! d2 admitted
			c forwards
			d2> nothing
			c> STATUS PEER_AVAILABLE`},
	} {
		t.Run(tt.name, func(t *testing.T) { play(t, route.Limits{}, tt.script) })
	}
}

func TestALinkWithASerialOutOfOrderIsRefused(t *testing.T) {
	w := play(t, route.Limits{}, "attach c client")
	w.serial--
	w.play("attach c2 client\n! c2 refused INTERNAL")
}
