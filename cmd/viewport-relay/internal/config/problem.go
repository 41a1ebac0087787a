package config

import (
	"regexp"
	"strconv"
	"strings"
)

// Severity says what a Problem means for the start.
type Severity uint8

// Severities, in order.
const (
	// Note is worth knowing: what the configuration gives up.
	Note Severity = iota + 1
	// Warning does not keep the relay from starting; `check --strict` fails on it.
	Warning
	// Error keeps the relay from starting.
	Error
)

// String returns "note", "warning" or "error".
func (s Severity) String() string { return [...]string{"", "note", "warning", "error"}[s] }

// Problem is one thing to know about a configuration. It never holds a secret.
type Problem struct {
	Severity Severity
	// Text names the variable, where it was set and what is wrong with it.
	Text string
	// Mend says what to do; empty when there is nothing to do.
	Mend string
}

// String returns the problem for people, on one line or two.
func (p Problem) String() string {
	s := p.Severity.String() + ": " + p.Text
	if p.Mend != "" {
		s += "\n  mend: " + p.Mend
	}
	return s
}

// userinfo matches the credentials in a URL.
var userinfo = regexp.MustCompile(`//[^/@\s]*@`)

// show quotes a value that is no secret for a message: bounded, without credentials that somebody wrote into a URL.
func show(v string) string {
	v = userinfo.ReplaceAllString(v, "//***@")
	const most = 80
	if len(v) > most {
		v = strings.ToValidUTF8(v[:most], "") + "…"
	}
	return strconv.Quote(v)
}
