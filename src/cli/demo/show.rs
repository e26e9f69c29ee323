//! What the demo prints when all is processed: sums, the worklist, hit rates, addresses.
//!
//! All of it is asked of the API, as anybody could. Must never: print a password.

use serde::Deserialize;
use serde_json::Value;

use super::super::load::{self, HttpClient, Report, get_json};
use super::super::output::{print, table};
use super::fleet::{Messages, Worker};
use crate::error::CommandError;

/// Rows of the worklist that are shown.
const ROWS: usize = 15;
/// Width of the worklist, in columns: about half for reasons and fixes.
const WIDTH: u16 = 150;
/// Reasons and fixes shown per claim.
const REASONS: usize = 3;

/// What went through the queues.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// Taken and settled, over all workers.
    pub(super) messages: Messages,
    /// From the first message published to the last one settled.
    pub(super) seconds: f64,
    /// In the dead-letter queue.
    pub(super) dead_letters: u64,
}

/// Prints what was processed, as the API counts it.
pub(super) async fn processed(client: &HttpClient, api: &str, flow: &Flow) -> Result<(), CommandError> {
    let total = async |path: &str| -> Result<String, CommandError> {
        let list = get_json(client, api, &format!("/api/v1/{path}limit=1")).await?;
        Ok(load::total(&list).to_string())
    };
    let of = async |field: &str, values: &[&str]| -> Result<String, CommandError> {
        let mut parts = Vec::new();
        for value in values {
            parts.push(format!("{} {value}", total(&format!("claims?{field}={value}&")).await?));
        }
        Ok(parts.join(", "))
    };
    let Flow { messages, seconds, dead_letters } = *flow;
    let mut table = table(&["Processed", ""]);
    table.add_row(["Messages".to_owned(), rate(messages, seconds)]);
    table.add_row(["Claims, each once however often sent".to_owned(), total("claims?").await?]);
    table.add_row(["by level of risk".to_owned(), of("risk_level", &["critical", "high", "medium", "low"]).await?]);
    let states = ["submitted", "accepted", "rejected", "paid", "partial", "denied", "recouped", "voided"];
    table.add_row(["by what became of them".to_owned(), of("status", &states).await?]);
    table.add_row(["Remittances".to_owned(), total("remits?").await?]);
    table.add_row(["linked to their claim".to_owned(), total("episodes?").await?]);
    table.add_row(["Dead letters".to_owned(), dead_letters.to_string()]);
    print(&table.to_string())
}

fn rate(messages: Messages, seconds: f64) -> String {
    let Messages { settled, .. } = messages;
    let rate = if seconds > 0.0 { settled as f64 / seconds } else { 0.0 };
    format!("{settled} settled in {seconds:.1} s with publishing: {rate:.0} per second")
}

/// A row of the worklist, as far as it is shown.
#[derive(Deserialize)]
struct Row {
    claim_id: i64,
    payer: Payer,
    total_charge_amount: String,
    overall_score: f64,
    risk_level: String,
    expected_loss: String,
    reasons: Vec<Reason>,
    recommendations: Vec<Fix>,
}

#[derive(Deserialize)]
struct Payer {
    payer_id: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Reason {
    description: String,
    points: f64,
}

#[derive(Deserialize)]
struct Fix {
    action: String,
    points: f64,
}

impl Row {
    fn cells(&self) -> [String; 7] {
        let reasons = self.reasons.iter().take(REASONS);
        let reasons = reasons.map(|reason| format!("{} ({:+.0})", reason.description, reason.points));
        let fixes = self.recommendations.iter().take(REASONS);
        let fixes = fixes.map(|fix| format!("{} (-{:.1})", fix.action, fix.points));
        [
            self.claim_id.to_string(),
            self.payer.name.clone().unwrap_or_else(|| self.payer.payer_id.clone()),
            self.total_charge_amount.clone(),
            format!("{:.1} {}", self.overall_score, self.risk_level),
            self.expected_loss.clone(),
            reasons.collect::<Vec<_>>().join("\n"),
            fixes.collect::<Vec<_>>().join("\n"),
        ]
    }
}

/// Prints the first rows of the worklist: open claims by what may be lost on them, why, and what to mend.
pub(super) async fn worklist(client: &HttpClient, api: &str) -> Result<(), CommandError> {
    let list = get_json(client, api, &format!("/api/v1/claims/at-risk?limit={ROWS}")).await?;
    let header = ["Claim", "Payer", "Charge", "Score", "At stake", "Why (odds points)", "What to mend (score points)"];
    let mut table = table(&header);
    table.set_width(WIDTH);
    for row in load::rows(&list) {
        table.add_row(worklist_row(row)?.cells());
    }
    print(&format!("Open claims at risk, {} in all", load::total(&list)))?;
    print(&table.to_string())
}

fn worklist_row(row: &Value) -> Result<Row, CommandError> {
    Row::deserialize(row)
        .map_err(|error| CommandError::Failed(format!("the worklist has another shape than expected: {error}")))
}

/// Prints how the cache fared and how fast the API was.
pub(super) fn report(report: &Report) -> Result<(), CommandError> {
    print(&report.hit_rates())?;
    print(&report.sums())
}

/// Prints where to look.
pub(super) fn addresses(workers: &[Worker], management: Option<&str>) -> Result<(), CommandError> {
    let mut table = table(&["Look at", "Address"]);
    if let Some(worker) = workers.first() {
        let api = &worker.api;
        table.add_row(["API, with forms to try it", &format!("{api}/docs")]);
        table.add_row(["Worklist", &format!("{api}/api/v1/claims/at-risk")]);
        table.add_row(["Health of all parts", &format!("{api}/api/v1/health/detailed")]);
        table.add_row(["Cache statistics", &format!("{api}/api/v1/cache/stats")]);
    }
    for (place, worker) in workers.iter().enumerate() {
        table.add_row([format!("Metrics of worker {}", place + 1), format!("{}/metrics", worker.metrics)]);
    }
    if let Some(address) = management {
        table.add_row(["RabbitMQ (user and password: guest)", address]);
    }
    print(&table.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_worklist_shows_reasons_and_fixes_with_their_points() {
        let row = worklist_row(&serde_json::json!({
            "claim_id": 7, "payer": {"payer_id": "60054", "name": null}, "total_charge_amount": "800.00",
            "overall_score": 61.25, "risk_level": "critical", "expected_loss": "490.00", "status": "submitted",
            "reasons": [{"code": "X", "description": "No authorisation", "points": 31.4}],
            "recommendations": [{"code": "X", "action": "Ask for it", "points": 40.04}],
        }));
        let cells = row.unwrap().cells();
        assert_eq!(cells[1], "60054");
        assert_eq!(cells[5], "No authorisation (+31)");
        assert_eq!(cells[6], "Ask for it (-40.0)");
    }

    #[test]
    fn a_row_of_another_shape_is_an_error_that_names_the_field() {
        let error = worklist_row(&serde_json::json!({"claim_id": 7})).err().unwrap();
        assert!(error.to_string().contains("payer"), "{error}");
    }
}
