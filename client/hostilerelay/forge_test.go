package hostilerelay_test

import (
	"testing"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
	"github.com/getviewport/relay/internal/reason"
)

// acks is an ACK of f's session.
func acks(f *frame, ack, consumed uint64) *frame {
	c := f.of(typeAck)
	c.Ack, c.Consumed = ack, consumed
	return c
}

func TestAnAckOfWhatWasNeverSentIsIgnored(t *testing.T) {
	var attacks []attack
	for name, n := range map[string]uint64{"a little": 100, "far": 1 << 40, "the last number": 1<<63 - 1} {
		attacks = append(attacks, attack{name: name, rule: func(a *assault) rule {
			return a.arriving(typeData, a.inserts(func(f *frame) []*frame {
				return []*frame{acks(f, f.Ack+n-f.Ack%n, f.Ack+n-f.Ack%n), acks(f, f.Ack, f.Ack+1)}
			}))
		}})
	}
	under(t, attacks)
}

// What was acked is not held any more. The end that never got it finds out, and both are told.
func TestAnAckOfWhatNeverArrivedEndsAsDataLost(t *testing.T) {
	under(t, []attack{{name: "one frame", want: outcome{at: end{"DATA_LOST", "peer"}, peer: end{"DATA_LOST", "local"}},
		rule: func(a *assault) rule {
			var lost uint64
			return a.answering(typeData, func(_ *link, f *frame) []*frame {
				if lost == 0 && f.Sequence > trigger {
					lost = f.Sequence
					a.m.latestOf(a.at, a.id).inject(down, acks(f, lost, 0))
				}
				if f.Sequence == lost {
					return a.drops(nil, f)
				}
				return []*frame{f}
			})
		}}})
}

// stuffed sends more than a window to an end that does not read.
func (a *assault) stuffed() outcome {
	var sent error
	s, r := a.target.ends[a.at], a.target.ends[a.at.other()]
	limit := 3 // without the attack: less than a window
	if a.target.tag == 'a' {
		limit = 200
	}
	for i := 0; i < limit && sent == nil; i++ {
		s.sent.Add(1)
		sent = s.session.Send(a.ctx, message(s.tag, s.role, i))
	}
	if sent != nil {
		select {
		case <-r.session.Done():
		case <-a.ctx.Done():
		}
		return outcome{endOf(sent), a.over(a.ctx, r)}
	}
	_, _ = s.closeWrite(), r.closeWrite()
	return outcome{peer: a.over(a.ctx, r), at: a.over(a.ctx, s)}
}

func TestACreditThatNobodyGaveEndsAsFlowViolation(t *testing.T) {
	under(t, []attack{{name: "all", settings: settings{window: 128 << 10},
		want: outcome{at: end{"FLOW_VIOLATION", "peer"}, peer: end{"FLOW_VIOLATION", "local"}},
		talk: (*assault).stuffed,
		rule: func(a *assault) rule {
			return func(l *link, w way, f *frame) []*frame {
				if !a.arrives(l, w, f) || f.Type != typeAck && f.Type != typeData || f.Consumed == f.Ack {
					return []*frame{f}
				}
				return a.changes(func(f *frame) { f.Consumed = f.Ack })(l, f)
			}
		}}})
}

func TestAResumeWithoutAProofOfThePeerChangesNothing(t *testing.T) {
	proofs := map[string]func(a *assault, f *frame) *frame{
		"none":        func(_ *assault, f *frame) *frame { return f.with(func(f *frame) { f.ciphertext = nil }) },
		"zeros":       func(_ *assault, f *frame) *frame { return f.with(func(f *frame) { clear(f.ciphertext) }) },
		"random":      func(_ *assault, f *frame) *frame { return f },
		"short":       func(_ *assault, f *frame) *frame { return resized(f, 31) },
		"long":        func(_ *assault, f *frame) *frame { return resized(f, 33) },
		"lost data":   func(_ *assault, f *frame) *frame { return f.with(func(f *frame) { f.Sequence = 1 << 40 }) },
		"of its type": func(a *assault, f *frame) *frame { return a.reproved(f) },
	}
	var attacks []attack
	for _, typ := range []relayv1.FrameType{typeResume, typeResumed} {
		for name, proof := range proofs {
			attacks = append(attacks, attack{name: typ.String() + "/" + name, rule: func(a *assault) rule {
				return chain(a.asks(atClient), a.asks(atDaemon), a.keepsProofs(), a.arriving(typeData, a.inserts(
					func(f *frame) []*frame { return []*frame{proof(a, proved(f, typ))} })))
			}})
		}
	}
	under(t, attacks)
}

