package legacywire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// The reference is slow and obvious: encoding/json decides what is JSON, strings are UTF-16 as in JavaScript, and each
// kind is a line of the rules. It shares no code with the package.

type object map[string]json.RawMessage

var longEscapes = strings.NewReplacer(`\\`, `\u005c`, `\"`, `\u0022`, `\/`, `/`, `\b`, `\u0008`, `\f`, `\u000c`,
	`\n`, `\u000a`, `\r`, `\u000d`, `\t`, `\u0009`)

// units are the UTF-16 code units of a JSON string.
func units(raw []byte) (out []uint16) {
	s := longEscapes.Replace(string(raw[1 : len(raw)-1]))
	for s != "" {
		if hex, ok := strings.CutPrefix(s, `\u`); ok {
			u, err := strconv.ParseUint(hex[:4], 16, 16)
			if err != nil {
				panic(err)
			}
			out, s = append(out, uint16(u)), hex[4:]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		out, s = utf16.AppendRune(out, r), s[size:]
	}
	return out
}

// wtf16 are the code units of what Parse returns.
func wtf16(s []byte) (out []uint16) {
	for len(s) > 0 {
		r, size := utf8.DecodeRune(s)
		if r == utf8.RuneError && size == 1 { // a lone surrogate in three bytes
			out, s = append(out, uint16(s[0]&0xf)<<12|uint16(s[1]&0x3f)<<6|uint16(s[2]&0x3f)), s[3:]
			continue
		}
		out, s = utf16.AppendRune(out, r), s[size:]
	}
	return out
}

func trimmed(u []uint16) []uint16 {
	space := func(c uint16) bool {
		return strings.ContainsRune("\t\n\v\f\r\u2028\u2029\ufeff", rune(c)) || unicode.Is(unicode.Zs, rune(c))
	}
	for len(u) > 0 && space(u[0]) {
		u = u[1:]
	}
	for len(u) > 0 && space(u[len(u)-1]) {
		u = u[:len(u)-1]
	}
	return u
}

func (o object) str(name string) ([]uint16, bool) {
	raw := o[name]
	if len(raw) == 0 || raw[0] != '"' {
		return nil, false
	}
	return units(raw), true
}

func (o object) is(name, want string) bool {
	u, ok := o.str(name)
	return ok && slices.Equal(u, utf16.Encode([]rune(want)))
}

func (o object) strings(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { _, ok := o.str(n); return !ok })
}

func (o object) filled(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { u, _ := o.str(n); return len(trimmed(u)) == 0 })
}

func (o object) absent(name string) bool { return len(o[name]) == 0 }

func (o object) number(name string) bool {
	return !o.absent(name) && (o[name][0] == '-' || o[name][0] >= '0' && o[name][0] <= '9')
}

func (o object) integer(name string, least, most float64) bool {
	f, err := strconv.ParseFloat(string(o[name]), 64)
	return o.number(name) && err == nil && f == math.Floor(f) && f >= least && f <= most
}

const largest = 1<<53 - 1

func (o object) profile() bool { return o.is("profile", "noise-ik") || o.is("profile", "noise-ikpsk2") }

func (o object) hasChannel() bool {
	u, _ := o.str("channel")
	prefix := utf16.Encode([]rune("agent-session:"))
	return len(u) >= len(prefix) && slices.Equal(u[:len(prefix)], prefix)
}

func (o object) within(name string, most int) bool { u, ok := o.str(name); return ok && len(u) <= most }

func (o object) one(name string, of ...string) bool {
	return slices.ContainsFunc(of, func(s string) bool { return o.is(name, s) })
}

func (o object) isType(kind Kind) bool {
	switch kind {
	case E2EE:
		return o.integer("version", 2, 2) && o.profile() && o.integer("epoch", 1, largest) &&
			o.integer("seq", 1, largest) && o.filled("sessionId", "iv", "tag", "ciphertext")
	case KeyExchangeInit:
		return o.profile() && o.strings("requestId") &&
			(o.is("profile", "noise-ik") || o.filled("pairingPeerId")) &&
			(o.integer("version", 3, 3) && o.strings("clientEphemeralPublicKey", "encryptedClientStatic") ||
				o.integer("version", 2, 2) && o.strings("clientPublicKey", "clientNonce", "clientProof"))
	case KeyExchangeResponse:
		return o.profile() && o.strings("requestId", "sessionId", "proof") &&
			(o.integer("version", 3, 3) && o.integer("epoch", 1, largest) &&
				o.strings("daemonPublicKey", "daemonEphemeralPublicKey", "encryptedMetadata") ||
				o.integer("version", 2, 2) && o.strings("daemonNonce") && o.number("epoch"))
	case KeyUpdate:
		return o.strings("sessionId") && o.number("nextEpoch")
	case PairingOfferRequest:
		return o.filled("requestId", "clientChannelPublicKey") &&
			(o.absent("ttlSeconds") || o.integer("ttlSeconds", 30, 3600))
	case PairingRedeemRequest:
		return o.filled("requestId", "offerId", "encIv", "encTag", "encCiphertext")
	case PairingOfferResponse:
		return o.filled("requestId") && (string(o["ok"]) == "false" && o.filled("errorCode") ||
			string(o["ok"]) == "true" && o.filled("daemonChannelPublicKey", "encIv", "encTag", "encCiphertext"))
	case PairingRedeemResponse:
		return o.filled("requestId") && (string(o["ok"]) == "false" && o.filled("errorCode") || string(o["ok"]) == "true")
	case Subscribe:
		return o.hasChannel() && (o.absent("afterSequence") || o.integer("afterSequence", 0, largest))
	case Unsubscribe:
		return o.hasChannel()
	case ViewerPresence:
		return o.hasChannel() && o.one("action", "joined", "left", "heartbeat") && o.filled("userId") &&
			o.within("userId", 128) && (o.absent("displayName") || o.within("displayName", 255)) &&
			(o.absent("sentAt") || o.strings("sentAt"))
	case SessionEvent:
		return o.hasChannel() && !o.absent("event") && (o["event"][0] == '{' || string(o["event"]) == "null")
	case WorkerRequest:
		u, _ := o.str("path")
		return o.filled("requestId") && o.one("method", "GET", "POST", "PATCH") &&
			strings.HasPrefix(string(utf16.Decode(u)), "/api/runtime/workspaces/") &&
			(o.absent("headers") || o["headers"][0] == '{') && (o.absent("body") || o.strings("body"))
	}
	return false
}

