package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kind is what a value may be.
type kind struct {
	want    string // completes "want …"
	example string
	// parse gets a trimmed value that is not empty. What it returns is comparable: two names of one setting contradict
	// each other when their parsed values differ. Errors say what is wrong, not what is wanted, and don't repeat the
	// value.
	parse func(string) (any, error)
}

// validatePath is where the platform answers the validate call, below SERVER_URL's origin.
const validatePath = "/api/runtime/internal/relay/validate"

func integer(least, most int, example string) kind {
	want := fmt.Sprintf("a whole number from %d to %d", least, most)
	if most == math.MaxInt {
		want = fmt.Sprintf("a whole number, at least %d", least)
	}
	return kind{want, example, func(v string) (any, error) {
		n, err := strconv.Atoi(v)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return nil, errors.New("out of range")
		case err != nil:
			return nil, errors.New("not a whole number")
		case n < least:
			return nil, errors.New("too small")
		case n > most:
			return nil, errors.New("too large")
		}
		return n, nil
	}}
}

// limitOr0 is integer with 0 for off, too.
func limitOr0(least, most int, example string) kind {
	inner := integer(least, most, example)
	return kind{inner.want + ", or 0 for off", example, func(v string) (any, error) {
		if v == "0" {
			return 0, nil
		}
		return inner.parse(v)
	}}
}

// clients is a number of clients; it becomes one of links, with the daemon's.
func clients(most int) kind {
	inner := integer(1, most, "100")
	return kind{inner.want, inner.example, func(v string) (any, error) {
		n, err := inner.parse(v)
		if err != nil {
			return nil, err
		}
		return n.(int) + 1, nil
	}}
}

// byteCount is a number of bytes, with or without a unit of KiB or MiB.
func byteCount(least, most int, example string) kind {
	want := fmt.Sprintf("a number of bytes from %d to %d, as 65536, 64KiB or 1MiB", least, most)
	if most == math.MaxInt {
		want = fmt.Sprintf("a number of bytes, at least %d, as 65536, 64KiB or 1MiB", least)
	}
	inner := integer(0, most, example)
	return kind{want, example, func(v string) (any, error) {
		digits, unit := v, 1
		for suffix, u := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
			if d, ok := strings.CutSuffix(v, suffix); ok {
				digits, unit = strings.TrimSpace(d), u
			}
		}
		n, err := inner.parse(digits)
		switch {
		case err != nil:
			return nil, err
		case n.(int) > most/unit:
			return nil, errors.New("too large")
		case n.(int)*unit < least:
			return nil, errors.New("too small")
		}
		return n.(int) * unit, nil
	}}
}

// duration is a time with a unit. off: 0 is allowed, too.
func duration(least, most time.Duration, off bool, example string) kind {
	want := fmt.Sprintf("a time from %v to %v with its unit", least, most)
	if off {
		want += ", or 0 for off"
	}
	return kind{want, example, func(v string) (any, error) {
		if _, err := strconv.ParseFloat(v, 64); err == nil && v != "0" {
			return nil, errors.New("has no unit")
		}
		d, err := time.ParseDuration(v)
		switch {
		case err != nil:
			return nil, errors.New("not a time")
		case d == 0 && off:
			return d, nil
		case d < least:
			return nil, errors.New("too short")
		case d > most:
			return nil, errors.New("too long")
		}
		return d, nil
	}}
}

// milliseconds is a duration as a bare number, as today's relay writes it.
func milliseconds(most time.Duration) kind {
	inner := integer(1, int(most/time.Millisecond), "2000")
	return kind{inner.want + " (milliseconds)", inner.example, func(v string) (any, error) {
		n, err := inner.parse(v)
		if err != nil {
			return nil, err
		}
		return time.Duration(n.(int)) * time.Millisecond, nil
	}}
}

func oneOf(values ...string) kind {
	return kind{"one of " + strings.Join(values, ", "), values[0], func(v string) (any, error) {
		if !slices.Contains(values, v) {
			return nil, errors.New("not one of the allowed values")
		}
		return v, nil
	}}
}

// boolean is spelled as today's relay wants it, in lower case.
var boolean = oneOf("0", "1", "false", "true", "no", "yes", "off", "on")

// on says what a boolean means.
func on(v string) bool { return v == "1" || v == "true" || v == "yes" || v == "on" }

// lowerOneOf is oneOf for values whose case today's relay does not look at.
func lowerOneOf(values ...string) kind {
	k := oneOf(values...)
	inner := k.parse
	k.parse = func(v string) (any, error) { return inner(strings.ToLower(v)) }
	return k
}

