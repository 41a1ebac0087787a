package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/getviewport/relay/cmd/viewport/internal/desk"
)

// step is a key and what shows that the program has done with it.
type step struct{ key, shows string }

func TestFullScreenProgramsDrawWhatTheyDrawLocally(t *testing.T) {
	var text strings.Builder
	for i := range 500 {
		fmt.Fprintf(&text, "line %d, größer, \t tabs and 世界\n", i)
	}
	text.WriteString("the last line\n")
	for name, tt := range map[string]struct {
		args  []string
		steps []step
	}{
		"less": {[]string{"--no-lessopen"}, []step{{"", "line 31,"}, {" ", "line 63,"}, {"G", "the last line"},
			{"/line 7\r", "(END)"}, {"g", "line 31,"}, {"/line 250\r", "line 281,"}, {"q", ""}}},
		"vi": {[]string{"-u", "NONE", "-i", "NONE", "-n", "-N", "--cmd", "set shortmess=F"}, []step{{"", "line 31,"},
			{"\x06", "line 60,"}, {"G", "the last line"}, {":251\r", "line 266"}, {":q!\r", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(name); err != nil {
				t.Skip(err)
			}
			w := newWorld(t).paired()
			w.daemon()
			file := w.file("text", text.String())
			args := append(append([]string{name}, tt.args...), file)
			const cursor = "\x1b[?25h"
			draw := func(d *desk.Desk) string {
				var screen strings.Builder
				for _, s := range tt.steps {
					d.Type(s.key)
					screen.WriteString(d.Wait(s.shows) + s.shows)
					if name == "vi" && s.shows != "" { // which shows the cursor when it has drawn all
						screen.WriteString(d.Wait(cursor) + cursor)
					}
				}
				d.Ended(0)
				return screen.String() + d.Rest()
			}
			want := draw(desk.Sit(t, w.clientEnv(), args...))
			got := draw(w.attach(append([]string{"--"}, args...)...))
			if got != want {
				t.Errorf("attached:\n%q\nlocally:\n%q", got, want)
			}
		})
	}
}

func TestAProgramAndTheTerminalAskEachOther(t *testing.T) {
	w := newWorld(t).paired()
	w.daemon()
	d := w.sh(`stty raw -echo
printf '\033[?1049h\033[?25l\033[2J\033[5;10Hhello\033[6n'
answer=$(dd bs=1 count=7 2>/dev/null | od -An -tx1 | tr -d ' \n')
printf '\033[1;1H<%s>\033[?25h\033[?1049l' "$answer"`)
	const drawn = "\x1b[?1049h\x1b[?25l\x1b[2J\x1b[5;10Hhello\x1b[6n"
	if got := d.Wait("\x1b[6n") + "\x1b[6n"; got != drawn {
		t.Errorf("got %q, want %q", got, drawn)
	}
	const answer = "\x1b[5;15R"
	d.Type(answer)
	d.Ended(0)
	if got, want := d.Rest(), fmt.Sprintf("\x1b[1;1H<%x>\x1b[?25h\x1b[?1049l", answer); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