// levels counts how deep text, which is JSON, is nested.
func levels(text []byte) (most int) {
	depth := 0
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return most
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			most = max(most, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// reference is the object of text, and what kind of frame it is.
func reference(text []byte) (object, Kind) {
	var o object
	if !json.Valid(text) || json.Unmarshal(text, &o) != nil || o == nil || levels(text) > 64 {
		return nil, Invalid
	}
	for k := E2EE; k < kinds; k++ {
		if k != SessionEvent && o.is("type", k.String()) && o.isType(k) {
			return o, k
		}
	}
	if o.is("schema", "viewport.session_event_relay_frame/v1") && o.isType(SessionEvent) {
		return o, SessionEvent
	}
	return o, Invalid
}

// agree fails if Parse and the reference differ about text.
func agree(t testing.TB, text []byte) {
	t.Helper()
	f, err := Parse(text)
	if err == ErrNotUTF8 || !utf8.Valid(text) {
		if err != ErrNotUTF8 || utf8.Valid(text) {
			t.Fatalf("%q: got %v, want ErrNotUTF8 for what is not UTF-8", text, err)
		}
		return
	}
	o, kind := reference(text)
	if f.Kind != kind || (err == nil) != (kind != Invalid) {
		t.Fatalf("%q: got %s (%v), want %s", text, f.Kind, err, kind)
	}
	if kind == Invalid {
		return
	}
	for name, got := range map[string][]byte{
		"sessionId": f.SessionID, "previousSessionId": f.PreviousSessionID, "requestId": f.RequestID,
		"channel": f.Channel, "userId": f.UserID,
	} {
		if want, _ := o.str(name); got != nil && !slices.Equal(wtf16(got), want) {
			t.Fatalf("%q: %s: got %x, want %x", text, name, wtf16(got), want)
		}
		if want, _ := o.str(name); got != nil && !slices.Equal(wtf16(Trim(got)), trimmed(want)) {
			t.Fatalf("%q: %s trimmed: got %x, want %x", text, name, wtf16(Trim(got)), trimmed(want))
		}
	}
	for name, got := range map[string]int64{
		"epoch": f.Epoch, "seq": f.Seq, "nextEpoch": f.NextEpoch, "afterSequence": f.AfterSequence,
		"version": int64(f.Version),
	} {
		if want, err := strconv.ParseFloat(string(o[name]), 64); got != 0 && (err != nil || want != float64(got)) {
			t.Fatalf("%q: %s: got %d, want %v", text, name, got, want)
		}
	}
	if want := map[bool]string{true: "noise-ik"}[o.is("profile", "noise-ik")]; want != "" && f.Profile != NoiseIK {
		t.Fatalf("%q: profile: got %d, want %s", text, f.Profile, want)
	}
	encoded := appendString(nil, f.RequestID)
	if back := units(encoded); !json.Valid(encoded) || !slices.Equal(back, wtf16(f.RequestID)) {
		t.Fatalf("%q: requestId written again: got %s", text, encoded)
	}
}

func TestParsingAgreesWithTheReference(t *testing.T) {
	frames := corpus(t)
	pieces := []string{
		`"`, `\`, `,`, `:`, `{`, `}`, `[`, `]`, `1`, `0`, `.`, `e`, `-`, ` `, "\n", `null`, `\u00a0`, `\ud800`, `\udc00`,
		"\ufeff", "\u0085", "é", "😀", "\x00", "\xff", `"seq":2,`, `"type":"e2ee",`, `"schema":"x",`, `9007199254740991`,
	}
	random := newRandom(t)
	for range 5_000 {
		c := frames[random.IntN(len(frames))]
		if len(c.text) > 1000 {
			continue
		}
		text := bytes.Clone(c.text)
		for range random.IntN(3) {
			from := random.IntN(len(text) + 1)
			to := min(len(text), from+random.IntN(3))
			text = fmt.Appendf(nil, "%s%s%s", text[:from], pieces[random.IntN(len(pieces))], text[to:])
		}
		agree(t, text)
	}
}
