package hub

import (
	"cmp"
	"slices"
	"time"

	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
	"github.com/getviewport/relay/internal/envelope"
)

// This file is what the bridge to today's daemons and browsers needs beside envelopes: words of the relay to one link,
// and session events, which go from one link to several of its target. All of it is queued, in order, with the legacy
// frames that come from elsewhere.

// nowhere is the target of an envelope to a link without one; it never leaves the process.
const nowhere = "-"

// targetOnWire is the target that the relay's own envelopes name.
func (k key) targetOnWire() string { return cmp.Or(k.target, nowhere) }

// Heard notes that the peer has shown that it is there by other means than a frame, such as a pong.
func (l *Link) Heard() {
	t := l.target
	now := t.lock()
	defer t.unlock(now)
	t.machine.Heard(l.machine, now)
	t.act(t.machine.Effects())
}

// Deliver queues a legacy frame for the link itself. One that does not read is ended with SLOW_CONSUMER.
func (l *Link) Deliver(text []byte) {
	t := l.target
	now := t.lock()
	defer t.unlock(now)
	t.machine.Deliver(l.machine, envelope.RunOf(t.word(text), 1), now)
	t.act(t.machine.Effects())
}

// word is a legacy frame in an envelope.
func (t *target) word(text []byte) []byte {
	h := envelope.Header{
		Workspace: []byte(t.key.workspace), Target: []byte(t.key.targetOnWire()),
		Type: relayv1.FrameType_FRAME_TYPE_STATUS, Encoding: relayv1.Encoding_ENCODING_LEGACY_JSON,
	}
	return envelope.Append(make([]byte, 0, envelope.AppendedSize(&h, len(text))), &h, text)
}

// Subscribe lets the link have what is published on a channel of its target until Unsubscribe or its end. Who may
// subscribe is the caller's business, and so is how much.
func (l *Link) Subscribe(channel string) {
	t := l.target
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.detached || slices.Contains(t.channels[channel], l) {
		return
	}
	if t.channels == nil {
		t.channels = make(map[string][]*Link)
	}
	t.channels[channel] = append(t.channels[channel], l)
	l.channels = append(l.channels, channel)
}

// Unsubscribe ends a subscription, if there is one.
func (l *Link) Unsubscribe(channel string) {
	t := l.target
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(l.channels, channel); i >= 0 {
		l.channels = slices.Delete(l.channels, i, i+1)
		t.unsubscribe(l, channel)
	}
}

// unsubscribe takes l out of a channel. Called with t.mu held.
func (t *target) unsubscribe(l *Link, channel string) {
	in := t.channels[channel]
	if i := slices.Index(in, l); i >= 0 {
		in = slices.Delete(in, i, i+1)
	}
	if len(in) == 0 {
		delete(t.channels, channel)
		return
	}
	t.channels[channel] = in
}

// Publish queues a legacy frame for every other link that subscribes to the channel, and returns how many there are. One
// that does not read is ended with SLOW_CONSUMER. A link that has ended publishes nothing.
func (l *Link) Publish(channel string, text []byte) (reached int) {
	t := l.target
	now := t.lock()
	defer t.unlock(now)
	if l.detached {
		return 0
	}
	return t.publish(l, channel, text, now)
}

// PublishEnd is Publish for the relay's word that somebody is gone: it is heard although the link may have been ended.
func (l *Link) PublishEnd(channel string, text []byte) {
	t := l.target
	now := t.lock()
	defer t.unlock(now)
	t.publish(l, channel, text, now)
}

// publish queues a frame for all that subscribe to the channel but from. Called with t.mu held.
func (t *target) publish(from *Link, channel string, text []byte, now time.Time) (reached int) {
	var word []byte // one for all: nobody writes to what is queued
	// A copy: whoever is ended by it leaves the channel.
	for _, to := range slices.Clone(t.channels[channel]) {
		if to == from || to.detached {
			continue
		}
		if reached++; word == nil {
			word = t.word(text)
		}
		t.machine.Deliver(to.machine, envelope.RunOf(word, 1), now)
		t.act(t.machine.Effects())
	}
	return reached
}
