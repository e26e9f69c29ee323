//! The factors of a claim: the names of the cells that bear on it, of the whole claim and of each line.
//!
//! Names are exact words, never hashes: a collision would explain one payer's habits by another's. Must never: put
//! patient data into a name; a diagnosis goes in as its category of three characters, beside a payer or a procedure.

use std::fmt::Write as _;

use super::{Kind, WORDS};
use crate::domain::claim::{Claim, ServiceLine};
use crate::domain::rules::{Facts, PayerClass};
use crate::domain::types::Cents;

/// One factor: its kind, and the words that name it by their places among the claim's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What kind of factor.
    pub kind: Kind,
    pub(super) words: [Word; WORDS],
}

/// In the place of a word that a name does not have.
pub(super) const ABSENT: Word = Word::MAX;

/// All factors of a claim. The words of their names lie in one text, so that making them costs few allocations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    text: String,
    /// Where in `text` each word ends; the next begins there.
    ends: Vec<u32>,
    all: Vec<Feature>,
    /// Where in `all` each line begins; what is before the first concerns the whole claim.
    lines: Vec<usize>,
}

/// A text that stands for nothing told.
const NONE: &str = "-";

/// A word of a claim, by its place.
type Word = u32;

impl Features {
    /// The factors of a claim that breaks these rules (their codes, each once).
    pub fn of<'a>(claim: &Claim, facts: &Facts, rules: impl Iterator<Item = &'a str>) -> Self {
        let mut features = Self {
            text: String::with_capacity(160 + claim.lines.len() * 48),
            ends: Vec::with_capacity(24 + claim.lines.len() * 8),
            all: Vec::with_capacity(24 + claim.lines.len() * 14),
            lines: Vec::with_capacity(claim.lines.len()),
        };
        let common = Common::of(claim, &mut features);
        features.of_claim(claim, facts, &common, rules);
        for line in &claim.lines {
            features.lines.push(features.all.len());
            features.of_line(claim, &common, line);
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

    /// All factors: those of the whole claim, then those of each line.
    pub fn all(&self) -> &[Feature] {
        &self.all
    }

    /// The number of service lines.
    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// The words of all names, in their order.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, to)| self.text.get(from as usize..*to as usize).unwrap_or_default())
    }

    /// A word by its place; empty where there is none.
    fn word_at(&self, place: Word) -> &str {
        let Some(end) = self.ends.get(place as usize) else { return "" };
        let from = place.checked_sub(1).and_then(|before| self.ends.get(before as usize)).copied().unwrap_or(0);
        self.text.get(from as usize..*end as usize).unwrap_or_default()
    }

    /// The words that name a factor; empty ones where there are fewer.
    pub fn names(&self, feature: &Feature) -> [&str; WORDS] {
        let [one, two, three] = feature.words;
        [self.word_at(one), self.word_at(two), self.word_at(three)]
    }

    /// The name of a factor written out, such as `payer_procedure/60054|99213`.
    pub fn key(&self, feature: &Feature) -> String {
        feature.kind.key(feature.words.into_iter().filter(|word| *word != ABSENT).map(|word| self.word_at(word)))
    }

    /// Adds a word. What separates words is written otherwise, so that a name written out has one reading only.
    fn word(&mut self, word: &str) -> Word {
        if word.bytes().any(|byte| byte == b'|' || byte == b'\\' || byte < b' ') {
            for character in word.chars() {
                match character {
                    '|' | '\\' | '\0'..' ' => self.text.extend(character.escape_unicode().skip(1)),
                    other => self.text.push(other),
                }
            }
        } else {
            self.text.push_str(if word.is_empty() { NONE } else { word });
        }
        self.end()
    }

    /// Ends a word whose text was just written.
    fn end(&mut self) -> Word {
        // No claim has a text of 4 GB.
        let place = |at: usize| u32::try_from(at).unwrap_or(ABSENT);
        self.ends.push(place(self.text.len()));
        place(self.ends.len() - 1)
    }

    fn put<const N: usize>(&mut self, kind: Kind, named: [Word; N]) {
        let mut words = [ABSENT; WORDS];
        for (slot, word) in words.iter_mut().zip(named) {
            *slot = word;
        }
        self.all.push(Feature { kind, words });
    }

    fn of_claim<'a>(&mut self, claim: &Claim, facts: &Facts, common: &Common, rules: impl Iterator<Item = &'a str>) {
        let payer = common.payer;
        self.put(Kind::Bias, []);
        let class = self.word(PayerClass::of(claim).as_str());
        self.put(Kind::PayerClass, [class]);
        for rule in rules {
            let rule = self.word(rule);
            self.put(Kind::Rule, [rule]);
            self.put(Kind::RulePayer, [rule, payer]);
        }
        self.put(Kind::Payer, [payer]);
        let (claim_type, place) = (self.word(claim.claim_type.as_str()), self.word(claim.responsibility.code()));
        self.put(Kind::ClaimType, [claim_type, place]);
        let frequency = self.word(told(Some(&claim.frequency_code)));
        self.put(Kind::Frequency, [frequency]);
        let lines = self.word(line_count(claim.lines.len()));
        self.put(Kind::LineCount, [lines]);
        if let Some(days) = lag(claim, facts) {
            let class = self.word(lag_class(days));
            self.put(Kind::Lag, [class]);
            // Months, up to a year and a bit: a payer's limit lies somewhere among them.
            let months = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13+"];
            let month = usize::try_from(days / 30).unwrap_or(0).min(months.len() - 1);
            let month = self.word(months.get(month).copied().unwrap_or(NONE));
            self.put(Kind::PayerLag, [payer, month]);
        }
        let fields = self.letters(&told_of_claim(claim));
        self.put(Kind::Told, [claim_type, fields]);
        let billing = claim.billing_provider.npi.as_ref().or(claim.billing_provider.tax_id.as_ref());
        let billing = self.word(billing.map(String::as_str).or(claim.practice_key()).unwrap_or(NONE));
        self.put(Kind::Provider, [billing]);
        self.put(Kind::PayerProvider, [payer, billing]);
        if let Some(person) = common.person {
            self.put(Kind::Rendering, [person]);
            self.put(Kind::PayerRendering, [payer, person]);
        }
    }

    fn of_line(&mut self, claim: &Claim, common: &Common, line: &ServiceLine) {
        let code = told(line.procedure_code.as_ref().or(line.revenue_code.as_ref()));
        let pointer = line.diagnosis_pointers.first().map_or(0, |place| usize::from(place.saturating_sub(1)));
        let diagnosis = claim.diagnosis_codes.get(pointer).or(claim.diagnosis_codes.first());
        let diagnosis = told(diagnosis);
        let payer = common.payer;
        let family = self.word(code.get(..3).unwrap_or(code));
        let section = self.word(section(code));
        let code = self.word(code);
        let chapter = self.word(diagnosis.get(..1).unwrap_or(diagnosis));
        let category = self.word(diagnosis.get(..3).unwrap_or(diagnosis));
        self.put(Kind::Family, [family]);
        self.put(Kind::Procedure, [code]);
        self.put(Kind::Diagnosis, [chapter]);
        self.put(Kind::PayerFamily, [payer, family]);
        self.put(Kind::PayerProcedure, [payer, code]);
        self.put(Kind::PayerProcedureAuthorization, [payer, code, common.authorized]);
        if !line.modifiers.is_empty() {
            let mut sorted: Vec<&str> = line.modifiers.iter().map(String::as_str).collect();
            sorted.sort_unstable();
            let modifiers = self.word(&sorted.join("+"));
            self.put(Kind::PayerProcedureModifiers, [payer, code, modifiers]);
        }
        self.put(Kind::PayerDiagnosis, [payer, category]);
        self.put(Kind::PayerDiagnosisSection, [payer, category, section]);
        let fields = self.letters(&told_of_line(claim, line));
        self.put(Kind::FamilyTold, [family, fields]);
        self.put(Kind::PayerFamilyTold, [payer, family, fields]);
        self.put(Kind::DiagnosisProcedure, [category, code]);
        if let Some(person) = common.person {
            self.put(Kind::RenderingProcedure, [person, code]);
        }
        let size = self.size(line.charge);
        self.put(Kind::PayerFamilyCharge, [payer, family, size]);
    }

    /// Half octaves of dollars: a payer that reviews large charges draws its limit somewhere.
    fn size(&mut self, charge: Cents) -> Word {
        let cents = charge.get().max(1).unsigned_abs();
        let octaves = 2 * cents.ilog2() + u32::from(cents * 5 >= 7 << cents.ilog2());
        if write!(self.text, "{octaves}").is_err() {
            // Never: writing to a text cannot fail.
            self.text.push_str(NONE);
        }
        self.end()
    }

    /// A letter for each field that is there: what a payer may ask for, whether a rule knows of it or not.
    fn letters(&mut self, fields: &[(char, bool)]) -> Word {
        let before = self.text.len();
        self.text.extend(fields.iter().filter(|(_, there)| *there).map(|(letter, _)| letter));
        if self.text.len() == before {
            self.text.push_str(NONE);
        }
        self.end()
    }
}

