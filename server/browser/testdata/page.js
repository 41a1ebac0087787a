// What all pages need: calls to their test, and sockets whose messages can be waited for.

// call asks the test that serves this page to do something.
export async function call(name, argument = null) {
	const answer = await fetch("/call/" + name, {method: "POST", body: JSON.stringify(argument)})
	if (!answer.ok) throw new Error(`${name}: ${await answer.text()}`)
	return answer.json()
}

// run reports what f returns, or that it failed.
export async function run(f) {
	try {
		await call("report", await f())
	} catch (e) {
		await call("fail", `${e} ${e.stack}`)
	}
}

// Socket is a WebSocket of a window. Its messages wait until somebody takes them.
export class Socket {
	#waiting = []
	#messages = []

	constructor(url, protocols, window = globalThis) {
		this.ws = new window.WebSocket(url, protocols)
		this.ws.binaryType = "arraybuffer"
		this.ws.onmessage = e => this.#put({data: e.data})
		this.ws.onclose = e => this.#put({closed: {code: e.code, reason: e.reason, clean: e.wasClean}})
		this.opened = new Promise((resolve, reject) => {
			this.ws.onopen = () => resolve(this)
			this.ws.onerror = () => reject(new Error("the socket was refused"))
		})
	}

	#put(event) {
		const next = this.#waiting.shift()
		if (next) next(event)
		else this.#messages.push(event)
	}

	#take() {
		if (this.#messages.length > 0) return this.#messages.shift()
		return new Promise(resolve => this.#waiting.push(resolve))
	}

	// receive returns the next message.
	async receive() {
		const event = await this.#take()
		if (event.closed) throw new Error("closed: " + JSON.stringify(event.closed))
		return event.data
	}

	// closed returns how the socket was closed, after the messages before it.
	async closed() {
		for (;;) {
			const event = await this.#take()
			if (event.closed) return event.closed
		}
	}

	async receiveJSON() { return JSON.parse(await this.receive()) }
	send(message) { this.ws.send(message) }
}

// refused reports whether the relay refuses a socket; a page is told no more than that.
export async function refused(url, protocols) {
	const socket = new Socket(url, protocols)
	return socket.opened.then(() => false, async () => (await socket.closed()).code === 1006)
}
