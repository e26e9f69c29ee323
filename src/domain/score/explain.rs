//! What a score is made of, in groups that a biller can read: the cells of one matter are told as one.
//!
//! Must never: name anything of the patient; payers, procedures and providers are named, a diagnosis by its category.

use std::borrow::Cow;

use super::Contribution;
use super::fixed::{points_tenths, shrink};
use super::snapshot::{Cell, Snapshot};
use crate::domain::model::{Calibration, Feature, Features, Kind, WORDS};
use crate::domain::rules::{Hit, PayerClass};

/// A broken rule with what was seen of it on all lines.
pub(super) type Broken<'a> = (&'a Hit, Cow<'static, str>);

/// A cell that bears on a claim, with its factor.
pub(super) struct Part<'a> {
    pub(super) kind: Kind,
    /// The words that name it.
    pub(super) names: [&'a str; WORDS],
    pub(super) cell: Cell,
}

/// The active cells of a claim: those of the whole claim and of the one line that weighs most.
pub(super) struct Weighed<'a> {
    pub(super) parts: Vec<Part<'a>>,
    /// The line that was chosen, from 1.
    pub(super) line: Option<u16>,
    /// Sums of means and variances.
    pub(super) mean_micro: i64,
    pub(super) variance_micro: i64,
    /// What is done to their log-odds, one after the other.
    pub(super) calibrations: [Calibration; 2],
}

/// Finds the cells of a claim. Of several lines the one with the largest sum of means counts, the first of equals, so that
/// a long claim is not riskier for its length alone.
pub(super) fn weigh<'a>(features: &'a Features, snapshot: &Snapshot) -> Weighed<'a> {
    let numbers = snapshot.numbers(features);
    let cells: Vec<Cell> = features.all().iter().map(|feature| snapshot.find(features, feature, &numbers)).collect();
    let (of_claim, mut of_lines) = cells.split_at(features.claim().len());
    let mut worst: Option<(i64, usize, &[Feature], &[Cell])> = None;
    for (place, line) in features.lines().enumerate() {
        let (cells, rest) = of_lines.split_at(line.len());
        of_lines = rest;
        let sum = cells.iter().map(|cell| cell.mean_micro).sum();
        if worst.is_none_or(|(most, ..)| sum > most) {
            worst = Some((sum, place + 1, line, cells));
        }
    }
    let (line, of_line) =
        worst.map_or((None, (&[][..], &[][..])), |(_, place, line, cells)| (Some(place), (line, cells)));
    let mut parts = Vec::with_capacity(of_claim.len() + of_line.0.len());
    let chosen = features.claim().iter().zip(of_claim).chain(of_line.0.iter().zip(of_line.1));
    parts.extend(chosen.map(|(feature, cell)| Part {
        kind: feature.kind,
        names: features.names(feature),
        cell: *cell,
    }));
    let payer = parts.iter().find(|part| part.kind == Kind::Payer).map_or("", |part| part.names[0]);
    Weighed {
        calibrations: snapshot.calibrations(payer),
        mean_micro: parts.iter().map(|part| part.cell.mean_micro).sum(),
        variance_micro: parts.iter().map(|part| part.cell.variance_micro).sum(),
        line: line.map(|line| u16::try_from(line).unwrap_or(u16::MAX)),
        parts,
    }
}

/// One matter of a score before it is told: the cells that belong to it.
struct Group<'a> {
    code: &'static str,
    /// The kind that names it, and its words.
    kind: Kind,
    names: [&'a str; WORDS],
    mean_micro: i64,
    /// The cell that says most of it, for the evidence.
    best: Cell,
    /// The broken rule, where it is one.
    hit: Option<&'a Broken<'a>>,
}

