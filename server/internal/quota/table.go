package quota

import (
	"slices"
	"sync/atomic"

	"github.com/getviewport/relay/internal/reason"
)

// Table is all limits of a relay by name: their values, and how often each refused. The rows are static, the counts
// safe for concurrent use.
type Table struct {
	rows   []*Row
	byName map[string]*Row
}

// Row is one limit.
type Row struct {
	// Name is the limit's in errors and metrics, Value what is configured: a number, bytes or seconds; 0: switched off.
	Name  string
	Value float64
	// Refusals counts elsewhere what the limit refused; nil: Refused does.
	Refusals func() uint64
	// Used is how much of it is taken now; nil: it is not known at a glance.
	Used func() float64

	refused atomic.Uint64
}

// NewTable returns the table of these rows, in order of name.
func NewTable(rows ...*Row) *Table {
	t := &Table{rows: slices.Clone(rows), byName: make(map[string]*Row)}
	slices.SortFunc(t.rows, func(a, b *Row) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	for _, r := range rows {
		t.byName[r.Name] = r
	}
	return t
}

// Refused counts a refusal if it names a limit of the table that is not counted elsewhere.
func (t *Table) Refused(e *reason.Error) {
	if r := t.byName[e.Meta["limit"]]; r != nil && r.Refusals == nil {
		r.refused.Add(1)
	}
}

// Rows are the limits in order of name. They are not to be changed.
func (t *Table) Rows() []*Row { return t.rows }

// Count is how often the limit has refused.
func (r *Row) Count() uint64 {
	if r.Refusals != nil {
		return r.Refusals()
	}
	return r.refused.Load()
}
