//! The model's memory: beliefs about what makes payers deny, learned one labelled claim at a time.
//!
//! Every factor of a claim (a broken rule, a payer, a payer with a procedure ...) is a cell: a normal distribution over its
//! effect in log-odds, with a prior, decayed by the days of the events, and moved by each label in proportion to its own
//! uncertainty. Factors that always come together share what they explain, so that nothing is counted twice.
//!
//! Must never: use a clock, depend on the order of a hash map, or learn from a claim before its remittance.

mod calibration;
mod configuration;
mod features;
mod foretold;
mod label;
mod learner;
mod ledger;
mod table;
#[cfg(test)]
mod tests;

pub use calibration::{Calibration, Calibrations};
pub use configuration::Configuration;
pub use features::{Feature, Features};
pub use label::{Answered, Label, LineOfClaim, LineOfRemittance, OrderKey, line_labels};
pub use learner::{Learned, Learner};
pub use ledger::Ledger;
pub use table::{Numbers, Table};

use super::rules::{CATALOGUE, Component, PayerClass, Rule};

/// What kind of factor a cell stands for: decides its prior, how it decays, and how it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The baseline of all claims.
    Bias,
    /// A broad class of insurance.
    PayerClass,
    /// A rule that the claim breaks.
    Rule,
    /// The same at one payer.
    RulePayer,
    /// A payer.
    Payer,
    /// Professional, institutional or dental, and the payer's place.
    ClaimType,
    /// Original, replacement, interim bill and so on.
    Frequency,
    /// How many service lines there are.
    LineCount,
    /// How long after the service the claim was sent.
    Lag,
    /// The same at one payer, more finely.
    PayerLag,
    /// Which of the claim's own fields are there.
    Told,
    /// The billing provider.
    Provider,
    /// The billing provider at one payer.
    PayerProvider,
    /// The person who gave the care.
    Rendering,
    /// The same at one payer.
    PayerRendering,
    /// A family of procedures: the first three characters of the code. Of a line, as all below.
    Family,
    /// A procedure.
    Procedure,
    /// The chapter of the diagnosis (its first letter).
    Diagnosis,
    /// A family at one payer.
    PayerFamily,
    /// A procedure at one payer.
    PayerProcedure,
    /// The same, with or without an authorization number.
    PayerProcedureAuthorization,
    /// A procedure with its modifiers at one payer.
    PayerProcedureModifiers,
    /// A diagnosis category at one payer.
    PayerDiagnosis,
    /// A diagnosis category with a section of procedures at one payer.
    PayerDiagnosisSection,
    /// Which fields of the line are there, for a family of procedures.
    FamilyTold,
    /// The same at one payer.
    PayerFamilyTold,
    /// A diagnosis category with a procedure.
    DiagnosisProcedure,
    /// A procedure done by one person.
    RenderingProcedure,
    /// A charge of a certain size for a family at one payer.
    PayerFamilyCharge,
}

/// Words that name a factor beside its kind, at the most.
pub(crate) const WORDS: usize = 3;

