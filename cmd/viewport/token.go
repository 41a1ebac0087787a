package main

import (
	"bytes"
	"context"
	"fmt"
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
		return nil, &usageError{"--token and --token-file exclude each other"}
	case c.Token != "":
		return client.StaticToken(c.Token), nil
	case c.TokenFile != "":
		file := c.TokenFile
		return func(context.Context) (string, error) { return readToken(file) }, nil
	}
	return nil, &usageError{"--token-file or --token is needed (or VIEWPORT_TOKEN_FILE or VIEWPORT_TOKEN)"}
}

func readToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 || len(b) > maxToken {
		return "", fmt.Errorf("%s holds %d bytes, which is no token", file, len(b))
	}
	return string(b), nil
}
