package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/getviewport/relay/client"
)

// maxToken is the longest token that a relay takes.
const maxToken = 16 << 10

// tokenSource gives the token of --token, or what --token-file holds at that moment: whatever renews the file needs no
// restart.
func (c *connection) tokenSource() (client.TokenSource, error) {
	switch {
	case c.Token != "" && c.TokenFile != "":
		return nil, &usageError{"--token and --token-file (or VIEWPORT_TOKEN and VIEWPORT_TOKEN_FILE) exclude each other"}
	case c.Token != "":
		return client.StaticToken(c.Token), nil
	}
	file := c.TokenFile
	return func(context.Context) (string, error) { return readToken(file) }, nil
}

func readToken(file string) (string, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s does not exist", file)
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxToken+2)) // and a line's end
	if err != nil {
		return "", err
	}
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0:
		return "", fmt.Errorf("%s is empty", file)
	case len(b) > maxToken:
		return "", fmt.Errorf("%s holds more than %d bytes, which is no token", file, maxToken)
	}
	return string(b), nil
}
