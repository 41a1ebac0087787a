package client

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

func TestADaemonComesBackAfterWhatPassesAndStopsAfterWhatDoesNot(t *testing.T) {
	for _, c := range []struct {
		err   *Error
		least time.Duration // the pause is at least this; below 0: it stops
	}{
		{&Error{Reason: LinkLost, By: "link"}, 0},
		{&Error{Reason: Draining, By: "relay", RetryAfter: 3 * time.Second}, 3 * time.Second},
		{&Error{Reason: PlatformUnavailable, By: "relay", RetryAfter: time.Second}, time.Second},
		{&Error{Reason: Reason(reason.Capacity), By: "relay"}, 0},
		{&Error{Reason: TokenExpired, By: "relay"}, 0},
		{&Error{Reason: DaemonAlreadyConnected, By: "relay"}, 30 * time.Second},
		{&Error{Reason: Replaced, By: "relay"}, 30 * time.Second},
		{&Error{Reason: Reason(reason.StaleGeneration), By: "relay"}, -1},
		{&Error{Reason: Reason(reason.WorkspaceMismatch), By: "relay"}, -1},
		{&Error{Reason: Reason(reason.PairingRevoked), By: "relay"}, -1},
		{&Error{Reason: Reason(reason.FrameInvalid), By: "relay"}, -1},
		{&Error{Reason: "OF_TOMORROW", By: "relay"}, -1},
		{&Error{Reason: Closed, By: "local"}, -1},
	} {
		var b backoff
		pause, final := b.after(c.err)
		if stops := c.least < 0; stops != (final != nil) || !stops && (pause < c.least || pause > c.least+maxPause) {
			t.Errorf("%s: got a pause of %v and %v, want at least %v", c.err.Reason, pause, final, c.least)
		}
	}
}

func TestPausesGrowToFifteenSecondsAndStartSmallAfterAHealthyLink(t *testing.T) {
	var b backoff
	for range 50 {
		if pause, _ := b.after(&Error{Reason: LinkLost, By: "link"}); pause > maxPause {
			t.Fatalf("got a pause of %v, want at most %v", pause, maxPause)
		}
	}
	if b.pause != maxPause {
		t.Errorf("got %v after 50 tries, want %v", b.pause, maxPause)
	}
	if b.healthy(time.Second) || b.pause == 0 {
		t.Error("a link of one second counts as healthy")
	}
	if before := b.pause; b.healthy(4*time.Second) || b.pause != before-4*time.Second {
		t.Errorf("got pauses up to %v after a link of 4 s, want 4 s less than the %v before", b.pause, before)
	}
	if !b.healthy(time.Minute) {
		t.Error("a link of one minute does not count as healthy")
	}
	if pause, _ := b.after(&Error{Reason: LinkLost, By: "link"}); pause > firstPause {
		t.Errorf("got a pause of %v after a healthy link, want at most %v", pause, firstPause)
	}
}

func TestATokenThatIsRefusedTwiceIsFinal(t *testing.T) {
	var b backoff
	refused := &Error{Reason: TokenInvalid, By: "relay"}
	if _, final := b.after(refused); final != nil {
		t.Fatalf("got %v at the first refusal: the source may have a fresh one", final)
	}
	if _, final := b.after(refused); !errors.Is(final, TokenInvalid) {
		t.Errorf("got %v at the second, want TokenInvalid", final)
	}
}

func TestADaemonThatIsReplacedThreeTimesInTenMinutesStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backoff
		replaced := &Error{Reason: Replaced, By: "relay"}
		for range 10 { // seldom enough it goes on for ever
			if _, final := b.after(replaced); final != nil {
				t.Fatalf("got %v", final)
			}
			time.Sleep(6 * time.Minute)
		}
		time.Sleep(time.Hour)
		_, _ = b.after(replaced)
		_, _ = b.after(replaced)
		if _, final := b.after(replaced); !errors.Is(final, Replaced) {
			t.Errorf("got %v at the third time, want Replaced", final)
		}
	})
}
