package client

import "time"

// patience is how long a Send goes without progress while the peer is reachable.
type patience struct {
	limit time.Duration
	timer *time.Timer // nil while it does not run
	began time.Time   // when it began to run
}

func newPatience(limit time.Duration) *patience { return &patience{limit: limit} }

// over returns what ends the wait; progress begins it anew, and without a way to the peer it does not run.
func (p *patience) over(progress, reachable bool) <-chan time.Time {
	if p.limit == 0 {
		return nil
	}
	if progress || !reachable {
		p.stop()
	}
	if !reachable {
		return nil
	}
	if p.timer == nil {
		p.timer, p.began = time.NewTimer(p.limit), time.Now()
	}
	return p.timer.C
}

func (p *patience) stop() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}
