package legacywire

import (
	"bytes"

	"github.com/getviewport/relay/internal/reason"
)

const (
	channelPrefix    = "agent-session:"
	workerPathPrefix = "/api/runtime/workspaces/"

	maxUserID      = 128 // UTF-16 code units
	maxDisplayName = 255
	minTTL, maxTTL = 30, 3600 // seconds
)

// rule is what is valid in a field. It is a number and no function, because what a function value is called with
// escapes to the heap.
type rule uint8

const (
	isString rule = iota
	isNonEmpty
	isNumber
	isPositive // an integer
	isVersion2
	isVersion3
	isProfile
	isBoolean
	isChannel // the prefix counts before the trimming
	isAction
	isUserID
	isMethod
	isWorkerPath
	isObjectOrNull
	// Those from here on may be absent.
	maybeString
	maybeObject
	maybeNatural
	maybeTTL
	maybeName
)

// need is a field that a kind has, and what is valid in it. Fields that are not named may be anything.
type need struct {
	field field
	rule  rule
}

// forms are what the kinds have in every version and case.
var forms = [kinds][]need{
	E2EE: {
		{fVersion, isVersion2}, {fProfile, isProfile}, {fSessionID, isNonEmpty}, {fEpoch, isPositive},
		{fSeq, isPositive}, {fIV, isNonEmpty}, {fTag, isNonEmpty}, {fCiphertext, isNonEmpty},
	},
	KeyExchangeInit:     {{fProfile, isProfile}, {fRequestID, isString}},
	KeyExchangeResponse: {{fProfile, isProfile}, {fRequestID, isString}, {fSessionID, isString}, {fProof, isString}},
	KeyUpdate:           {{fSessionID, isString}, {fNextEpoch, isNumber}},
	PairingOfferRequest: {
		{fRequestID, isNonEmpty}, {fClientChannelPublicKey, isNonEmpty}, {fTTLSeconds, maybeTTL},
	},
	PairingRedeemRequest: {
		{fRequestID, isNonEmpty}, {fOfferID, isNonEmpty}, {fEncIV, isNonEmpty}, {fEncTag, isNonEmpty},
		{fEncCiphertext, isNonEmpty},
	},
	PairingOfferResponse:  {{fRequestID, isNonEmpty}, {fOK, isBoolean}},
	PairingRedeemResponse: {{fRequestID, isNonEmpty}, {fOK, isBoolean}},
	Subscribe:             {{fChannel, isChannel}, {fAfterSequence, maybeNatural}},
	Unsubscribe:           {{fChannel, isChannel}},
	ViewerPresence: {
		{fChannel, isChannel}, {fAction, isAction}, {fUserID, isUserID}, {fDisplayName, maybeName},
		{fSentAt, maybeString},
	},
	SessionEvent: {{fChannel, isChannel}, {fEvent, isObjectOrNull}},
	WorkerRequest: {
		{fRequestID, isNonEmpty}, {fMethod, isMethod}, {fPath, isWorkerPath}, {fHeaders, maybeObject},
		{fBody, maybeString},
	},
}

// What they have besides, by version, profile and answer.
var (
	initV3 = []need{
		{fVersion, isVersion3}, {fClientEphemeralPublicKey, isString}, {fEncryptedClientStatic, isString},
	}
	initV2 = []need{
		{fVersion, isVersion2}, {fClientPublicKey, isString}, {fClientNonce, isString}, {fClientProof, isString},
	}
	initPSK    = []need{{fPairingPeerID, isNonEmpty}}
	responseV3 = []need{
		{fVersion, isVersion3}, {fDaemonPublicKey, isString}, {fDaemonEphemeralPublicKey, isString},
		{fEncryptedMetadata, isString}, {fEpoch, isPositive},
	}
	responseV2   = []need{{fVersion, isVersion2}, {fDaemonNonce, isString}, {fEpoch, isNumber}}
	offerGranted = []need{
		{fDaemonChannelPublicKey, isNonEmpty}, {fEncIV, isNonEmpty}, {fEncTag, isNonEmpty},
		{fEncCiphertext, isNonEmpty},
	}
	pairingRefused = []need{{fErrorCode, isNonEmpty}}
)

