package session

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
)

var seeds = flag.Uint64("seeds", 40, "how many seeds the random test runs")

// chaos is what one seed does to a pair.
type chaos struct {
	*pair
	rand *rand.Rand
	// Per mille of envelopes: drop before the guard; lose, swap and double behind it.
	drop, lose, swap, double int
	want                     map[*end][]string
	pending                  map[*end][]byte // the rest of a message that Send has begun
	begun                    map[*end]bool
	left                     map[*end]int
	quiet                    bool
}

func newChaos(t testing.TB, seed uint64) *chaos {
	r := rand.New(rand.NewPCG(seed, 7))
	p := newPair(t, seed)
	p.config.Window = []int{1, 20_000, 131_072, 1 << 20}[r.IntN(4)]
	p.config.MaxMessage = 1 + r.IntN(80_000)
	c := &chaos{pair: p, rand: r, want: map[*end][]string{}, pending: map[*end][]byte{}, begun: map[*end]bool{},
		left: map[*end]int{&p.client: 30, &p.daemon: 30}}
	p.open()
	p.hold = true
	c.drop = r.IntN(60)
	if seed%2 == 1 { // the path between two nodes is at fault as well
		c.lose, c.swap, c.double = r.IntN(40), r.IntN(60), r.IntN(60)
	}
	for _, e := range []*end{&p.client, &p.daemon} {
		e.script = func(f frame) []frame {
			if !c.quiet && sequenced(f.Type) && c.rand.IntN(1000) < c.drop {
				return nil
			}
			return []frame{f}
		}
		e.behind = func(f frame) []frame {
			switch n := c.rand.IntN(1000); {
			case c.quiet:
			case n < c.lose:
				return nil
			case n < c.lose+c.double:
				return []frame{f, f.clone()}
			case n < c.lose+c.double+c.swap && len(e.flight) > 0:
				last := e.flight[len(e.flight)-1]
				e.flight[len(e.flight)-1] = f
				return []frame{last}
			}
			return []frame{f}
		}
	}
	return c
}

// push gives an endpoint its next message, or the rest of one.
func (c *chaos) push(e *end) {
	c.t.Helper()
	if !c.begun[e] {
		if c.left[e] == 0 || e.m.Err() != nil {
			return
		}
		c.left[e]--
		msg := make([]byte, c.rand.IntN(c.config.MaxMessage+1))
		for i := range msg {
			msg[i] = byte(c.rand.Uint32())
		}
		c.want[e] = append(c.want[e], string(msg))
		c.pending[e], c.begun[e] = msg, true
	}
	n, done := c.trySend(e, c.pending[e])
	c.pending[e] = c.pending[e][n:]
	if done {
		c.begun[e] = false
		if c.left[e] == 0 {
			c.close(e, "", fmt.Sprint(len(c.want[e])))
		}
	}
}

// step does one random thing.
func (c *chaos) step() {
	e := &c.client
	if c.rand.IntN(2) == 0 {
		e = &c.daemon
	}
	switch c.rand.IntN(12) {
	case 0, 1, 2:
		c.push(e)
	case 3, 4, 5:
		if e.m.WantsToSend() {
			c.transmit(e)
		}
	case 6, 7, 8:
		for n := c.rand.IntN(6); n > 0 && len(e.flight) > 0; n-- {
			f := e.flight[0]
			e.flight = e.flight[1:]
			c.give(c.peer(e), f)
		}
	case 9:
		if msg, ok, fx, err := e.m.Next(c.now); ok {
			c.did(e, fx)
			e.received = append(e.received, msg)
		} else {
			e.err = err
		}
	case 10:
		c.now = c.now.Add(time.Duration(c.rand.IntN(40)) * time.Millisecond)
		c.tick()
	case 11:
		if c.rand.IntN(100) == 0 && c.lose > 0 {
			c.now = c.now.Add(time.Duration(c.rand.IntN(20)) * time.Second)
			c.tick()
		}
	}
}

func (c *chaos) tick() {
	for _, e := range []*end{&c.client, &c.daemon} {
		c.did(e, e.m.Tick(c.now)|e.want())
	}
}

// checkPrefix checks that what e has read is a prefix of what its peer has sent.
func (c *chaos) checkPrefix(e *end) {
	c.t.Helper()
	want := c.want[c.peer(e)]
	if len(e.received) > len(want) {
		c.t.Fatalf("%s received %d messages of %d", c.name(e), len(e.received), len(want))
	}
	for i, got := range e.received {
		if string(got) != want[i] {
			c.t.Fatalf("%s: message %d is not what was sent", c.name(e), i)
		}
	}
}

