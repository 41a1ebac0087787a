package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/getviewport/relay/cmd/viewport-dev/internal/endpoint"
	"github.com/getviewport/relay/cmd/viewport-dev/internal/ledger"
)

// outcome is what became of all that was sent.
type outcome struct {
	// Sessions that were opened; Resumes is how often one lost its peer and found it again.
	Sessions int `json:"sessions"`
	Resumes  int `json:"resumes"`
	// Blocks and Bytes arrived.
	Blocks uint64 `json:"blocks"`
	Bytes  uint64 `json:"bytes"`
	// Lost, Doubled and Reordered are blocks, and so are those that came Altered: damaged, or of another stream.
	Lost      uint64 `json:"lost"`
	Doubled   uint64 `json:"doubled"`
	Reordered uint64 `json:"reordered"`
	Altered   uint64 `json:"altered"`
	// Unclean are sessions that did not end cleanly at both ends.
	Unclean int `json:"unclean"`
	// Stall is the longest time in which a stream that wanted to move did not, in seconds.
	Stall float64 `json:"longest_stall_seconds"`
	// Problems says what is wrong with which session.
	Problems []string `json:"problems"`
}

// ok reports whether everything arrived once, in order and unaltered, and ended cleanly.
func (o outcome) ok() bool { return len(o.Problems) == 0 }

// outcome compares what both ends of all sessions told.
func (e *ensemble) outcome() outcome {
	e.mu.Lock()
	defer e.mu.Unlock()
	return compare(e.sessions)
}

// compare compares what both ends of sessions told.
func compare(sessions map[string]*sessionEnds) outcome {
	o := outcome{Problems: []string{}}
	for _, name := range slices.Sorted(maps.Keys(sessions)) {
		s := sessions[name]
		o.Sessions++
		client, daemon := s.client, s.daemon
		before := len(o.Problems)
		if client == nil {
			o.problem("%s: its client has not told its end", name)
			client = &endpoint.Result{}
		}
		if daemon == nil {
			o.problem("%s: its daemon has not told its end", name)
			daemon = &endpoint.Result{}
		}
		for end, err := range map[string]string{"client": client.Error, "daemon": daemon.Error} {
			if err != "" {
				o.problem("%s: it ended uncleanly at the %s: %s", name, end, err)
			}
		}
		if len(o.Problems) > before {
			o.Unclean++
		}
		o.Resumes += client.Resumes
		o.direction(name+" up", client.Sent, daemon.Got)
		o.direction(name+" down", daemon.Sent, client.Got)
	}
	return o
}

func (o *outcome) problem(format string, args ...any) {
	o.Problems = append(o.Problems, fmt.Sprintf(format, args...))
}

// direction compares what one end sent with what the other got.
func (o *outcome) direction(name string, sent ledger.Sent, got ledger.Tally) {
	lost := got.Lost
	// Without an end nobody knows what should have come, but for the sender.
	if distinct := got.Blocks - min(got.Blocks, got.Doubled); !got.Ended && sent.Blocks > distinct {
		lost = max(lost, sent.Blocks-distinct)
	}
	altered := got.Damaged + got.Foreign
	o.Blocks += got.Blocks
	o.Bytes += got.Bytes
	o.Lost += lost
	o.Doubled += got.Doubled
	o.Reordered += got.Reordered
	o.Altered += altered
	o.Stall = max(o.Stall, got.Stall.Round(time.Millisecond).Seconds())
	switch {
	case lost+got.Doubled+got.Reordered+altered > 0:
		o.problem("%s: %d blocks were sent and %d came: %d lost, %d doubled, %d reordered, %d damaged, %d foreign", name,
			sent.Blocks, got.Blocks, lost, got.Doubled, got.Reordered, got.Damaged, got.Foreign)
	case !got.Ended:
		o.problem("%s: its end never came", name)
	case sent.Blocks != got.Blocks || sent.Bytes != got.Bytes || sent.SHA256 != got.SHA256:
		o.problem("%s: the ends disagree: %d blocks and %d bytes of SHA-256 %.16s… were sent, %d and %d of %.16s… came",
			name, sent.Blocks, sent.Bytes, sent.SHA256, got.Blocks, got.Bytes, got.SHA256)
	}
}