/// The code under which cells of a kind are told; rules have their own.
const fn group_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Bias => "baseline",
        Kind::PayerClass => "payer_class",
        Kind::Rule | Kind::RulePayer => "rule",
        Kind::Payer => "payer",
        Kind::ClaimType => "claim_type",
        Kind::Frequency => "frequency",
        Kind::LineCount => "line_count",
        Kind::Lag | Kind::PayerLag => "submission_lag",
        Kind::Told => "fields",
        Kind::FamilyTold | Kind::PayerFamilyTold => "line_fields",
        Kind::Provider | Kind::PayerProvider => "billing_provider",
        Kind::Rendering | Kind::PayerRendering => "rendering_provider",
        Kind::Family | Kind::Procedure => "procedure",
        Kind::Diagnosis => "diagnosis",
        Kind::PayerFamily
        | Kind::PayerProcedure
        | Kind::PayerProcedureAuthorization
        | Kind::PayerProcedureModifiers
        | Kind::PayerFamilyCharge => "payer_procedure",
        Kind::PayerDiagnosis | Kind::PayerDiagnosisSection => "payer_diagnosis",
        Kind::DiagnosisProcedure => "diagnosis_procedure",
        Kind::RenderingProcedure => "provider_procedure",
    }
}

/// Whether cells of this kind concern one line.
const fn is_of_line(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Family
            | Kind::Procedure
            | Kind::Diagnosis
            | Kind::PayerFamily
            | Kind::PayerProcedure
            | Kind::PayerProcedureAuthorization
            | Kind::PayerProcedureModifiers
            | Kind::PayerDiagnosis
            | Kind::PayerDiagnosisSection
            | Kind::FamilyTold
            | Kind::PayerFamilyTold
            | Kind::DiagnosisProcedure
            | Kind::RenderingProcedure
            | Kind::PayerFamilyCharge
    )
}

fn group<'a>(weighed: &Weighed<'a>, broken: &'a [Broken<'a>]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::with_capacity(weighed.parts.len());
    for part in &weighed.parts {
        let hit = match part.kind {
            Kind::Rule | Kind::RulePayer => broken.iter().find(|(hit, _)| hit.rule.id == part.names[0]),
            _ => None,
        };
        let code = hit.map_or_else(|| group_of(part.kind), |(hit, _)| hit.rule.id);
        match groups.iter_mut().find(|group| group.code == code) {
            Some(group) => {
                group.mean_micro = group.mean_micro.saturating_add(part.cell.mean_micro);
                if matches!(part.kind, Kind::PayerProcedure | Kind::Procedure | Kind::PayerDiagnosisSection) {
                    (group.kind, group.names) = (part.kind, part.names);
                }
                if part.kind == Kind::RulePayer || part.cell.mean_micro > group.best.mean_micro {
                    group.best = part.cell;
                }
            }
            None => groups.push(Group {
                code,
                kind: part.kind,
                names: part.names,
                mean_micro: part.cell.mean_micro,
                best: part.cell,
                hit,
            }),
        }
    }
    groups
}

/// The addends of a score but for the calibration: baseline and payer class always, of the others those that add anything.
pub(super) fn contributions(weighed: &Weighed<'_>, broken: &[Broken<'_>], kappa: i64) -> Vec<Contribution> {
    let groups = group(weighed, broken);
    // One more for the calibration.
    let mut told = Vec::with_capacity(groups.len() + 1);
    for group in groups {
        let micro = shrink(group.mean_micro, kappa);
        let always = matches!(group.kind, Kind::Bias | Kind::PayerClass) || group.hit.is_some();
        if micro == 0 && !always {
            continue;
        }
        let of_rule = group.hit.map(|(hit, _)| (hit.rule, hit.line));
        told.push(Contribution {
            code: group.code,
            component: of_rule.map_or_else(|| group.kind.component(), |(rule, _)| Some(rule.component)),
            line: of_rule.map_or_else(|| weighed.line.filter(|_| is_of_line(group.kind)), |(_, line)| line),
            micro_log_odds: micro,
            points_tenths: points_tenths(micro),
            carcs: of_rule.map_or(&[], |(rule, _)| rule.carcs),
            blocking: of_rule.is_some_and(|(rule, _)| rule.blocking),
            words: of_rule.map_or_else(|| words(&group, micro), |(rule, _)| Cow::Borrowed(rule.reason)),
            evidence: evidence(&group),
        });
    }
    told
}

