//! `/metrics`: the node's own figures and those of its proxylets, in the text format of OpenMetrics 1.0, which
//! Prometheus reads.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use crate::mesh::figures::Figures as MeshFigures;
use crate::node::policy::MESH;
use crate::observe::figures::Figures;
use crate::observe::series::{Series, SeriesKind};
use crate::policy::service::ServicePolicy;
use crate::proxylet::runtime::Runtime;
use crate::proxylet::service::Service;
use crate::proxylet::status::State;

/// The media type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All figures as they are now.
#[must_use]
pub fn render(
    runtime: &Runtime,
    services: &[Service],
    mesh: Option<(&MeshFigures, &ServicePolicy)>,
) -> String {
    let mut page = Page::default();
    page.node(runtime);
    if let Some((mesh, policy)) = mesh {
        page.mesh(mesh);
        page.policy(policy, &("service".to_owned(), MESH.to_owned()));
    }
    for service in services {
        page.service(service);
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(page));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    text
}

/// Samples by metric; the metric's name is without the `_total` that the format adds to counters.
#[derive(Debug, Default)]
struct Page(BTreeMap<String, Family>);

#[derive(Debug)]
struct Family {
    kind: SeriesKind,
    help: String,
    samples: Vec<Series>,
}

impl Page {
    /// Adds a sample. One of a metric that another service has given another kind is left out: a page may have a
    /// metric only once.
    fn add_series(&mut self, series: Series) {
        let name = match series.kind {
            SeriesKind::Counter => series.name.strip_suffix("_total").unwrap_or(&series.name),
            SeriesKind::Gauge | SeriesKind::Histogram => &series.name,
        };
        let family = self.0.entry(name.to_owned()).or_insert_with(|| Family {
            kind: series.kind,
            help: series.help.clone(),
            samples: Vec::new(),
        });
        if family.kind == series.kind {
            family.samples.push(series);
        }
    }

    /// Adds a counter or a gauge.
    fn add(&mut self, kind: SeriesKind, name: &str, help: &str, labels: Vec<(String, String)>, value: f64) {
        let (name, help) = (name.to_owned(), help.to_owned());
        self.add_series(Series { name, help, kind, labels, value, buckets: Vec::new() });
    }

    fn node(&mut self, runtime: &Runtime) {
        let (held, most) = runtime.descriptors();
        let mut gauge = |name: &str, help: &str, value: usize| {
            self.add(SeriesKind::Gauge, name, help, Vec::new(), value as f64);
        };
        gauge("eep_services", "Services that run.", runtime.services_running());
        gauge("eep_descriptors", "File descriptors that services hold.", held);
        gauge("eep_descriptors_max", "File descriptors that services may hold.", most);
        if let Some(table) = runtime.whereabouts.view() {
            gauge("eep_systems_prefixes", "Prefixes in the table of autonomous systems.", table.prefixes);
            let help = "Whether the table's file cannot be used, and what it said before stays in force.";
            gauge("eep_systems_stale", help, usize::from(table.stale.is_some()));
        }
    }

    fn mesh(&mut self, mesh: &MeshFigures) {
        for (kind, name, help, label, value) in mesh.rows() {
            let labels = label.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect();
            self.add(kind, name, help, labels, value);
        }
    }

    fn service(&mut self, service: &Service) {
        let label = ("service".to_owned(), service.name().to_owned());
        let status = service.status();
        let up = if status.state == State::Running { 1.0 } else { 0.0 };
        self.add(SeriesKind::Gauge, "eep_service_up", "Whether the service runs.", vec![label.clone()], up);
        for (kind, name, help, value) in own_figures(service.figures()) {
            self.add(kind, name, help, vec![label.clone()], value);
        }
        let f = service.figures();
        for (outcome, swaps) in
            [("held", &f.swaps_held), ("refused", &f.swaps_refused), ("rolled-back", &f.swaps_rolled_back)]
        {
            self.add(
                SeriesKind::Counter,
                "eep_swaps_total",
                "Swaps of the service's code, by how they ended.",
                vec![label.clone(), ("outcome".to_owned(), outcome.to_owned())],
                swaps.get() as f64,
            );
        }
        for (quantile, us) in [("0.5", status.batch_us_p50), ("0.99", status.batch_us_p99)] {
            self.add(
                SeriesKind::Gauge,
                "eep_service_batch_seconds",
                "Time that the proxylet took for a batch, by quantile.",
                vec![label.clone(), ("quantile".to_owned(), quantile.to_owned())],
                us / 1e6,
            );
        }
        self.policy(service.policy(), &label);
        for mut series in service.series() {
            series.labels.push(label.clone());
            self.add_series(series);
        }
    }
}

