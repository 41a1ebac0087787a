package terminal

import (
	"context"
	"fmt"
	"time"
)

const (
	// noticeAfter is how long the daemon must be out of reach before the user is told: shorter gaps pass unnoticed.
	noticeAfter = 2 * time.Second
	// redrawAfter is how long the window seems smaller; both changes of size at once would be none.
	redrawAfter = 100 * time.Millisecond

	noticeText  = " reconnecting… "
	noticeWidth = 15 // columns
)

// watch tells the user while the daemon is out of reach.
func (a *attachment) watch(ctx context.Context) {
	if a.o.Reachable == nil {
		return
	}
	for a.reach(ctx, false, 0) {
		if a.reach(ctx, true, noticeAfter) || ctx.Err() != nil {
			continue
		}
		a.show()
		a.reach(ctx, true, 0)
		a.hide(ctx)
	}
}

// reach waits until the daemon is within reach or is not, for at most limit if that is not 0, and reports whether it is
// so.
func (a *attachment) reach(ctx context.Context, want bool, limit time.Duration) bool {
	var late <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		late = timer.C
	}
	for {
		ok, changed := a.o.Reachable()
		if ok == want {
			return true
		}
		select {
		case <-changed:
		case <-late:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// show says that the session reconnects. On a screen that the command draws it is a mark in the upper right corner, and
// moves no cursor; elsewhere it is a line, if a person reads it. What can't be shown changes nothing.
func (a *attachment) show() {
	a.writing.Lock()
	defer a.writing.Unlock()
	if a.raw {
		_, _ = fmt.Fprintf(a.o.Out, "\x1b7\x1b[1;%dH\x1b[7m%s\x1b[m\x1b8", a.corner(), noticeText)
	} else if isTerminal(a.o.Err) {
		_, _ = fmt.Fprint(a.o.Err, "viewport: connection lost; reconnecting…\r\n")
	}
}

// hide takes that away. The command draws again what lay under the mark, because the window seems to change its size.
func (a *attachment) hide(ctx context.Context) {
	a.writing.Lock()
	if a.raw {
		_, _ = fmt.Fprintf(a.o.Out, "\x1b7\x1b[1;%dH\x1b[K\x1b8", a.corner())
	} else if isTerminal(a.o.Err) {
		_, _ = fmt.Fprint(a.o.Err, "viewport: connected again\r\n")
	}
	a.writing.Unlock()
	s := a.local.size()
	if !a.raw || s.rows < 2 || ctx.Err() != nil {
		return
	}
	smaller := s
	smaller.rows--
	a.out.setSize(smaller)
	select {
	case <-time.After(redrawAfter):
	case <-ctx.Done():
	}
	a.out.setSize(a.local.size())
}

func (a *attachment) corner() int { return max(1, int(a.local.size().cols)-noticeWidth+1) }
