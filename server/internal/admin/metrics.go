package admin

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/getviewport/relay/internal/reason"
	"github.com/getviewport/relay/internal/route"
	"github.com/getviewport/relay/server/internal/admission"
	"github.com/getviewport/relay/server/internal/hub"
	"github.com/getviewport/relay/server/internal/quota"
	"github.com/getviewport/relay/server/internal/recheck"
)

// metrics reads the hub's counters when it is scraped: the path of a frame counts with plain integers. Labels are bounded:
// roles, reason codes and names of limits, never a workspace.
type metrics struct{ Sources }

// Sources are what the metrics are read from.
type Sources struct {
	Hub      *hub.Hub
	Refusals *Refusals
	Admitter *admission.Admitter
	// Recheck is nil when it is switched off.
	Recheck *recheck.Checker
	Limits  *quota.Table
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("relay_"+name, help, labels, nil)
}

var (
	linksDesc    = desc("links", "Links that are attached.", "role")
	targetsDesc  = desc("targets", "Targets that have a link or a session.")
	sessionsDesc = desc("sessions", "Sessions that the relay knows, those without a link included.")
	queuedDesc   = desc("queued_bytes", "Bytes of memory that the queues keep.")
	framesInDesc = desc("frames_received_total", "Envelopes received.")
	bytesInDesc  = desc("bytes_received_total", "Bytes of received envelopes.")
	framesDesc   = desc("frames_sent_total", "Envelopes sent.")
	bytesDesc    = desc("bytes_sent_total", "Bytes of sent envelopes.")
	droppedDesc  = desc("frames_dropped_total", "Envelopes that were not forwarded.", "reason")
	refusedDesc  = desc("links_refused_total", "Streams that were not admitted.", "reason")
	fetchesDesc  = desc("jwks_fetches_total", "Fetches of the platform's keys.")
	failuresDesc = desc("jwks_fetch_failures_total", "Fetches of the platform's keys that failed.")
	validateDesc = desc("validate_calls_total", "Validate calls to the platform.")
	vfailsDesc   = desc("validate_failures_total", "Validate calls without a usable answer.")
	limitDesc    = desc("limit", "Limits as they are configured, times in seconds; 0: switched off.", "limit")
	limitedDesc  = desc("limit_refusals_total", "What limits refused or ended: streams, sessions, handshakes, frames.", "limit")
	usedDesc     = desc("limit_used", "What is taken of a limit, where it is one of the process.", "limit")
	flightDesc   = desc("validate_calls_in_flight", "Validate calls under way.")
	endedDesc    = desc("links_ended_total", "Links that lived and were ended by the relay for what became of their token.", "reason")
	recheckDesc  = desc("rechecks_total", "Questions to the platform about the token of a live link, by what came of them.", "result")
)

// Describe sends the descriptions.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect sends the values.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	total := m.Hub.Totals()
	gauge(linksDesc, float64(total.Daemons), "daemon")
	gauge(linksDesc, float64(total.Clients), "client")
	gauge(targetsDesc, float64(total.Targets))
	gauge(sessionsDesc, float64(total.Sessions))
	gauge(queuedDesc, float64(total.Queued))
	counter(framesInDesc, total.In.Frames)
	counter(bytesInDesc, total.In.Bytes)
	counter(framesDesc, total.Out.Frames)
	counter(bytesDesc, total.Out.Bytes)
	m.Hub.Drops().Each(func(d route.Drop, n uint64) { counter(droppedDesc, n, d.String()) })
	m.Refusals.Each(func(c reason.Code, n uint64) { counter(refusedDesc, n, strings.ToLower(string(c))) })
	stats := m.Admitter.Stats()
	counter(fetchesDesc, stats.Fetches)
	counter(failuresDesc, stats.FetchFailures)
	counter(validateDesc, stats.Validations)
	counter(vfailsDesc, stats.ValidationFailures)
	gauge(flightDesc, float64(stats.InFlight))
	ends := m.Hub.Ends()
	counter(endedDesc, ends.Revoked.Load(), reason.PairingRevoked.Metric())
	counter(endedDesc, ends.Expired.Load(), reason.TokenExpired.Metric())
	for v := range admission.Verdicts {
		if m.Recheck != nil {
			counter(recheckDesc, m.Recheck.Counts(v), v.String())
		}
	}
	for _, row := range m.Limits.Rows() {
		gauge(limitDesc, row.Value, row.Name)
		counter(limitedDesc, row.Count(), row.Name)
		if row.Used != nil {
			gauge(usedDesc, row.Used(), row.Name)
		}
	}
}

// Metrics registers the relay's metrics, and those of the Go runtime and the process, with r, and returns the handler of
// /metrics.
func Metrics(r *prometheus.Registry, from Sources) (http.Handler, error) {
	for _, c := range []prometheus.Collector{
		&metrics{from},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{}), nil
}
