// Package config turns the environment, flags and an optional file of KEY=VALUE lines into the relay's configuration.
// One table (settings.go, legacy.go) is the source of parsing, help, `check` and the reference in
// docs/configuration.md.
//
// It reports everything that is wrong at once, each with how to mend it. It opens no sockets and asks nobody; the only
// files it reads are the ones that the configuration names.
package config

import (
	"cmp"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Config is a checked configuration. Its fields are documented by the table, and so by Reference.
type Config struct {
	// Listen and AdminListen are host:port. AdminListen is empty when the admin listener is not to be opened, because
	// there is no token for it.
	Listen, AdminListen string
	// AdminTokens are one or two.
	AdminTokens []string
	// TLSCert and TLSKey are PEM files that were loaded as a pair once; both empty: plain.
	TLSCert, TLSKey string
	// RelayID is empty when the operator gave none.
	RelayID string

	// TrustedProxies may be empty.
	TrustedProxies []netip.Prefix

	// JWKSURL and ValidateURL: at least one is set.
	JWKSURL, ValidateURL string
	InternalKey          string
	Issuer, Audience     string
	ValidateTimeout      time.Duration
	ValidateConcurrency  int
	// RecheckInterval is 0 when off.
	RecheckInterval time.Duration
	// StateDir is a folder, or empty.
	StateDir string

	// Heartbeat is 0 when off.
	Heartbeat time.Duration
	// ReadinessDelay and DrainTime are 0 when off.
	ReadinessDelay, DrainTime time.Duration
	// SessionWindow, MaxEnvelope and MaxMessage are bytes.
	SessionWindow, MaxEnvelope, MaxMessage int
	// MaxLinks counts; the others too, with 0 when off.
	MaxLinks                                                    int
	MaxLinksPerAddress, MaxLinksPerWorkspace, MaxLinksPerTarget int
	// LegacyRates count by the minute, with 0 when off.
	LegacyRates LegacyRates
	// WorkerTransport lets legacy workers in, QueryTokens tokens in URLs.
	WorkerTransport, QueryTokens bool
	// QueueBytes is the process's, LinkQueueBytes each link's.
	QueueBytes, LinkQueueBytes int

	LogLevel slog.Level
	// LogJSON: one JSON object a line, else text.
	LogJSON bool
}

// LegacyRates are the rates of legacy peers.
type LegacyRates struct {
	Upgrades, KeyExchanges, Pairings, ClientFrames, WorkspaceFrames, DaemonFrames int
}

// Options are where a configuration comes from besides the environment.
type Options struct {
	// Flags has the value of each flag given, by the variable's name (see Flags).
	Flags map[string]string
	// File is a file of KEY=VALUE lines; empty: none.
	File string
}

// Load reads a configuration: flags win over the environment (as os.Environ returns it), the environment wins over the
// file. The problems are all there are, errors first. The configuration is usable when none of them is an error.
func Load(environ []string, o Options) (Config, []Problem) {
	l := loader{byName: byName(), given: map[string]found{}}
	l.sources = []source{l.fromFlags(o.Flags), l.fromEnvironment(environ)}
	if o.File != "" {
		l.sources = append(l.sources, l.fromFile(o.File))
	}
	for _, s := range settings() {
		l.resolve(s)
	}
	l.checkTogether()
	slices.SortStableFunc(l.problems, func(a, b Problem) int { return cmp.Compare(b.Severity, a.Severity) })
	return l.draft.Config, l.problems
}

// Usable says whether problems allow the relay to start; strict: warnings don't either.
func Usable(problems []Problem, strict bool) bool {
	return !slices.ContainsFunc(problems, func(p Problem) bool {
		return p.Severity == Error || strict && p.Severity == Warning
	})
}

// draft is a Config under construction, with what only the checks need.
type draft struct {
	Config
	host    string
	port    int
	tlsMode string
}

// found is an effective value: what it was parsed from.
type found struct {
	name, text string
}

// loader gathers problems while a configuration is read.
type loader struct {
	byName   map[string]known
	sources  []source // the first that has a setting wins
	draft    draft
	given    map[string]found // by the setting's own name; what is at its default is absent
	problems []Problem
}

func (l *loader) report(severity Severity, text, mend string) {
	l.problems = append(l.problems, Problem{Severity: severity, Text: text, Mend: mend})
}

// has says whether the operator set a setting, by whatever name.
func (l *loader) has(setting string) bool {
	_, ok := l.given[setting]
	return ok
}

// name returns the name by which the operator set a setting, for messages.
func (l *loader) name(setting string) string {
	if f, ok := l.given[setting]; ok {
		return f.name
	}
	return setting
}

// resolve finds, parses and stores one setting. A bad value is reported wherever it stands, even where another source
// wins.
func (l *loader) resolve(s setting) {
	var value any
	for _, src := range l.sources {
		f, parsed := l.pick(s, src)
		if _, taken := l.given[s.name]; parsed != nil && !taken {
			l.given[s.name], value = f, parsed
		}
	}
	if value == nil && s.def != "" {
		var err error
		if value, err = s.kind.parse(s.def); err != nil {
			panic("config: the default of " + s.name + " does not parse: " + err.Error()) // a test parses them all
		}
	}
	if s.set != nil && value != nil {
		s.set(&l.draft, value)
	}
}

// pick returns the first good value that src has for s under any of its names, parsed; nil when there is none.
func (l *loader) pick(s setting, src source) (first found, value any) {
	for _, n := range s.allNames() {
		raw, ok := src[n.name]
		if !ok {
			continue
		}
		text, ok := l.read(n, raw)
		if !ok {
			continue
		}
		parsed, err := n.kind.parse(text)
		switch {
		case err != nil:
			l.reportBad(s, n, raw, text, err)
			continue
		case value == nil:
			first, value = found{name: n.name, text: text}, parsed
		case parsed != value:
			l.reportContradiction(s, first, n, raw, text)
		}
		l.judge(s, n, raw, text)
	}
	return first, value
}

// judge tells about names that are not honoured.
func (l *loader) judge(s setting, n name, raw value, text string) {
	if slices.Contains(s.fine, text) {
		return
	}
	switch s.verdict {
	case warned:
		l.report(Warning, s.assignment(n, text)+" ("+raw.origin+") has no effect: "+s.why, "unset it")
	case refused:
		l.report(Error, s.assignment(n, text)+" ("+raw.origin+") can't be honoured: "+s.why, s.mend)
	}
}

// reportContradiction tells about two names of one setting, in one source, that differ.
func (l *loader) reportContradiction(s setting, first found, n name, raw value, text string) {
	l.report(Error, s.assignment(name{name: first.name}, first.text)+" and "+s.assignment(n, text)+" ("+raw.origin+
		") contradict each other: they are two names of one setting", "unset "+n.name)
}

// reportBad tells about a value that does not parse.
func (l *loader) reportBad(s setting, n name, raw value, text string, err error) {
	mend := "unset it"
	if s.verdict == honoured {
		mend = "set for example " + n.name + "=" + n.kind.example
		if s.secret {
			mend = "set it to " + n.kind.want
		}
		if s.def != "" {
			mend += ", or unset it for the default " + s.def
		}
	}
	l.report(Error, s.assignment(n, text)+" ("+raw.origin+"): "+err.Error()+"; want "+n.kind.want, mend)
}

// assignment shows what was set, without the value when it is a secret.
func (s setting) assignment(n name, text string) string {
	if s.secret {
		return n.name + "=(not shown)"
	}
	return n.name + "=" + show(text)
}

// address joins the host and port of the public port.
func (d *draft) address() string { return net.JoinHostPort(d.host, strconv.Itoa(d.port)) }
