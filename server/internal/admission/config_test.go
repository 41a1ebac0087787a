package admission

import (
	"strings"
	"testing"
	"time"
)

func TestAConfigurationThatCantWorkIsRefusedAndNamesTheField(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"neither":          {func(c *Config) { *c = Config{} }, "neither JWKSURL nor ValidateURL"},
		"scheme":           {func(c *Config) { c.JWKSURL = "file:///etc/secret" }, "JWKSURL starts with neither"},
		"no URL":           {func(c *Config) { c.ValidateURL = "http://secret\x00" }, "ValidateURL is no URL"},
		"no host":          {func(c *Config) { c.ValidateURL = "http:///secret" }, "ValidateURL has no host"},
		"password":         {func(c *Config) { c.JWKSURL = "https://u:secret@x/" }, "JWKSURL has a user name or password"},
		"fragment":         {func(c *Config) { c.JWKSURL = "https://x/#secret" }, "JWKSURL has a fragment"},
		"key with newline": {func(c *Config) { c.InternalKey = "secret\n" }, "InternalKey has characters"},
		"timeout":          {func(c *Config) { c.ValidateTimeout = 2 * time.Minute }, "ValidateTimeout is 2m0s"},
		"negative timeout": {func(c *Config) { c.ValidateTimeout = -1 }, "ValidateTimeout is -1ns"},
		"concurrency":      {func(c *Config) { c.ValidateConcurrency = -1 }, "ValidateConcurrency is -1"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := both()
			row.change(&cfg)
			_, err := New(cfg)
			if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want %q and no value", err, row.want)
			}
		})
	}
}
