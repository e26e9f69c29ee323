//! Logs to stderr and metrics for Prometheus: what is installed once, at boot.
//!
//! Must never: listen on a socket (the metrics listener of the API does), or log a body or patient data.

use std::io::IsTerminal as _;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::error::CommandError;
use crate::metrics::{CATALOGUE, Kind};

/// Sends logs to stderr: readable on a terminal, one JSON object a line elsewhere.
/// `filter` is a tracing filter such as `info` or `claimrisk=debug`.
///
/// # Errors
/// A filter that does not parse.
pub fn init_logs(filter: &str) -> Result<(), CommandError> {
    // A more specific wish such as `lapin::channel=warn` would win over the silence.
    let wished: Vec<&str> = filter.split(',').filter(|wish| !wish.trim_start().starts_with("lapin")).collect();
    let filter = EnvFilter::try_new(wished.join(","))
        .map_err(|error| CommandError::Config(format!("CLAIMRISK_LOG: {error}; try `info` or `claimrisk=debug`")))?;
    let silence = "lapin=off".parse().map_err(|_| CommandError::Config("CLAIMRISK_LOG: not understood".to_owned()))?;
    let filter = filter.add_directive(silence);
    // A log that cannot be written (a full disk) is not told on stderr, which is that very log: it would panic.
    let base = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .log_internal_errors(false);
    // A second subscriber in one process (tests) keeps the first.
    let installed = if std::io::stderr().is_terminal() {
        base.compact().try_init()
    } else {
        base.json().flatten_event(true).try_init()
    };
    if installed.is_err() {
        tracing::debug!("logging was set up before");
    }
    Ok(())
}

/// Installs the recorder and returns the handle that renders it.
///
/// # Errors
/// A recorder that is installed already.
pub fn init_metrics() -> Result<PrometheusHandle, CommandError> {
    let broken = |error: metrics_exporter_prometheus::BuildError| CommandError::Failed(error.to_string());
    let mut builder = PrometheusBuilder::new();
    for metric in CATALOGUE.iter().filter(|metric| metric.kind == Kind::Histogram) {
        let matcher = Matcher::Full(metric.name.to_owned());
        builder = builder.set_buckets_for_metric(matcher, metric.buckets).map_err(broken)?;
    }
    let handle = builder.install_recorder().map_err(broken)?;
    crate::metrics::initialise();
    Ok(handle)
}

/// Drains histograms now and then. The exporter keeps each sample until it is drained into the buckets, by a scrape or
/// here: with this the memory is that of the buckets and of five seconds of samples, however long nobody scrapes.
/// Counters and gauges are one number each, and their labels are closed sets.
pub async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}