impl Page {
    /// What a service's policy has decided, and how it is.
    fn policy(&mut self, policy: &ServicePolicy, service: &(String, String)) {
        use SeriesKind::{Counter, Gauge};
        let view = policy.view();
        let own = || vec![service.clone()];
        self.add(
            Gauge,
            "eep_policy_generation",
            "Generation of the policy in force, 0 for none.",
            own(),
            view.generation as f64,
        );
        self.add(
            Gauge,
            "eep_policy_stale",
            "Whether a file of the policy's sets cannot be used, and what it said before stays in force.",
            own(),
            f64::from(u8::from(view.stale.is_some())),
        );
        self.add(
            Gauge,
            "eep_policy_unconfirmed",
            "Whether the generation in force waits for a confirmation.",
            own(),
            f64::from(u8::from(view.trial.is_some())),
        );
        let (failures, reloads_failed) = policy.failures();
        self.add(
            Counter,
            "eep_policy_condition_failures_total",
            "Conditions of rules that could not be evaluated.",
            own(),
            failures as f64,
        );
        self.add(
            Counter,
            "eep_policy_reload_failures_total",
            "Reloads of sets that failed, and changed nothing.",
            own(),
            reloads_failed as f64,
        );
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (budget, share) in &view.budgets {
            let help = "Share of a budget that is used, 1 and more where it is used up.";
            let labels = vec![service.clone(), text("budget", budget)];
            self.add(Gauge, "eep_policy_budget_used_ratio", help, labels, *share);
        }
        for alarm in &view.alarms {
            let labels = vec![service.clone(), text("alarm", &alarm.id), text("severity", alarm.severity)];
            let raised = f64::from(u8::from(alarm.raised_since_s.is_some()));
            self.add(Gauge, "eep_policy_alarm", "Whether an alarm of the policy is raised.", labels, raised);
        }
        for (key, n) in policy.counts() {
            let shadow = if key.shadow { "true" } else { "false" };
            let labels = vec![
                service.clone(),
                text("chain", key.chain),
                text("rule", &key.rule),
                text("verdict", key.verdict),
                text("shadow", shadow),
            ];
            let help = "Decisions of the policy; those in shadow are only counted.";
            self.add(Counter, "eep_policy_decisions_total", help, labels, n as f64);
        }
    }
}

type Own = (SeriesKind, &'static str, &'static str, f64);

