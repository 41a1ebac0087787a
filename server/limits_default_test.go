package server

import (
	"testing"
	"time"

	"github.com/getviewport/relay/internal/route"
)

func TestTheDefaultsAreAllowedAndThoseOfATargetToo(t *testing.T) {
	l := Limits{}.withDefaults()
	if err := l.check(); err != nil {
		t.Error(err)
	}
	want := route.Limits{
		Heartbeat: time.Second, LinksPerTarget: 1000, HandshakesPerSecond: 5, HandshakeBurst: 20,
	}.WithDefaults()
	if got := l.route(time.Second).WithDefaults(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWhatMayBeSwitchedOffIsAndNothingElse(t *testing.T) {
	l := Limits{
		LinksPerAddress: Unlimited, LinksPerWorkspace: Unlimited, TargetsPerWorkspace: Unlimited, LinksPerTarget: Unlimited,
		HandshakesPerSecond: Unlimited,
	}.withDefaults()
	if err := l.check(); err != nil {
		t.Error(err)
	}
	if l.AdmissionsPerAddress != Unlimited {
		t.Errorf("admissions per address: got %d, want none where links have none", l.AdmissionsPerAddress)
	}
	for name, l := range map[string]Limits{
		"links": {Links: Unlimited}, "admissions": {Admissions: Unlimited}, "watches": {Watches: Unlimited},
		"bytes": {ProcessBytes: Unlimited}, "bytes of a link": {LinkBytes: Unlimited},
		"frames": {FramesPerBatch: Unlimited}, "below": {LinksPerAddress: -2},
	} {
		if l.withDefaults().check() == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
