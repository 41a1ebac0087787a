package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// outputs runs a command to its end and returns what it wrote.
func outputs(cmd *exec.Cmd) (stdout, stderr string) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return out.String(), errs.String()
}

func TestChaosLosesNothingThoughTheRelayIsKilledAndLinksAreCut(t *testing.T) {
	bin := built(t)
	// In 7 s this seed has two kills and every other kind of fault.
	cmd, temporary := command(t, bin, "chaos", "--time", "7s", "--seed", "15")
	stdout, stderr := outputs(cmd)
	line := regexp.MustCompile(`^chaos: seed 15, kills 2, cuts [1-9]\d*, resumes [1-9]\d*, sessions [1-9]\d*, ` +
		`bytes [0-9,]{7,}, lost 0, doubled 0, reordered 0, longest stall \d+\.\d s\n$`)
	if code := cmd.ProcessState.ExitCode(); code != exitOK || !line.MatchString(stdout) {
		t.Errorf("got exit code %d, %q, want %d and one line that matches %v; standard error:\n%s", code, stdout, exitOK,
			line, stderr)
	}
	nothingLeft(t, bin, temporary)
}

func TestChaosThatIsInterruptedFailsAndLeavesNothing(t *testing.T) {
	bin := built(t)
	cmd, temporary := command(t, bin, "chaos", "--time", "1h", "--seed", "15", "-v")
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for s := bufio.NewScanner(pipe); s.Scan(); {
		said.WriteString(s.Text() + "\n")
		if strings.Contains(s.Text(), "relay: kill -9") { // all ends run
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	const want = "seed 15: chaos: stopped"
	if code := cmd.ProcessState.ExitCode(); code != exitFailure || !strings.Contains(said.String(), want) {
		t.Errorf("got exit code %d, %q; want %d and %q", code, said.String(), exitFailure, want)
	}
	nothingLeft(t, bin, temporary)
}

func TestAStormOfClientsComesBackWithoutALossAndWithinTheRelaysBounds(t *testing.T) {
	bin := built(t)
	cmd, temporary := command(t, bin, "storm", "--clients", "100", "--calm", "0s", "--seed", "7", "--json")
	stdout, stderr := outputs(cmd)
	var got stormResult
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&got)
	if err != nil || cmd.ProcessState.ExitCode() != exitOK || strings.Count(stdout, "\n") != 1 {
		t.Fatalf("got %v, %v, %q; want exit code 0 and one line of JSON; standard error:\n%s", cmd.ProcessState, err, stdout,
			stderr)
	}
	if got.Seed != 7 || got.Clients != 100 || got.Daemons != 5 || len(got.Rounds) != 2 || got.Sessions != 100 ||
		got.Resumes < 200 || got.Blocks < 400 || !got.ok() || got.Lost+got.Doubled+got.Reordered+got.Altered != 0 {
		t.Errorf("got %s", stdout)
	}
	for n, r := range got.Rounds {
		if r.Clients != 100 || r.Connects < 100 || r.Validates < 100 || r.ConnectsPeak < 1 || r.ValidatesAtOnce < 1 ||
			r.ValidatesAtOnce > r.ValidateBound || r.JWKSFetches != n { // only a new relay fetches them
			t.Errorf("round %d: got %+v", n+1, r)
		}
	}
	nothingLeft(t, bin, temporary)
}

func TestAStormThatNeedsMoreOpenFilesThanAllowedSaysWhatToDo(t *testing.T) {
	bin := built(t)
	out, err := exec.Command("sh", "-c", "ulimit -n 300 && exec "+shellWord(filepath.Join(bin, "viewport-dev"))+
		" storm --clients 100").CombinedOutput()
	const want = "100 clients need 456 open files in a process, and 300 are allowed"
	if err == nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "at most 22 clients") {
		t.Errorf("got %v, %q; want a failure with %q and how many it could be", err, out, want)
	}
}

func TestWrongNumbersAreToldWithTheirFlag(t *testing.T) {
	for flag, args := range map[string][]string{
		"--time":    {"chaos", "--time", "1ms"},
		"--clients": {"storm", "--clients", "0"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(args, nil, &stdout, &stderr)
		if code != exitFailure || !strings.Contains(stderr.String(), flag+": from 1") {
			t.Errorf("%v: got exit code %d, %q; want %d and what is allowed", args, code, stderr.String(), exitFailure)
		}
	}
}
