package hostile_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/relaytest"
	"github.com/getviewport/relay/server"
)

const (
	// patience ends a test that would hang; nothing is asserted about time.
	patience = 3 * time.Minute
	// allowance is how many messages the witness exchanges in its own time while a row of a table runs.
	allowance = 80
	// gain is how many it must get through after every step of an attack.
	gain = 8
	// slack is by how much the heap may differ after an attack: buffers that are kept for reuse.
	slack = 6 << 20
)

// limits are small, so that an attack reaches them soon.
var limits = server.Limits{
	SessionWindow: 128 << 10, MaxEnvelope: 64 << 10, SessionsPerClient: 8, SessionsPerTarget: 24,
	HandshakesPerSecond: 1, HandshakeBurst: 20, LinksPerTarget: 12, LinksPerWorkspace: 40, LinksPerAddress: 80,
	LinkBytes: 1 << 20, ProcessBytes: 2 << 20, StreamsPerConnection: 32, HeaderBytes: 20 << 10, PendingConnections: 16,
	FramesPerBatch: 1024,
}

// ground is a relay with a witness.
type ground struct {
	*relaytest.Relay
	ctx     context.Context
	witness *witness
	ends    *relaytest.Ends // the witness's
	admin   relayv1.AdminServiceClient
	apart   [2]int64 // missing, at the start
	heap    uint64   // after the last row
	rows    int
}

// start starts a relay with the small limits, and its witness.
func start(t *testing.T, options ...relaytest.Option) *ground {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	// Without the validate call, whose connections to the platform would come and go.
	options = append([]relaytest.Option{
		relaytest.WithLimits(limits), relaytest.WithJWKSOnly(), relaytest.WithHeartbeat(0), relaytest.WithLog(nil),
	}, options...)
	g := &ground{Relay: relaytest.Start(t, options...), ctx: ctx, ends: relaytest.Pair(t, "witness", "home")}
	conn, err := grpc.NewClient("passthrough:///"+g.AdminAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	g.admin = relayv1.NewAdminServiceClient(conn)
	w, end := watch(ctx, t, g.Relay, g.ends)
	t.Cleanup(end)
	g.witness = w
	g.witness.moves(ctx, t, 1)
	g.witness.rests(ctx, t)
	g.apart, g.heap = g.missing(t), heapBytes()
	return g
}

// status is what the relay's operator sees.
func (g *ground) status(t *testing.T) *relayv1.GetStatusResponse {
	t.Helper()
	s, err := g.admin.GetStatus(g.asAdmin(), &relayv1.GetStatusRequest{})
	if err != nil {
		t.Fatalf("GetStatus: %v", err)
	}
	return s
}

func (g *ground) asAdmin() context.Context {
	return metadata.AppendToOutgoingContext(g.ctx, "authorization", "Bearer "+g.AdminToken)
}

// until asks the relay's status until ok likes it.
func (g *ground) until(t *testing.T, what string, ok func(*relayv1.GetStatusResponse) bool) {
	t.Helper()
	for {
		s := g.status(t)
		if ok(s) {
			return
		}
		if g.ctx.Err() != nil {
			t.Fatalf("%s: never, at last %v", what, s)
		}
	}
}

// drops and refusals count what the relay did not forward, or did not admit, for a reason.
func (g *ground) drops(t *testing.T, reason string) uint64 {
	t.Helper()
	return count(g.status(t).GetDrops(), reason)
}

func (g *ground) refusals(t *testing.T, reason string) uint64 {
	t.Helper()
	return count(g.status(t).GetRefusals(), reason)
}

func count(counts []*relayv1.ReasonCount, reason string) uint64 {
	for _, c := range counts {
		if c.GetReason() == reason {
			return c.GetCount()
		}
	}
	return 0
}

// missing is how many frames of the witness the relay received and did not send, up and down.
func (g *ground) missing(t *testing.T) (n [2]int64) {
	t.Helper()
	answer, err := g.admin.ListConnections(g.asAdmin(), &relayv1.ListConnectionsRequest{WorkspaceId: g.ends.Workspace})
	if err != nil {
		t.Fatalf("ListConnections: %v", err)
	}
	for _, c := range answer.GetConnections() {
		from, to := 0, 1
		if c.GetRole() == relayv1.Role_ROLE_DAEMON {
			from, to = 1, 0
		}
		n[from] += int64(c.GetFramesReceived())
		n[to] -= int64(c.GetFramesSent())
	}
	if len(answer.GetConnections()) != 2 {
		t.Fatalf("the witness has %d links, want 2", len(answer.GetConnections()))
	}
	return n
}

// siege is one row of a table of attacks.
type siege struct {
	*ground
	t *testing.T
	// workspace is the attacked one, of this row alone.
	workspace string
	// victimID is the id of a session of another client of that workspace.
	victimID string
	// heap is by how many bytes the heap may grow while the attackers are there, their own memory included.
	heap uint64
	ends []func()
}

// row is an attack with its promised answer, which attack asserts.
type row struct {
	name   string
	attack func(*siege)
}

// withstand runs the rows one after the other.
func (g *ground) withstand(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) { g.during(t, r.attack) })
		if g.ctx.Err() != nil {
			t.Fatal("the time for this test is over")
		}
	}
}