impl Kind {
    /// A name written out: the kind and its words.
    fn key<'a>(self, words: impl Iterator<Item = &'a str>) -> String {
        let mut key = String::with_capacity(48);
        key.push_str(self.word());
        for (place, word) in words.enumerate() {
            key.push(if place == 0 { '/' } else { '|' });
            key.push_str(word);
        }
        key
    }

    /// Reads a name written out; `None` where there is no such kind or there are too many words.
    fn parse_key(key: &str) -> Option<(Self, [Option<&str>; WORDS])> {
        let (kind, rest) = key.split_once('/').map_or((key, None), |(kind, rest)| (kind, Some(rest)));
        let kind = Self::ALL.into_iter().find(|one| one.word() == kind)?;
        let mut found = rest.into_iter().flat_map(|rest| rest.split('|'));
        let words = std::array::from_fn(|_| found.next());
        found.next().is_none().then_some((kind, words))
    }

    /// All kinds, as they are listed above.
    pub const ALL: [Self; 29] = [
        Self::Bias,
        Self::PayerClass,
        Self::Rule,
        Self::RulePayer,
        Self::Payer,
        Self::ClaimType,
        Self::Frequency,
        Self::LineCount,
        Self::Lag,
        Self::PayerLag,
        Self::Told,
        Self::Provider,
        Self::PayerProvider,
        Self::Rendering,
        Self::PayerRendering,
        Self::Family,
        Self::Procedure,
        Self::Diagnosis,
        Self::PayerFamily,
        Self::PayerProcedure,
        Self::PayerProcedureAuthorization,
        Self::PayerProcedureModifiers,
        Self::PayerDiagnosis,
        Self::PayerDiagnosisSection,
        Self::FamilyTold,
        Self::PayerFamilyTold,
        Self::DiagnosisProcedure,
        Self::RenderingProcedure,
        Self::PayerFamilyCharge,
    ];

    /// The first part of the names of this kind.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bias => "bias",
            Self::PayerClass => "payer_class",
            Self::Rule => "rule",
            Self::RulePayer => "rule_payer",
            Self::Payer => "payer",
            Self::ClaimType => "claim_type",
            Self::Frequency => "frequency",
            Self::LineCount => "line_count",
            Self::Lag => "lag",
            Self::PayerLag => "payer_lag",
            Self::Told => "told",
            Self::Provider => "provider",
            Self::PayerProvider => "payer_provider",
            Self::Rendering => "rendering",
            Self::PayerRendering => "payer_rendering",
            Self::Family => "family",
            Self::Procedure => "procedure",
            Self::Diagnosis => "diagnosis",
            Self::PayerFamily => "payer_family",
            Self::PayerProcedure => "payer_procedure",
            Self::PayerProcedureAuthorization => "payer_procedure_authorization",
            Self::PayerProcedureModifiers => "payer_procedure_modifiers",
            Self::PayerDiagnosis => "payer_diagnosis",
            Self::PayerDiagnosisSection => "payer_diagnosis_section",
            Self::FamilyTold => "family_told",
            Self::PayerFamilyTold => "payer_family_told",
            Self::DiagnosisProcedure => "diagnosis_procedure",
            Self::RenderingProcedure => "rendering_procedure",
            Self::PayerFamilyCharge => "payer_family_charge",
        }
    }

    /// Prior variance (tau squared) in millionths; blocking rules are the exception, see [`rule_variance_micro`].
    ///
    /// Wide where payers are known to differ much, narrow where an effect would be odd. Parents carry the common part, so
    /// that the mean of everything below them is zero.
    pub const fn variance_micro(self) -> i64 {
        match self {
            Self::Bias => 1_000_000,
            Self::PayerClass | Self::Payer | Self::Procedure | Self::Provider => 250_000,
            Self::Rule
            | Self::RulePayer
            | Self::PayerProcedure
            | Self::PayerProcedureAuthorization
            | Self::PayerLag => 490_000,
            Self::Told | Self::FamilyTold => 360_000,
            Self::PayerDiagnosisSection => 240_000,
            Self::PayerFamilyTold => 180_000,
            Self::Family
            | Self::PayerFamily
            | Self::PayerDiagnosis
            | Self::Rendering
            | Self::PayerProvider
            | Self::PayerRendering => 160_000,
            Self::Diagnosis | Self::Lag | Self::PayerProcedureModifiers => 90_000,
            Self::ClaimType | Self::Frequency | Self::LineCount => 40_000,
            Self::DiagnosisProcedure | Self::RenderingProcedure | Self::PayerFamilyCharge => 90_000,
        }
    }

    /// The group a contribution of this kind counts in; the baseline is in none.
    pub const fn component(self) -> Option<Component> {
        match self {
            Self::Bias => None,
            Self::PayerClass | Self::Payer => Some(Component::Payer),
            Self::Provider | Self::PayerProvider | Self::Rendering | Self::PayerRendering => Some(Component::Provider),
            Self::Family | Self::Procedure | Self::Diagnosis | Self::DiagnosisProcedure => Some(Component::Coding),
            Self::ClaimType
            | Self::Frequency
            | Self::LineCount
            | Self::Lag
            | Self::Told
            | Self::FamilyTold
            | Self::PayerFamilyTold => Some(Component::Documentation),
            _ => Some(Component::Historical),
        }
    }
}

/// The base probability at which a rule's prior is turned into log-odds.
const PRIOR_BASE: f64 = 0.12;

/// The share of initial denials that the rules of this catalogue account for, and that a claim without a hit is spared.
///
/// Change Healthcare 2020 (102 million hospital transactions): missing or invalid data 17.2 %, untimely 5.4 %, coding 4.8 %.
const RULE_LOAD: f64 = 0.274;

