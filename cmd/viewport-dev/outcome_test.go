package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/getviewport/relay/cmd/viewport-dev/internal/endpoint"
	"github.com/getviewport/relay/cmd/viewport-dev/internal/ledger"
)

// direction is what a writer of blocks sent, and what a reader got after spoil has had its way with them.
func direction(name string, spoil func([][]byte) [][]byte) (ledger.Sent, ledger.Tally) {
	at := time.Unix(1, 0)
	w, r := ledger.NewWriter("seed", name), ledger.NewReader("seed", name)
	var messages [][]byte
	for range 10 {
		messages = append(messages, w.Block(100, at))
	}
	messages = append(messages, w.End(at))
	for _, m := range spoil(messages) {
		r.Take(m, at.Add(time.Second))
	}
	return w.Sent(), r.Tally()
}

func asSent(m [][]byte) [][]byte { return m }

// good is a session of which both ends told that all is well.
func good() *sessionEnds {
	up, gotUp := direction("s up", asSent)
	down, gotDown := direction("s down", asSent)
	return &sessionEnds{
		client: &endpoint.Result{Name: "s", Sent: up, Got: gotDown, Resumes: 3},
		daemon: &endpoint.Result{Name: "s", Sent: down, Got: gotUp},
	}
}

func TestWhatIsWrongWithASessionIsFoundWhereverItIs(t *testing.T) {
	spoiled := func(spoil func([][]byte) [][]byte) func(*sessionEnds) {
		return func(s *sessionEnds) { s.client.Sent, s.daemon.Got = direction("s up", spoil) }
	}
	for name, c := range map[string]struct {
		spoil func(*sessionEnds)
		want  outcome
		says  string
	}{
		"nothing": {func(*sessionEnds) {}, outcome{}, ""},
		"a block lost": {spoiled(func(m [][]byte) [][]byte { return append(m[:4:4], m[5:]...) }),
			outcome{Lost: 1}, "s up: 10 blocks were sent and 9 came: 1 lost"},
		"a block doubled": {spoiled(func(m [][]byte) [][]byte { return append(m[:5:5], m[4:]...) }),
			outcome{Doubled: 1}, "1 doubled"},
		"blocks reordered": {spoiled(func(m [][]byte) [][]byte { m[3], m[4] = m[4], m[3]; return m }),
			outcome{Reordered: 1}, "1 reordered"},
		"a block damaged": {spoiled(func(m [][]byte) [][]byte { m[3][50] ^= 1; return m }),
			outcome{Altered: 1}, "1 damaged"},
		"a block of another stream": {spoiled(func(m [][]byte) [][]byte {
			return append(m, ledger.NewWriter("seed", "t up").Block(100, time.Unix(1, 0)))
		}), outcome{Altered: 1}, "1 foreign"},
		"the last blocks and the end lost": {spoiled(func(m [][]byte) [][]byte { return m[:7] }),
			outcome{Lost: 3}, "3 lost"},
		"the end lost": {spoiled(func(m [][]byte) [][]byte { return m[:10] }), outcome{}, "s up: its end never came"},
		"all lost":     {spoiled(func([][]byte) [][]byte { return nil }), outcome{Lost: 10}, "10 lost"},
		"down, too": {func(s *sessionEnds) {
			s.daemon.Sent, s.client.Got = direction("s down", func(m [][]byte) [][]byte { return m[1:] })
		}, outcome{Lost: 1}, "s down: 10 blocks were sent and 9 came: 1 lost"},
		"sums that differ": {
			func(s *sessionEnds) { s.client.Sent.SHA256 = strings.Repeat("0", 64) }, outcome{},
			"the ends disagree",
		},
		"counts that differ": {
			func(s *sessionEnds) { s.client.Sent.Blocks++ }, outcome{},
			"the ends disagree",
		},
		"an unclean client": {
			func(s *sessionEnds) { s.client.Error = "PEER_SILENT" }, outcome{Unclean: 1},
			"s: it ended uncleanly at the client: PEER_SILENT",
		},
		"an unclean daemon": {
			func(s *sessionEnds) { s.daemon.Error = "DATA_LOST" }, outcome{Unclean: 1},
			"s: it ended uncleanly at the daemon: DATA_LOST",
		},
		"a daemon that is mute": {
			func(s *sessionEnds) { s.daemon = nil }, outcome{Unclean: 1, Lost: 10},
			"s: its daemon has not told its end",
		},
		"a client that is mute": {
			func(s *sessionEnds) { s.client = nil }, outcome{Unclean: 1, Lost: 10},
			"s: its client has not told its end",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			c.spoil(s)
			got := compare(map[string]*sessionEnds{"s": s, "t": good()})
			if n := (outcome{Lost: got.Lost, Doubled: got.Doubled, Reordered: got.Reordered, Altered: got.Altered,
				Unclean: got.Unclean}); n.counts() != c.want.counts() {
				t.Errorf("got %+v, want %+v", n, c.want)
			}
			if got.ok() != (c.says == "") || got.ok() != (got.verdict("x") == nil) || got.Sessions != 2 {
				t.Errorf("got %+v", got)
			}
			if err := got.verdict("x"); err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q in it", err, c.says)
			}
		})
	}
}

