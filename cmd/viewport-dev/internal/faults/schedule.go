package faults

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Kind is what happens.
type Kind uint8

// Kinds.
const (
	// Kill ends the relay without a word; it starts again after Fault.For.
	Kill Kind = iota + 1
	// Reset, Finish, Forget, Move and Freeze are done to the Proxy of Fault.Link; Forget, Move and Freeze for Fault.For.
	Reset
	Finish
	Forget
	Move
	Freeze
)

// String returns the kind as people read it.
func (k Kind) String() string {
	return [...]string{
		Kill: "kill -9", Reset: "RST", Finish: "FIN", Forget: "half-open", Move: "moved", Freeze: "frozen",
	}[k]
}

// Fault is one of a Schedule.
type Fault struct {
	// At is when it begins, from the start of the schedule.
	At   time.Duration
	Kind Kind
	// Link is the index of the link that it hits; of no meaning for Kill.
	Link int
	// For is how long it lasts; 0: it is over at once.
	For time.Duration
}

// String describes it without the link's name.
func (f Fault) String() string {
	if f.For == 0 {
		return f.Kind.String()
	}
	return fmt.Sprintf("%v for %v", f.Kind, f.For)
}

// Bounds of a schedule.
const (
	firstFault = 300 * time.Millisecond
	leastGap   = 50 * time.Millisecond
	meanGap    = 1100 * time.Millisecond // above the least
	// calmEvery and calm: endpoints whose links never live long pause ever longer before they connect again, and then
	// there is little to cut.
	calmEvery = 30 * time.Second
	calm      = 12 * time.Second
	// afterKill is the least time that a relay lives: one that never lives long enough to admit anybody tests nothing.
	afterKill = 2 * time.Second
	longest   = 6 * time.Second
)

// Schedule draws what happens within length to a relay and to so many links, in the order of time. The same arguments
// give the same schedule. The first fault kills the relay, and whatever lasts ends within length.
func Schedule(seed uint64, length time.Duration, links int) []Fault {
	random := rand.New(rand.NewPCG(seed, 0x6368616f73)) // any constant: a stream of its own
	var all []Fault
	noKillBefore, nextCalm := firstFault, calmEvery
	for at := firstFault; at < length; {
		f := Fault{At: at, Link: random.IntN(links), Kind: draw(random)}
		lasts := time.Duration(random.ExpFloat64()*float64(time.Second)) + 50*time.Millisecond
		if len(all) == 0 {
			f.Kind = Kill
		}
		if f.Kind == Kill && at < noKillBefore {
			f.Kind = Reset
		}
		switch f.Kind {
		case Kill:
			f.For = min(lasts/2, longest/2, length-at)
			noKillBefore = at + f.For + afterKill
		case Forget, Move:
			f.For = min(4*lasts, longest, length-at) // shorter and longer than it takes to notice
		case Freeze:
			f.For = min(lasts, longest, length-at)
		}
		f.For = f.For.Truncate(time.Millisecond)
		all = append(all, f)
		if at > nextCalm {
			at += calm
			nextCalm = at + calmEvery
		}
		at += leastGap + time.Duration(random.ExpFloat64()*float64(meanGap)).Truncate(time.Millisecond)
	}
	return all
}

// draw draws a kind.
func draw(random *rand.Rand) Kind {
	kinds := []Kind{Kill, Reset, Reset, Finish, Finish, Forget, Move, Freeze}
	return kinds[random.IntN(len(kinds))]
}
