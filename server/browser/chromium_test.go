//go:build unix

package browser_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// browse opens a page in a Chromium of its own, which ends with the test. Where there is none the test is skipped, but
// for CI, where it fails.
func browse(t *testing.T, page string) {
	t.Helper()
	binary, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" || os.Getenv("REQUIRE_CHROMIUM") == "1" {
			t.Fatal("chromium is not installed, and CI or REQUIRE_CHROMIUM wants it: apt-get install chromium")
		}
		t.Skip("chromium is not installed: apt-get install chromium")
	}
	home := t.TempDir()
	output, err := os.Create(filepath.Join(home, "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--headless=new",
		"--no-sandbox", // a container's root has none; the pages are this package's
		"--disable-gpu", "--disable-dev-shm-usage", "--disable-breakpad",
		"--enable-logging=stderr", // with the page's console
		// It talks to this test, and to nobody else.
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--proxy-server=direct://",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--no-first-run", "--no-default-browser-check", "--user-data-dir="+filepath.Join(home, "profile"), page)
	cmd.Env = append(os.Environ(), "HOME="+home)
	cmd.Stdout, cmd.Stderr = output, output
	// A group of its own, so that all of its processes end together.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		group := -cmd.Process.Pid
		_ = syscall.Kill(group, syscall.SIGKILL)
		_ = cmd.Wait()
		// Its children are not ours to wait for, but they write to its folder until they are gone.
		for !errors.Is(syscall.Kill(group, 0), syscall.ESRCH) {
			_ = syscall.Kill(group, syscall.SIGKILL)
		}
		_ = output.Close()
		if t.Failed() {
			text, _ := os.ReadFile(output.Name())
			lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool {
				return strings.Contains(line, "dbus") // it misses a desktop
			})
			t.Logf("chromium:\n%s", strings.Join(lines, "\n"))
		}
	})
}
