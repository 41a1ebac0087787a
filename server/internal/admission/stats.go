package admission

import "time"

// Stats are counts since New, and what is there now.
type Stats struct {
	// Fetches of the key set that began, and how many of them failed.
	Fetches, FetchFailures uint64
	// Keys is how many keys can be used now, KeysFetched when their fetch began (zero: none was good yet), KidsAsked how
	// many unknown kids wait for the next fetch.
	Keys        int
	KeysFetched time.Time
	KidsAsked   int
	// Validations are validate calls sent, ValidationFailures those of them without a usable answer.
	Validations, ValidationFailures uint64
	// InFlight is how many validate calls run now, Waiting how many wait for their turn.
	InFlight, Waiting int
}

// Stats returns a snapshot; its parts are of slightly different moments.
func (a *Admitter) Stats() Stats {
	var s Stats
	if r := a.keys; r != nil {
		r.mu.Lock()
		s.Fetches, s.FetchFailures = r.fetches, r.fetchFailures
		s.Keys, s.KeysFetched, s.KidsAsked = len(r.set), r.fetched, len(r.asked)
		r.mu.Unlock()
	}
	if v := a.platform; v != nil {
		s.Validations, s.ValidationFailures = v.calls.Load(), v.failures.Load()
		s.InFlight = len(v.slots)
		s.Waiting = max(0, int(v.present.Load()+v.rechecks.Load())-s.InFlight)
	}
	return s
}
