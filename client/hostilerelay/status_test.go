package hostilerelay_test

import (
	"testing"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

// harmless are the codes of a STATUS about an open session that end nothing: it goes on, some of them make it wait.
var harmless = map[reason.Code]bool{
	reason.SequenceGap: true, reason.SequenceReplay: true, reason.PeerUnavailable: true, reason.PeerAvailable: true,
	reason.Probe: true, reason.Capacity: true, reason.RateLimited: true,
}

// everyCode is what a STATUS can have, and two that none has.
func everyCode() []reason.Code { return append(reason.All(), "", "NO_SUCH_CODE") }

// A relay may end any session, but in its own name, and never cleanly.
func TestASessionThatTheRelayEndsEndsInItsName(t *testing.T) {
	var attacks []attack
	for i, code := range everyCode() {
		x := attack{name: "code " + string(code), at: turns(i), rule: func(a *assault) rule {
			return a.arriving(typeData, once(a.inserts(func(f *frame) []*frame {
				return []*frame{f.status(envelope.Status{Code: code, Message: "so \x1b[2Jsays the relay"})}
			})))
		}}
		if !harmless[code] {
			x.want = outcome{end{client.Reason(code), "relay"}, unaware}
		}
		attacks = append(attacks, x)
	}
	under(t, attacks)
}

// A reason to end the stream is followed by its end; until then the relay has only talked.
func TestAStatusAboutTheLinkEndsNoSession(t *testing.T) {
	tells := func(codes ...reason.Code) func(a *assault) rule {
		return func(a *assault) rule {
			return a.arriving(typeData, once(a.inserts(func(f *frame) (fs []*frame) {
				for _, code := range codes {
					fs = append(fs, f.linkStatus(envelope.Status{Code: code, RetryAfter: time.Millisecond}))
				}
				return fs
			})))
		}
	}
	attacks := []attack{
		{name: "an absent daemon", rule: tells(reason.PeerUnavailable)},
		{name: "a new daemon", rule: tells(reason.PeerAvailable)},
		{name: "drain", rule: tells(reason.Draining)},
	}
	var rest []reason.Code
	for _, code := range everyCode() {
		if code != reason.PeerUnavailable && code != reason.PeerAvailable && code != reason.Draining {
			rest = append(rest, code)
		}
	}
	under(t, append(attacks, attack{name: "any other", rule: tells(rest...)}))
}

func TestFloodsOfStatusOnlyCostTime(t *testing.T) {
	const n = 3000
	var attacks []attack
	for name, what := range map[string]func(f *frame, i int) *frame{
		"gaps that go back":    func(f *frame, i int) *frame { return f.gap(uint64(i%7 + 1)) },
		"gaps beyond the last": func(f *frame, i int) *frame { return f.gap(1<<63 - 1 - uint64(i)) },
		"gaps of no place":     func(f *frame, i int) *frame { return f.gap(0) },
		"gaps of all kinds":    func(f *frame, i int) *frame { return f.gap(uint64(i%3) * uint64(i)) },
		"replays": func(f *frame, i int) *frame {
			return f.status(envelope.Status{Code: reason.SequenceReplay, Expected: uint64(i)})
		},
		"a daemon that comes and goes": func(f *frame, i int) *frame {
			code := reason.PeerAvailable
			if i%2 == 0 {
				code = reason.PeerUnavailable
			}
			return f.status(envelope.Status{Code: code}).aboutLink()
		},
		"probes": func(f *frame, i int) *frame {
			h := f.aboutLink()
			h.Type, h.Sequence, h.Timestamp, h.Encoding, h.ciphertext = typeHeartbeat, 0, envelope.Timestamp{}, 0, nil
			h.Status = envelope.Status{Code: reason.Probe}.Append(nil)
			return h
		},
		"acks": func(f *frame, i int) *frame { return acks(f, uint64(i%5), uint64(i%3)) },
	} {
		attacks = append(attacks, attack{name: name, rule: func(a *assault) rule {
			return a.arriving(typeData, from(trigger, 3, a.inserts(func(f *frame) (fs []*frame) {
				for i := range n {
					fs = append(fs, what(f, i))
				}
				return fs
			})))
		}})
	}
	under(t, attacks)
}
