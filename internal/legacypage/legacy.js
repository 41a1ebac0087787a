// Today's protocol at a client: key exchange v3 and envelopes v2 on WebCrypto alone. docs/legacy.md has it in words.
//
//     const exchange = await keyExchange({profile, daemonKey, psk, pairingPeerId, previousSessionId})
//     socket.send(exchange.init)
//     const session = await exchange.finish(response)          // relay_key_exchange_response, parsed
//     socket.send(await session.seal("text"))                  // one call after the other
//     const text = await session.open(envelope)                // e2ee, parsed

const subtle = crypto.subtle
const ecdh = {name: "ECDH", namedCurve: "P-256"}
const bytes = text => new TextEncoder().encode(text)
const none = new Uint8Array(0)

function concat(...parts) {
	const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
	parts.reduce((at, p) => (all.set(p, at), at + p.length), 0)
	return all
}

export function encode(data) {
	let text = ""
	for (const b of data) text += String.fromCharCode(b)
	return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")
}

export function decode(text) {
	if (typeof text !== "string" || !/^[A-Za-z0-9_-]*$/.test(text)) throw new Error("not base64url")
	return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), c => c.charCodeAt(0))
}

const hash = async data => new Uint8Array(await subtle.digest("SHA-256", data))

async function hmac(key, data) {
	const k = await subtle.importKey("raw", key, {name: "HMAC", hash: "SHA-256"}, false, ["sign"])
	return new Uint8Array(await subtle.sign("HMAC", k, data))
}

const newKey = () => subtle.generateKey(ecdh, false, ["deriveBits"])
const publicBytes = async pair => new Uint8Array(await subtle.exportKey("raw", pair.publicKey))
const publicKey = raw => subtle.importKey("raw", raw, ecdh, false, []) // refuses what is not on the curve

// The x-coordinate of the shared point, 32 bytes.
const agree = async (own, peer) =>
	new Uint8Array(await subtle.deriveBits({name: "ECDH", public: peer}, own.privateKey, 256))

const aesKey = raw => subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"])

// Transcript is the handshake's state: Noise's symmetric state, whose cipher is used once for each key.
class Transcript {
	async begin(profile, daemon) {
		const name = {"noise-ik": "Noise_IK_P256_AESGCM_SHA256", "noise-ikpsk2": "Noise_IKpsk2_P256_AESGCM_SHA256"}[profile]
		if (!name) throw new Error("unknown profile")
		this.h = this.ck = concat(bytes(name), new Uint8Array(32 - name.length))
		await this.mix(bytes("viewport-relay-noise-v3"))
		await this.mix(daemon)
		return this
	}

	copy() { return Object.assign(new Transcript(), this) }

	async mix(data) { this.h = await hash(concat(this.h, data)) }

	async derive(input, n) {
		const t = await hmac(this.ck, input)
		const out = []
		for (let i = 1; i <= n; i++) out.push(await hmac(t, concat(out.at(-1) ?? none, Uint8Array.of(i))))
		return out
	}

	async mixKey(input) { [this.ck, this.k] = await this.derive(input, 2) }

	async mixPSK(psk) {
		const [ck, th, k] = await this.derive(psk, 3)
		await this.mix(th)
		Object.assign(this, {ck, k})
	}

	// Every key of the handshake seals once, so its nonce is always 0.
	sealing() { return {name: "AES-GCM", iv: new Uint8Array(12), additionalData: this.h} }

	async encrypt(plaintext) {
		const sealed = new Uint8Array(await subtle.encrypt(this.sealing(), await aesKey(this.k), plaintext))
		await this.mix(sealed)
		return sealed
	}

	async decrypt(sealed) {
		const plaintext = await subtle.decrypt(this.sealing(), await aesKey(this.k), sealed)
		await this.mix(sealed)
		return new TextDecoder("utf-8", {fatal: true}).decode(plaintext)
	}
}

