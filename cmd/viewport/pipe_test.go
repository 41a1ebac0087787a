package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/getviewport/relay/client/identity"
)

func TestTheCommandAndItsArgumentsArriveAsTheyAre(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	show := []string{"sh", "-c", `for a; do printf '<%s>' "$a"; done`, "--"}
	for _, args := range [][]string{
		{"-v", "--", "--relay", "x", "-T"},
		{"", " ", "a b", "$HOME", "*", "'\"\\"},
		{"line\nbreak", "\xff\xfe", "ü", "--help", "@/etc/passwd", "${version}"},
	} {
		want := "<" + strings.Join(args, "><") + ">"
		command := append(show[:len(show):len(show)], args...)
		w.want(w.run(nil, nil, append([]string{"attach", "-T", "--"}, command...)...), want, "", 0)
		w.want(w.run(nil, nil, append([]string{"attach", "-T"}, command...)...), want, "", 0)
	}
}

func TestWithoutATerminalEveryByteAndTheExitCodePass(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	data := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{4}).Read(data)
	sum := fmt.Sprintf("%x  -\n", sha256.Sum256(data))
	w.want(w.run(nil, bytes.NewReader(data), "attach", "-T", "--", "sh", "-c", "sha256sum; echo apart >&2; exit 9"), sum, "apart\n", 9)
	got := w.run(nil, bytes.NewReader(data), "attach", "-T", "--", "cat")
	if got.code != 0 || got.err != "" || got.out != string(data) {
		t.Errorf("got exit code %d, %q and %d bytes back, want 0, nothing and the %d sent", got.code, got.err, len(got.out), len(data))
	}
	w.want(w.run(nil, nil, "attach", "cat"), "", "", 0) // standard input is /dev/null
	w.want(w.run(nil, nil, "attach", "sh", "-c", "kill -KILL $$"), "", "", 137)
	w.says(w.run(nil, nil, "attach", "/nonexistent/command"), 127, `cannot start "/nonexistent/command"`)
	w.want(w.run(nil, nil, "attach", "-t", "--", "sh", "-c", "tty >/dev/null && stty size"), "24 80\r\n", "", 0)
}

func TestAnOutputThatIsClosedEndsAttachWithoutAWord(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	cmd := exec.CommandContext(w.ctx, "bash", "-c", `"`+binary+`" attach -T -- yes | head -1; echo "${PIPESTATUS[0]}"`)
	cmd.Env = w.clientEnv()
	out, err := cmd.CombinedOutput()
	w.must(err)
	if got, want := string(out), "y\n"+strconv.Itoa(128+int(syscall.SIGPIPE))+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAFixedCommandIsTheOnlyOneThatRuns(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon("--", "echo", "--fixed")
	w.want(w.run(nil, nil, "attach"), "--fixed\n", "", 0)
	w.says(w.run(nil, nil, "attach", "sh"), 255, `runs "echo" only`)
}

func TestTheFirstCtrlCWithoutATerminalIsTheCommandsAndTheSecondEndsAttach(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	out := newWords()
	cmd := exec.CommandContext(w.ctx, binary, "attach", "-T", "--", "sh", "-c",
		"trap 'echo told' INT; echo ready; sleep 1000 & while :; do wait; done")
	cmd.Env, cmd.Stdout, cmd.Stderr = w.clientEnv(), out, out
	w.must(cmd.Start())
	out.wait(w.ctx, t, "ready\n")
	w.must(cmd.Process.Signal(syscall.SIGINT))
	out.wait(w.ctx, t, "told\n")
	w.must(cmd.Process.Signal(syscall.SIGINT))
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 130 || out.text() != "ready\ntold\n" {
		t.Errorf("got exit code %d and %q, want 130 and no more words", got, out.text())
	}
}

func TestTheDaemonsTokenIsNotInTheCommandsEnvironment(t *testing.T) {
	w := newWorld(t).paired()
	token := w.relay.Token(identity.Daemon, workspace, target)
	served := w.startDaemon([]string{"VIEWPORT_TOKEN_FILE=", "VIEWPORT_TOKEN=" + token})
	served.log.wait(w.ctx, t, "msg=attached ")
	if got := w.run(nil, nil, "attach", "env"); got.code != 0 || strings.Contains(got.out, token) {
		t.Errorf("got %v, want an environment without the token", got)
	}
}
