package revocation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getviewport/relay/internal/reason"
)

var (
	now     = time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	install = Subject{"acme", Install, "i-1"}
	laptop  = Subject{"acme", Target, "laptop"}
	token   = Subject{"acme", Token, "jti-1"}
	link    = Names{Workspace: "acme", Target: "laptop", InstallID: "i-1", TokenID: "jti-1"}
)

// revoke puts s on the list and fails the test if that can't be.
func revoke(t *testing.T, l *List, s Subject, why string) (already bool) {
	t.Helper()
	_, already, full := l.Revoke(s, why, now)
	if full != nil {
		t.Fatal(full)
	}
	return already
}

func TestALinkIsRevokedByEachOfItsNamesAndByNoOther(t *testing.T) {
	for _, s := range []Subject{install, laptop, token} {
		l := InMemory()
		if l.Revoked(link) {
			t.Errorf("%v: revoked by an empty list", s)
		}
		revoke(t, l, s, "")
		if !l.Revoked(link) || !s.Matches(link) {
			t.Errorf("%v: got Revoked %v, Matches %v, want both", s, l.Revoked(link), s.Matches(link))
		}
		for what, other := range map[string]Names{
			"another workspace": {"acme2", "laptop", "i-1", "jti-1"},
			"other names":       {"acme", "desktop", "i-2", "jti-2"},
			"no names":          {Workspace: "acme"},
			"names that swap":   {"acme", "jti-1", "laptop", "i-1"},
			"names in part":     {"acme", "laptop-2", "i-10", "jti-11"},
		} {
			if l.Revoked(other) || s.Matches(other) {
				t.Errorf("%v revokes %s", s, what)
			}
		}
	}
	if nobody := (Subject{Workspace: "acme", Kind: Install}); nobody.Matches(Names{Workspace: "acme"}) {
		t.Error("a subject without a value matches a link without a name")
	}
}

func TestRevokingAndRestoringTwiceIsTheSameAsOnce(t *testing.T) {
	l := InMemory()
	if l.Restore(install) {
		t.Error("restored what was never revoked")
	}
	if revoke(t, l, install, "stolen") {
		t.Error("the first revocation found one before it")
	}
	row, already, _ := l.Revoke(install, "another reason", now.Add(time.Hour))
	if want := (Revocation{install, "stolen", now}); !already || row != want {
		t.Errorf("the second: got %v, %v, want the first one's %v", row, already, want)
	}
	if n := l.Len(); n != 1 {
		t.Errorf("got %d rows, want 1", n)
	}
	if !l.Restore(install) || l.Restore(install) || l.Revoked(link) || l.Len() != 0 {
		t.Error("restoring does not undo, or does so twice")
	}
}

func TestTheListHasALimitThatIsTold(t *testing.T) {
	l := InMemory()
	for i := range Max {
		revoke(t, l, Subject{"acme", Install, fmt.Sprint(i)}, "")
	}
	_, _, full := l.Revoke(laptop, "", now)
	if full == nil || full.Code != reason.Capacity || full.Meta["limit"] != Limit || full.Meta["value"] != fmt.Sprint(Max) {
		t.Fatalf("got %v with %v, want CAPACITY with the limit", full, full.Meta)
	}
	if !revoke(t, l, Subject{"acme", Install, "0"}, "") {
		t.Error("a full list does not know what is on it")
	}
	l.Restore(Subject{"acme", Install, "0"})
	revoke(t, l, laptop, "")
}

func TestWhatCannotBeRevokedIsRefused(t *testing.T) {
	good := Revocation{install, "stolen", now}
	with := func(change func(*Revocation)) Revocation { r := good; change(&r); return r }
	for name, r := range map[string]Revocation{
		"no workspace":         with(func(r *Revocation) { r.Workspace = "" }),
		"a long workspace":     with(func(r *Revocation) { r.Workspace = strings.Repeat("w", 129) }),
		"a workspace's form":   with(func(r *Revocation) { r.Workspace = "a/b" }),
		"a workspace in Greek": with(func(r *Revocation) { r.Workspace = "λ" }),
		"no kind":              with(func(r *Revocation) { r.Kind = 0 }),
		"a kind of tomorrow":   with(func(r *Revocation) { r.Kind = 9 }),
		"no value":             with(func(r *Revocation) { r.Value = "" }),
		"a target's form":      with(func(r *Revocation) { r.Kind, r.Value = Target, "lap top" }),
		"a long install":       with(func(r *Revocation) { r.Value = strings.Repeat("i", 129) }),
		"a long token id":      with(func(r *Revocation) { r.Kind, r.Value = Token, strings.Repeat("ä", 256) }),
		"a value of two lines": with(func(r *Revocation) { r.Value = "a\nb" }),
		"a value of no text":   with(func(r *Revocation) { r.Value = "a\xff" }),
		"a long reason":        with(func(r *Revocation) { r.Reason = strings.Repeat("r", 257) }),
		"a reason in colour":   with(func(r *Revocation) { r.Reason = "\x1b[31mstolen" }),
		"no time":              with(func(r *Revocation) { r.At = time.Time{} }),
	} {
		if r.Problem() == nil {
			t.Errorf("%s: got no problem", name)
		}
	}
	for name, r := range map[string]Revocation{
		"an install": good, "a target": {laptop, "", now}, "a token": {token, "", now},
		"the longest": {Subject{strings.Repeat("w", 128), Token, strings.Repeat("ä", 255)}, strings.Repeat("r", 256), now},
		"a sentence":  {Subject{"a.b_c:d-1", Install, "the laptop of 3 a. m."}, `"stolen" – at <Köln>`, now},
	} {
		if err := r.Problem(); err != nil {
			t.Errorf("%s: got %v, want none", name, err)
		}
	}
}

func TestTheListIsInOrderOfWorkspaceKindAndValue(t *testing.T) {
	want := []Subject{
		{"a", Install, "1"}, {"a", Install, "2"}, {"a", Target, "1"}, {"a", Token, "0"}, {"b", Install, "0"},
	}
	l := InMemory()
	for _, i := range []int{3, 1, 4, 0, 2} {
		revoke(t, l, want[i], "")
	}
	var got []Subject
	for _, r := range l.All() {
		got = append(got, r.Subject)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestManyWhoRevokeAndRestoreAtOnceFindTheirChangesOnDisk(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	const workers, rounds = 8, 12
	errs := make(chan error, workers)
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for i := range rounds {
				s := Subject{"acme", Install, fmt.Sprintf("%d-%d", w, i)}
				if _, _, full := l.Revoke(s, "", now); full != nil {
					errs <- full
					return
				}
				if i%3 == 0 {
					l.Restore(s)
				}
				if err := l.Keep(); err != nil {
					errs <- err
					return
				}
				// Another one's Keep may be under way: what it writes has this change, too.
				rows, err := (&store{dir: dir}).read()
				if _, there := rows[s]; err == nil && there != (i%3 != 0) {
					err = fmt.Errorf("%v: on disk %v", s, there)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	running.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	want := l.All()
	if err := errors.Join(l.Keep(), l.Close()); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	if got := again.All(); !slices.Equal(got, want) || len(got) != workers*rounds*2/3 {
		t.Errorf("got %d rows, want the %d that were there", len(got), len(want))
	}
}
