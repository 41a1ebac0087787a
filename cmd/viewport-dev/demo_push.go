package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// mib is one MiB, in bytes.
const mib = 1 << 20

// runPush pushes bytes both ways at once through `viewport attach -T`, whose far end is `viewport-dev peer`, and
// compares what both ends say.
func (d *demo) runPush(ctx context.Context) (err error) {
	near, err := d.startPush()
	if err != nil {
		return err
	}
	defer near.end()
	if err := near.wait(ctx, d); err != nil {
		return near.explain(err)
	}
	took := time.Since(near.began)
	// Everything has arrived, and the client is attached as long as its input is open.
	if err := d.askRelay(ctx); err != nil {
		return err
	}
	_ = near.stdin.Close()
	report, err := near.report(ctx)
	if err != nil {
		return near.explain(err)
	}

	upSum, downSum := hex.EncodeToString(near.upHash.Sum(nil)), hex.EncodeToString(near.downHash.Sum(nil))
	want := pushReport{Sent: d.push, SentSHA256: downSum, Received: d.push, ReceivedSHA256: upSum}
	if report != want {
		return fmt.Errorf("the ends disagree: the daemon's side says %+v, this side %+v", report, want)
	}
	d.say("%d MiB each way at once in %.1f s: %.0f MiB/s up and as much down", d.push/mib, took.Seconds(),
		float64(d.push)/mib/took.Seconds())
	d.say("SHA-256, computed at each end and equal: up %s…, down %s…", upSum[:16], downSum[:16])
	return nil
}

// pushing is the near end of a push.
type pushing struct {
	// Static.
	client        *process
	stdin, stdout *os.File
	began         time.Time
	complaints    tail

	running          sync.WaitGroup
	results          chan error // one for each direction
	up, down         atomic.Int64
	upHash, downHash hash.Hash // owned by the directions until they have ended
}

func (d *demo) startPush() (*pushing, error) {
	stdin, writeStdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = stdin.Close() }()
	readStdout, stdout, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, writeStdin.Close())
	}
	defer func() { _ = stdout.Close() }()

	arguments := []string{"-T", "--", d.self, "peer", "--bytes", strconv.FormatInt(d.push, 10), "--seed", d.seed}
	_, _ = io.WriteString(d.plain(), fmt.Sprint(arguments))
	p := &pushing{
		stdin: writeStdin, stdout: readStdout, began: time.Now(), results: make(chan error, 2),
		upHash: sha256.New(), downHash: sha256.New(),
	}
	cmd := d.attach(arguments...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &p.complaints
	if p.client, err = startProcess("viewport attach -T", cmd); err != nil {
		return nil, errors.Join(err, writeStdin.Close(), readStdout.Close())
	}
	upControl, downControl := d.plain(), d.plain()
	p.running.Go(func() {
		_, err := io.Copy(io.MultiWriter(p.stdin, p.upHash, upControl, counter{&p.up}), newPushed(d.seed, pushUp, d.push))
		p.results <- inDirection(pushUp, err)
	})
	p.running.Go(func() {
		_, err := io.CopyN(io.MultiWriter(p.downHash, downControl, counter{&p.down}), p.stdout, d.push)
		var arrived [1]byte
		if err == nil {
			_, err = io.ReadFull(p.stdout, arrived[:])
		}
		if err == nil && arrived[0] != pushArrived {
			err = errors.New("the far end sent more than was wanted")
		}
		p.results <- inDirection(pushDown, err)
	})
	return p, nil
}

func inDirection(direction string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("pushing %s: %w", direction, err)
}

// wait waits until all has arrived at both ends, and says how far it is.
func (p *pushing) wait(ctx context.Context, d *demo) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for left := 2; left > 0; {
		select {
		case err := <-p.results:
			if err != nil {
				return err
			}
			left--
		case <-ticker.C:
			d.say("pushing: %d MiB up, %d MiB down of %d MiB", p.up.Load()/mib, p.down.Load()/mib, d.push/mib)
		case <-ctx.Done():
			return fmt.Errorf("at %d bytes up, %d bytes down of %d: %w", p.up.Load(), p.down.Load(), d.push, context.Cause(ctx))
		}
	}
	return nil
}

// report returns what the far end says after its bytes.
func (p *pushing) report(ctx context.Context) (r pushReport, err error) {
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	p.running.Go(func() {
		text, err := io.ReadAll(io.LimitReader(p.stdout, tailSize))
		answers <- answer{text, err}
	})
	if err := waitFor(ctx, p.client); err != nil {
		return r, err
	}
	a := <-answers
	if a.err != nil {
		return r, a.err
	}
	if code := p.client.exitCode(); code != 0 {
		return r, fmt.Errorf("viewport attach -T ended with exit code %d", code)
	}
	if err := json.Unmarshal(a.text, &r); err != nil {
		return r, fmt.Errorf("the far end's report %q: %w", a.text, err)
	}
	return r, nil
}

// explain adds what the client said.
func (p *pushing) explain(err error) error {
	_ = p.client.end()
	if text := p.complaints.String(); text != "" {
		return fmt.Errorf("%w; attach said: %s", err, text)
	}
	return err
}

// end ends the client and waits for both directions.
func (p *pushing) end() {
	_ = p.client.end()
	_, _ = p.stdin.Close(), p.stdout.Close()
	p.running.Wait()
}

// counter counts what is written to it.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}
