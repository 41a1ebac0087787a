package hostilerelay_test

import (
	"fmt"
	"testing"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

// alterations are the ways to change a frame of a type, by what is changed: what is no envelope any more is not among
// them.
func alterations(typ relayv1.FrameType) map[string][]func(f *frame) {
	all := map[string][]func(f *frame){
		"ack": {
			func(f *frame) { f.Ack = 0 }, func(f *frame) { f.Ack += 1000 }, func(f *frame) { f.Ack = 1<<63 - 1 },
		},
		"consumed": {
			func(f *frame) { f.Consumed = 0 }, func(f *frame) { f.Consumed += 1000 },
			func(f *frame) { f.Consumed = 1<<63 - 1 },
		},
		"resend":  {func(f *frame) { f.Resend = !f.Resend }},
		"attempt": {func(f *frame) { f.ResumeAttempt++ }, func(f *frame) { f.ResumeAttempt = 1<<63 - 1 }},
		"session id": {
			func(f *frame) { f.Session = []byte(envelope.SessionID(randomBytes(16))) },
		},
		"workspace": {func(f *frame) { f.Workspace = []byte("other") }},
		"target":    {func(f *frame) { f.Target = []byte("other") }},
		"profile": {
			func(f *frame) { f.Profile = 1 }, func(f *frame) { f.Profile = 2 }, func(f *frame) { f.Profile = 99 },
		},
		"encoding": {
			func(f *frame) { f.Encoding = 0 }, func(f *frame) { f.Encoding = 2 }, func(f *frame) { f.Encoding = 99 },
		},
		"bind key": {func(f *frame) { f.BindKey = randomBytes(16) }},
		"timestamp": {
			func(f *frame) { f.Timestamp.Seconds++ }, func(f *frame) { f.Timestamp.Nanos ^= 1 },
			func(f *frame) { f.Timestamp = envelope.Timestamp{} },
		},
		"status": {
			func(f *frame) { f.Status = envelope.Status{Code: reason.Cancelled}.Append(nil) },
		},
	}
	kinds := []relayv1.FrameType{typeInit, typeResponse, typeData, typeClose}
	if envelope.Sequenced(typ) {
		all["sequence"] = []func(f *frame){
			func(f *frame) { f.Sequence++ }, func(f *frame) { f.Sequence += 1000 },
			func(f *frame) { f.Sequence = 1<<63 - 1 },
			func(f *frame) { f.Sequence = max(1, f.Sequence-1) }, func(f *frame) { f.Sequence = 1 },
		}
	}
	if typ == typeResume || typ == typeResumed {
		kinds = []relayv1.FrameType{typeResume, typeResumed}
		all["first"] = []func(f *frame){
			func(f *frame) { f.Sequence++ }, func(f *frame) { f.Sequence = 1<<63 - 1 },
			func(f *frame) { f.Sequence = 0 },
		}
	}
	if typ != typeAck {
		for _, k := range kinds {
			if k != typ {
				all["type"] = append(all["type"], func(f *frame) { f.Type = k })
			}
		}
		for _, k := range []relayv1.FrameType{typeAck, typeResume, typeReset, 11, 31} {
			all["type"] = append(all["type"], func(f *frame) { f.Type, f.Sequence = k, 0 })
		}
		all["ciphertext"] = []func(f *frame){
			func(f *frame) { f.ciphertext[0] ^= 1 }, func(f *frame) { f.ciphertext[len(f.ciphertext)/2] ^= 0x80 },
			func(f *frame) { f.ciphertext[len(f.ciphertext)-1] ^= 1 },
		}
	}
	return all
}

// lengths are what a ciphertext of n bytes can be cut or drawn to.
func lengths(n int) []int {
	return []int{0, 1, 15, 16, 17, n / 2, n - 1, n + 1, n + 16, 16017, 16018, 65536, 1 << 20}
}

func resized(f *frame, n int) *frame {
	return f.with(func(f *frame) {
		if n > len(f.ciphertext) {
			f.ciphertext = append(f.ciphertext, make([]byte, n-len(f.ciphertext))...)
		}
		f.ciphertext = f.ciphertext[:n]
	})
}

// changeable are the types of which an altered one can take the place of a true one and the session goes on.
var changeable = []relayv1.FrameType{typeData, typeClose, typeAck, typeResume, typeResumed}

func TestAnAlteredFrameInFrontOfTheTrueOneChangesNothing(t *testing.T) {
	var attacks []attack
	for _, typ := range changeable {
		for field, changes := range alterations(typ) {
			x := attack{name: typ.String() + "/" + field, at: turns(len(attacks))}
			x.rule = func(a *assault) rule {
				return chain(a.asked(typ), a.arriving(typ, a.inserts(func(f *frame) (fs []*frame) {
					for _, change := range changes {
						fs = append(fs, f.with(change))
					}
					return fs
				})))
			}
			attacks = append(attacks, x)
		}
		if typ == typeAck {
			continue
		}
		attacks = append(attacks, attack{name: typ.String() + "/length", rule: func(a *assault) rule {
			return chain(a.asked(typ), a.arriving(typ, from(1, 3, a.inserts(func(f *frame) (fs []*frame) {
				for _, n := range lengths(len(f.ciphertext)) {
					if n >= 0 && n != len(f.ciphertext) {
						fs = append(fs, resized(f, n))
					}
				}
				return fs
			}))))
		}})
	}
	under(t, attacks)
}

// telling are the fields that something is decided by in frames other than DATA.
var telling = map[string]bool{
	"type": true, "ciphertext": true, "sequence": true, "first": true, "attempt": true, "session id": true, "ack": true,
}

func TestAnAlteredFrameInThePlaceOfTheTrueOneCostsAResend(t *testing.T) {
	var attacks []attack
	for _, typ := range changeable {
		place := func(do act) act {
			if typ == typeData {
				return once(do)
			}
			return from(1, 1, do)
		}
		for field, changes := range alterations(typ) {
			if typ != typeData && !telling[field] {
				continue
			}
			// One of each field: the others stand in front of the true one.
			x := attack{name: typ.String() + "/" + field, at: turns(len(attacks))}
			x.rule = func(a *assault) rule {
				return chain(a.asked(typ), a.arriving(typ, place(a.changes(changes[0]))))
			}
			attacks = append(attacks, x)
		}
		if typ != typeData {
			continue
		}
		for i, name := range []string{"empty", "1", "15", "16", "17", "half", "one less", "one more"} {
			x := attack{name: fmt.Sprintf("%v/length/%s", typ, name), at: turns(i)}
			x.rule = func(a *assault) rule {
				return a.arriving(typ, place(func(_ *link, f *frame) []*frame {
					a.bite()
					return []*frame{resized(f, lengths(len(f.ciphertext))[i])}
				}))
			}
			attacks = append(attacks, x)
		}
	}
	under(t, attacks)
}

// flood inserts junk in front of one frame.
func flood(n int, junk func(f *frame) *frame) func(a *assault) rule {
	return func(a *assault) rule {
		return a.arriving(typeData, once(a.inserts(func(f *frame) (fs []*frame) {
			for range n {
				fs = append(fs, junk(f))
			}
			return fs
		})))
	}
}

func TestSixtyFourFramesInARowThatDoNotVerifyEndTheSession(t *testing.T) {
	var attacks []attack
	for name, junk := range map[string]func(f *frame) *frame{
		"DATA": func(f *frame) *frame { return f.with(func(f *frame) { f.ciphertext = randomBytes(100) }) },
		"CLOSE": func(f *frame) *frame {
			return f.with(func(f *frame) { f.Type, f.ciphertext = typeClose, randomBytes(20) })
		},
		"RESUME":         func(f *frame) *frame { return proved(f, typeResume) },
		"RESUMED":        func(f *frame) *frame { return proved(f, typeResumed) },
		"RESET":          func(f *frame) *frame { return f.reset(reason.DataLost, randomBytes(32)) },
		"DATA that ends": func(f *frame) *frame { return resized(f, 0) },
		"more than fits": func(f *frame) *frame { return resized(f, 100_000) },
	} {
		attacks = append(attacks,
			attack{name: name + "/63", rule: flood(63, junk)},
			attack{name: name + "/64", rule: flood(64, junk), want: told("DECRYPT_FAILED")})
	}
	under(t, attacks)
}

// proved is a RESUME or RESUMED that nobody made, with a proof that is none.
func proved(f *frame, typ relayv1.FrameType) *frame {
	c := f.of(typ)
	c.Sequence, c.Ack, c.Consumed, c.ResumeAttempt, c.Encoding = 1, f.Ack, f.Consumed, 1<<40, noise
	c.ciphertext = randomBytes(32)
	return c
}