// anything is for values that nothing looks at.
var anything = kind{"any text", "", func(v string) (any, error) { return v, nil }}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?$`)

// host is what can be listened on.
var host = kind{"an address or host name, as 127.0.0.1, 0.0.0.0, ::1", "127.0.0.1", func(v string) (any, error) {
	if _, err := netip.ParseAddr(v); err == nil {
		return v, nil
	}
	switch {
	case strings.Contains(v, "["):
		return nil, errors.New("an IPv6 address stands without brackets here")
	case strings.Contains(v, ":"):
		return nil, errors.New("not an address (the port is another setting)")
	case !hostName.MatchString(v):
		return nil, errors.New("not an address or host name")
	}
	return v, nil
}}

// hostPort is host and port in one.
var hostPort = kind{"host:port", "127.0.0.1:7782", func(v string) (any, error) {
	h, p, err := net.SplitHostPort(v)
	if err != nil {
		return nil, errors.New("not of the form host:port")
	}
	if h != "" {
		if _, err := host.parse(h); err != nil {
			return nil, err
		}
	}
	if _, err := integer(0, math.MaxUint16, "").parse(p); err != nil {
		return nil, errors.New("the port is no number from 0 to 65535")
	}
	return v, nil
}}

// networks are addresses and CIDRs behind commas; they become networks behind commas.
var networks = kind{"addresses or CIDRs with commas between them", "10.0.0.0/8,192.0.2.7", func(v string) (any, error) {
	var all []string
	for part := range strings.SplitSeq(v, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil {
			a, err := netip.ParseAddr(part)
			switch {
			case err != nil:
				return nil, errors.New("one of them is no address or CIDR")
			case a.Zone() != "":
				return nil, errors.New("one of them has a zone")
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		// The relay compares IPv4 addresses as such, in whatever form they came.
		if a := p.Addr(); a.Is4In6() {
			if p.Bits() < 96 {
				return nil, errors.New("one of them is a part of ::ffff:0:0/96 and more")
			}
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		all = append(all, p.Masked().String())
	}
	return strings.Join(all, ","), nil
}}

// parsedNetworks reads what networks makes.
func parsedNetworks(v string) (all []netip.Prefix) {
	for part := range strings.SplitSeq(v, ",") {
		if p, err := netip.ParsePrefix(part); err == nil {
			all = append(all, p)
		}
	}
	return all
}

func parseURL(v string) (*url.URL, error) {
	u, err := url.Parse(v)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("does not start with https:// or http://")
	case u.Hostname() == "":
		return nil, errors.New("has no host")
	case u.User != nil:
		return nil, errors.New("holds a user name or password; the relay does not send them")
	case u.Fragment != "" || strings.HasSuffix(v, "#"):
		return nil, errors.New("has a fragment")
	}
	return u, nil
}

// address is a full URL.
func address(example string) kind {
	return kind{"a full http or https URL", example, func(v string) (any, error) {
		u, err := parseURL(v)
		if err != nil {
			return nil, err
		}
		return u.String(), nil
	}}
}

// platform is the platform's base URL; it becomes the address of the validate call. Any path in it is dropped, as
// today.
var platform = kind{"the platform's http or https URL", "https://api.example.com", func(v string) (any, error) {
	u, err := parseURL(v)
	if err != nil {
		return nil, err
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: validatePath}).String(), nil
}}

var identifier = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// id is the alphabet of ids on the wire (docs/protocol.md, Envelope).
var id = kind{"1 to 128 of A-Z a-z 0-9 . _ : -", "relay-1", func(v string) (any, error) {
	if !identifier.MatchString(v) {
		return nil, errors.New("has other characters or is too long")
	}
	return v, nil
}}

// claim is a value of iss or aud.
var claim = kind{"1 to 255 bytes of text", "viewport-relay", func(v string) (any, error) {
	if len(v) > 255 {
		return nil, errors.New("too long")
	}
	return v, nil
}}

// tokens are secrets, at most so many, one a line.
func tokens(most int) kind {
	want := "1 to 512 visible ASCII characters without spaces"
	if most > 1 {
		want += fmt.Sprintf(", or %d such lines, which are all valid", most)
	}
	return kind{want, "", func(v string) (any, error) {
		lines := strings.FieldsFunc(v, func(r rune) bool { return r == '\n' || r == '\r' })
		if len(lines) > most {
			return nil, errors.New("too many lines")
		}
		for i, line := range lines {
			lines[i] = strings.TrimSpace(line)
			if len(lines[i]) > 512 {
				return nil, errors.New("too long")
			}
			if strings.ContainsFunc(lines[i], func(r rune) bool { return r <= ' ' || r > '~' }) {
				return nil, errors.New("holds a space or a character that is not visible ASCII")
			}
		}
		return strings.Join(slices.DeleteFunc(lines, func(s string) bool { return s == "" }), "\n"), nil
	}}
}

// file is a file that can be read.
var file = kind{"a file that the relay can read", "/etc/viewport-relay/tls.crt", func(v string) (any, error) {
	f, err := os.Open(v)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("is a directory")
	}
	return v, nil
}}

// folder is a directory that is there. Whether it is fit for what it shall hold is seen when that is opened.
var folder = kind{"a folder that is there", "/var/lib/viewport-relay", func(v string) (any, error) {
	info, err := os.Stat(v)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return nil, err
	}
	if !info.IsDir() {
		return nil, errors.New("is no folder")
	}
	return v, nil
}}

// logLevel is the least level that is logged.
var logLevel = kind{"one of debug, info, warn, error", "info", func(v string) (any, error) {
	var l slog.Level
	if _, err := oneOf("debug", "info", "warn", "error").parse(v); err != nil {
		return nil, err
	}
	err := l.UnmarshalText([]byte(v))
	return l, err
}}
