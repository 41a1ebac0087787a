package config

import (
	_ "embed" // for intro
	"fmt"
	"strings"
)

// Flag is a setting as a flag of the command line.
type Flag struct {
	// Name is without the dashes; Variable is the key of Options.Flags.
	Name, Variable string
	Help           string
	Placeholder    string
}

// Flags returns the flags of all settings. Secrets have none, because everybody on a machine sees its command lines:
// their flag names a file.
func Flags() []Flag {
	var flags []Flag
	for _, s := range honouredSettings() {
		f := Flag{Name: flagName(s.name), Variable: s.name, Help: s.doc, Placeholder: "VALUE"}
		switch s.kind.want {
		case file.want:
			f.Placeholder = "FILE"
		case folder.want:
			f.Placeholder = "FOLDER"
		}
		if s.secret {
			f.Name, f.Variable = f.Name+"-file", s.name+"_FILE"
			f.Help, f.Placeholder = s.doc+" The flag names a file that holds it.", "FILE"
		}
		if s.def != "" {
			f.Placeholder = s.def
		}
		f.Help += " (" + f.Variable + ")"
		flags = append(flags, f)
	}
	return flags
}

func flagName(variable string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(variable, "RELAY_")), "_", "-")
}

// intro opens the reference.
//
//go:embed intro.md
var intro string

// Reference returns the documentation of all settings, as Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString(intro)
	b.WriteString("\n## Settings\n\n| variable | default | allowed | what it does |\n| --- | --- | --- | --- |\n")
	for _, s := range honouredSettings() {
		def := "–"
		if s.def != "" {
			def = "`" + s.def + "`"
		}
		doc := s.doc
		for _, n := range s.allNames()[1:] {
			doc += " Also `" + n.name + "`"
			if n.file {
				doc += ": a file that holds it"
			} else if n.note != "" {
				doc += ": " + n.note
			}
			doc += "."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.name, def, cell(s.kind.want), cell(doc))
	}
	b.WriteString("\n## All names\n\nEvery name of this relay, and every one that today's relay, its documentation " +
		"and the scripts around it use.\n\n| name | verdict | why, or as what |\n| --- | --- | --- |\n")
	for _, s := range settings() {
		for _, n := range s.allNames() {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", n.name, s.verdictText(), cell(s.because(n)))
		}
	}
	return b.String()
}

// verdictText is the verdict for the reference.
func (s setting) verdictText() string {
	var text string
	switch s.verdict {
	case honoured:
		return "honoured"
	case warned:
		text = "accepted with a warning"
	case refused:
		text = "refused"
	case ignored:
		return "not read"
	}
	if len(s.fine) > 0 {
		text += ", but for `" + strings.Join(s.fine, "`, `") + "`"
	}
	return text
}

// because explains the verdict on one name.
func (s setting) because(n name) string {
	switch {
	case s.verdict != honoured && s.mend != "":
		return s.why + "; " + s.mend
	case s.verdict != honoured:
		return s.why
	case n.name == s.name:
		return "–"
	case n.note != "":
		return "as `" + s.name + "`: " + n.note
	default:
		return "as `" + s.name + "`"
	}
}

// cell makes text fit into a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
