package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/getviewport/relay/cmd/viewport-dev/internal/tap"
	relayv1 "github.com/getviewport/relay/gen/viewport/relay/v1"
)

// targetMark is the mark that has to be found: it is in the header of every envelope.
const targetMark = "the target's id"

// relayView is what the relay tells its operator.
type relayView struct {
	status      *relayv1.GetStatusResponse
	connections []*relayv1.Connection
}

// askRelay asks the admin listener, as an operator would.
func (d *demo) askRelay(ctx context.Context) (err error) {
	conn, err := grpc.NewClient("passthrough:///"+d.stack.addresses.admin,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+d.stack.adminToken)
	admin := relayv1.NewAdminServiceClient(conn)
	if d.relay.status, err = admin.GetStatus(ctx, &relayv1.GetStatusRequest{}); err != nil {
		return fmt.Errorf("GetStatus: %w", err)
	}
	list, err := admin.ListConnections(ctx, &relayv1.ListConnectionsRequest{})
	if err != nil {
		return fmt.Errorf("ListConnections: %w", err)
	}
	d.relay.connections = list.GetConnections()
	return nil
}

// showRelay prints what the relay told during the push, and what its links showed.
func (d *demo) showRelay(context.Context) error {
	s := d.relay.status
	d.say("what the relay saw. GetStatus and ListConnections, with the admin token, when the bytes had arrived:")
	d.printf("         relay %s, up %v, ready: %v; %d target, %d daemon link, %d client link, %d sessions, ended ones too\n",
		s.GetRelayId(),
		s.GetUptime().AsDuration().Round(100*time.Millisecond), s.GetReady(), s.GetTargets(), s.GetDaemonLinks(),
		s.GetClientLinks(), s.GetSessions())
	d.printf("         forwarded %s envelopes, %s bytes; not forwarded: %s; refused links: %s\n",
		thousands(s.GetFramesForwarded()), thousands(s.GetBytesForwarded()), counts(s.GetDrops()), counts(s.GetRefusals()))
	d.table("link\trole\ttarget\tversion\tenvelopes in\tbytes in\tenvelopes out\tbytes out", func(row rowFunc) {
		for _, c := range d.relay.connections {
			role := strings.ToLower(strings.TrimPrefix(c.GetRole().String(), "ROLE_"))
			row("%d\t%s\t%s/%s\t%s\t%s\t%s\t%s\t%s", c.GetSerial(), role,
				c.GetWorkspaceId(), c.GetRuntimeTargetId(), c.GetVersion(), thousands(c.GetFramesReceived()),
				thousands(c.GetBytesReceived()), thousands(c.GetFramesSent()), thousands(c.GetBytesSent()))
		}
	})
	d.say("the first %d envelopes on the links (HEARTBEAT and ACK left out), as anybody in between reads them:",
		headersShown)
	d.table("link\tdirection\ttype\tsequence\tsession\tciphertext", func(row rowFunc) {
		for _, e := range d.record.First() {
			row("%s\t%s\t%s\t%d\t%s…\t%d", e.Link, e.Direction, e.Type, e.Sequence, e.Session, e.Ciphertext)
		}
	})
	var errs []error
	if s.GetDaemonLinks() != 1 || s.GetClientLinks() != 1 || len(d.relay.connections) != 2 {
		errs = append(errs, fmt.Errorf("the relay counts %d daemon and %d client links and lists %d, want 1, 1 and 2",
			s.GetDaemonLinks(), s.GetClientLinks(), len(d.relay.connections)))
	}
	if s.GetBytesForwarded() < uint64(2*d.push) {
		errs = append(errs, fmt.Errorf("the relay says it forwarded %d bytes, want at least %d", s.GetBytesForwarded(),
			2*d.push))
	}
	return errors.Join(errs...)
}

// verdict says what was found in both links. They must have ended.
func (d *demo) verdict(context.Context) error {
	d.say("all envelopes of both links:")
	d.table("link\tdirection\ttype\tenvelopes\tbytes of ciphertext", func(row rowFunc) {
		for _, t := range d.record.Tallies() {
			row("%s\t%s\t%s\t%s\t%s", t.Link, t.Direction, t.Type, thousands(uint64(t.Envelopes)),
				thousands(uint64(t.Ciphertext)))
		}
	})
	var results []tap.Result
	for _, p := range d.links {
		results = append(results, p.Results()...)
	}
	summary, err := judge(results, d.control, d.names)
	if err != nil {
		return err
	}
	d.say("none of the %d marks was found in the %s bytes of both links: raw, in hex or in base64", len(d.names),
		thousands(uint64(summary.bytes)))
	d.say("the same search found each of them in the plaintext at the ends, and in the links %s, %s times", targetMark,
		thousands(uint64(summary.target)))
	return nil
}

type summary struct {
	bytes  int64
	target int
}

// judge is nil if the links showed the target's id, in each direction, and nothing secret; and if the search is one
// that finds what is there: in plaintext it must have found all.
func judge(links []tap.Result, control []*tap.Search, names []string) (s summary, err error) {
	var errs []error
	for _, r := range links {
		s.bytes += r.Bytes
		target := 0
		for _, f := range r.Findings {
			if f.Mark == targetMark {
				target += f.Count
				continue
			}
			errs = append(errs, fmt.Errorf("the %s's link shows plaintext (%s): %v", r.Link, r.Direction, f))
		}
		if target == 0 {
			errs = append(errs, fmt.Errorf("the search does not work: %s is not in the %d bytes of the %s's link (%s)",
				targetMark, r.Bytes, r.Link, r.Direction))
		}
		s.target += target
	}
	var found []string
	for _, c := range control {
		for _, f := range c.Findings() {
			found = append(found, f.Mark)
		}
	}
	for _, name := range names {
		if !slices.Contains(found, name) {
			errs = append(errs, fmt.Errorf("the search does not work: it did not find %s where it is, in the plaintext", name))
		}
	}
	return s, errors.Join(errs...)
}

type rowFunc func(format string, args ...any)

// table prints a table; between cells is a tab.
func (d *demo) table(head string, rows func(rowFunc)) {
	w := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { _, _ = fmt.Fprintf(w, "         "+format+"\n", args...) }
	row("%s", head)
	rows(row)
	_ = w.Flush()
}

func (d *demo) printf(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format, args...) }

func counts(all []*relayv1.ReasonCount) string {
	var words []string
	for _, c := range all {
		words = append(words, fmt.Sprintf("%d %s", c.GetCount(), c.GetReason()))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// thousands is n as people read it.
func thousands(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
