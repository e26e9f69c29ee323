//! The claims that matter most, in the order of what they are expected to lose.
//!
//! Must never: list two versions of one submission, or hold more rows than the list needs.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use serde::Serialize;

use crate::domain::claim::Claim;
use crate::domain::score::{Level, Score, expected_loss};
use crate::domain::types::{Cents, Instant};
use crate::history::History;
use crate::view::{PayerView, ScoreView};
use crate::wire::Event;

/// Rows kept beyond twice the limit, before the least of them are dropped.
const SPARE: usize = 1000;

/// What earlier lines of a procedure came to at this payer.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub(super) struct Earlier {
    pub(super) procedure_code: String,
    pub(super) denied_lines: u64,
    pub(super) decided_lines: u64,
}

/// One claim of the list.
#[derive(Clone, Serialize)]
pub(super) struct Row {
    pub(super) patient_control_number: String,
    pub(super) practice: Option<String>,
    pub(super) payer: PayerView,
    pub(super) payer_responsibility_sequence: &'static str,
    pub(super) claim_frequency_code: String,
    pub(super) claim_type: &'static str,
    pub(super) service_date: Option<NaiveDate>,
    pub(super) submitted_at: Option<NaiveDate>,
    pub(super) total_charge_amount: String,
    pub(super) expected_loss: String,
    #[serde(flatten)]
    pub(super) score: ScoreView,
    /// What the history says of lines like this claim's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) history: Option<Vec<Earlier>>,
    /// The payer's first answer to this very submission, if the history has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) known_outcome: Option<&'static str>,
    pub(super) file: String,
    #[serde(skip)]
    key: Key,
    #[serde(skip)]
    version: Version,
    #[serde(skip)]
    order: (i64, i64),
}

/// Hash of what names a submission: practice, control number, payer's place, frequency, predecessor.
type Key = [u8; 16];
/// Orders the versions of a submission, as workers do.
type Version = (Instant, String);

/// The newest version of a submission.
struct Latest {
    version: Version,
    level: Level,
    charge: Cents,
    expected_loss: Cents,
}

/// Sums over all claims, listed or not.
pub(super) struct Sums {
    pub(super) by_level: BTreeMap<Level, usize>,
    pub(super) charge: Cents,
    pub(super) expected_loss: Cents,
}

/// Takes scored claims, keeps the most important.
pub(super) struct Worklist {
    limit: usize,
    rows: Vec<Row>,
    latest: HashMap<Key, Latest>,
    read: usize,
}