// keepsProofs remembers the proofs that arrive at the attacked end.
func (a *assault) keepsProofs() rule {
	return func(l *link, w way, f *frame) []*frame {
		if a.arrives(l, w, f) && (f.Type == typeResume || f.Type == typeResumed) {
			a.begun[a.at] = append(a.begun[a.at], f.clone())
		}
		return []*frame{f}
	}
}

// reproved is f with a true proof of its type that is used up.
func (a *assault) reproved(f *frame) *frame {
	if old := a.begun.last(a.at, a.id, f.Type); old != nil {
		return f.with(func(f *frame) { f.ciphertext = old.ciphertext })
	}
	return f
}

// Until the daemon has answered there is nothing to resume, and afterwards only it can.
func TestARelayThatAnswersResumeItselfIsNotBelieved(t *testing.T) {
	under(t, []attack{{name: "once", rule: func(a *assault) rule {
		// It keeps the first RESUME to itself and answers, as if all were well.
		first := true
		return chain(a.asks(a.at), func(l *link, w way, f *frame) []*frame {
			if w != up || l.role != a.at || !a.mine(f) || f.Type != typeResume || !first {
				return []*frame{f}
			}
			first = false
			a.bite()
			for _, ack := range []uint64{f.Sequence - 1, f.Sequence, 1 << 40} {
				answer := proved(f, typeResumed)
				answer.Sequence, answer.Ack, answer.Consumed = f.Ack+1, ack, ack
				l.inject(down, answer, answer.with(func(f *frame) { f.ciphertext = nil }), acks(f, ack, ack))
			}
			return nil
		})
	}}, {name: "for ever", settings: settings{lifetime: shortLife}, want: outcome{silent, silent},
		rule: func(a *assault) rule {
			// From then on it is the peer of both ends: everything is acked, nothing passes.
			n := 0
			return func(l *link, w way, f *frame) []*frame {
				if !a.mine(f) || w != up {
					return []*frame{f}
				}
				if n++; n < 4*trigger {
					return []*frame{f}
				}
				a.bite()
				answer := proved(f, typeResumed)
				answer.Sequence = f.Ack + 1
				l.inject(down, acks(f, f.Sequence, 0), answer.with(func(f *frame) { f.ciphertext = nil }))
				return nil
			}
		}}})
}

func TestAResetWithoutAProofOfThePeerIsIgnored(t *testing.T) {
	attacks := []attack{{name: "no proof", rule: func(a *assault) rule {
		return a.arriving(typeData, once(a.inserts(func(f *frame) (fs []*frame) {
			for _, code := range everyCode() {
				plain := f.reset(code, nil)
				fs = append(fs, plain, plain.with(func(f *frame) { f.ResumeAttempt = 1 << 50 }))
			}
			return fs
		})))
	}}}
	for _, code := range everyCode() {
		if !believable(code) {
			continue
		}
		attacks = append(attacks, attack{name: "a wrong proof/" + string(code), rule: func(a *assault) rule {
			return chain(a.asks(a.at), a.keepsProofs(), a.arriving(typeData, a.inserts(func(f *frame) []*frame {
				forged := []*frame{
					f.reset(code, randomBytes(32)), f.reset(code, make([]byte, 32)), f.reset(code, randomBytes(31)),
				}
				if old := a.begun.last(a.at, a.id, typeResumed); old != nil {
					// The peer's own proof of something else.
					turned := old.with(func(f *frame) {
						f.Type, f.Sequence, f.Status = typeReset, 0, envelope.Status{Code: code}.Append(nil)
					})
					forged = append(forged, turned, turned.with(func(f *frame) { f.ResumeAttempt++ }))
				}
				return forged
			})))
		}})
	}
	under(t, attacks)
}

