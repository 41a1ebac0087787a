package legacylink

import (
	"context"
	"time"

	"github.com/getviewport/relay/internal/legacywire"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/wsconn"
)

const (
	// keptBuffer is how much memory a link that is silent keeps for its next frame.
	keptBuffer = 2 << 10
	// maxPresence is the longest viewer presence, whose text goes to other people's browsers as it is.
	maxPresence = 4 << 10
)

// read takes frames until the connection or the link ends.
func (p *Peer) read(ctx context.Context) {
	for {
		kind, text, err := p.conn.ReadMessage(p.buf[:0])
		if err != nil {
			return
		}
		p.buf = nil
		if cap(text) <= keptBuffer {
			p.buf = text
		}
		if kind == wsconn.Binary {
			text = legacywire.Text(text)
		}
		if !p.receive(ctx, text) {
			return
		}
	}
}

// receive takes one frame, and reports whether the link goes on.
func (p *Peer) receive(ctx context.Context, text []byte) bool {
	f, err := legacywire.Parse(text)
	if err != nil {
		f = legacywire.Frame{}
	}
	v := legacywire.Allowed(p.role, p.scope, f.Kind)
	if v.Action == legacywire.Pass || v.Action == legacywire.Unroutable {
		if p.scope != legacywire.SessionEvents {
			if mismatch := legacywire.ProfileAllowed(p.role, p.requires(&f), f.Profile); mismatch.Action != legacywire.Pass {
				v = mismatch
			}
		}
	}
	switch {
	case v.Action == legacywire.Close:
		return p.close(v.Close)
	case v.Action == legacywire.Reply:
		p.reply(v.Reply)
	case v.Action == legacywire.Drop:
	case p.role == legacywire.Worker:
		return p.work(ctx, &f)
	case p.role == legacywire.Daemon:
		return p.fromDaemon(ctx, &f, text)
	case p.scope == legacywire.SessionEvents:
		return p.watch(&f, text)
	default:
		return p.fromClient(&f, text)
	}
	return true
}

// requires is the profile that frames of this peer must have: its token's, and IKpsk2 where the workspace's policy says
// so.
func (p *Peer) requires(f *legacywire.Frame) legacywire.Profile {
	handshake := f.Kind == legacywire.KeyExchangeInit || f.Kind == legacywire.KeyExchangeResponse
	if p.grant.RequirePSK && handshake {
		return legacywire.NoiseIKpsk2
	}
	return p.grant.Profile
}

// close ends the link for what its peer has sent.
func (p *Peer) close(text string) bool {
	p.bridge.Ended(reason.New(reason.FrameInvalid, "%s", text))
	p.conn.End(legacywire.CodePolicy, text)
	return false
}

// reply answers with a relay_status.
func (p *Peer) reply(code legacywire.StatusCode) { p.link.Deliver(p.status(code)) }

func (p *Peer) status(code legacywire.StatusCode) []byte {
	s := legacywire.Status{Code: code, Workspace: p.grant.Workspace}
	if code == legacywire.DaemonUnavailable {
		s.Target, s.Machine = p.grant.Target, p.grant.MachineID
	}
	return s.Append(nil)
}

// fromClient takes a frame for the daemon.
func (p *Peer) fromClient(f *legacywire.Frame, text []byte) bool {
	now, rates := time.Now(), p.bridge.Rates
	switch {
	case f.Kind == legacywire.KeyExchangeInit && !rates.KeyExchange(p.client, now):
		return p.close(legacywire.CloseKeyExchangeRate)
	case f.Kind == legacywire.E2EE && !rates.Runtime(p.client, now):
		return p.close(legacywire.CloseRuntimeRate)
	case p.scope == legacywire.Pairing && !rates.Pairing(p.client, now):
		return p.close(legacywire.ClosePairingRate)
	case p.grant.Target == "":
		p.reply(legacywire.RuntimeTargetRequired)
		return true
	}
	message, ok := p.header.put(f, text)
	if !ok {
		p.reply(legacywire.InvalidFrame)
		return true
	}
	_, good := p.forward(message)
	if p.batch.NoPeer {
		p.reply(legacywire.DaemonUnavailable)
	}
	return good
}

// fromDaemon takes a frame for a client, or for those who subscribe to a channel. Only what goes to somebody counts.
func (p *Peer) fromDaemon(ctx context.Context, f *legacywire.Frame, text []byte) bool {
	if f.Kind == legacywire.SessionEvent {
		if p.link.Publish(string(legacywire.Trim(f.Channel)), text) == 0 {
			return true
		}
		return p.pace(ctx)
	}
	message, ok := p.header.put(f, text)
	if !ok {
		return true
	}
	passed, good := p.forward(message)
	if !good || passed == 0 {
		return good
	}
	return p.pace(ctx)
}

// forward hands an envelope to the hub.
func (p *Peer) forward(message []byte) (passed int, good bool) {
	p.batch.Load(message)
	passed, end := p.link.Sequence(&p.batch)
	if passed > 0 {
		p.link.Forward(&p.batch)
	} else {
		p.batch.Free()
	}
	if end != nil && end.Code != reason.Replaced {
		p.bridge.Ended(end)
		p.end(end)
	}
	return passed, end == nil
}

// pace counts a frame of a daemon or a worker, and waits if there were too many: its peer is slowed down, and loses
// neither a frame nor the link.
func (p *Peer) pace(ctx context.Context) bool {
	wait := p.bridge.Rates.Daemon(p.daemon, time.Now())
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.link.Done():
		return false
	case <-ctx.Done():
		return false
	}
}

// work has a worker's request answered.
func (p *Peer) work(ctx context.Context, f *legacywire.Frame) bool {
	if !p.pace(ctx) {
		return false
	}
	p.worker.Go(ctx, f.RequestID, f.Worker, p.link.Deliver)
	return true
}

// watch takes a frame of a client that watches sessions.
func (p *Peer) watch(f *legacywire.Frame, text []byte) bool {
	channel := legacywire.Trim(f.Channel)
	// Who a viewer is comes from the token: a frame that names another is not passed on.
	if !legacywire.ChannelAllowed(p.grant.Channels, channel) ||
		f.Kind == legacywire.ViewerPresence && !p.grant.User.Is(f.UserID) {
		p.link.Deliver(legacywire.AppendDenied(nil, f.Kind, channel, p.grant.Workspace))
		return true
	}
	switch f.Kind {
	case legacywire.Subscribe:
		p.link.Subscribe(string(channel))
		p.link.Deliver(legacywire.AppendSubscribed(nil, channel, f.AfterSequence))
	case legacywire.Unsubscribe:
		p.link.Unsubscribe(string(channel))
		p.link.Deliver(legacywire.AppendUnsubscribed(nil, channel))
	case legacywire.ViewerPresence:
		if len(text) > maxPresence {
			p.reply(legacywire.InvalidFrame)
			return true
		}
		if !p.bridge.Rates.Runtime(p.client, time.Now()) {
			return p.close(legacywire.ClosePresenceRate)
		}
		p.present(string(channel), f.Action)
		p.link.Publish(string(channel), text)
	}
	return true
}

// present remembers where the viewer is announced, so that its leaving can be.
func (p *Peer) present(channel string, a legacywire.ViewerAction) {
	if a == legacywire.Left {
		delete(p.presented, channel)
		return
	}
	if p.presented == nil {
		p.presented = make(map[string]struct{})
	}
	p.presented[channel] = struct{}{}
}
