package revocation

import (
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

// List is the revocations of one relay. It is safe for concurrent use.
//
// A change takes effect at once and is kept later, by Keep: whoever revokes ends the links in between, so that a slow
// or full disk keeps no thief connected.
type List struct {
	// Static.
	store *store // nil: the list is in memory only

	// mu guards what follows. It is the innermost lock: nothing else is taken under it.
	mu   sync.RWMutex
	rows map[Subject]Revocation
	// changes counts the changes of rows.
	changes uint64

	// keeping is held by who writes the file, and guards kept: the changes that the file has. It is taken before mu.
	keeping sync.Mutex
	kept    uint64
}

// InMemory returns an empty list that is forgotten with the process.
func InMemory() *List { return &List{rows: make(map[Subject]Revocation)} }

// Open returns the list that is kept in the folder dir, which no other process may have open. It fails rather than
// forget: when the folder is not there or can't be written, and when what it holds is damaged or open to others. Whoever
// opens a list must close it.
func Open(dir string) (*List, error) {
	s, rows, err := openStore(dir)
	if err != nil {
		return nil, err
	}
	return &List{store: s, rows: rows}, nil
}

// Close lets another process open the folder. Nothing can be kept after it.
func (l *List) Close() error {
	if l.store == nil {
		return nil
	}
	l.keeping.Lock()
	defer l.keeping.Unlock()
	return l.store.close()
}

// Durable reports whether Keep outlives the process.
func (l *List) Durable() bool { return l.store != nil }

// Revoked reports whether the link with these names is revoked.
func (l *List) Revoked(n Names) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range n.subjects() {
		if _, there := l.rows[s]; there && s.Value != "" {
			return true
		}
	}
	return false
}

// Revoke puts s on the list. If it is there already nothing changes, and what is there is returned. The error is a
// CAPACITY that names the limit.
func (l *List) Revoke(s Subject, why string, now time.Time) (row Revocation, already bool, full *reason.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if row, already = l.rows[s]; already {
		return row, true, nil
	}
	if len(l.rows) >= Max {
		return row, false, reason.New(reason.Capacity,
			"%d pairings are revoked, and no more can be; restore those that are not needed (ListRevocations)", Max).
			With("limit", Limit).With("value", strconv.Itoa(Max))
	}
	row = Revocation{Subject: s, Reason: why, At: now.UTC()}
	l.rows[s] = row
	l.changes++
	return row, false, nil
}

// Restore takes s off the list, and reports whether it was on it.
func (l *List) Restore(s Subject) (was bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, was = l.rows[s]; was {
		delete(l.rows, s)
		l.changes++
	}
	return was
}

// Keep returns when all changes before the call are on disk. After an error they are in effect all the same; the next
// Keep tries again. A list in memory has nothing to keep.
func (l *List) Keep() error {
	if l.store == nil {
		return nil
	}
	l.keeping.Lock()
	defer l.keeping.Unlock()
	// Whoever waited for another one's write finds its own changes written with it.
	l.mu.RLock()
	changes := l.changes
	var rows map[Subject]Revocation
	if changes != l.kept {
		rows = maps.Clone(l.rows)
	}
	l.mu.RUnlock()
	if rows == nil {
		return nil
	}
	if err := l.store.write(sorted(rows)); err != nil {
		return err
	}
	l.kept = changes
	return nil
}

// Len is how many revocations there are.
func (l *List) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.rows)
}

// All returns the revocations in order of subject.
func (l *List) All() []Revocation {
	l.mu.RLock()
	rows := maps.Clone(l.rows)
	l.mu.RUnlock()
	return sorted(rows)
}

func sorted(rows map[Subject]Revocation) []Revocation {
	return slices.SortedFunc(maps.Values(rows), func(a, b Revocation) int { return a.Compare(b.Subject) })
}
