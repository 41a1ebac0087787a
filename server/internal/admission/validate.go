package admission

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/getviewport/relay/internal/reason"
)

// Limits of the validate call.
const (
	// maxAnswer is the longest answer in bytes.
	maxAnswer = 256 << 10
	// waitingPerSlot is how many calls may wait for each that runs.
	waitingPerSlot = 16
	// platformRetry is when to come back after a call that failed.
	platformRetry = 5 * time.Second
)

// validator asks the platform about tokens.
type validator struct {
	// Static.
	url, internalKey string
	client           *http.Client
	log              *slog.Logger
	timeout          time.Duration
	slots            chan struct{} // holds one for each call that runs

	// rechecks counts the re-checks that have a slot; yielding are those that can be told to give it up.
	rechecks atomic.Int64
	yielding yielding
	// present are the admissions that are asked about or wait for a slot: at most (1+waitingPerSlot) times the slots.
	present atomic.Int64
	// down: the last call failed. It keeps the log to one line per outage.
	down atomic.Bool
	// calls and failures count since the start: requests sent, and those without a usable answer.
	calls, failures atomic.Uint64
}

// question is the body of the validate call, as the platform has it since before this relay.
type question struct {
	Token     string `json:"relayToken"`
	Role      string `json:"role"`
	Workspace string `json:"workspaceId"`
	Target    string `json:"runtimeTargetId,omitempty"`
}

// ask returns the claims that the platform has for the token, which it accepts. It asks once: a token may be good for
// one call only.
func (v *validator) ask(ctx context.Context, r Request, read reader) (*claims, error) {
	if v.present.Add(1) > int64(cap(v.slots)*(1+waitingPerSlot)) {
		v.present.Add(-1)
		return nil, reason.New(reason.Capacity, "too many tokens wait for the platform; come back after retry_after").
			After(platformRetry)
	}
	defer v.present.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	select {
	case v.slots <- struct{}{}:
	default:
		v.yielding.one()
		select {
		case v.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, unavailable()
		}
	}
	defer func() { <-v.slots }()
	return v.asked(ctx, r, read)
}

// asked is ask, for whoever has a slot.
func (v *validator) asked(ctx context.Context, r Request, read reader) (*claims, error) {
	v.calls.Add(1)
	answer, err := v.call(ctx, r)
	if err != nil {
		// A caller that gave up says nothing about the platform.
		if !errors.Is(ctx.Err(), context.Canceled) {
			v.failures.Add(1)
			if !v.down.Swap(true) {
				v.log.Warn("the platform can't validate tokens", "error", err)
			}
		}
		return nil, unavailable()
	}
	if v.down.Swap(false) {
		v.log.Info("the platform validates tokens again")
	}
	if answer.refusal != nil {
		return nil, answer.refusal
	}
	return read(answer.claims)
}

func unavailable() error {
	return (&reason.Error{Code: reason.PlatformUnavailable}).After(platformRetry)
}

// answer is what the platform said: claims, or a refusal.
type answer struct {
	claims  object
	refusal error
}

// call sends the question and reads the answer. An error means that nothing was said about the token.
func (v *validator) call(ctx context.Context, r Request) (answer, error) {
	body, err := json.Marshal(question{r.Token, r.Role.claim(), r.Workspace, r.Target})
	if err != nil {
		return answer{}, errors.New("the question can't be written")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, v.url, bytes.NewReader(body))
	if err != nil {
		return answer{}, cause(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	if v.internalKey != "" {
		request.Header.Set("X-Relay-Internal-Key", v.internalKey)
	}
	status, b, err := roundTrip(v.client, request, maxAnswer)
	if err != nil {
		return answer{}, err
	}
	return readAnswer(status, b)
}

// readAnswer tells what the platform says of the token from what says nothing about it: only an explicit ok counts,
// and not when the platform is busy, broken or does not know this relay.
func readAnswer(status int, b []byte) (answer, error) {
	if status < 200 || status >= 300 && status < 400 || status >= 500 ||
		status == http.StatusTooManyRequests || status == http.StatusRequestTimeout {
		return answer{}, statusError(status)
	}
	o, err := parseObject(b)
	if err != nil {
		return answer{}, errors.New("the answer is malformed: " + err.Error())
	}
	ok, there := o["ok"].(bool)
	if !there {
		return answer{}, errors.New("the answer has no ok")
	}
	if ok && status < 300 {
		claims, there := o["claims"].(object)
		if !there {
			return answer{}, errors.New("the answer has no claims")
		}
		return answer{claims: claims}, nil
	}
	code := refusalCode(o)
	if code == "" {
		return answer{}, errors.New("the platform does not accept RELAY_INTERNAL_KEY")
	}
	return answer{refusal: &reason.Error{Code: code}}, nil
}

// refusalCode maps what the platform says, reason or else error, to a code; empty: it refuses the relay, not the
// token. The text itself may say anything and goes nowhere.
//
//	WORKSPACE_MISMATCH, TARGET_MISMATCH, ROLE_MISMATCH         the same
//	INTERNAL_KEY_INVALID and others of "internal" and "key"    none
//	with the word "revoked", such as PAIRING_REVOKED           PAIRING_REVOKED
//	with the word "expired", such as TOKEN_EXPIRED             TOKEN_EXPIRED
//	all others, those with the word "not" included             TOKEN_INVALID
func refusalCode(o object) reason.Code {
	text, _ := o["reason"].(string)
	if text == "" {
		text, _ = o["error"].(string)
	}
	switch c := reason.Code(strings.ToUpper(text)); c {
	case reason.WorkspaceMismatch, reason.TargetMismatch, reason.RoleMismatch:
		return c
	}
	words := map[string]bool{}
	for _, w := range strings.FieldsFunc(strings.ToLower(text), func(c rune) bool { return !unicode.IsLetter(c) }) {
		words[w] = true
	}
	switch {
	case words["internal"] && words["key"]:
		return ""
	case words["not"]:
		return reason.TokenInvalid
	case words["revoked"]:
		return reason.PairingRevoked
	case words["expired"]:
		return reason.TokenExpired
	}
	return reason.TokenInvalid
}
