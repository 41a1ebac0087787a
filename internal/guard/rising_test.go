package guard_test

import (
	"testing"

	"github.com/getviewport/relay/internal/guard"
)

func TestALegacySequenceOnlyRisesWithinItsEpochAndAnEpochNeverComesBack(t *testing.T) {
	var g guard.Rising
	for i, tt := range []struct {
		epoch, sequence uint64
		pass            bool
	}{
		{1, 1, true},
		{1, 1, false}, // a replay
		{1, 5, true},  // a gap
		{1, 4, false}, // what was overtaken
		{2, 1, true},  // new keys
		{1, 6, false}, // old keys
		{2, 1, false},
		{2, 2, true},
		{3, 0, true},
		{0, 9, false},
	} {
		if got := g.Step(tt.epoch, tt.sequence); got != tt.pass {
			t.Errorf("frame %d (epoch %d, sequence %d): got %v, want %v", i, tt.epoch, tt.sequence, got, tt.pass)
		}
	}
}
