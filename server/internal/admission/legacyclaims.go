package admission

import (
	"cmp"
	"slices"
	"strings"

	"github.com/getviewport/relay/internal/legacywire"
)

// legacyClaims are those that only links of today's protocol are admitted by.
type legacyClaims struct {
	client, machine, executor, user string             // empty: absent
	profile                         legacywire.Profile // 0: absent
	channels                        []string           // nil: absent
}

// maxListed is how many entries a list among the claims has at most.
const maxListed = 64

// readLegacyClaims types the claims of o like readClaims, and those that only today's protocol has. With what it knows
// it is as strict as today's relays are, used or not; what it does not know it ignores, where they refuse the token.
func readLegacyClaims(o object) (*claims, error) {
	c, err := readClaims(o)
	if err != nil {
		return nil, err
	}
	c.workspace, c.target = trim(c.workspace), trim(c.target)
	l := &c.legacy
	r := claimReader{object: o}
	r.text("clientId", &l.client, 1, 128)
	r.text("machineId", &l.machine, 1, 255)
	r.text("managedExecutorId", &l.executor, 1, 128)
	r.text("userId", &l.user, 1, 128)
	if r.list("sessionChannels", &l.channels, 255); slices.ContainsFunc(l.channels, noChannel) {
		r.refuse("sessionChannels")
	}
	var profile string
	r.text("e2eeProfile", &profile, 1, 128)
	l.profile = legacywire.ParseProfile(profile)
	if _, there := o["scope"]; there && legacywire.ParseScope(c.scope) == 0 {
		r.refuse("scope")
	}
	if _, there := o["role"]; there && legacywire.ParseRole(c.role) == 0 {
		r.refuse("role")
	}

	var unused string
	for _, nullable := range []struct {
		name string
		most int
	}{{"daemonPublicKey", 512}, {"pairingSecret", 1024}, {"relayWsBaseUrl", 512}} {
		if o[nullable.name] != nil {
			r.text(nullable.name, &unused, 1, nullable.most)
		}
	}
	var sessions []string
	r.list("sessionIds", &sessions, 128)
	if v, there := o["ver"]; there {
		if _, ok := integer(v); !ok {
			r.refuse("ver")
		}
	}
	return c, r.err
}

// list reads an array of at most maxListed strings of 1 to most UTF-16 code units. One that is there and empty is not
// nil.
func (r *claimReader) list(name string, field *[]string, most int) {
	v, there := r.object[name]
	if !there {
		return
	}
	items, ok := v.([]any)
	if !ok || len(items) > maxListed {
		r.refuse(name)
		return
	}
	list := make([]string, len(items))
	for i := range items {
		if list[i], ok = textBetween(items[i], 1, most); !ok {
			r.refuse(name)
			return
		}
	}
	*field = list
}

// noChannel reports whether s is not "agent-session:" and more in the same line.
func noChannel(s string) bool {
	id, ok := strings.CutPrefix(s, "agent-session:")
	return !ok || id == "" || strings.ContainsAny(id, "\n\r\u2028\u2029")
}

// trim removes the white space that JavaScript's trim removes.
func trim(s string) string { return string(legacywire.Trim([]byte(s))) }

// merge adds what the platform answered, by the rule of claims.merge: stricter are the stronger profile, and of two
// lists of channels what is in both.
func (l *legacyClaims) merge(answer *legacyClaims) {
	l.client, l.machine = cmp.Or(l.client, answer.client), cmp.Or(l.machine, answer.machine)
	l.executor, l.user = cmp.Or(l.executor, answer.executor), cmp.Or(l.user, answer.user)
	l.profile = max(l.profile, answer.profile)
	switch {
	case l.channels == nil:
		l.channels = answer.channels
	case answer.channels != nil:
		l.channels = slices.DeleteFunc(l.channels, func(c string) bool { return !slices.Contains(answer.channels, c) })
	}
}
