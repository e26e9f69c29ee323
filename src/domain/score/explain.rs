//! What a score is made of, in groups that a biller can read: the cells of one matter are told as one.
//!
//! Must never: name anything of the patient; payers, procedures and providers are named, a diagnosis by its category.

use super::Contribution;
use super::fixed::{points_tenths, shrink};
use super::snapshot::{Cell, Snapshot};
use crate::domain::model::{Feature, Features, Kind, WORDS};
use crate::domain::rules::{Hit, PayerClass};

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
}

/// Finds the cells of a claim. Of several lines the one with the largest sum of means counts, the first of equals, so that
/// a long claim is not riskier for its length alone.
pub(super) fn weigh<'a>(features: &'a Features, snapshot: &Snapshot) -> Weighed<'a> {
    let numbers = snapshot.numbers(features);
    let find = |feature: &Feature| snapshot.find(features, feature, &numbers);
    let sum = |line: &[Feature]| -> i64 { line.iter().map(|feature| find(feature).mean_micro).sum() };
    let sums = features.lines().map(|line| (sum(line), line)).enumerate();
    let worst = sums.reduce(|worst, one| if one.1.0 > worst.1.0 { one } else { worst });
    let (line, of_line) = worst.map_or((None, &[][..]), |(place, (_, line))| (Some(place + 1), line));
    let of_claim = features.claim();
    let mut parts = Vec::with_capacity(of_claim.len() + of_line.len());
    parts.extend(of_claim.iter().chain(of_line).map(|feature| Part {
        kind: feature.kind,
        names: features.names(feature),
        cell: find(feature),
    }));
    Weighed {
        mean_micro: parts.iter().map(|part| part.cell.mean_micro).sum(),
        variance_micro: parts.iter().map(|part| part.cell.variance_micro).sum(),
        line: line.map(|line| u16::try_from(line).unwrap_or(u16::MAX)),
        parts,
    }
}

/// One matter of a score before it is told: the cells that belong to it.
struct Group<'a> {
    code: &'a str,
    /// The kind that names it, and its words.
    kind: Kind,
    names: [&'a str; WORDS],
    mean_micro: i64,
    /// The cell that says most of it, for the evidence.
    best: Cell,
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

fn group<'a>(weighed: &Weighed<'a>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::with_capacity(weighed.parts.len());
    for part in &weighed.parts {
        let code = match part.kind {
            Kind::Rule | Kind::RulePayer => part.names[0],
            kind => group_of(kind),
        };
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
            }),
        }
    }
    groups
}

/// The addends of a score but for the calibration: baseline and payer class always, of the others those that add anything.
pub(super) fn contributions(weighed: &Weighed<'_>, broken: &[(&Hit, String)], kappa: i64) -> Vec<Contribution> {
    let mut told = Vec::with_capacity(12);
    for group in group(weighed) {
        let micro = shrink(group.mean_micro, kappa);
        let hit = broken.iter().find(|(hit, _)| group.kind == Kind::Rule && hit.rule.id == group.code);
        let always = matches!(group.kind, Kind::Bias | Kind::PayerClass) || hit.is_some();
        if micro == 0 && !always {
            continue;
        }
        let mut contribution = Contribution {
            code: group.code.to_owned(),
            component: group.kind.component(),
            line: weighed.line.filter(|_| is_of_line(group.kind)),
            micro_log_odds: micro,
            points_tenths: points_tenths(micro),
            carcs: Vec::new(),
            blocking: false,
            words: String::new(),
            evidence: String::new(),
        };
        match hit {
            Some((hit, evidence)) => of_rule(&mut contribution, hit, evidence, group.best),
            None => {
                contribution.words = words(&group, micro);
                contribution.evidence = self::evidence(&group);
            }
        }
        told.push(contribution);
    }
    told
}

fn of_rule(contribution: &mut Contribution, hit: &Hit, evidence: &str, at_payer: Cell) {
    let mut evidence = evidence.to_owned();
    if at_payer.seen_milli >= 1000 {
        evidence = format!("{evidence}; this payer denied {} such claims", counts(at_payer));
    }
    contribution.component = Some(hit.rule.component);
    contribution.line = hit.line;
    contribution.carcs = hit.rule.carcs.to_vec();
    contribution.blocking = hit.rule.blocking;
    contribution.words = hit.rule.reason.to_owned();
    contribution.evidence = evidence;
}

/// `38 of 102`: denials and labels, to the nearest whole.
fn counts(cell: Cell) -> String {
    format!("{} of {}", (cell.denied_milli + 500) / 1000, (cell.seen_milli + 500) / 1000)
}

fn evidence(group: &Group<'_>) -> String {
    match group.kind {
        Kind::Bias => String::new(),
        Kind::PayerClass => group.names[0].to_owned(),
        _ if group.best.seen_milli < 500 => "no such claim was answered yet".to_owned(),
        kind => {
            let what = if is_of_line(kind) { "service lines" } else { "claims" };
            format!("{} such {what} were denied at first (recent ones count more)", counts(group.best))
        }
    }
}

fn words(group: &Group<'_>, micro: i64) -> String {
    let [one, two, three] = group.names;
    // Of a payer's kinds the second word names the other one, of kinds without a payer the first.
    let other = if two.is_empty() { one } else { two };
    let more = if micro < 0 { "fewer" } else { "more" };
    let often = if micro < 0 { "less often" } else { "more often" };
    match group.kind {
        Kind::Bias => "How often a claim in order is denied at first, over all payers".to_owned(),
        Kind::PayerClass => payer_class(one, micro),
        Kind::Payer => format!("Payer {one} denies {more} claims than others of its class"),
        Kind::ClaimType => format!("Claims of this type ({one}, payer's place {two}) are denied {often}"),
        Kind::Frequency => format!("Claims with frequency code {one} are denied {often}"),
        Kind::LineCount => format!("Claims with {one} service lines are denied {often}"),
        Kind::Lag | Kind::PayerLag => format!("Claims sent {one} days after the service are denied {often}"),
        Kind::Provider | Kind::PayerProvider => {
            format!("Claims of billing provider {other} are denied {often}")
        }
        Kind::Rendering | Kind::PayerRendering => {
            format!("Claims for care given by {other} are denied {often}")
        }
        Kind::Family | Kind::Procedure => format!("Procedure {one} is denied {often}, whoever pays"),
        Kind::Diagnosis => format!("Diagnoses of chapter {one} are denied {often}"),
        Kind::PayerDiagnosis => format!("Payer {one} denies diagnosis {two} {often}"),
        Kind::PayerDiagnosisSection => {
            format!("Payer {one} denies {three} with diagnosis {two} {often}")
        }
        Kind::Told => format!("Claims that say as much, or as little, as this one are denied {often}"),
        Kind::FamilyTold | Kind::PayerFamilyTold => {
            format!("Lines of this family that say as much, or as little, as this one are denied {often}")
        }
        Kind::DiagnosisProcedure => format!("Procedure {two} with diagnosis {one} is denied {often}"),
        Kind::RenderingProcedure => format!("Procedure {two} by {one} is denied {often}"),
        _ => format!("Payer {one} denies procedure {two} {often} than others do"),
    }
}

fn payer_class(word: &str, micro: i64) -> String {
    let class = PayerClass::ALL.into_iter().find(|class| class.as_str() == word).unwrap_or(PayerClass::Other);
    let how = match micro {
        1.. => "denies more claims than payers do on average",
        0 => "counts as the average of all payers",
        _ => "denies fewer claims than payers do on average",
    };
    format!("{} {how}", class.words())
}