// believable reports whether a RESET with a proof ends a session with code.
func believable(code reason.Code) bool {
	switch code {
	case reason.DataLost, reason.FlowViolation, reason.DecryptFailed, reason.Cancelled:
		return true
	}
	return false
}

func TestSessionUnknownIsBelievedOnlyInAnswerToResume(t *testing.T) {
	under(t, []attack{{name: "an answer", want: outcome{end{"SESSION_UNKNOWN", "peer"}, unaware},
		rule: func(a *assault) rule {
			return chain(a.asks(a.at), func(l *link, w way, f *frame) []*frame {
				if w == up && l.role == a.at && a.mine(f) && f.Type == typeResume {
					a.bite()
					l.inject(down, f.reset(reason.SessionUnknown, nil))
					return nil
				}
				return []*frame{f}
			})
		}}})
}

// aborted lets the peer of the attacked end abort the session in the middle.
func (a *assault) aborted(want outcome) outcome {
	ctx := a.ctx
	if err := a.target.exchange(ctx, 3); err != nil {
		a.t.Errorf("before the end: %v", err)
	}
	if a.target.tag != 'a' {
		return a.closed()
	}
	s := a.target.ends[a.at]
	a.target.ends[s.role.other()].session.Abort()
	got := outcome{peer: end{"CANCELLED", "local"}}
	if want.at == unaware {
		// It asks when it has something to say that nobody acks.
		_ = s.send(ctx, 1)
		want.at = end{"SESSION_UNKNOWN", "peer"}
		if a.at == atDaemon {
			want.at = silent
		}
		if e := a.over(ctx, s); e != want.at {
			a.t.Errorf("nobody told the %s of the end: got %v, want %v", s.role, e, want.at)
		}
		got.at = unaware
		return got
	}
	got.at = a.over(ctx, s)
	return got
}

// closed ends the session in order.
func (a *assault) closed() outcome {
	if err := a.target.finish(a.ctx); err != nil {
		a.t.Error(err)
	}
	return bears
}

func TestTheReasonOfAnEndCanNotBeExchanged(t *testing.T) {
	recoded := func(f *frame, code reason.Code) *frame {
		return f.with(func(f *frame) { f.Status = envelope.Status{Code: code}.Append(nil) })
	}
	want := outcome{end{"CANCELLED", "peer"}, end{"CANCELLED", "local"}}
	attacks := []attack{{name: "before it", want: want, talk: func(a *assault) outcome { return a.aborted(want) },
		rule: func(a *assault) rule {
			return a.arriving(typeReset, a.inserts(func(f *frame) (fs []*frame) {
				for _, code := range everyCode() {
					if code != reason.Cancelled {
						fs = append(fs, recoded(f, code))
					}
				}
				return fs
			}))
		}}}
	for _, code := range everyCode() {
		if !believable(code) || code == reason.Cancelled {
			continue
		}
		without := outcome{unaware, end{"CANCELLED", "local"}}
		attacks = append(attacks, attack{name: string(code) + "/in its place", want: without,
			settings: settings{lifetime: shortLife},
			talk:     func(a *assault) outcome { return a.aborted(without) },
			rule: func(a *assault) rule {
				n := 0
				return a.arriving(typeReset, func(l *link, f *frame) []*frame {
					if n++; n > 1 { // what follows is an answer to RESUME
						return []*frame{f}
					}
					a.bite()
					return []*frame{recoded(f, code)}
				})
			}})
	}
	under(t, attacks)
}

