//! The factors of a claim: the keys of the cells that bear on it, of the whole claim and of each line.
//!
//! Keys are exact texts, never hashes: a collision would explain one payer's habits by another's. Must never: put
//! patient data into a key; a diagnosis goes in as its category of three characters, beside a payer or a procedure.

use std::fmt::Write as _;

use super::Kind;
use crate::domain::claim::{Claim, ServiceLine};
use crate::domain::rules::{Facts, PayerClass};

/// One factor: the kind and the place of its key in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What kind of factor.
    pub kind: Kind,
    start: u32,
    end: u32,
}

/// All factors of a claim. The keys lie in one text, so that making them costs few allocations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    text: String,
    all: Vec<Feature>,
    /// Where in `all` each line begins; what is before the first concerns the whole claim.
    lines: Vec<usize>,
}

/// A text that stands for nothing told.
const NONE: &str = "-";

impl Features {
    /// The factors of a claim that breaks these rules (their codes, each once).
    pub fn of<'a>(claim: &Claim, facts: &Facts, rules: impl Iterator<Item = &'a str>) -> Self {
        let mut features = Self {
            text: String::with_capacity(512 + claim.lines.len() * 320),
            all: Vec::with_capacity(24 + claim.lines.len() * 11),
            lines: Vec::with_capacity(claim.lines.len()),
        };
        features.of_claim(claim, facts, rules);
        let payer = claim.payer.key();
        let person = person(claim);
        for line in &claim.lines {
            features.lines.push(features.all.len());
            features.of_line(claim, &payer, person, line);
        }
        features
    }

    /// The factors of the whole claim.
    pub fn claim(&self) -> &[Feature] {
        let end = self.lines.first().copied().unwrap_or(self.all.len());
        self.all.get(..end).unwrap_or_default()
    }

    /// The factors of each service line, in order.
    pub fn lines(&self) -> impl Iterator<Item = &[Feature]> {
        let ends = self.lines.iter().skip(1).copied().chain([self.all.len()]);
        self.lines.iter().zip(ends).map(|(start, end)| self.all.get(*start..end).unwrap_or_default())
    }

    /// The number of service lines.
    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// The key of a factor, such as `payer_procedure/60054|99213`.
    pub fn key(&self, feature: &Feature) -> &str {
        self.text.get(feature.start as usize..feature.end as usize).unwrap_or_default()
    }

    fn put(&mut self, kind: Kind, parts: &[&str]) {
        let start = self.text.len();
        self.text.push_str(kind.word());
        for (place, part) in parts.iter().enumerate() {
            self.text.push(if place == 0 { '/' } else { '|' });
            self.text.push_str(part);
        }
        self.end(kind, start);
    }

    fn end(&mut self, kind: Kind, start: usize) {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.all.push(Feature { kind, start: place(start), end: place(self.text.len()) });
    }

    fn of_claim<'a>(&mut self, claim: &Claim, facts: &Facts, rules: impl Iterator<Item = &'a str>) {
        let payer = claim.payer.key();
        self.put(Kind::Bias, &[]);
        self.put(Kind::PayerClass, &[PayerClass::of(claim).as_str()]);
        for rule in rules {
            self.put(Kind::Rule, &[rule]);
            self.put(Kind::RulePayer, &[rule, &payer]);
        }
        self.put(Kind::Payer, &[&payer]);
        self.put(Kind::ClaimType, &[claim.claim_type.as_str(), claim.responsibility.code()]);
        self.put(Kind::Frequency, &[told(Some(&claim.frequency_code))]);
        self.put(Kind::LineCount, &[line_count(claim.lines.len())]);
        if let Some(days) = lag(claim, facts) {
            self.put(Kind::Lag, &[lag_class(days)]);
            // Months, up to a year and a bit: a payer's limit lies somewhere among them.
            let months = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13+"];
            let month = usize::try_from(days / 30).unwrap_or(0).min(months.len() - 1);
            self.put(Kind::PayerLag, &[&payer, months.get(month).copied().unwrap_or(NONE)]);
        }
        self.put(Kind::Told, &[claim.claim_type.as_str(), &told_of_claim(claim)]);
        let billing = claim.billing_provider.npi.as_ref().or(claim.billing_provider.tax_id.as_ref());
        let billing = billing.map(String::as_str).or(claim.practice_key()).unwrap_or(NONE);
        self.put(Kind::Provider, &[billing]);
        self.put(Kind::PayerProvider, &[&payer, billing]);
        if let Some(person) = person(claim) {
            self.put(Kind::Rendering, &[person]);
            self.put(Kind::PayerRendering, &[&payer, person]);
        }
    }

    fn of_line(&mut self, claim: &Claim, payer: &str, person: Option<&str>, line: &ServiceLine) {
        let code = told(line.procedure_code.as_ref().or(line.revenue_code.as_ref()));
        let family = code.get(..3).unwrap_or(code);
        let pointer = line.diagnosis_pointers.first().map_or(0, |place| usize::from(place.saturating_sub(1)));
        let diagnosis = claim.diagnosis_codes.get(pointer).or(claim.diagnosis_codes.first());
        let diagnosis = told(diagnosis);
        let section = section(code);
        let category = diagnosis.get(..3).unwrap_or(diagnosis);
        let authorized = claim.prior_authorization_number.as_ref().is_some_and(|one| !one.expose().trim().is_empty());
        self.put(Kind::Family, &[family]);
        self.put(Kind::Procedure, &[code]);
        self.put(Kind::Diagnosis, &[diagnosis.get(..1).unwrap_or(diagnosis)]);
        self.put(Kind::PayerFamily, &[payer, family]);
        self.put(Kind::PayerProcedure, &[payer, code]);
        let with = if authorized { "with" } else { "without" };
        self.put(Kind::PayerProcedureAuthorization, &[payer, code, with]);
        if !line.modifiers.is_empty() {
            self.modifiers(payer, code, &line.modifiers);
        }
        self.put(Kind::PayerDiagnosis, &[payer, category]);
        self.put(Kind::PayerDiagnosisSection, &[payer, category, section]);
        let fields = told_of_line(claim, line);
        self.put(Kind::FamilyTold, &[family, &fields]);
        self.put(Kind::PayerFamilyTold, &[payer, family, &fields]);
        self.put(Kind::DiagnosisProcedure, &[category, code]);
        if let Some(person) = person {
            self.put(Kind::RenderingProcedure, &[person, code]);
        }
        let start = self.text.len();
        // Half octaves of dollars: a payer that reviews large charges draws its limit somewhere.
        let cents = line.charge.get().max(1).unsigned_abs();
        let octaves = 2 * cents.ilog2() + u32::from(cents * 5 >= 7 << cents.ilog2());
        let word = Kind::PayerFamilyCharge.word();
        if write!(self.text, "{word}/{payer}|{family}|{octaves}").is_ok() {
            self.end(Kind::PayerFamilyCharge, start);
        }
    }

    fn modifiers(&mut self, payer: &str, code: &str, modifiers: &[String]) {
        let mut sorted: Vec<&str> = modifiers.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        self.put(Kind::PayerProcedureModifiers, &[payer, code, &sorted.join("+")]);
    }
}

