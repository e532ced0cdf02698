//! What is counted, as Prometheus reads it (OpenMetrics text).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use sealvol_kms::audit::JsonlAudit;
use sealvol_kms::{CounterSnapshot, Kms, LATENCY_BOUNDS_US};

/// The type of what [`Metrics::render`] gives.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Name and value of each label.
type Labels = Vec<(&'static str, String)>;

/// The counters of the endpoint, beside those of the KMS.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    auth_failures: Family<Labels, Counter>,
    connections: Counter,
    open: Gauge<i64, AtomicI64>,
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge<i64, AtomicI64>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new(kms: Option<Arc<Kms>>, audit: Option<Arc<JsonlAudit>>) -> Self {
        let mut registry = Registry::with_prefix("sealvol");
        let (requests, auth_failures) = (Family::default(), Family::default());
        let (connections, open) = (Counter::default(), Gauge::default());
        registry.register(
            "http_requests",
            "Requests answered, by service, operation and HTTP status",
            Family::clone(&requests),
        );
        registry.register(
            "http_auth_failures",
            "Requests refused because their sender is not known, by AWS's code",
            Family::clone(&auth_failures),
        );
        registry.register("http_connections", "Connections accepted", connections.clone());
        registry.register("http_connections_open", "Connections that are open", open.clone());
        if let Some(kms) = kms {
            registry.register_collector(Box::new(OfKms(kms)));
        }
        if let Some(audit) = audit {
            registry.register_collector(Box::new(OfAudit(audit)));
        }
        Self { registry, requests, auth_failures, connections, open }
    }

    pub(crate) fn count_request(&self, service: &str, operation: &str, status: u16) {
        let labels = vec![
            ("service", service.to_owned()),
            ("operation", operation.to_owned()),
            ("status", status.to_string()),
        ];
        self.requests.get_or_create(&labels).inc();
    }

    pub(crate) fn count_auth_failure(&self, code: &str) {
        self.auth_failures.get_or_create(&vec![("code", code.to_owned())]).inc();
    }

    pub(crate) fn connection(&self) -> OpenConnection {
        self.connections.inc();
        self.open.inc();
        OpenConnection(self.open.clone())
    }

    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "the metrics cannot be written");
        }
        text
    }
}

/// The counters of the KMS, read when they are asked for.
struct OfKms(Arc<Kms>);

impl fmt::Debug for OfKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfKms(..)")
    }
}

impl Collector for OfKms {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encode_kms(&self.0.counters(), &mut encoder)
    }
}

fn encode_kms(counters: &CounterSnapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let calls = counters.calls.iter();
    let calls = calls.map(|(operation, count)| ([("operation", operation.as_str())], *count));
    encode_counters(encoder, "kms_calls", "Calls by operation, failed ones included", calls)?;
    let calls = counters.calls_by_key.iter().map(|((operation, key), count)| {
        ([("operation", operation.as_str()), ("key_id", key.as_str())], *count)
    });
    encode_counters(encoder, "kms_key_calls", "Calls by operation and key", calls)?;
    let errors = counters.errors_by_operation.iter();
    let errors = errors.map(|((operation, code), count)| {
        ([("operation", operation.as_str()), ("code", *code)], *count)
    });
    encode_counters(encoder, "kms_errors", "Failed calls by operation and AWS's code", errors)?;

    let mut durations = encoder.encode_descriptor(
        "kms_call_duration",
        "How long calls took",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for (operation, latency) in &counters.latencies {
        let bounds = LATENCY_BOUNDS_US.iter().map(|us| seconds(u128::from(*us) * 1000));
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(latency.buckets.iter().copied()).collect();
        let count = latency.buckets.iter().sum();
        let labels = [("operation", operation.as_str())];
        durations.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
            seconds(u128::from(latency.sum_ns)),
            count,
            &buckets,
            None,
        )?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a sum of times needs no more than 53 bits")]
fn seconds(nanos: u128) -> f64 {
    nanos as f64 / 1e9
}

fn encode_counters<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = ([(&'a str, &'a str); N], u64)>,
) -> fmt::Result {
    let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        counter.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

/// The records of the audit that could not be written.
#[derive(Debug)]
struct OfAudit(Arc<JsonlAudit>);

impl Collector for OfAudit {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut counter = encoder.encode_descriptor(
            "audit_records_lost",
            "Audit records that could not be written",
            None,
            MetricType::Counter,
        )?;
        counter.encode_counter::<NoLabelSet, _, u64>(&self.0.lost(), None)
    }
}