/// Words that the lines of a claim share.
struct Common {
    payer: Word,
    person: Option<Word>,
    /// `with` or `without` an authorization number.
    authorized: Word,
}

impl Common {
    fn of(claim: &Claim, features: &mut Features) -> Self {
        let authorized = claim.prior_authorization_number.as_ref().is_some_and(|one| !one.expose().trim().is_empty());
        Self {
            payer: features.word(&claim.payer.key()),
            person: person(claim).map(|person| features.word(person)),
            authorized: features.word(if authorized { "with" } else { "without" }),
        }
    }
}

fn told(text: Option<&String>) -> &str {
    text.map(|text| text.trim_ascii()).filter(|text| !text.is_empty()).unwrap_or(NONE)
}

/// Who gave the care: the rendering provider, else the attending one.
fn person(claim: &Claim) -> Option<&str> {
    let providers = [&claim.rendering_provider, &claim.attending_provider];
    providers.into_iter().flatten().find_map(|provider| provider.npi.as_deref().filter(|npi| !npi.is_empty()))
}

fn told_of_claim(claim: &Claim) -> [(char, bool); 12] {
    let npi = |provider: &Option<crate::domain::claim::Provider>| {
        provider.as_ref().is_some_and(|one| one.npi.as_deref().is_some_and(|npi| !npi.is_empty()))
    };
    [
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
    ]
}

const fn told_of_line(claim: &Claim, line: &ServiceLine) -> [(char, bool); 9] {
    [
        ('a', claim.prior_authorization_number.is_some()),
        ('r', claim.referral_number.is_some()),
        ('o', claim.ordering_provider.is_some() || line.ordering_provider.is_some()),
        ('f', claim.referring_provider.is_some()),
        ('c', claim.clia_number.is_some()),
        ('n', line.ndc.is_some()),
        ('m', !line.modifiers.is_empty()),
        ('p', !line.diagnosis_pointers.is_empty()),
        ('h', line.procedure_code.is_some()),
    ]
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