fn told(text: Option<&String>) -> &str {
    text.map(|text| text.trim()).filter(|text| !text.is_empty()).unwrap_or(NONE)
}

/// Who gave the care: the rendering provider, else the attending one.
fn person(claim: &Claim) -> Option<&str> {
    let providers = [&claim.rendering_provider, &claim.attending_provider];
    providers.into_iter().flatten().find_map(|provider| provider.npi.as_deref().filter(|npi| !npi.is_empty()))
}

/// A letter for each field that is there: what a payer may ask for, whether a rule knows of it or not.
fn letters<const N: usize>(fields: [(char, bool); N]) -> String {
    fields.into_iter().filter(|(_, there)| *there).map(|(letter, _)| letter).collect()
}

fn told_of_claim(claim: &Claim) -> String {
    let npi = |provider: &Option<crate::domain::claim::Provider>| {
        provider.as_ref().is_some_and(|one| one.npi.as_deref().is_some_and(|npi| !npi.is_empty()))
    };
    letters([
        ('m', claim.subscriber.member_id.is_some()),
        ('b', claim.subscriber.birth_date.is_some()),
        ('g', claim.subscriber.gender.is_some()),
        ('n', claim.billing_provider.npi.is_some()),
        ('t', claim.billing_provider.taxonomy_code.is_some()),
        ('r', npi(&claim.rendering_provider)),
        ('f', npi(&claim.referring_provider)),
        ('a', npi(&claim.attending_provider)),
        ('d', !claim.diagnosis_codes.is_empty()),
        ('p', claim.payer_claim_control_number.is_some()),
        ('o', !claim.other_payers.is_empty()),
        ('w', !claim.attachments.is_empty()),
    ])
}

fn told_of_line(claim: &Claim, line: &ServiceLine) -> String {
    letters([
        ('a', claim.prior_authorization_number.is_some()),
        ('r', claim.referral_number.is_some()),
        ('o', claim.ordering_provider.is_some() || line.ordering_provider.is_some()),
        ('f', claim.referring_provider.is_some()),
        ('c', claim.clia_number.is_some()),
        ('n', line.ndc.is_some()),
        ('m', !line.modifiers.is_empty()),
        ('p', !line.diagnosis_pointers.is_empty()),
        ('h', line.procedure_code.is_some()),
    ])
}

/// The section of a procedure code: those of the code book (its published ranges), the letter of HCPCS level II codes, or
/// `revenue` for what is none.
fn section(code: &str) -> &str {
    let Ok(number) = code.parse::<u32>() else {
        return code.get(..1).unwrap_or(code);
    };
    if code.len() != 5 {
        return "revenue";
    }
    match number {
        ..2_000 => "anesthesia",
        10_000..70_000 => "surgery",
        70_000..80_000 => "imaging",
        80_000..90_000 => "laboratory",
        97_000..98_000 => "therapy",
        99_000.. => "visits",
        90_000..97_000 | 98_000..99_000 => "medicine",
        _ => "other",
    }
}

const fn line_count(lines: usize) -> &'static str {
    match lines {
        0 => "0",
        1 => "1",
        2 => "2",
        3 => "3",
        4 | 5 => "4-5",
        6..=9 => "6-9",
        _ => "10+",
    }
}

/// Days from the last service to the day the claim was sent.
fn lag(claim: &Claim, facts: &Facts) -> Option<i64> {
    Some(facts.sent_on(claim)?.signed_duration_since(claim.last_service_date()?).num_days())
}

const fn lag_class(days: i64) -> &'static str {
    match days {
        ..8 => "0-7",
        8..31 => "8-30",
        31..61 => "31-60",
        61..91 => "61-90",
        91..181 => "91-180",
        181..366 => "181-365",
        _ => "366+",
    }
}
