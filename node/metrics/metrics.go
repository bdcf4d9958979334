// Package metrics counts what a gateway does, for Prometheus.
//
// Labels come from published or configured names only (members, policies, codes): a label is kept forever and read by
// people who must not learn whom a question was about.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Gauges are read when Prometheus asks. Each function must return at once.
type Gauges struct {
	ProverQueued  func() int
	ProverRunning func() int
	PeersUp       func() int
	LogSizes      func() map[string]uint64 // member -> final entries of its log
	HeadAge       func() time.Duration     // of our own newest quorum; negative: none yet
	BrokenOwn     func() int               // receipt promises of this member that were not kept in time
	BrokenToUs    func() int               // those of holders to this member
}

// Metrics is one gateway's registry. Its methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	answers  *prometheus.CounterVec
	asked    *prometheus.CounterVec
	refusals *prometheus.CounterVec
	proving  prometheus.Histogram
	asking   prometheus.Histogram
	finality prometheus.Histogram
	outside  *prometheus.CounterVec
	public   *prometheus.CounterVec
	broken   *prometheus.CounterVec
}

// New makes a registry of its own, so that several gateways in one process do not mix.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grille_answers_total",
			Help: "Queries answered as a holder, by policy and verdict."}, []string{"policy", "outcome"}),
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grille_asked_total",
			Help: "Questions asked as a requester, by holder, policy and outcome."}, []string{"holder", "policy", "outcome"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grille_refusals_total",
			Help: "Queries refused as a holder, by reason code."}, []string{"code"}),
		proving: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "grille_proof_seconds",
			Help: "Time to make a proof, waiting for a worker included.", Buckets: prometheus.ExponentialBucketsRange(0.05, 30, 14)}),
		asking: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "grille_ask_seconds",
			Help: "Time from a question to its verified verdict.", Buckets: prometheus.ExponentialBucketsRange(0.05, 60, 14)}),
		finality: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "grille_finality_seconds",
			Help: "Time from sending entries to a quorum of cosignatures.", Buckets: prometheus.ExponentialBucketsRange(0.002, 30, 14)}),
	}
	m.outside = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grille_outside_witness_requests_total",
		Help: "Requests to outside witnesses, by witness and whether they cosigned."}, []string{"witness", "outcome"})
	m.public = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grille_public_requests_total",
		Help: "Requests of strangers for the logs, by resource and HTTP status."}, []string{"resource", "status"})
	m.broken = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grille_promises_broken_total",
		Help: "Receipt promises found broken since the start, by whose they were (own, holder) and the other member."}, []string{"side", "member"})
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "grille_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": version}})
	info.Set(1)
	m.registry.MustRegister(m.answers, m.asked, m.refusals, m.proving, m.asking, m.finality, m.outside, m.public, m.broken, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Watch registers the gauges. Call it once.
func (m *Metrics) Watch(g Gauges) {
	m.registry.MustRegister(
		gauge("grille_prover_queued", "Proofs waiting for a worker.", func() float64 { return float64(g.ProverQueued()) }),
		gauge("grille_prover_running", "Proofs being made.", func() float64 { return float64(g.ProverRunning()) }),
		gauge("grille_peers_up", "Members that are connected.", func() float64 { return float64(g.PeersUp()) }),
		gauge("grille_head_age_seconds", "Age of this member's newest quorum of cosignatures; -1: none yet.",
			func() float64 { return max(-1, g.HeadAge().Seconds()) }),
		gauge("grille_broken_promises_own", "Receipt promises of this member that were not kept in time, ever.", func() float64 { return float64(g.BrokenOwn()) }),
		gauge("grille_broken_promises_to_us", "Receipt promises of holders to this member that were not kept in time, ever.",
			func() float64 { return float64(g.BrokenToUs()) }),
		&logSizes{read: g.LogSizes},
	)
}

func gauge(name, help string, read func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
}

// logSizes reports one gauge per member.
type logSizes struct{ read func() map[string]uint64 }

var logSize = prometheus.NewDesc("grille_log_entries", "Final entries of a member's log, as replicated here.", []string{"member"}, nil)

func (l *logSizes) Describe(c chan<- *prometheus.Desc) { c <- logSize }

func (l *logSizes) Collect(c chan<- prometheus.Metric) {
	for member, size := range l.read() {
		c <- prometheus.MustNewConstMetric(logSize, prometheus.GaugeValue, float64(size), member)
	}
}

// Answered counts one query as its holder. outcome is a verdict, or a refusal's code with proving zero; policy must be a
// published one or empty, since a refused query may name anything.
func (m *Metrics) Answered(policy, outcome string, refused bool, proving time.Duration) {
	if refused {
		m.refusals.WithLabelValues(outcome).Inc()
		return
	}
	m.answers.WithLabelValues(policy, outcome).Inc()
	m.proving.Observe(proving.Seconds())
}

// Asked counts one question as its requester.
func (m *Metrics) Asked(holder, policy, outcome string, took time.Duration) {
	m.asked.WithLabelValues(holder, policy, outcome).Inc()
	m.asking.Observe(took.Seconds())
}

// Whose promise was broken.
const (
	SideOwn    = "own"
	SideHolder = "holder"
)

// PromiseBroken counts a receipt promise that was not kept in time; member is the other party.
func (m *Metrics) PromiseBroken(side, member string) { m.broken.WithLabelValues(side, member).Inc() }

// Final records how long finality took.
func (m *Metrics) Final(took time.Duration) { m.finality.Observe(took.Seconds()) }

// Outside counts one request to an outside witness, by its name in the settings.
func (m *Metrics) Outside(witness string, cosigned bool) {
	outcome := "failed"
	if cosigned {
		outcome = "cosigned"
	}
	m.outside.WithLabelValues(witness, outcome).Inc()
}

// Public counts one request of a stranger. resource is a constant, never a path.
func (m *Metrics) Public(resource string, status int) {
	m.public.WithLabelValues(resource, strconv.Itoa(status)).Inc()
}

// Handler serves the registry.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}