func TestTheEndOfOneSessionIsNotThatOfAnother(t *testing.T) {
	under(t, []attack{{name: "a proved RESET", rule: func(a *assault) rule {
		// Another session ends with an error first.
		other := a.converse('o')
		if err := other.exchange(a.ctx, 1); err != nil {
			a.t.Fatal(err)
		}
		a.m.set(a.recording(a.older))
		other.ends[a.at.other()].session.Abort()
		if e := a.over(a.ctx, other.ends[a.at]); e != (end{"CANCELLED", "peer"}) {
			a.t.Fatalf("the other session: got %v", e)
		}
		var reset *frame
		a.m.do(func() { reset = a.older.last(a.at, other.id(), typeReset) })
		return a.arriving(typeData, a.inserts(func(f *frame) []*frame {
			again := renamed(reset, a.id)
			return []*frame{again, again.with(func(f *frame) { f.ResumeAttempt = 1 << 40 }), reset}
		}))
	}}, {name: "a CLOSE", rule: func(a *assault) rule {
		var closes *frame
		a.m.do(func() {
			for _, f := range a.older[a.at] {
				if f.Type == typeClose {
					closes = f
				}
			}
		})
		return a.arriving(typeData, a.inserts(func(f *frame) []*frame {
			again := renamed(closes, a.id)
			return []*frame{again, again.with(func(c *frame) { c.Sequence = f.Sequence })}
		}))
	}}})
}

func TestNobodyElseEndsADirection(t *testing.T) {
	under(t, []attack{
		{name: "an invented CLOSE", rule: func(a *assault) rule {
			return a.arriving(typeData, a.inserts(func(f *frame) (fs []*frame) {
				for _, n := range []int{0, 16, 17, 40} {
					c := f.with(func(f *frame) { f.Type, f.ciphertext = typeClose, randomBytes(n) })
					fs = append(fs, c)
				}
				return fs
			}))
		}},
		{name: "the true CLOSE too soon", rule: func(a *assault) rule {
			return func(l *link, w way, f *frame) []*frame {
				if !a.arrives(l, w, f) || f.Type != typeData {
					return []*frame{f}
				}
				// DATA as CLOSE, and CLOSE of the other direction.
				a.bite()
				fs := []*frame{f.with(func(f *frame) { f.Type = typeClose })}
				return append(fs, f)
			}
		}},
		{name: "CLOSE in the place of the last data", rule: func(a *assault) rule {
			var held *frame
			return func(l *link, w way, f *frame) []*frame {
				switch {
				case !a.arrives(l, w, f), f.Resend:
				case f.Type == typeData:
					was := held
					if held = f; was != nil {
						return []*frame{was}
					}
					return nil
				case f.Type == typeClose && held != nil:
					a.bite()
					last := held.Sequence
					held = nil
					return []*frame{f.with(func(f *frame) { f.Sequence = last }), f}
				}
				return []*frame{f}
			}
		}},
		{name: "CLOSE never comes", want: outcome{end{"CANCELLED", "peer"}, end{"CANCELLED", "local"}},
			talk: (*assault).closedByPeer, rule: func(a *assault) rule { return a.arriving(typeClose, a.drops) }},
	})
}

// closedByPeer lets the peer close while the attacked end waits for its end.
func (a *assault) closedByPeer() outcome {
	s, p := a.target.ends[a.at], a.target.ends[a.at.other()]
	if err := a.target.exchange(a.ctx, 3); err != nil {
		a.t.Errorf("before the end: %v", err)
	}
	p.closed.Store(true)
	_ = s.closeWrite()
	if err := p.session.Close(); err != nil {
		return outcome{a.over(a.ctx, s), endOf(err)}
	}
	return outcome{a.over(a.ctx, s), clean}
}

// An ack is not proved: the closer's Close returns without an error, and the receiver alone finds out (docs/protocol.md,
// What a malicious relay can still do).
func TestAForgedAckOfACloseIsFoundOutByItsReceiverAlone(t *testing.T) {
	under(t, []attack{{name: "the end and all before it", settings: settings{lifetime: shortLife},
		want: outcome{end{"DATA_LOST", "local"}, clean}, talk: (*assault).closedByPeer,
		rule: func(a *assault) rule {
			return a.arriving(typeClose, func(_ *link, f *frame) []*frame {
				a.m.latestOf(a.at.other(), a.id).inject(down, acks(f, f.Sequence, f.Sequence))
				return a.drops(nil, f)
			})
		}}})
}