// during runs an attack while the witness exchanges messages, and checks what the package promises.
func (g *ground) during(t *testing.T, attack func(*siege)) {
	t.Helper()
	g.rows++
	s := &siege{ground: g, t: t, workspace: fmt.Sprintf("attacked-%d", g.rows), heap: 12 << 20}
	defer s.leave()
	goroutines, heap := runtime.NumGoroutine(), g.heap
	g.witness.grant(allowance)

	attack(s)
	s.step()
	if now := heapBytes(); now > heap+s.heap {
		t.Errorf("under attack the heap is %d KiB, before %d, want at most %d more", now>>10, heap>>10, s.heap>>10)
	}
	s.leave()

	g.witness.rests(g.ctx, t)
	g.until(t, "the goroutines and links of the attackers end", func(st *relayv1.GetStatusResponse) bool {
		return runtime.NumGoroutine() <= goroutines && st.GetClientLinks() == 1 && st.GetDaemonLinks() == 1
	})
	g.until(t, "the queues are empty", func(st *relayv1.GetStatusResponse) bool { return st.GetQueuedBytes() < burst*longest })
	if g.heap = heapBytes(); g.heap > heap+slack {
		t.Errorf("after the attack the heap is %d KiB, before %d, want at most %d more", g.heap>>10, heap>>10, slack>>10)
	}
	g.until(t, "every frame of the witness is forwarded", func(*relayv1.GetStatusResponse) bool {
		return g.missing(t) == g.apart
	})
}

// run is a part of an attack under a name of its own.
func (s *siege) run(name string, f func()) {
	s.t.Helper()
	whole := s.t
	whole.Run(name, func(t *testing.T) {
		s.t = t
		defer func() { s.t = whole }()
		f()
	})
}

// step is called after each step of an attack, while it lasts: the witness gets its next messages through, and the
// relay's queues hold no more than they may.
func (s *siege) step() {
	s.t.Helper()
	s.witness.moves(s.ctx, s.t, gain)
	st := s.status(s.t)
	// Beyond the budget each session may still queue 32 KiB in each direction (docs/protocol.md, Flow control).
	most := uint64(limits.ProcessBytes) + st.GetSessions()*64<<10
	if st.GetQueuedBytes() > most {
		s.t.Errorf("the relay's queues keep %d bytes, want at most %d", st.GetQueuedBytes(), most)
	}
}

// atEnd runs f when the attack is over.
func (s *siege) atEnd(f func()) { s.ends = append(s.ends, f) }

// leave ends every attacker.
func (s *siege) leave() {
	for i := len(s.ends) - 1; i >= 0; i-- {
		s.ends[i]()
	}
	s.ends = nil
}

func heapBytes() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what sync.Pools keep survives one
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
