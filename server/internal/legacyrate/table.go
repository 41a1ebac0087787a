package legacyrate

import (
	"container/list"
	"sync"
	"time"
)

// stale is when a key that was not used is as good as new: its window is over, its bucket is full even if it owed a
// minute.
const stale = 2 * minute

// table remembers the states of the keys that were used last.
type table[K key[K], S any] struct {
	// Static.
	perMinute, max int
	refill         refill

	mu      sync.Mutex
	entries map[K]*list.Element // of order
	order   list.List           // of *entry[K, S], in order of use, the last first
	refused uint64
}

// key is what is counted by. Its own is one that shares no memory.
type key[K any] interface {
	comparable
	own() K
}

type entry[K key[K], S any] struct {
	key   K
	used  time.Time
	state S
}

func newTable[K key[K], S any](l Limit) *table[K, S] {
	return &table[K, S]{
		perMinute: l.PerMinute, max: max(l.Keys, 1), refill: refillOf(l.PerMinute), entries: make(map[K]*list.Element),
	}
}

// at returns the state of a key, a zero one if it is not remembered. It belongs to t.mu, as at does. If nothing is
// limited nothing is remembered.
func (t *table[K, S]) at(k K, now time.Time) *S {
	if t.perMinute <= 0 {
		return new(S)
	}
	if element := t.entries[k]; element != nil {
		t.order.MoveToFront(element)
		e := element.Value.(*entry[K, S])
		e.used = now
		return &e.state
	}
	t.forget(now)
	e := &entry[K, S]{key: k.own(), used: now}
	t.entries[e.key] = t.order.PushFront(e)
	return &e.state
}

// forget makes room for one key, and drops two that are as good as new, so that they go faster than others come.
func (t *table[K, S]) forget(now time.Time) {
	for range 2 {
		oldest := t.order.Back()
		if oldest == nil {
			return
		}
		e := oldest.Value.(*entry[K, S])
		if len(t.entries) < t.max && now.Sub(e.used) < stale {
			return
		}
		t.order.Remove(oldest)
		delete(t.entries, e.key)
	}
}

// count is what became of the limit.
func (t *table[K, S]) count() Count {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Count{Keys: len(t.entries), Refused: t.refused}
}

// count counts a hit of k in its window, and returns 0 or when to come back.
func count[K key[K]](t *table[K, window], k K, now time.Time) time.Duration {
	if t.perMinute <= 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := t.at(k, now).hit(t.perMinute, now)
	if wait > 0 {
		t.refused++
	}
	return wait
}
