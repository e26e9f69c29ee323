//! Checks the dashboards and the Prometheus configuration that ship with the program.
//!
//! A dashboard that asks for a metric nobody exports stays empty and looks healthy. So each query is read here and held
//! against the catalogue of `claimrisk::metrics`; where promtool is installed, it also parses and evaluates every query.
//! These tests must never need a server, a network or Grafana itself.

use std::collections::BTreeSet;

use claimrisk::metrics::{Kind, Metric};
use serde_json::{Value, json};

use files::{all_queries, dashboards, drawn, list, panel_queries, read, root, text, tokens};
use promql::{find_metric, known_metrics, read_query, selector_faults, usage_faults};
use promtool::{promtool, scratch};

#[path = "dashboards/files.rs"]
mod files;
#[path = "dashboards/promql.rs"]
mod promql;
#[path = "dashboards/promtool.rs"]
mod promtool;

/// Panels that hold exact totals of one process against each other: a rate would only be near them.
const EXACT: [&str; 1] = ["Messages unaccounted for"];
/// Units of Grafana's list that the dashboards may use; another one is added here after a look at that list.
const UNITS: [&str; 7] = ["percentunit", "ops", "s", "short", "bytes", "currencyUSD", "none"];
/// Two windows fit into the ten minutes of the tests: one can be held against the one before it.
fn substituted(expr: &str) -> String {
    files::substituted(expr, "4m", "10m", "5m")
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Runs a promtool unit test: these series, these expressions, these single values.
fn evaluate(name: &str, series: &[(String, String)], expected: &[(String, f64)]) -> Option<Result<(), String>> {
    let input: Vec<Value> = series.iter().map(|(s, v)| json!({"series": s, "values": v})).collect();
    let tests: Vec<Value> = expected
        .iter()
        .map(|(expr, value)| {
            json!({"expr": expr, "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": value}]})
        })
        .collect();
    let file = json!({"rule_files": [], "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": input, "promql_expr_test": tests}]});
    promtool(&["test", "rules"], &scratch(name, &file))
}

/// The substituted expression of the panel with this title.
fn expression_of(title: &str) -> String {
    let all = dashboards();
    let panel = all.values().flat_map(drawn).find(|panel| text(panel, "/title") == title);
    substituted(text(panel.unwrap_or_else(|| panic!("no panel `{title}`")), "/targets/0/expr"))
}

/// Look-ups of one entity on one worker, as rates per minute by result.
fn look_ups(instance: &str, entity: &str, rates: &[(&str, u32)]) -> Vec<(String, String)> {
    rates
        .iter()
        .map(|(result, rate)| {
            let labels = format!("job=\"claimrisk\",instance=\"{instance}\",entity=\"{entity}\",result=\"{result}\"");
            (format!("claimrisk_cache_gets_total{{{labels}}}"), format!("0+{rate}x20"))
        })
        .collect()
}

/// One series for each combination of a metric's labels, as a worker exports them, all of them moving.
fn every_series(metric: &Metric) -> Vec<(String, String)> {
    let mut combinations = vec![String::from("job=\"claimrisk\",instance=\"a\"")];
    for (label, values) in metric.labels {
        let values: &[&str] = if values.is_empty() { &["x"] } else { values };
        let longer = combinations.iter().flat_map(|c| values.iter().map(move |v| format!("{c},{label}=\"{v}\"")));
        combinations = longer.collect();
    }
    let name = metric.name;
    let moving = String::from("0+60x20");
    let mut series = Vec::new();
    for labels in combinations {
        match metric.kind {
            Kind::Gauge => series.push((format!("{name}{{{labels}}}"), String::from("1x20"))),
            Kind::Counter => series.push((format!("{name}{{{labels}}}"), moving.clone())),
            Kind::Histogram => {
                for le in ["0.1", "5", "+Inf"] {
                    series.push((format!("{name}_bucket{{{labels},le=\"{le}\"}}"), moving.clone()));
                }
                series.push((format!("{name}_sum{{{labels}}}"), moving.clone()));
                series.push((format!("{name}_count{{{labels}}}"), moving.clone()));
            }
        }
    }
    series
}

#[test]
fn every_query_uses_only_metrics_labels_and_values_of_the_catalogue() {
    let mut faults = Vec::new();
    for placed in all_queries() {
        let found = match read_query(&placed.expr) {
            Ok(query) if query.selectors.is_empty() => vec!["no metric".to_owned()],
            Ok(query) => query.selectors.iter().flat_map(selector_faults).collect(),
            Err(error) => vec![error],
        };
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", placed.place)));
    }
    assert_none(&faults);
}