/// A number of labels or denials, to the nearest whole.
fn whole(milli: i64) -> String {
    ((milli + 500) / 1000).to_string()
}

fn evidence(group: &Group<'_>) -> Cow<'static, str> {
    let counts = || [whole(group.best.denied_milli), " of ".to_owned(), whole(group.best.seen_milli)].concat();
    match (group.hit, group.kind) {
        (Some((_, evidence)), _) if group.best.seen_milli < 1000 => evidence.clone(),
        (Some((_, evidence)), _) => [evidence, "; this payer denied ", &counts(), " such claims"].concat().into(),
        (None, Kind::Bias) => "".into(),
        (None, Kind::PayerClass) => class(group.names[0]).as_str().into(),
        _ if group.best.seen_milli < 500 => "no such claim was answered yet".into(),
        (None, kind) => {
            let what = if is_of_line(kind) { " such service lines" } else { " such claims" };
            [&counts(), what, " were denied at first (recent ones count more)"].concat().into()
        }
    }
}

/// What a learned matter is. Put together without formatting: this is done a dozen times for each claim.
fn words(group: &Group<'_>, micro: i64) -> Cow<'static, str> {
    let [one, two, three] = group.names;
    // Of a payer's kinds the second word names the other one, of kinds without a payer the first.
    let other = if two.is_empty() { one } else { two };
    let more = if micro < 0 { " denies fewer" } else { " denies more" };
    let often = if micro < 0 { " less often" } else { " more often" };
    let denied = if micro < 0 { " is denied less often" } else { " is denied more often" };
    let are_denied = if micro < 0 { " are denied less often" } else { " are denied more often" };
    let told = match group.kind {
        Kind::Bias => return Cow::Borrowed("How often a claim in order is denied at first, over all payers"),
        Kind::PayerClass => payer_class(one, micro),
        Kind::Payer => ["Payer ", one, more, " claims than others of its class"].concat(),
        Kind::ClaimType => ["Claims of this type (", one, ", payer's place ", two, ")", are_denied].concat(),
        Kind::Frequency => ["Claims with frequency code ", one, are_denied].concat(),
        Kind::LineCount => ["Claims with ", one, " service lines", are_denied].concat(),
        Kind::Lag | Kind::PayerLag => ["Claims sent ", one, " days after the service", are_denied].concat(),
        Kind::Provider | Kind::PayerProvider => ["Claims of billing provider ", other, are_denied].concat(),
        Kind::Rendering | Kind::PayerRendering => ["Claims for care given by ", other, are_denied].concat(),
        Kind::Family | Kind::Procedure => ["Procedure ", one, denied, ", whoever pays"].concat(),
        Kind::Diagnosis => ["Diagnoses of chapter ", one, are_denied].concat(),
        Kind::PayerDiagnosis => ["Payer ", one, " denies diagnosis ", two, often].concat(),
        Kind::PayerDiagnosisSection => ["Payer ", one, " denies ", three, " with diagnosis ", two, often].concat(),
        Kind::Told => ["Claims that say as much, or as little, as this one", are_denied].concat(),
        Kind::FamilyTold | Kind::PayerFamilyTold => {
            ["Lines of this family that say as much, or as little, as this one", are_denied].concat()
        }
        Kind::DiagnosisProcedure => ["Procedure ", two, " with diagnosis ", one, denied].concat(),
        Kind::RenderingProcedure => ["Procedure ", two, " by ", one, denied].concat(),
        _ => ["Payer ", one, " denies procedure ", two, often, " than others do"].concat(),
    };
    Cow::Owned(told)
}

fn class(word: &str) -> PayerClass {
    PayerClass::ALL.into_iter().find(|class| class.as_str() == word).unwrap_or(PayerClass::Other)
}

fn payer_class(word: &str, micro: i64) -> String {
    let how = match micro {
        1.. => " denies more claims than payers do on average",
        0 => " counts as the average of all payers",
        _ => " denies fewer claims than payers do on average",
    };
    [class(word).words(), how].concat()
}
