package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker in a release: -ldflags "-X main.version=v1.2.3".
var version string

// buildVersion returns the linker's version, else what the Go command recorded of the module or the commit.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	commit, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+modified"
		}
	}
	if commit == "" {
		return "devel"
	}
	return "devel-" + commit + modified
}

// describe adds what matters in a bug report.
func describe(version string) string {
	return fmt.Sprintf("%s (%s, %s/%s)", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
