package main

import (
	"context"
	"errors"
	"strings"

	"github.com/getviewport/relay/client"
	"github.com/getviewport/relay/cmd/viewport/internal/terminal"
)

// usageError is a mistake of whoever typed the command.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// sessionError is what ended a session that was open.
type sessionError struct{ cause error }

func (e *sessionError) Error() string { return e.cause.Error() }
func (e *sessionError) Unwrap() error { return e.cause }

// advice is what to do, for reasons whose own text can't know the commands of this program.
var advice = []struct {
	reason client.Reason
	text   string
}{
	{client.PeerUnavailable, "no daemon serves this target now: start `viewport daemon` on its machine"},
	{client.NotAuthorised, "the daemon does not know this client's key: run `viewport pair` on its machine and give the string to --pair here"},
	{client.PairingUnknown, "the pairing string is used up, too old or not of this daemon: run `viewport pair` on its machine for a new one"},
	{client.HandshakeFailed, "the daemon does not hold the key or secret that was pinned: run `viewport pair` on its machine and give the string to --pair here"},
	{client.Draining, "the relay is shutting down: try again in a moment"},
}

// explain turns an error into one line: what happened, what to do, and the reason's code (docs/protocol.md, Errors).
func explain(err error) string {
	if told, ok := errors.AsType[*terminal.Error](err); ok {
		return told.Text
	}
	e, ok := errors.AsType[*client.Error](err)
	_, open := errors.AsType[*sessionError](err)
	switch {
	case ok:
		return explainReason(e, open)
	case errors.Is(err, context.DeadlineExceeded):
		return "the daemon did not answer within " + openTimeout.String() + ": it may hold another key than the one " +
			"that was pinned; if it is running, run `viewport pair` on its machine and give the string to --pair here"
	}
	text := err.Error()
	for _, prefix := range []string{"client: ", "identity: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return strings.Replace(text, "Config.Relay", "--relay", 1)
}

func explainReason(e *client.Error, open bool) string {
	text := e.Text
	for _, a := range advice {
		if errors.Is(e, a.reason) {
			text = a.text
			break
		}
	}
	if open && e.Reason == client.SessionUnknown {
		text = "the daemon has started anew and knows nothing of this session"
	}
	switch {
	case open && (e.By == "link" || e.By == "relay"):
		text = "connection lost: " + text
	case open:
		text = "session ended: " + text
	}
	return text + " (" + string(e.Reason) + ")"
}
