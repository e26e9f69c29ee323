//! Checks the alert rules: what they ask for exists, each has its cases and its section in the runbook.
//!
//! promtool evaluates the rules; what it cannot know, whether a metric is exported at all, is held against the catalogue
//! here. These tests must never need a server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use promql::{read_query, selector_faults};
use promtool::promtool;

#[allow(dead_code, reason = "the dashboards use the rest of it")]
#[path = "dashboards/promql.rs"]
mod promql;
#[allow(dead_code, reason = "the dashboards use the rest of it")]
#[path = "dashboards/promtool.rs"]
mod promtool;

const RULES: &str = "deploy/prometheus/rules/claimrisk.yml";
const CASES: [&str; 2] =
    ["deploy/prometheus/rules/claimrisk_test.yml", "deploy/prometheus/rules/claimrisk_slow_test.yml"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// One rule, as far as it is read here: its kind (`alert` or `record`), its name, its keys.
struct Rule {
    kind: String,
    name: String,
    keys: BTreeMap<String, String>,
}

/// Reads the rules. The file keeps to one form, which is insisted on: a key a line, longer values folded with `>-`.
fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut folding: Option<String> = None;
    for line in read(RULES).lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()) {
        let depth = line.len() - line.trim_start().len();
        let bare = line.trim_start().trim_start_matches("- ");
        let rule = rules.last_mut();
        match (&folding, rule) {
            (Some(key), Some(rule)) if depth >= 10 => {
                let value = rule.keys.entry(key.clone()).or_default();
                value.push_str(bare);
                value.push(' ');
                continue;
            }
            _ => folding = None,
        }
        let (key, value) = bare.split_once(':').unwrap_or_else(|| panic!("not understood: {line}"));
        let value = value.trim();
        if key == "alert" || key == "record" {
            rules.push(Rule { kind: key.to_owned(), name: value.to_owned(), keys: BTreeMap::new() });
        } else if let Some(rule) = rules.last_mut() {
            if value == ">-" {
                folding = Some(key.to_owned());
            } else {
                rule.keys.insert(key.to_owned(), value.trim_matches('"').to_owned());
            }
        }
    }
    assert!(rules.len() > 20, "{} rules read", rules.len());
    rules
}

fn alerts() -> Vec<Rule> {
    rules().into_iter().filter(|rule| rule.kind == "alert").collect()
}

#[test]
fn every_rule_asks_only_for_metrics_and_values_that_are_exported() {
    let rules = rules();
    let recorded: BTreeSet<&str> = rules.iter().filter(|r| r.kind == "record").map(|r| r.name.as_str()).collect();
    let mut faults = Vec::new();
    for rule in &rules {
        let query = read_query(&rule.keys["expr"]).unwrap_or_else(|error| panic!("{}: {error}", rule.name));
        assert!(!query.selectors.is_empty(), "{} asks for nothing", rule.name);
        for selector in query.selectors.iter().filter(|selector| !recorded.contains(selector.metric.as_str())) {
            faults.extend(selector_faults(selector).into_iter().map(|fault| format!("{}: {fault}", rule.name)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_alert_says_how_bad_it_is_and_leads_to_its_dashboard_and_its_section() {
    let runbook = read("docs/runbook.md");
    let sections: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let names: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    assert_eq!(sections, names.iter().map(String::as_str).collect(), "sections of the runbook and alerts");
    for section in runbook.split("\n## ").skip(1) {
        for part in ["**Felt:**", "**Look:**\n\n```sh\n", "**Mend:**", "**Mended when:**"] {
            assert!(section.contains(part), "{part} is missing: {}", section.lines().next().unwrap_or_default());
        }
    }
    let dashboards: String = ["cache-hit-rates", "pipeline", "scores-and-drift", "dependencies"]
        .iter()
        .map(|name| read(&format!("grafana/dashboards/{name}.json")))
        .collect();
    for alert in alerts() {
        let (name, keys) = (&alert.name, &alert.keys);
        assert!(["{severity: critical}", "{severity: warning}"].contains(&keys["labels"].as_str()), "{name}: labels");
        assert_eq!(keys["runbook_url"], format!("docs/runbook.md#{}", name.to_lowercase()), "{name}");
        assert!(dashboards.contains(&format!("\"uid\": \"{}\"", keys["dashboard"])), "{name}: no such dashboard");
        assert!(keys["summary"].len() > 20, "{name}: no summary");
    }
}

#[test]
fn the_runbook_names_only_commands_of_the_program() {
    let mut seen = BTreeSet::new();
    for line in read("docs/runbook.md").lines().flat_map(|line| line.split('`')) {
        let Some(rest) = line.trim().strip_prefix("claimrisk ") else { continue };
        let is_name = |word: &&str| !word.starts_with('-') && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let names: Vec<&str> = rest.split_whitespace().take_while(is_name).take(2).collect();
        let help = Command::new(env!("CARGO_BIN_EXE_claimrisk")).args(&names).arg("--help").output().expect("runs");
        assert!(help.status.success() && !names.is_empty(), "no command: claimrisk {rest}");
        seen.insert(names.join(" "));
    }
    let seen = seen.len();
    assert!(seen > 7, "{seen} commands found");
}

#[test]
fn every_alert_has_a_case_that_fires_and_one_that_stays_quiet() {
    let cases: String = CASES.iter().map(|path| read(path)).collect();
    for alert in alerts() {
        let name = alert.name;
        let fires = format!("expr: 'count(ALERTS{{alertname=\"{name}\", alertstate=\"firing\"");
        assert!(cases.contains(&fires), "{name} never fires in a case");
        let quiet = format!("expr: 'ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}}', eval_time: ");
        let at = cases.find(&quiet).unwrap_or_else(|| panic!("{name} has no quiet case"));
        let line = cases.get(at..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        assert!(line.ends_with("exp_samples: []}"), "{name}: {line}");
    }
    for path in CASES {
        if let Some(result) = promtool(&["test", "rules"], &root().join(path)) {
            assert_eq!(result, Ok(()));
        }
    }
}

#[test]
fn prometheus_accepts_the_rules_and_loads_them() {
    if let Some(result) = promtool(&["check", "rules"], &root().join(RULES)) {
        assert_eq!(result, Ok(()));
    }
    assert!(read("deploy/prometheus/prometheus.yml").contains("\nrule_files:\n  - rules/claimrisk.yml\n"));
    assert!(read("deploy/compose.yml").contains("./prometheus/rules:/etc/prometheus/rules:ro"));
}