fn own_figures(f: &Figures) -> [Own; 18] {
    use SeriesKind::{Counter, Gauge};
    let n = |figure: &crate::observe::figures::Figure| figure.get() as f64;
    [
        (Gauge, "eep_service_connections", "Stream connections.", n(&f.connections)),
        (Gauge, "eep_service_memory_bytes", "Memory of the instance.", n(&f.memory_bytes)),
        (Counter, "eep_service_cpu_seconds_total", "Processor time of the service.", n(&f.cpu_ns) / 1e9),
        (Counter, "eep_service_restarts_total", "Starts after a trap.", n(&f.restarts)),
        (
            Gauge,
            "eep_swap_pause_seconds",
            "For how long the service handled nothing in the last swap of its code.",
            n(&f.swap_pause_ns) / 1e9,
        ),
        (Counter, "eep_service_batches_total", "Batches handed to the proxylet.", n(&f.batches)),
        (Counter, "eep_service_events_total", "Events in these batches.", n(&f.events)),
        (
            Counter,
            "eep_service_received_bytes_total",
            "Bytes that the proxylet received.",
            n(&f.received_bytes),
        ),
        (
            Counter,
            "eep_service_sent_bytes_total",
            "Bytes that the proxylet sent, once a target.",
            n(&f.sent_bytes),
        ),
        (
            Counter,
            "eep_service_connections_accepted_total",
            "Connections accepted.",
            n(&f.connections_accepted),
        ),
        (
            Counter,
            "eep_service_connections_refused_total",
            "Connections closed at once because of a limit.",
            n(&f.connections_refused),
        ),
        (
            Counter,
            "eep_service_connections_overrun_total",
            "Connections closed because too much waited to be sent.",
            n(&f.connections_overrun),
        ),
        (
            Counter,
            "eep_service_connections_passed_on_total",
            "Connections passed on while the service did not run (`on-trap: fail-open`).",
            n(&f.connections_passed_on),
        ),
        (
            Counter,
            "eep_service_connections_denied_total",
            "Connections not made, or ended, because the policy denies them.",
            n(&f.connections_denied),
        ),
        (
            Counter,
            "eep_service_datagrams_denied_total",
            "Datagrams dropped because the policy denies their address.",
            n(&f.datagrams_denied),
        ),
        (
            Counter,
            "eep_service_datagrams_dropped_total",
            "Datagrams that could not be sent.",
            n(&f.datagrams_dropped),
        ),
        (
            Counter,
            "eep_service_timers_refused_total",
            "Timers not set because of their limit.",
            n(&f.timers_refused),
        ),
        (
            Counter,
            "eep_service_log_lines_dropped_total",
            "Log lines dropped because of their limit.",
            n(&f.log_lines_dropped),
        ),
    ]
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, family) in &self.0 {
            let kind = match family.kind {
                SeriesKind::Counter => MetricType::Counter,
                SeriesKind::Gauge => MetricType::Gauge,
                SeriesKind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(name, &family.help, None, kind)?;
            for series in &family.samples {
                // An empty set of labels would be written as `{}`.
                if series.labels.is_empty() {
                    encode_value(&mut metric, series)?;
                } else {
                    encode_value(&mut metric.encode_family(&series.labels)?, series)?;
                }
            }
        }
        Ok(())
    }
}

fn encode_value(metric: &mut MetricEncoder<'_>, series: &Series) -> fmt::Result {
    match series.kind {
        SeriesKind::Counter => metric.encode_counter(&series.value, None::<&Exemplar<NoLabelSet, f64>>),
        SeriesKind::Gauge => metric.encode_gauge(&series.value),
        SeriesKind::Histogram => {
            let count = series.buckets.iter().map(|b| b.1).sum();
            metric.encode_histogram::<NoLabelSet>(series.value, count, &series.buckets, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(page: Page) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(page));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    fn label(value: &str) -> Vec<(String, String)> {
        vec![("service".to_owned(), value.to_owned())]
    }

    #[test]
    fn a_metric_of_two_services_is_described_once() {
        let mut page = Page::default();
        page.add(SeriesKind::Counter, "avp_relayed_total", "Relayed.", label("a"), 3.0);
        page.add(SeriesKind::Counter, "avp_relayed_total", "Relayed.", label("b"), 4.0);
        page.add(SeriesKind::Gauge, "avp_relayed", "Something else.", label("c"), 5.0);
        let expected = "# HELP avp_relayed Relayed.\n# TYPE avp_relayed counter\n\
                        avp_relayed_total{service=\"a\"} 3.0\navp_relayed_total{service=\"b\"} 4.0\n# EOF\n";
        assert_eq!(text(page), expected);
    }

    #[test]
    fn a_histogram_is_cumulated() {
        let mut page = Page::default();
        page.add_series(Series {
            name: "avp_response_seconds".to_owned(),
            help: "Response time.".to_owned(),
            kind: SeriesKind::Histogram,
            labels: label("a"),
            value: 3.5,
            buckets: vec![(0.5, 2), (f64::INFINITY, 1)],
        });
        let expected = "# HELP avp_response_seconds Response time.\n# TYPE avp_response_seconds histogram\n\
                        avp_response_seconds_sum{service=\"a\"} 3.5\navp_response_seconds_count{service=\"a\"} 3\n\
                        avp_response_seconds_bucket{le=\"0.5\",service=\"a\"} 2\n\
                        avp_response_seconds_bucket{le=\"+Inf\",service=\"a\"} 3\n# EOF\n";
        assert_eq!(text(page), expected);
    }

    #[test]
    fn label_values_cannot_break_out() {
        let mut page = Page::default();
        page.add(SeriesKind::Gauge, "g", "G.", label("x\"} 1\ny 2\\"), 1.0);
        assert!(text(page).contains(r#"g{service="x\"} 1\ny 2\\"} 1.0"#));
    }
}
