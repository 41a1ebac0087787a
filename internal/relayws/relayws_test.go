package relayws

import (
	"testing"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

func TestWhyALinkEndsComesThroughACloseFrame(t *testing.T) {
	for _, code := range reason.All() {
		for _, retry := range []time.Duration{0, time.Millisecond, 5 * time.Second, 24 * time.Hour} {
			text := FormatEnd(&reason.Error{Code: code, Text: "for people", RetryAfter: retry})
			if len(text) > 123 {
				t.Errorf("%s: %d bytes do not fit into a close frame", text, len(text))
			}
			if got := ParseEnd(text); got.Code != code || got.RetryAfter != retry {
				t.Errorf("%q: got %v, %v, want %v, %v", text, got.Code, got.RetryAfter, code, retry)
			}
		}
	}
	if got := FormatEnd(reason.New(reason.Draining, "").After(time.Microsecond)); got != "DRAINING 1" {
		t.Errorf("got %q, want it rounded up", got)
	}
	for text, want := range map[string]reason.Error{
		"":                     {Code: reason.Internal},
		" 5":                   {Code: reason.Internal},
		"relay shutting down":  {Code: reason.Internal},
		"NEW_CODE":             {Code: "NEW_CODE"},
		"NEW_CODE 7 and more":  {Code: "NEW_CODE"},
		"DRAINING -5":          {Code: reason.Draining},
		"DRAINING 99999999999": {Code: reason.Draining},
	} {
		if got := ParseEnd(text); got.Code != want.Code || got.RetryAfter != want.RetryAfter {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
}

func TestAnAnnouncementHasNamesAndValuesAsStrings(t *testing.T) {
	text := Announcement([][2]string{{"viewport-protocol", "1"}, {"viewport-relay-id", "r"}})
	if want := `{"viewport-protocol":"1","viewport-relay-id":"r"}`; string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
	if got, err := ParseAnnouncement(text); err != nil || len(got) != 2 || got["viewport-relay-id"] != "r" {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "[]", `{"a":1}`, "hello"} {
		if _, err := ParseAnnouncement([]byte(bad)); err == nil {
			t.Errorf("%q is an announcement", bad)
		}
	}
}
