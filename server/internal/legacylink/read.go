package legacylink

import (
	"time"
	"unicode/utf8"

	"github.com/getviewport/relay/internal/legacywire"
	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/wsconn"
	"github.com/getviewport/relay/server/internal/hub"
)

// maxPresence is the longest viewer presence, whose text goes to other people's browsers as it is.
const maxPresence = 4 << 10

// Receive takes one frame.
func (p *Peer) Receive(l *hub.Link, kind wsconn.Kind, message []byte) *reason.Error {
	front, text := message[:p.header.room:p.header.room], message[p.header.room:]
	if kind == wsconn.Binary && !utf8.Valid(text) {
		message = append(front, legacywire.Text(text)...)
		text = message[len(front):]
	}
	f, err := legacywire.Parse(text)
	if err != nil {
		f = legacywire.Frame{} // of kind Invalid
	}
	v := legacywire.Allowed(p.role, p.scope, f.Kind)
	if v.Action == legacywire.Pass || v.Action == legacywire.Unroutable {
		if mismatch := p.mismatch(&f); mismatch.Action == legacywire.Close {
			v = mismatch
		}
	}
	switch {
	case v.Action == legacywire.Close:
		return closing(v.Close)
	case v.Action == legacywire.Reply:
		p.reply(l, v.Reply)
	case v.Action == legacywire.Drop:
	case p.role == legacywire.Worker:
		p.pace(l)
		p.worker.Go(p.ctx, f.RequestID, f.Worker, l.Deliver)
	case p.role == legacywire.Daemon:
		return p.fromDaemon(l, &f, message)
	case p.scope == legacywire.SessionEvents:
		return p.watch(l, &f, text)
	default:
		return p.fromClient(l, &f, message)
	}
	return nil
}

// mismatch says whether the frame's profile is what the peer's token demands, or the workspace's policy.
func (p *Peer) mismatch(f *legacywire.Frame) legacywire.Verdict {
	if p.scope == legacywire.SessionEvents {
		return legacywire.Verdict{}
	}
	claim := p.grant.Profile
	if p.grant.RequirePSK && (f.Kind == legacywire.KeyExchangeInit || f.Kind == legacywire.KeyExchangeResponse) {
		claim = legacywire.NoiseIKpsk2
	}
	return legacywire.ProfileAllowed(p.role, claim, f.Profile)
}

// reply answers with a relay_status.
func (p *Peer) reply(l *hub.Link, code legacywire.StatusCode) { l.Deliver(p.status(code)) }

func (p *Peer) status(code legacywire.StatusCode) []byte {
	s := legacywire.Status{Code: code, Workspace: p.grant.Workspace}
	if code == legacywire.DaemonUnavailable {
		s.Target, s.Machine = p.grant.Target, p.grant.MachineID
	}
	return s.Append(nil)
}

// fromClient takes a frame for the daemon.
func (p *Peer) fromClient(l *hub.Link, f *legacywire.Frame, message []byte) *reason.Error {
	now, rates := time.Now(), p.bridge.Rates
	switch {
	case f.Kind == legacywire.KeyExchangeInit && !rates.KeyExchange(p.client, now):
		return closing(legacywire.CloseKeyExchangeRate)
	case f.Kind == legacywire.E2EE && !rates.Runtime(p.client, now):
		return closing(legacywire.CloseRuntimeRate)
	case p.scope == legacywire.Pairing && !rates.Pairing(p.client, now):
		return closing(legacywire.ClosePairingRate)
	case p.grant.Target == "":
		p.reply(l, legacywire.RuntimeTargetRequired)
		return nil
	}
	message, ok := p.header.put(f, message)
	if !ok {
		p.reply(l, legacywire.InvalidFrame)
		return nil
	}
	_, end := l.Receive(&p.batch, message)
	if p.batch.NoPeer {
		p.reply(l, legacywire.DaemonUnavailable)
	}
	return end
}

// fromDaemon takes a frame for a client, or for those who subscribe to a channel. Only what goes to somebody counts.
func (p *Peer) fromDaemon(l *hub.Link, f *legacywire.Frame, message []byte) *reason.Error {
	if f.Kind == legacywire.SessionEvent {
		if l.Publish(string(legacywire.Trim(f.Channel)), message[p.header.room:]) > 0 {
			p.pace(l)
		}
		return nil
	}
	message, ok := p.header.put(f, message)
	if !ok {
		return nil
	}
	passed, end := l.Receive(&p.batch, message)
	if passed > 0 {
		p.pace(l)
	}
	return end
}

// pace counts a frame of a daemon or a worker, and waits if there were too many: its peer is slowed down, and loses
// neither a frame nor the link.
func (p *Peer) pace(l *hub.Link) {
	wait := p.bridge.Rates.Daemon(p.daemon, time.Now())
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.Done():
	}
}

// watch takes a frame of a client that watches sessions.
func (p *Peer) watch(l *hub.Link, f *legacywire.Frame, text []byte) *reason.Error {
	channel := legacywire.Trim(f.Channel)
	// Who a viewer is comes from the token: a frame that names another is not passed on.
	if !legacywire.ChannelAllowed(p.grant.Channels, channel) ||
		f.Kind == legacywire.ViewerPresence && !p.grant.User.Is(f.UserID) {
		l.Deliver(legacywire.AppendDenied(nil, f.Kind, channel, p.grant.Workspace))
		return nil
	}
	switch f.Kind {
	case legacywire.Subscribe:
		l.Subscribe(string(channel))
		l.Deliver(legacywire.AppendSubscribed(nil, channel, f.AfterSequence))
	case legacywire.Unsubscribe:
		l.Unsubscribe(string(channel))
		l.Deliver(legacywire.AppendUnsubscribed(nil, channel))
	case legacywire.ViewerPresence:
		switch {
		case len(text) > maxPresence:
			p.reply(l, legacywire.InvalidFrame)
			return nil
		case !p.bridge.Rates.Runtime(p.client, time.Now()):
			return closing(legacywire.ClosePresenceRate)
		}
		p.present(string(channel), f.Action)
		l.Publish(string(channel), text)
	}
	return nil
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