#[test]
fn every_query_filters_by_job_and_instance_and_takes_rates_of_counters() {
    let mut faults = Vec::new();
    for placed in all_queries() {
        let query = read_query(&placed.expr).unwrap_or_else(|error| panic!("{}: {error}", placed.place));
        let found = query
            .selectors
            .iter()
            .flat_map(|selector| usage_faults(selector, placed.instant, EXACT.contains(&placed.title())));
        faults.extend(found.map(|fault| format!("{}: {fault}", placed.place)));
        let lost = tokens(&placed.legend).into_iter().filter(|label| !query.grouped_by.contains(*label));
        faults.extend(lost.map(|label| format!("{}: the legend's {label} is no output label", placed.place)));
    }
    assert_none(&faults);
}

#[test]
fn every_variable_of_a_query_is_defined_in_its_dashboard() {
    let mut faults = Vec::new();
    let all = dashboards();
    for placed in all_queries() {
        let (name, _) = placed.place.split_once(',').expect("the file's name comes first");
        let variables = list(&all[name], "/templating/list");
        let defined: BTreeSet<&str> = variables.iter().map(|variable| text(variable, "/name")).collect();
        for part in placed.expr.split('$').skip(1) {
            let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(part.len());
            let (word, _) = part.split_at(end);
            if !(word.starts_with("__") || defined.contains(word)) {
                faults.push(format!("{}: ${word} is not defined", placed.place));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_panel_has_a_title_a_description_a_unit_and_the_chosen_data_source() {
    let mut faults = Vec::new();
    for (name, dashboard) in &dashboards() {
        for panel in drawn(dashboard) {
            let title = text(panel, "/title");
            let mut check = |fine: bool, fault: &str| {
                if !fine {
                    faults.push(format!("{name}, panel {} `{title}`: {fault}", panel["id"]));
                }
            };
            check(!title.is_empty(), "no title");
            check(text(panel, "/description").len() > 20, "no description");
            check(UNITS.contains(&text(panel, "/fieldConfig/defaults/unit")), "no unit of the list");
            check(text(panel, "/datasource/uid") == "$datasource", "another data source");
            check(!list(panel, "/targets").is_empty(), "no query");
            let first = panel.pointer("/fieldConfig/defaults/thresholds/steps/0/value");
            check(first.is_none_or(Value::is_null), "the first threshold has a value");
            let mut references = BTreeSet::new();
            for target in list(panel, "/targets") {
                check(text(target, "/datasource/uid") == "$datasource", "a query of another data source");
                check(references.insert(text(target, "/refId")), "a refId twice");
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn panels_have_ids_of_their_own_and_do_not_overlap_in_24_columns() {
    let mut faults = Vec::new();
    let mut uids = BTreeSet::new();
    for (name, dashboard) in &dashboards() {
        let uid = text(dashboard, "/uid").to_owned();
        assert!(!uid.is_empty() && uid.len() <= 40 && uids.insert(uid), "{name}: the uid is empty, long or taken");
        assert!(drawn(dashboard).count() <= 20, "{name}: more than 20 panels");
        let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
        for panel in list(dashboard, "/panels") {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or_else(|| panic!("{name}: gridPos {key}"));
            let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
            let fits = w > 0 && h > 0 && x + w <= 24;
            let free = (y..y + h).all(|row| (x..x + w).all(|column| cells.insert((row, column))));
            if !(fits && free && ids.insert(panel["id"].as_u64())) {
                faults.push(format!("{name}: panel {} `{}`", panel["id"], text(panel, "/title")));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn dashboards_are_tagged_locked_and_have_the_common_variables() {
    for (name, dashboard) in &dashboards() {
        assert!(list(dashboard, "/tags").contains(&json!("claimrisk")), "{name}: tag");
        assert_eq!(dashboard["editable"], json!(false), "{name}: editable");
        assert_eq!(dashboard["schemaVersion"], json!(39), "{name}: schemaVersion");
        assert_eq!(dashboard["graphTooltip"], json!(1), "{name}: shared crosshair");
        assert!(dashboard.get("__inputs").is_none(), "{name}: made for import by hand");
        for note in list(dashboard, "/annotations/list") {
            assert_eq!(text(note, "/datasource/uid"), "$datasource", "{name}: {}", text(note, "/name"));
        }
        let variables = list(dashboard, "/templating/list");
        let names: BTreeSet<&str> = variables.iter().map(|variable| text(variable, "/name")).collect();
        assert!(names.is_superset(&BTreeSet::from(["datasource", "job", "instance"])), "{name}: {names:?}");
        for variable in variables.iter().filter(|variable| text(variable, "/type") == "query") {
            let title = text(variable, "/name");
            assert_eq!(variable["refresh"], json!(2), "{name}, {title}: does not follow the time shown");
            assert_eq!(variable["allValue"], json!(".+"), "{name}, {title}");
            assert_eq!(text(variable, "/datasource/uid"), "$datasource", "{name}, {title}");
            let call = text(variable, "/query/query").strip_prefix("label_values(").and_then(|c| c.strip_suffix(')'));
            let (selector, label) = call.and_then(|c| c.rsplit_once(", ")).expect("label_values(metric, label)");
            let query = read_query(selector).expect("a readable selector");
            let faults: Vec<String> = query.selectors.iter().flat_map(selector_faults).collect();
            assert_none(&faults);
            let known = |m: &Metric| m.labels.iter().any(|(l, _)| *l == label);
            let found = query.selectors.iter().filter_map(|s| find_metric(&s.metric)).any(|(m, _)| known(m));
            assert!(["job", "instance"].contains(&label) || found, "{name}, {title}: no label `{label}`");
        }
    }
}

#[test]
fn prometheus_parses_every_query() {
    let rules: Vec<Value> = all_queries()
        .iter()
        .enumerate()
        .map(|(n, placed)| json!({"record": format!("check:query_{n}"), "expr": substituted(&placed.expr)}))
        .collect();
    let file = scratch("dashboard_rules.json", &json!({"groups": [{"name": "dashboards", "rules": rules}]}));
    if let Some(result) = promtool(&["check", "rules"], &file) {
        assert_eq!(result, Ok(()));
    }
}

#[test]
fn every_panel_shows_something_once_every_metric_moves() {
    let series: Vec<(String, String)> = known_metrics().flat_map(every_series).collect();
    let expected: Vec<(String, f64)> =
        panel_queries().iter().map(|placed| (format!("count({}) > bool 0", substituted(&placed.expr)), 1.0)).collect();
    if let Some(result) = evaluate("dashboard_fill.json", &series, &expected) {
        assert_eq!(result, Ok(()));
    }
}

#[test]
fn a_stale_value_lowers_the_hit_rate_and_an_error_or_bypass_does_not() {
    // Two workers: the rate of the fleet is that of the sums (24 of 32), not the mean of 0.75 and 0.5.
    let all = [("hit", 20), ("stale", 2), ("miss", 2), ("error", 7), ("bypass", 9)];
    let mut series = look_ups("a", "claim", &all);
    series.extend(look_ups("b", "claim", &[("hit", 4), ("stale", 2), ("miss", 2), ("error", 0), ("bypass", 0)]));
    // Rounded, because a sum of floats depends on the order in which Prometheus happens to add.
    let expected = [("Hit rate", 0.75), ("Errors and bypasses", 0.3333)]
        .map(|(title, ratio)| (format!("round({}, 0.0001)", expression_of(title)), ratio));
    if let Some(result) = evaluate("dashboard_hit_rate.json", &series, &expected) {
        assert_eq!(result, Ok(()));
    }
}

#[test]
fn an_entity_is_held_to_its_own_target() {
    // 0.75 is too little for risk scores (80 %), enough for claims (60 %); 0.875 too little for payers (90 %);
    // counts have no target; remittances had no look-ups.
    let mut series = look_ups("a", "risk_score", &[("hit", 3), ("miss", 1), ("stale", 0)]);
    series.extend(look_ups("a", "claim", &[("hit", 3), ("miss", 1), ("stale", 0)]));
    series.extend(look_ups("a", "payer", &[("hit", 7), ("miss", 1), ("stale", 0)]));
    series.extend(look_ups("a", "count", &[("hit", 1), ("miss", 9), ("stale", 0)]));
    series.extend(look_ups("a", "remittance", &[("hit", 0), ("miss", 0), ("stale", 0)]));
    let expected = [(expression_of("Entities below target"), 2.0)];
    if let Some(result) = evaluate("dashboard_targets.json", &series, &expected) {
        assert_eq!(result, Ok(()));
    }
}

/// A counter of one worker, as a rate per minute.
fn moving(instance: &str, name: &str, labels: &str, rate: &str) -> (String, String) {
    (format!("{name}{{job=\"claimrisk\",instance=\"{instance}\"{labels}}}"), format!("0+{rate}x20"))
}

#[test]
fn calibration_is_that_of_the_fleet_and_not_of_its_workers() {
    // Worker a alone denies two of five where it predicted one, worker b none of five: together they are right at 0.2,
    // and predict 3.25 of five at 0.6 where two were denied.
    let mut series = Vec::new();
    for (instance, bin, predicted, denied, paid) in
        [("a", "0.2", "1", "2", "3"), ("b", "0.2", "1", "0", "5"), ("b", "0.6", "3.25", "2", "3")]
    {
        series.push(moving(instance, "claimrisk_calibration_predicted_total", &format!(",bin=\"{bin}\""), predicted));
        for (outcome, rate) in [("denied", denied), ("paid", paid)] {
            let labels = format!(",bin=\"{bin}\",outcome=\"{outcome}\"");
            series.push(moving(instance, "claimrisk_calibration_outcomes_total", &labels, rate));
        }
    }
    series.extend([("a", "0.8"), ("b", "0.7")].map(|(one, rate)| moving(one, "claimrisk_brier_loss_total", "", rate)));
    let expected =
        [("Calibration error", 1.25 / 15.0), ("Denied", 4.0 / 15.0), ("Predicted", 5.25 / 15.0), ("Brier score", 0.1)]
            .map(|(title, value)| {
                (format!("round({}, 0.0001)", expression_of(title)), (value * 1e4_f64).round() / 1e4)
            });
    if let Some(result) = evaluate("dashboard_calibration.json", &series, &expected) {
        assert_eq!(result, Ok(()));
    }
}

#[test]
fn drift_is_measured_against_the_window_before() {
    // Shares of 1/4 and 3/4 in the first five minutes, of 3/4 and 1/4 in the next: 2 * 1/2 * ln 3.
    let of = |bin: &str, values: &str| {
        (format!("claimrisk_score_bins_total{{job=\"claimrisk\",instance=\"a\",bin=\"{bin}\"}}"), values.to_owned())
    };
    let series = [of("0.1", "0+1x5 8+3x10"), of("0.5", "0+3x5 16+1x10")];
    let expected = [(format!("round({}, 0.0001)", expression_of("Drift of scores (PSI)")), 1.0986)];
    if let Some(result) = evaluate("dashboard_drift.json", &series, &expected) {
        assert_eq!(result, Ok(()));
    }
}

#[test]
fn prometheus_accepts_its_configuration() {
    if let Some(result) = promtool(&["check", "config"], &root().join("deploy/prometheus/prometheus.yml")) {
        assert_eq!(result, Ok(()));
    }
}

#[test]
fn grafana_finds_the_dashboards_where_compose_mounts_them() {
    let compose = read("deploy/compose.yml");
    let provider = read("grafana/provisioning/dashboards/claimrisk.yml");
    let path = provider.lines().find_map(|line| line.trim().strip_prefix("path: ")).expect("the provider has a path");
    assert!(compose.contains(&format!("../grafana/dashboards:{path}:ro")), "{path} is not mounted");
    assert!(compose.contains("../grafana/provisioning:/etc/grafana/provisioning:ro"));
    assert!(read("grafana/provisioning/datasources/prometheus.yml").contains("url: http://prometheus:9090"));
}

#[test]
fn compose_takes_every_secret_from_the_environment_file() {
    let (compose, example) = (read("deploy/compose.yml"), read("deploy/env.example"));
    let mut required = BTreeSet::new();
    for line in compose.lines().filter(|line| !line.trim_start().starts_with('#')) {
        required.extend(line.split("${").skip(1).filter_map(|part| part.split_once(":?")).map(|(name, _)| name));
        let (key, value) = line.split_once(": ").unwrap_or_default();
        let secret = key.contains("PASS") || key.trim_end().ends_with("_URL");
        assert!(!secret || value.contains(":?"), "a secret that is not required from outside: {line}");
    }
    assert!(required.len() >= 4, "{required:?}");
    for name in required {
        assert!(
            example.lines().any(|line| line == format!("{name}=")),
            "env.example: `{name}=` has to stand there, empty"
        );
    }
}

#[test]
fn the_image_never_runs_as_root() {
    let dockerfile = read("deploy/Dockerfile");
    let user = dockerfile.lines().rev().find_map(|line| line.strip_prefix("USER "));
    assert_eq!(user, Some("65532:65532"));
}