impl Worklist {
    /// A list of so many claims; 0 keeps all.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, rows: Vec::new(), latest: HashMap::new(), read: 0 }
    }

    /// Takes a claim, unless a version of it that is as new was taken before.
    pub(super) fn take(&mut self, event: &Event, claim: &Claim, score: &Score, file: &str, history: Option<&History>) {
        self.read += 1;
        let (key, version) = (key(claim), (event.time, event.id.clone()));
        if self.latest.get(&key).is_some_and(|known| known.version >= version) {
            return;
        }
        let expected_loss = expected_loss(claim.total_charge, score.overall_tenths);
        let charge = claim.total_charge;
        self.latest.insert(key, Latest { version: version.clone(), level: score.level, charge, expected_loss });
        let earlier = |history: &History| {
            let counts = history.of(claim).into_iter();
            counts
                .map(|(procedure_code, count)| Earlier {
                    procedure_code,
                    denied_lines: count.denied,
                    decided_lines: count.decided,
                })
                .collect()
        };
        self.rows.push(Row {
            patient_control_number: claim.patient_control_number.expose().clone(),
            practice: claim.practice_key().map(str::to_owned),
            payer: PayerView { payer_id: claim.payer.key(), name: claim.payer.name.clone() },
            payer_responsibility_sequence: claim.responsibility.code(),
            claim_frequency_code: claim.frequency_code.clone(),
            claim_type: claim.claim_type.as_str(),
            service_date: claim.service_date(),
            submitted_at: claim.submitted_at,
            total_charge_amount: charge.to_string(),
            expected_loss: expected_loss.to_string(),
            score: ScoreView::of(score),
            history: history.map(earlier),
            known_outcome: history
                .and_then(|history| history.outcome(claim))
                .map(crate::domain::outcome::Outcome::as_str),
            file: file.to_owned(),
            key,
            version,
            order: (expected_loss.get(), charge.get()),
        });
        if self.limit > 0 && self.rows.len() >= self.limit.saturating_mul(2).saturating_add(SPARE) {
            self.prune(self.limit.saturating_add(SPARE / 2));
        }
    }

    /// The list, the largest expected loss first.
    pub(super) fn rows(&mut self) -> Vec<Row> {
        self.prune(if self.limit == 0 { usize::MAX } else { self.limit });
        self.rows.clone()
    }

    fn prune(&mut self, keep: usize) {
        let latest = &self.latest;
        self.rows.retain(|row| latest.get(&row.key).is_some_and(|known| known.version == row.version));
        self.rows.sort_by(|one, other| {
            let numbers = one.patient_control_number.cmp(&other.patient_control_number);
            other.order.cmp(&one.order).then(numbers).then_with(|| one.key.cmp(&other.key))
        });
        self.rows.truncate(keep);
    }

    /// Number of claims taken, all versions counted.
    pub(super) fn read(&self) -> usize {
        self.read
    }

    /// Number of claims, each submission once.
    pub(super) fn claims(&self) -> usize {
        self.latest.len()
    }

    /// Sums over all of them.
    pub(super) fn sums(&self) -> Sums {
        let mut sums = Sums { by_level: BTreeMap::new(), charge: Cents::ZERO, expected_loss: Cents::ZERO };
        for known in self.latest.values() {
            *sums.by_level.entry(known.level).or_default() += 1;
            sums.charge += known.charge;
            sums.expected_loss += known.expected_loss;
        }
        sums
    }
}

fn key(claim: &Claim) -> Key {
    let predecessor = claim.payer_claim_control_number.as_ref().filter(|_| claim.is_replacement() || claim.is_void());
    let parts = [
        claim.practice_key().unwrap_or_default(),
        claim.patient_control_number.expose(),
        claim.responsibility.code(),
        &claim.frequency_code,
        predecessor.map_or("", |number| number.expose()),
    ];
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    let hash = hasher.finalize();
    std::array::from_fn(|index| hash.as_bytes().get(index).copied().unwrap_or_default())
}

impl Row {
    /// The level, and whether the claim would not even be taken in.
    pub(super) fn level_words(&self) -> String {
        let level = &self.score.risk_level;
        if self.score.blocking { format!("{level}, blocking") } else { level.clone() }
    }

    /// The largest reasons in plain words.
    pub(super) fn reasons(&self, count: usize) -> String {
        let line = |number: Option<u16>| number.map(|number| format!(" (line {number})")).unwrap_or_default();
        let reasons = self.score.reasons().take(count);
        reasons.map(|one| format!("{}{}", one.description, line(one.line))).collect::<Vec<_>>().join("\n")
    }

    /// What to mend first, and the points it takes off.
    pub(super) fn best_fix(&self) -> String {
        self.score
            .recommendations
            .first()
            .map(|fix| format!("{} (-{:.1} points)", fix.action, fix.points))
            .unwrap_or_default()
    }

    /// What the history says, the worst procedure first.
    pub(super) fn earlier(&self) -> String {
        let mut earlier: Vec<&Earlier> = self.history.iter().flatten().collect();
        earlier.sort_by(|one, other| {
            (other.denied_lines * one.decided_lines).cmp(&(one.denied_lines * other.decided_lines))
        });
        let counts = earlier.iter().take(3);
        let counts =
            counts.map(|one| format!("{}: {} of {} denied", one.procedure_code, one.denied_lines, one.decided_lines));
        let known = self.known_outcome.map(|outcome| format!("this claim: {outcome}"));
        known.into_iter().chain(counts).collect::<Vec<_>>().join("\n")
    }
}