// counts are the numbers of what is wrong.
func (o outcome) counts() [5]uint64 {
	return [5]uint64{o.Lost, o.Doubled, o.Reordered, o.Altered, uint64(o.Unclean)}
}

func TestAllSessionsAreCountedTogether(t *testing.T) {
	got := compare(map[string]*sessionEnds{"s": good(), "t": good()})
	if got.Sessions != 2 || got.Resumes != 6 || got.Blocks != 40 || got.Bytes != 4000 || got.Stall != 1 || !got.ok() {
		t.Errorf("got %+v, want 2 sessions, 6 resumes, 40 blocks of 100 bytes, a stall of 1 s", got)
	}
}

func TestAResultIsOneLineForPeopleAndOneOfJSON(t *testing.T) {
	r := chaosResult{Seed: 4711, Kills: 3, Cuts: 20, outcome: outcome{
		Sessions: 40, Resumes: 55, Bytes: 1234567, Lost: 1, Doubled: 2, Reordered: 3, Stall: 4.25, Problems: []string{"x"},
	}}
	for asJSON, want := range map[bool]string{
		false: "chaos: seed 4711, kills 3, cuts 20, resumes 55, sessions 40, bytes 1,234,567, lost 1, doubled 2, " +
			"reordered 3, longest stall 4.2 s\n",
		true: `{"seed":4711,"kills":3,"cuts":20,"sessions":40,"resumes":55,"blocks":0,"bytes":1234567,"lost":1,"doubled":2,` +
			`"reordered":3,"altered":0,"unclean":0,"longest_stall_seconds":4.25,"problems":["x"]}` + "\n",
	} {
		var out strings.Builder
		if err := report(&out, asJSON, r); err != nil || out.String() != want {
			t.Errorf("got %v, %q, want %q", err, out.String(), want)
		}
	}
}

func TestARoundFailsAboveWhatIsPromised(t *testing.T) {
	for name, c := range map[string]struct {
		round stormRound
		want  string // "" for no error
	}{
		"at the bounds":         {stormRound{ValidatesAtOnce: 64, ValidateBound: 64, JWKSFetches: 1}, ""},
		"too many validates":    {stormRound{What: "w", ValidatesAtOnce: 65, ValidateBound: 64}, "w: 65 validate calls"},
		"keys that came twice":  {stormRound{What: "w", ValidateBound: 64, JWKSFetches: 2}, "w: the keys were fetched 2"},
		"neither is overlooked": {stormRound{ValidatesAtOnce: 2, ValidateBound: 1, JWKSFetches: 3}, "fetched 3 times"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.round.verdict()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAQuantileIsATimeThatSomebodyTook(t *testing.T) {
	var times []time.Duration
	for n := range 200 {
		times = append(times, time.Duration(n+1)*time.Second)
	}
	got := [3]float64{quantile(times, 50), quantile(times, 99), quantile(times, 100)}
	if got != [3]float64{100, 198, 200} {
		t.Errorf("got %v, want 100, 198, 200", got)
	}
	if got := quantile(times[:1], 50); got != 1 {
		t.Errorf("of one: got %v, want 1", got)
	}
}

func TestAResultReadsBackFromItsJSON(t *testing.T) {
	s := good()
	line, err := json.Marshal(endpoint.Event{Result: s.client})
	if err != nil {
		t.Fatal(err)
	}
	var back endpoint.Event
	if err := json.Unmarshal(line, &back); err != nil || *back.Result != *s.client {
		t.Errorf("got %+v, %v, want %+v", back.Result, err, s.client)
	}
}