func TestWhatIsDeliveredIsAPrefixAndAfterTheFaultsEverythingArrives(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			c := newChaos(t, seed)
			for range 4000 {
				c.step()
				if c.client.m.Err() != nil || c.daemon.m.Err() != nil {
					t.Fatalf("ended: client %v, daemon %v", c.client.m.Err(), c.daemon.m.Err())
				}
			}
			for _, e := range []*end{&c.client, &c.daemon} {
				c.checkPrefix(e)
			}
			c.quiet, c.hold = true, false
			for range 4000 {
				done := true
				for _, e := range []*end{&c.client, &c.daemon} {
					if c.left[e] > 0 || c.begun[e] {
						c.push(e)
						done = false
					}
				}
				c.wait(50 * time.Millisecond)
				if done {
					break
				}
			}
			c.wait(3 * time.Minute)
			for _, e := range []*end{&c.client, &c.daemon} {
				c.checkPrefix(e)
				if len(e.received) != len(c.want[c.peer(e)]) || e.err != io.EOF || e.m.State() != Closed {
					t.Fatalf("%s: received %d of %d messages, Next %v, state %d, error %v", c.name(e),
						len(e.received), len(c.want[c.peer(e)]), e.err, e.m.State(), e.m.Err())
				}
				if out, in := e.m.Buffered(); out != 0 || in != 0 {
					t.Errorf("%s still holds %d and %d bytes", c.name(e), out, in)
				}
			}
		})
	}
}

func TestASeedReplaysExactly(t *testing.T) {
	run := func() string {
		c := newChaos(t, 5)
		for range 1500 {
			c.step()
		}
		return fmt.Sprint(c.client.sent, c.daemon.sent, c.client.m.Deadline())
	}
	if first, second := run(), run(); first != second {
		t.Error("two runs of one seed differ")
	}
}

// FuzzReceive gives an open session envelopes that its peer never made.
func FuzzReceive(f *testing.F) {
	f.Add(byte(typeData), uint64(3), uint64(2), uint64(2), uint64(0), []byte("0123456789abcdef0123"), []byte{})
	f.Add(byte(typeData), uint64(9), uint64(1<<62), uint64(0), uint64(0), []byte{}, []byte{})
	f.Add(byte(typeClose), uint64(3), uint64(0), uint64(0), uint64(0), make([]byte, 16), []byte{})
	f.Add(byte(typeResume), uint64(1), uint64(1), uint64(1), uint64(7), make([]byte, 32), []byte{})
	f.Add(byte(typeReset), uint64(0), uint64(0), uint64(0), uint64(1), make([]byte, 32), []byte("\x0a\x09CANCELLED"))
	f.Add(byte(typeReset), uint64(0), uint64(0), uint64(0), uint64(0), []byte{}, []byte("\x0a\x0fSESSION_UNKNOWN"))
	f.Add(byte(typeStatus), uint64(0), uint64(0), uint64(0), uint64(0), []byte{}, []byte("\x0a\x0cSEQUENCE_GAP\x20\x05"))
	f.Add(byte(typeStatus), uint64(0), uint64(0), uint64(0), uint64(0), []byte{}, []byte("\x0a\x0dSLOW_CONSUMER"))
	f.Add(byte(typeResponse), uint64(1), uint64(1), uint64(1), uint64(0), make([]byte, 60), []byte{})
	f.Add(byte(17), uint64(1), uint64(1), uint64(1), uint64(0), []byte{1}, []byte{})
	f.Fuzz(func(t *testing.T, typ byte, sequence, ack, consumed, attempt uint64, ciphertext, status []byte) {
		p := openPair(t, 1)
		fresh := newPair(t, 2).dial() // and one whose handshake is open
		fresh.transmit(&fresh.client)
		forged := frame{envelope.Header{
			Type: relayv1.FrameType(typ), Sequence: sequence, Ack: ack, Consumed: consumed,
			ResumeAttempt: attempt, Encoding: 1, Status: status,
		}, ciphertext}
		fresh.give(&fresh.client, forged)
		if fresh.client.m.State() == Open || fresh.client.fx.Has(Opened) {
			t.Fatal("a forged frame opened a session")
		}
		for range maxUnverified - 1 {
			p.give(&p.client, forged)
			p.give(&p.daemon, forged)
		}
		p.read(&p.client)
		p.read(&p.daemon)
		if len(p.client.received)+len(p.daemon.received) > 0 || p.client.err == io.EOF || p.daemon.err == io.EOF {
			t.Fatal("something was delivered that nobody sent")
		}
		if forged.Type == typeStatus {
			return // the relay may end a session
		}
		wantAlive(t, p.client.m)
		wantAlive(t, p.daemon.m)
		p.send(&p.client, []byte("still here"))
		p.wait(3 * time.Second)
		p.wantReceived(&p.daemon, "still here")
	})
}