// check returns why m, which says that it is of this kind, is not well-formed as such.
func (m *members) check(kind Kind) error {
	if err := m.has(kind, forms[kind]); err != nil {
		return err
	}
	switch kind {
	case KeyExchangeInit:
		if m.ofProfile() == NoiseIKpsk2 {
			if err := m.has(kind, initPSK); err != nil {
				return err
			}
		}
		return m.has(kind, m.byVersion(initV2, initV3))
	case KeyExchangeResponse:
		return m.has(kind, m.byVersion(responseV2, responseV3))
	case PairingOfferResponse:
		if m.at[fOK].kind == aTrue {
			return m.has(kind, offerGranted)
		}
		return m.has(kind, pairingRefused)
	case PairingRedeemResponse:
		if m.at[fOK].kind == aFalse {
			return m.has(kind, pairingRefused)
		}
	}
	return nil
}

func (m *members) byVersion(v2, v3 []need) []need {
	if m.natural(fVersion) == 2 {
		return v2
	}
	return v3
}

func (m *members) has(kind Kind, needs []need) error {
	for _, n := range needs {
		if !m.valid(n.field, n.rule) {
			return reason.New(reason.FrameInvalid, "%s: the field %s is missing or malformed", kind, names[n.field])
		}
	}
	return nil
}

// valid reports whether a field is as a rule wants it.
func (m *members) valid(f field, r rule) bool {
	s := &m.at[f]
	if s.kind == absent {
		return r >= maybeString
	}
	switch r {
	case isNumber:
		return s.kind == aNumber
	case isPositive, isVersion2, isVersion3, maybeNatural, maybeTTL:
		n, ok := m.integer(*s)
		return ok && within(n, r)
	case isBoolean:
		return s.kind == aTrue || s.kind == aFalse
	case isObjectOrNull:
		return s.kind == anObject || s.kind == aNull
	case maybeObject:
		return s.kind == anObject
	}
	if s.kind != aString {
		return false
	}
	raw := m.text[s.from:s.to]
	switch r {
	case isNonEmpty:
		return !blank(raw)
	case isProfile:
		return m.ofProfile() != NoProfile
	case isChannel:
		return bytes.HasPrefix(m.string(f), []byte(channelPrefix))
	case isAction:
		return m.action() != NoAction
	case isUserID:
		return !blank(raw) && !longer(raw, maxUserID)
	case isMethod:
		return isWorkerMethod(m.string(f))
	case isWorkerPath:
		return bytes.HasPrefix(m.string(f), []byte(workerPathPrefix))
	case maybeName:
		return !longer(raw, maxDisplayName)
	}
	return true
}

func within(n int64, r rule) bool {
	switch r {
	case isPositive:
		return n >= 1
	case isVersion2:
		return n == 2
	case isVersion3:
		return n == 3
	case maybeTTL:
		return n >= minTTL && n <= maxTTL
	}
	return n >= 0
}

// ofProfile is the profile that m names, whatever its kind.
func (m *members) ofProfile() Profile {
	if m.at[fProfile].kind != aString {
		return NoProfile
	}
	return ParseProfile(m.string(fProfile))
}

// action is the action that m names.
func (m *members) action() ViewerAction {
	if m.at[fAction].kind == aString {
		switch string(m.string(fAction)) {
		case "joined":
			return Joined
		case "left":
			return Left
		case "heartbeat":
			return Heartbeat
		}
	}
	return NoAction
}

func isWorkerMethod(method []byte) bool {
	return string(method) == "GET" || string(method) == "POST" || string(method) == "PATCH"
}
