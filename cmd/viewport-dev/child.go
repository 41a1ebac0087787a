package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"

	"github.com/getviewport/relay/cmd/viewport-dev/internal/endpoint"
)

// endpointCommand is a daemon or clients of chaos and storm: their child process.
type endpointCommand struct{}

func (endpointCommand) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	return endpoint.Run(ctx, stdin, stdout, stderr)
}

// child is such a process.
type child struct {
	// Static.
	name   string
	daemon bool
	stdin  io.WriteCloser
	*process
}

// startChild starts one. Its events go to tell, one after the other, perhaps before startChild returns; a line that is
// none says that it failed.
func (e *ensemble) startChild(name string, config endpoint.Config, tell func(*child, endpoint.Event)) (*child,
	error) {
	c := &child{name: name, daemon: config.Daemon != nil}
	cmd := exec.Command(e.self, "endpoint")
	cmd.Env = environment(e.dir)
	cmd.Stderr = e.log
	cmd.Stdout = &lineWriter{line: func(line []byte) {
		var event endpoint.Event
		if err := json.Unmarshal(line, &event); err != nil {
			event = endpoint.Event{Failed: fmt.Sprintf("it wrote %q", line)}
		}
		tell(c, event)
	}}
	var err error
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.process, err = startProcess(name, cmd); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(c.stdin).Encode(config); err != nil {
		c.kill()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// say sends a command. A child that does not read it has ended, which is told elsewhere.
func (c *child) say(command string) { _, _ = io.WriteString(c.stdin, command+"\n") }

// stop lets the child end and waits for it.
func (c *child) stop() error {
	_ = c.stdin.Close()
	if err := c.end(); err != nil {
		return err
	}
	if code := c.exitCode(); code != 0 {
		return fmt.Errorf("%s ended with %v", c.name, c.cmd.ProcessState)
	}
	return nil
}

// lineWriter gives what is written to it away by lines.
type lineWriter struct {
	line func([]byte)
	rest []byte // of the line that has not ended
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.rest = append(w.rest, b...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		w.line(w.rest[:i])
		w.rest = w.rest[i+1:]
	}
}
