package client

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/secure"
)

func half(key byte) *Session {
	return &Session{peer: identity.Key{key}, opened: make(chan struct{}), over: make(chan struct{})}
}

func TestOneClientKeyCannotHoldAllHalfOpenSessions(t *testing.T) {
	in := newIntake(nil, secure.KeyPair{})
	for i := range maxHalfOpenPerKey {
		if !in.admitHalfOpen(half(1)) {
			t.Fatalf("refused the half-open session %d of a key, %d may be", i, maxHalfOpenPerKey)
		}
	}
	if in.admitHalfOpen(half(1)) {
		t.Error("got one more half-open session of the same key")
	}
	if !in.admitHalfOpen(half(2)) {
		t.Error("another key was refused")
	}
}

func TestSessionsThatOpenedOrEndedDoNotCountAsHalfOpen(t *testing.T) {
	in := newIntake(nil, secure.KeyPair{})
	for i := range 3 * maxHalfOpen {
		s := half(byte(i))
		if !in.admitHalfOpen(s) {
			t.Fatalf("refused session %d", i)
		}
		if i%2 == 0 {
			close(s.opened)
		} else {
			close(s.over)
		}
	}
}

func TestAnInitIsTakenOnceInTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newIntake(nil, secure.KeyPair{})
		if !in.remember("a") || in.remember("a") {
			t.Fatal("the second INIT of an id was taken")
		}
		time.Sleep(rememberIDs)
		if in.remember("a") {
			t.Error("it was forgotten too early")
		}
		time.Sleep(time.Second)
		if !in.remember("a") {
			t.Error("it was never forgotten")
		}
		for i := range 2 * maxRemembered {
			in.remember(string(rune(i)) + "x")
		}
		if len(in.seen) > maxRemembered || len(in.seenList) > maxRemembered {
			t.Errorf("remembers %d ids, at most %d", len(in.seen), maxRemembered)
		}
	})
}
