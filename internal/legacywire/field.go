package legacywire

// field is a member of a frame that something depends on; 0 is every other.
type field uint8

const (
	fType field = iota + 1
	fSchema
	fVersion
	fProfile
	fSessionID
	fRequestID
	fEpoch
	fSeq
	fIV
	fTag
	fCiphertext
	fClientEphemeralPublicKey
	fEncryptedClientStatic
	fPairingPeerID
	fPreviousSessionID
	fClientPublicKey
	fClientNonce
	fClientProof
	fDaemonPublicKey
	fDaemonEphemeralPublicKey
	fEncryptedMetadata
	fProof
	fDaemonNonce
	fNextEpoch
	fClientChannelPublicKey
	fTTLSeconds
	fOfferID
	fEncIV
	fEncTag
	fEncCiphertext
	fOK
	fErrorCode
	fDaemonChannelPublicKey
	fChannel
	fAfterSequence
	fAction
	fUserID
	fDisplayName
	fSentAt
	fEvent
	fMethod
	fPath
	fHeaders
	fBody
	fields
)

// names are the fields as frames spell them.
var names = [fields]string{
	fType:                     "type",
	fSchema:                   "schema",
	fVersion:                  "version",
	fProfile:                  "profile",
	fSessionID:                "sessionId",
	fRequestID:                "requestId",
	fEpoch:                    "epoch",
	fSeq:                      "seq",
	fIV:                       "iv",
	fTag:                      "tag",
	fCiphertext:               "ciphertext",
	fClientEphemeralPublicKey: "clientEphemeralPublicKey",
	fEncryptedClientStatic:    "encryptedClientStatic",
	fPairingPeerID:            "pairingPeerId",
	fPreviousSessionID:        "previousSessionId",
	fClientPublicKey:          "clientPublicKey",
	fClientNonce:              "clientNonce",
	fClientProof:              "clientProof",
	fDaemonPublicKey:          "daemonPublicKey",
	fDaemonEphemeralPublicKey: "daemonEphemeralPublicKey",
	fEncryptedMetadata:        "encryptedMetadata",
	fProof:                    "proof",
	fDaemonNonce:              "daemonNonce",
	fNextEpoch:                "nextEpoch",
	fClientChannelPublicKey:   "clientChannelPublicKey",
	fTTLSeconds:               "ttlSeconds",
	fOfferID:                  "offerId",
	fEncIV:                    "encIv",
	fEncTag:                   "encTag",
	fEncCiphertext:            "encCiphertext",
	fOK:                       "ok",
	fErrorCode:                "errorCode",
	fDaemonChannelPublicKey:   "daemonChannelPublicKey",
	fChannel:                  "channel",
	fAfterSequence:            "afterSequence",
	fAction:                   "action",
	fUserID:                   "userId",
	fDisplayName:              "displayName",
	fSentAt:                   "sentAt",
	fEvent:                    "event",
	fMethod:                   "method",
	fPath:                     "path",
	fHeaders:                  "headers",
	fBody:                     "body",
}

// fieldOf returns the field of a name. Case counts.
func fieldOf(name []byte) field {
	switch string(name) {
	case "type":
		return fType
	case "schema":
		return fSchema
	case "version":
		return fVersion
	case "profile":
		return fProfile
	case "sessionId":
		return fSessionID
	case "requestId":
		return fRequestID
	case "epoch":
		return fEpoch
	case "seq":
		return fSeq
	case "iv":
		return fIV
	case "tag":
		return fTag
	case "ciphertext":
		return fCiphertext
	case "clientEphemeralPublicKey":
		return fClientEphemeralPublicKey
	case "encryptedClientStatic":
		return fEncryptedClientStatic
	case "pairingPeerId":
		return fPairingPeerID
	case "previousSessionId":
		return fPreviousSessionID
	case "clientPublicKey":
		return fClientPublicKey
	case "clientNonce":
		return fClientNonce
	case "clientProof":
		return fClientProof
	case "daemonPublicKey":
		return fDaemonPublicKey
	case "daemonEphemeralPublicKey":
		return fDaemonEphemeralPublicKey
	case "encryptedMetadata":
		return fEncryptedMetadata
	case "proof":
		return fProof
	case "daemonNonce":
		return fDaemonNonce
	case "nextEpoch":
		return fNextEpoch
	case "clientChannelPublicKey":
		return fClientChannelPublicKey
	case "ttlSeconds":
		return fTTLSeconds
	case "offerId":
		return fOfferID
	case "encIv":
		return fEncIV
	case "encTag":
		return fEncTag
	case "encCiphertext":
		return fEncCiphertext
	case "ok":
		return fOK
	case "errorCode":
		return fErrorCode
	case "daemonChannelPublicKey":
		return fDaemonChannelPublicKey
	case "channel":
		return fChannel
	case "afterSequence":
		return fAfterSequence
	case "action":
		return fAction
	case "userId":
		return fUserID
	case "displayName":
		return fDisplayName
	case "sentAt":
		return fSentAt
	case "event":
		return fEvent
	case "method":
		return fMethod
	case "path":
		return fPath
	case "headers":
		return fHeaders
	case "body":
		return fBody
	}
	return 0
}
