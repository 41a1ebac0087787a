package secrets_test

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// reached is a call that sends or connects to an address, as strace writes it.
var reached = regexp.MustCompile(`(connect|sendto|sendmsg|sendmmsg)\(.*\{sa_family=([A-Z_0-9]+)(.*?)\}`)

// inet is the address in one.
var inet = regexp.MustCompile(`sin6?_port=htons\((\d+)\).*(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"`)

func TestTheSystemCallsOfTheRelayConnectToThePlatformAlone(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("strace is not installed")
	}
	l, p := setLures(t), startPlatform(t)
	p.baitKeys(l)
	name := filepath.Join(t.TempDir(), "calls")
	r := launch(t, p, l.environ(), strace, "-f", "-qq", "-o", name, "-e", "trace=connect,sendto,sendmsg,sendmmsg,execve")
	l.lure(t, r, p)
	l.empty(t)
	r.interrupt(t)
	calls, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	platform, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	got := addresses(string(calls))
	if want := []string{"connect " + platform.Host}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q in\n%.4000s", got, want, calls)
	}
	if n := strings.Count(string(calls), "execve("); n != 1 {
		t.Errorf("got %d programs, want the relay alone", n)
	}
}

// addresses lists whom calls reach, each once. Local sockets and those of the kernel count, too.
func addresses(calls string) []string {
	all := map[string]bool{}
	for line := range strings.Lines(calls) {
		call := reached.FindStringSubmatch(line)
		if call == nil {
			continue
		}
		if a := inet.FindStringSubmatch(call[3]); a != nil {
			all[fmt.Sprintf("%s %s:%s", call[1], a[2], a[1])] = true
		} else {
			all[call[1]+" "+call[2]+call[3]] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func TestTheReaderOfSystemCallsMissesNone(t *testing.T) {
	got := addresses(`7 execve("/x", ["/x"], 0x7 /* 3 vars */) = 0
7 connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.1")}, 16) = -1 EINPROGRESS
8 sendto(4, "x", 1, MSG_NOSIGNAL, NULL, 0) = 1
9 sendto(4, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("192.0.2.2")}, 16) = 1
9 connect(5, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28 <unfinished ...>
9 sendmsg(6, {msg_name={sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("192.0.2.3")}, msg_namelen=16}, 0) = 1
9 connect(7, {sa_family=AF_UNIX, sun_path="/run/nscd"}, 110) = -1 ENOENT
`)
	want := []string{`connect 192.0.2.1:80`, `connect 2001:db8::1:443`, `connect AF_UNIX, sun_path="/run/nscd"`,
		`sendmsg 192.0.2.3:9`, `sendto 192.0.2.2:53`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
