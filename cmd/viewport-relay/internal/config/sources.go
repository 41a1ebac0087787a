package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of what is read from disk.
const (
	maxFile   = 1 << 20
	maxSecret = 64 << 10
)

// value is a value as it was found.
type value struct {
	text   string // trimmed, not empty
	origin string // for messages: "from the environment"
}

// source is what one place sets, by name. An empty value is not set.
type source map[string]value

func (l *loader) fromFlags(flags map[string]string) source {
	src := source{}
	for name, text := range flags {
		if text = strings.TrimSpace(text); text != "" {
			src[name] = value{text, "from the flag --" + flagName(name)}
		}
	}
	return src
}

func (l *loader) fromEnvironment(environ []string) source {
	src := source{}
	for _, entry := range environ {
		name, text, ok := strings.Cut(entry, "=")
		text = strings.TrimSpace(text)
		if _, twice := src[name]; !ok || twice || text == "" {
			continue
		}
		_, isKnown := l.byName[name]
		switch {
		case name == "RELAY_PORT" && kubernetesPort.MatchString(text):
		case isKnown, strings.HasPrefix(name, "RELAY_") && !fromKubernetes(name, text):
			src[name] = value{text, "from the environment"}
		}
	}
	l.reportUnknown(src)
	return src
}

func (l *loader) fromFile(path string) source {
	content, err := readBounded(path, maxFile)
	if err != nil {
		l.report(Error, "--config "+path+": "+err.Error(), "name a readable file of KEY=VALUE lines")
		return nil
	}
	lines, errs := Parse(content)
	for _, err := range errs {
		l.report(Error, path+": "+err.Error(), "write KEY=VALUE, # before a comment, and each name once")
	}
	src := source{}
	for _, line := range lines {
		if line.Value != "" {
			src[line.Name] = value{line.Value, fmt.Sprintf("from %s, line %d", path, line.Number)}
		}
	}
	l.reportUnknown(src)
	return src
}

// reportUnknown warns about names that the table does not have. Their values may be secrets and are not shown.
func (l *loader) reportUnknown(src source) {
	for _, name := range slices.Sorted(maps.Keys(src)) {
		if _, ok := l.byName[name]; ok {
			continue
		}
		mend := "unset it; `viewport-relay check --docs` lists all names"
		if near := nearest(name); near != "" {
			mend = "did you mean " + near + "?"
		}
		l.report(Warning, name+" ("+src[name].origin+") is no setting of this relay", mend)
	}
}

// kubernetes matches what Kubernetes injects for a Service whose name starts with "relay".
var kubernetes = regexp.MustCompile(`^RELAY_(SERVICE_.*|PORT_.*|` +
	`([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?))$`)

// kubernetesPort matches the value that it gives RELAY_PORT, which otherwise is a setting.
var kubernetesPort = regexp.MustCompile(`^(tcp|udp|sctp)://`)

// fromKubernetes says whether Kubernetes injected a name that starts with RELAY_ and that the table does not have.
func fromKubernetes(name, text string) bool {
	return kubernetes.MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && kubernetesPort.MatchString(text)
}

// read returns what is to be parsed: the value, or for NAME_FILE what that file holds.
func (l *loader) read(n name, v value) (string, bool) {
	if !n.file {
		return v.text, true
	}
	content, err := readBounded(v.text, maxSecret)
	if err != nil {
		l.report(Error, n.name+"="+show(v.text)+" ("+v.origin+"): "+err.Error(), "name a file that the relay can read")
		return "", false
	}
	text := strings.TrimSpace(string(content))
	if text == "" {
		l.report(Error, n.name+"="+show(v.text)+" ("+v.origin+"): the file is empty", "write the secret into it")
		return "", false
	}
	return text, true
}

// readBounded reads a whole file of at most so many bytes. Errors don't repeat the path.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	var content []byte
	if err == nil {
		defer func() { _ = f.Close() }()
		content, err = io.ReadAll(io.LimitReader(f, most+1))
	}
	var pathErr *os.PathError
	switch {
	case errors.As(err, &pathErr):
		return nil, pathErr.Err
	case err != nil:
		return nil, err
	case int64(len(content)) > most:
		return nil, fmt.Errorf("longer than %d bytes", most)
	}
	return content, nil
}

// Line is one setting of a configuration file.
type Line struct {
	Number      int
	Name, Value string
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Parse reads a configuration file: KEY=VALUE lines; white space around both is dropped, and one pair of quotes (' or
// ") around the value; nothing is expanded or escaped. Empty lines and those that start with # are skipped. Errors name
// the line and don't show its content, which may be a secret; all lines that are good are returned.
func Parse(content []byte) (lines []Line, errs []error) {
	seen := map[string]int{}
	scan := bufio.NewScanner(bytes.NewReader(content))
	scan.Buffer(nil, maxFile+1)
	number := 0
	for scan.Scan() {
		number++
		text := strings.TrimSpace(scan.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			errs = append(errs, fmt.Errorf("line %d is not text (UTF-8)", number))
			continue
		}
		key, val, ok := strings.Cut(text, "=")
		key = strings.TrimSpace(key)
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("line %d has no =", number))
			continue
		case !variableName.MatchString(key):
			errs = append(errs, fmt.Errorf("line %d: what stands before = is no variable's name", number))
			continue
		case seen[key] > 0:
			errs = append(errs, fmt.Errorf("line %d sets %s again, after line %d", number, key, seen[key]))
			continue
		}
		seen[key] = number
		lines = append(lines, Line{Number: number, Name: key, Value: unquote(strings.TrimSpace(val))})
	}
	if err := scan.Err(); err != nil {
		errs = append(errs, fmt.Errorf("after line %d: %w", number, err))
	}
	return lines, errs
}

func unquote(v string) string {
	if len(v) >= 2 && (v[0] == '"' || v[0] == '\'') && v[len(v)-1] == v[0] {
		return strings.TrimSpace(v[1 : len(v)-1])
	}
	return v
}