// keyExchange makes message 1. daemonKey is the daemon's public key, from where it can be trusted; psk (32 bytes) and
// pairingPeerId go with noise-ikpsk2.
export async function keyExchange({profile, daemonKey, psk, pairingPeerId, previousSessionId}) {
	const daemon = decode(daemonKey)
	const requestId = "kex-" + encode(crypto.getRandomValues(new Uint8Array(12)))
	const ephemeral = await newKey(), own = await newKey()
	const E = await publicBytes(ephemeral), S = await publicKey(daemon)
	const begun = await new Transcript().begin(profile, daemon)
	await begun.mix(E)
	await begun.mixKey(await agree(ephemeral, S))
	const encryptedClientStatic = await begun.encrypt(await publicBytes(own))
	await begun.mixKey(await agree(own, S))
	const init = JSON.stringify({
		type: "relay_key_exchange_init", version: 3, profile, requestId, clientEphemeralPublicKey: encode(E),
		encryptedClientStatic: encode(encryptedClientStatic), pairingPeerId, previousSessionId,
	})

	// On a copy, so that a forged response does not keep the genuine one out.
	async function finish(r) {
		if (r.version !== 3 || r.requestId !== requestId || r.profile !== profile) {
			throw new Error("another exchange's response")
		}
		const t = begun.copy(), D = decode(r.daemonEphemeralPublicKey), dKey = await publicKey(D)
		await t.mix(D)
		await t.mixKey(await agree(ephemeral, dKey))
		await t.mixKey(await agree(own, dKey))
		if (profile === "noise-ikpsk2") await t.mixPSK(psk)
		const {sessionId, epoch} = JSON.parse(await t.decrypt(decode(r.encryptedMetadata)))
		if (sessionId !== r.sessionId || epoch !== r.epoch || !Number.isInteger(epoch) || epoch < 1) {
			throw new Error("the metadata differs from what is sealed")
		}
		if (encode(t.h) !== r.proof) throw new Error("the proof does not verify")
		const split = await subtle.importKey("raw", concat(...await t.derive(none, 2)), "HKDF", false, ["deriveBits"])
		const info = bytes(`viewport-relay-session-v3|${profile}|${sessionId}|${epoch}`)
		const key = await subtle.deriveBits({name: "HKDF", hash: "SHA-256", salt: t.h, info}, split, 256)
		return new Session(await aesKey(key), profile, sessionId, epoch)
	}
	return {requestId, init, finish}
}

// Session is one epoch of a session. Calls must not overlap.
class Session {
	sent = 0
	received = 0
	#key
	#ivs = new Set() // our own: both directions have one key, and nothing else tells a reflected envelope

	constructor(key, profile, id, epoch) {
		this.#key = key
		Object.assign(this, {profile, id, epoch})
	}

	#aad(seq) { return bytes(`viewport-relay-envelope-v2|${this.profile}|${this.id}|${this.epoch}|${seq}`) }

	async seal(text) {
		const seq = ++this.sent, iv = crypto.getRandomValues(new Uint8Array(12))
		const sealed = new Uint8Array(
			await subtle.encrypt({name: "AES-GCM", iv, additionalData: this.#aad(seq)}, this.#key, bytes(text)))
		this.#ivs.add(encode(iv))
		return JSON.stringify({
			type: "e2ee", version: 2, profile: this.profile, sessionId: this.id, epoch: this.epoch, seq,
			iv: encode(iv), tag: encode(sealed.subarray(-16)), ciphertext: encode(sealed.subarray(0, -16)),
		})
	}

	async open(e) {
		if (e.version !== 2 || e.sessionId !== this.id || e.epoch !== this.epoch || e.profile !== this.profile) {
			throw new Error("another session's envelope")
		}
		if (!Number.isSafeInteger(e.seq) || e.seq <= this.received) throw new Error("a replayed envelope")
		const iv = decode(e.iv), tag = decode(e.tag)
		if (iv.length !== 12 || tag.length !== 16) throw new Error("a malformed envelope")
		if (this.#ivs.has(encode(iv))) throw new Error("our own envelope came back")
		const plaintext = await subtle.decrypt({name: "AES-GCM", iv, additionalData: this.#aad(e.seq)}, this.#key,
			concat(decode(e.ciphertext), tag))
		this.received = e.seq // only now: a forgery moves nothing
		return new TextDecoder("utf-8", {fatal: true}).decode(plaintext)
	}
}
