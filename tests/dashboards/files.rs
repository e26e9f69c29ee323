//! The dashboards as files: their panels, queries and variables, and a query as Grafana would send it.
//!
//! Must never: need a server.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

/// One query of a dashboard, with the place it stands in.
pub struct Placed {
    pub place: String,
    pub expr: String,
    pub legend: String,
    pub instant: bool,
}

impl Placed {
    /// The title of the panel, or the name of the annotation.
    pub fn title(&self) -> &str {
        let mut parts = self.place.split_once(", ").map(|(_, rest)| rest).unwrap_or_default().rsplitn(2, ", ");
        parts.nth(1).unwrap_or_default()
    }
}

/// The text at a place, empty when there is none.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a place, empty when there is none.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Panels that draw something: rows are only headings.
pub fn drawn(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "/panels").iter().filter(|panel| text(panel, "/type") != "row")
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every dashboard with its file name, in order of names. There is always one: an empty folder fails the tests.
pub fn dashboards() -> BTreeMap<String, Value> {
    let folder = root().join("grafana/dashboards");
    let found: BTreeMap<String, Value> = fs::read_dir(&folder)
        .expect("grafana/dashboards is there")
        .map(|entry| entry.expect("a readable entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".json"))
        .map(|name| {
            let body = read(&format!("grafana/dashboards/{name}"));
            let value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, value)
        })
        .collect();
    assert!(!found.is_empty(), "no dashboard in grafana/dashboards");
    found
}

pub fn placed(owner: &str, title: &str, target: &Value, legend: &str) -> Placed {
    Placed {
        place: format!("{owner}, {title}, {}", text(target, "/refId")),
        expr: text(target, "/expr").to_owned(),
        legend: text(target, legend).to_owned(),
        instant: target["instant"] == json!(true),
    }
}

/// Every query of every panel.
pub fn panel_queries() -> Vec<Placed> {
    let mut all = Vec::new();
    for (name, dashboard) in &dashboards() {
        for panel in drawn(dashboard) {
            let targets = list(panel, "/targets").iter();
            all.extend(targets.map(|target| placed(name, text(panel, "/title"), target, "/legendFormat")));
        }
    }
    all
}

/// Every query of every panel and annotation.
pub fn all_queries() -> Vec<Placed> {
    let mut all = panel_queries();
    for (name, dashboard) in &dashboards() {
        let notes = list(dashboard, "/annotations/list").iter();
        all.extend(notes.map(|note| placed(name, text(note, "/name"), note, "/titleFormat")));
    }
    all
}

/// The `{{label}}` tokens of a legend.
pub fn tokens(legend: &str) -> Vec<&str> {
    legend.split("{{").skip(1).filter_map(|part| part.split_once("}}")).map(|(label, _)| label.trim()).collect()
}

/// An expression as Grafana would send it with every variable at its widest.
pub fn substituted(expr: &str, rate_interval: &str, range: &str, window: &str) -> String {
    let mut out = expr.replace("$__rate_interval", rate_interval).replace("$__range", range).replace("$window", window);
    for name in ["job", "instance", "entity", "event_type", "broker"] {
        out = out.replace(&format!("${name}"), ".+");
    }
    out
}
