package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/client/identity"
	"github.com/getviewport/relay/internal/reason"
)

const (
	// openAtOnce is how many clients connect and open their sessions at once: what comes before the first fault is no
	// storm.
	openAtOnce = 32
	// again is the least pause before what failed for a while is tried again.
	again = 100 * time.Millisecond
)

// hello is the first message of a session, from the client: what the daemon does in it.
type hello struct {
	Name string `json:"name"`
	Down Plan   `json:"down"`
}

func upName(session string) string   { return session + " up" }
func downName(session string) string { return session + " down" }

// daemon accepts sessions until ctx ends.
func (p *process) daemon(ctx context.Context, d Daemon) error {
	cfg := client.ListenConfig{Config: d.config(p.config.Workspace)}
	cfg.Log = p.log
	id, err := d.identity(identity.Daemon, p.config.Workspace)
	if err != nil {
		return err
	}
	cfg.Identity = id
	admits := map[identity.Key]identity.Secret{}
	for _, a := range d.Admits {
		if admits[a.Key], err = a.PSK.secret(); err != nil {
			return err
		}
	}
	cfg.Authorise = func(_ context.Context, c client.Caller) (client.Permission, error) {
		psk, known := admits[c.Key]
		if !known {
			return client.Permission{}, client.NotAuthorised
		}
		return client.Permission{Profile: identity.NoiseIKpsk2, PSK: psk}, nil
	}
	l, err := client.Listen(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	p.tell(Event{Ready: true})
	for {
		s, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		sessions.Go(func() { p.accepted(ctx, s) })
	}
}

// accepted plays the daemon's end of a session.
func (p *process) accepted(ctx context.Context, s *client.Session) {
	var h hello
	first, err := s.Recv(ctx)
	if err == nil {
		err = json.Unmarshal(first, &h)
	}
	if err != nil {
		s.Abort()
		p.tell(Event{Result: &Result{Error: fmt.Sprintf("the session's first message: %v", err)}})
		return
	}
	p.play(ctx, p.newPlayer(s, h.Name, h.Down, downName(h.Name), upName(h.Name)))
}

// clients plays all scripts of all clients, and keeps their links until ctx ends: a peer may yet ask whether all has
// arrived.
func (p *process) clients(ctx context.Context, all []Client) {
	slots := make(chan struct{}, openAtOnce)
	var opening, playing, living sync.WaitGroup
	for _, c := range all {
		opening.Add(1)
		playing.Add(1)
		living.Go(func() {
			defer playing.Done()
			slots <- struct{}{}
			link, err := p.client(ctx, c, &playing)
			<-slots
			if err != nil {
				p.fail(ctx, err)
			}
			opening.Done()
			if link != nil {
				living.Go(func() {
					<-ctx.Done()
					_ = link.Close()
				})
			}
		})
	}
	opening.Wait()
	p.tell(Event{Ready: true})
	playing.Wait()
	p.tell(Event{Finished: true})
	living.Wait()
}

// client connects, opens the first session of each script, and plays on in goroutines that playing counts.
func (p *process) client(ctx context.Context, c Client, playing *sync.WaitGroup) (link *client.Client, err error) {
	cfg := client.DialConfig{Config: c.config(p.config.Workspace)}
	cfg.Log = p.log
	if cfg.Identity, err = c.identity(identity.Client, p.config.Workspace); err != nil {
		return nil, err
	}
	cfg.Daemon = identity.Peer{Key: c.Daemon, Target: c.Target, Profile: identity.NoiseIKpsk2}
	if cfg.Daemon.PSK, err = c.PSK.secret(); err != nil {
		return nil, err
	}
	err = persist(ctx, func() (err error) {
		link, err = client.Dial(ctx, cfg)
		return err
	}, client.LinkLost, client.PlatformUnavailable, client.Reason(reason.Capacity))
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	for _, script := range c.Sessions {
		first, err := p.open(ctx, link, script, 1)
		if err != nil {
			return link, err
		}
		playing.Go(func() {
			p.play(ctx, first)
			for n := 2; script.Again && !p.finishing(); n++ {
				next, err := p.open(ctx, link, script, n)
				if err != nil {
					p.fail(ctx, err)
					return
				}
				p.play(ctx, next)
			}
		})
	}
	return link, nil
}

func (p *process) finishing() bool {
	select {
	case <-p.finish:
		return true
	default:
		return false
	}
}

func numbered(s Script, n int) string {
	if s.Again {
		return fmt.Sprintf("%s-%d", s.Name, n)
	}
	return s.Name
}

// open opens a session and tells the daemon what to do in it.
func (p *process) open(ctx context.Context, link *client.Client, script Script, n int) (*player, error) {
	name := numbered(script, n)
	began := time.Now()
	defer p.track(func() state {
		return state{fmt.Sprintf("%s: being opened for %.1f s", name, time.Since(began).Seconds()), began}
	})()
	var s *client.Session
	err := persist(ctx, func() (err error) {
		s, err = link.Open(ctx)
		return err
	}, client.PeerUnavailable) // it has waited for the daemon for a while
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	first, err := json.Marshal(hello{Name: name, Down: script.Down})
	if err == nil {
		err = s.Send(ctx, first)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	return p.newPlayer(s, name, script.Up, upName(name), downName(name)), nil
}

// persist does something again as long as it fails for one of these reasons.
func persist(ctx context.Context, do func() error, reasons ...client.Reason) error {
	for {
		err := do()
		var e *client.Error
		if err == nil || !errors.As(err, &e) || !slices.Contains(reasons, e.Reason) {
			return err
		}
		select {
		case <-time.After(max(again, e.RetryAfter)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