/// Kinds that a claim of one line without a broken rule has cells of, before anything is learned.
const CLEAN: [Kind; 27] = {
    let mut kinds = [Kind::Bias; 27];
    let (mut from, mut to) = (0, 0);
    while from < Kind::ALL.len() {
        if !matches!(Kind::ALL[from], Kind::Rule | Kind::RulePayer) {
            kinds[to] = Kind::ALL[from];
            to += 1;
        }
        from += 1;
    }
    kinds
};

/// Published initial denial rates in thousandths, hospital figure and physician figure.
///
/// Hospitals: Premier survey of 516 hospitals, 2022 (the first adjudication denies). Physicians: Dunn et al., 90 million
/// visits 2013-15 (at least one service denied at first); Medicare Advantage: Vabson et al., 2019, physician claims. The
/// commercial figures differ most (13.9 and 4.8 %), so a class's rate is their midpoint in log-odds. `Other`, and the
/// common baseline, is Change Healthcare's 11.1 % over all payers.
const fn published_permille(class: PayerClass) -> (u16, u16) {
    match class {
        PayerClass::Medicare => (84, 73),
        PayerClass::MedicareAdvantage => (157, 146),
        PayerClass::Commercial => (139, 48),
        PayerClass::Medicaid => (167, 250),
        PayerClass::Other => (111, 111),
    }
}

/// Log-odds of a probability strictly between 0 and 1.
pub(crate) fn logit(probability: f64) -> f64 {
    libm::log(probability / (1.0 - probability))
}

/// How far uncertainty shrinks log-odds (MacKay): `1 / sqrt(1 + pi v / 8)`.
pub(crate) fn kappa(variance: f64) -> f64 {
    1.0 / libm::sqrt(1.0 + core::f64::consts::PI * variance / 8.0)
}

/// The log-odds of a clean claim of a class: the published rate without the share that rules account for.
fn clean_log_odds(class: PayerClass) -> f64 {
    let (hospital, physician) = published_permille(class);
    let midpoint = f64::midpoint(logit(f64::from(hospital) / 1000.0), logit(f64::from(physician) / 1000.0));
    let rate = 1.0 / (1.0 + libm::exp(-midpoint));
    logit(rate * (1.0 - RULE_LOAD))
}

/// The kappa of a clean claim before anything is learned.
///
/// A published rate is an average over payers and practices, which is what `kappa * z` of a clean claim means too. So
/// the prior means of baseline and class are divided by it, and a clean claim scores its published rate.
#[expect(clippy::cast_precision_loss, reason = "variances are far below 2^53")]
pub(crate) fn clean_kappa() -> f64 {
    kappa(CLEAN.iter().map(|kind| kind.variance_micro() as f64 / 1e6).sum())
}

/// Prior mean of the baseline, in log-odds.
pub fn bias_mean() -> f64 {
    clean_log_odds(PayerClass::Other) / clean_kappa()
}

/// Prior mean of a payer class's deviation from the baseline, in log-odds.
pub fn class_mean(class: PayerClass) -> f64 {
    (clean_log_odds(class) - clean_log_odds(PayerClass::Other)) / clean_kappa()
}

/// Prior mean of a rule in log-odds: what lifts the base to `1 - (1 - base)(1 - q)`, an average over payers as well.
pub fn rule_mean(rule: &Rule) -> f64 {
    let q = f64::from(rule.prior_permille) / 1000.0;
    (logit(1.0 - (1.0 - PRIOR_BASE) * (1.0 - q)) - logit(PRIOR_BASE)) / clean_kappa()
}

/// Prior variance of a rule in millionths: 0.4 squared for blocking ones, whose unfixed hits are a biased sample and
/// should be learned slowly.
pub const fn rule_variance_micro(rule: &Rule) -> i64 {
    if rule.blocking { 160_000 } else { Kind::Rule.variance_micro() }
}

/// The prior of a cell by its kind and first word: mean in log-odds and variance in millionths.
fn prior(kind: Kind, name: &str) -> (f64, i64) {
    match kind {
        Kind::Bias => (bias_mean(), kind.variance_micro()),
        Kind::PayerClass => {
            let class = PayerClass::ALL.into_iter().find(|class| class.as_str() == name);
            (class.map_or(0.0, class_mean), kind.variance_micro())
        }
        Kind::Rule => CATALOGUE
            .iter()
            .find(|rule| rule.id == name)
            .map_or((0.0, kind.variance_micro()), |rule| (rule_mean(rule), rule_variance_micro(rule))),
        _ => (0.0, kind.variance_micro()),
    }
}
