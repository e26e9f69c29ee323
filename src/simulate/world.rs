//! The simulated world: practices, their providers and patients, and payers with the rules they hide.
//!
//! A pure function of the options. Must never: name a real person or company, or tell a scorer what a payer hides.

use std::collections::BTreeMap;

use super::Options;
use super::codes::{Family, PROCEDURES, SPECIALTIES, Specialty};
use super::edits::EDITS;
use super::random::{MILLION, Rand, npi};
use crate::domain::claim::ClaimType;
use crate::domain::types::Date;

/// Kinds of payer; their base rates of denial differ (Medicare lowest, Medicaid highest).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Medicare itself.
    Medicare,
    /// Medicare Advantage plans.
    Advantage,
    /// Commercial plans.
    Commercial,
    /// Medicaid itself.
    Medicaid,
    /// Managed Medicaid plans.
    ManagedMedicaid,
}

impl Class {
    /// Kind of insurance (SBR09, CLP06) on a claim of this type.
    pub fn filing_indicator(self, payer: usize, claim_type: ClaimType) -> &'static str {
        match (self, claim_type) {
            (Self::Medicare, ClaimType::Institutional) => "MA",
            (Self::Medicare, _) => "MB",
            (Self::Advantage, _) => "16",
            (Self::Medicaid | Self::ManagedMedicaid, _) => "MC",
            (Self::Commercial, _) => ["CI", "BL", "12", "HM"].get(payer % 4).copied().unwrap_or("CI"),
        }
    }
}

/// What one payer does with one service, and no one is told.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Probability of a denial (parts per million).
    pub q: u32,
    /// Reason it gives (CARC).
    pub carc: &'static str,
    /// Remark it gives (RARC), may be empty.
    pub rarc: &'static str,
    /// First day it holds.
    pub from: Date,
}

/// How strictly a payer enforces one visible edit, before and after a day.
#[derive(Clone, Copy, Debug)]
pub struct Enforcement {
    before: u32,
    after: u32,
    turn: Date,
}

impl Enforcement {
    /// The probability of a denial on that day (parts per million).
    pub fn on(&self, day: Date) -> u32 {
        if day < self.turn { self.before } else { self.after }
    }

    /// The first day on which it is as strict as it is at the end.
    pub const fn turn(&self) -> Date {
        self.turn
    }

    /// The probability at first (parts per million).
    pub const fn before(&self) -> u32 {
        self.before
    }

    /// The probability at the end (parts per million).
    pub const fn after(&self) -> u32 {
        self.after
    }
}

/// A payer and all that it hides.
#[derive(Clone, Debug)]
pub struct PayerWorld {
    /// Payer id.
    pub id: String,
    /// Neutral name.
    pub name: String,
    /// Kind of payer.
    pub class: Class,
    /// Log-odds of a denial without a cause, in thousandths.
    pub base: i64,
    /// Monthly steps of the base (thousandths of log-odds).
    pub walk: Vec<i64>,
    /// What it allows of a charge, in percent.
    pub allowed: i64,
    /// Whether it answers every full denial with CLP02 = 4, an old habit.
    pub status_four: bool,
    /// Whether it hands the claim frequency back (CLP09) on claims sent once.
    pub hands_frequency_back: bool,
    /// Whether a correction keeps the claim number of what it corrects.
    pub keeps_number: bool,
    /// Days a practice has to send a claim.
    pub timely_limit: i64,
    /// Habit of mangling control numbers: 0 cut at 17, 1 cut at 20, 2 specials dropped, 3 leading zeros dropped.
    pub mangling: u64,
    /// Whether drugs need an NDC.
    pub wants_ndc: bool,
    /// Enforcement of each visible edit, by its place in [`EDITS`].
    pub edits: Vec<Enforcement>,
    /// Services it wants authorized, by place in [`PROCEDURES`], with the probability of a denial without.
    pub authorization: Vec<u32>,
    /// Hidden policies on a service.
    pub policies: Vec<Option<Policy>>,
    /// Hidden policies on a diagnosis category with a family of services.
    pub diagnosis_policies: BTreeMap<(&'static str, Family), Policy>,
    /// Providers not enrolled with it: practice, provider, from, to.
    pub gaps: Vec<(usize, usize, Date, Date)>,
    /// Effect of each family on the base (thousandths of log-odds).
    pub families: Vec<i64>,
}

/// A person who gives care.
#[derive(Clone, Debug)]
pub struct ProviderWorld {
    /// NPI.
    pub npi: String,
    /// Effect on the base (thousandths of log-odds).
    pub effect: i64,
    /// How careless its claims are, in percent of the ordinary.
    pub sloppiness: u32,
}

/// A practice: whoever bills.
#[derive(Clone, Debug)]
pub struct PracticeWorld {
    /// Billing NPI, which names the practice.
    pub npi: String,
    /// Tax id.
    pub tax_id: String,
    /// CLIA number, for those who do laboratory work.
    pub clia: String,
    /// What it does.
    pub specialty: &'static Specialty,
    /// Who works there.
    pub providers: Vec<ProviderWorld>,
    /// Share of the claims.
    pub weight: u32,
    /// What it charges, in percent of the ordinary.
    pub charges: i64,
    /// How it writes control numbers (four ways).
    pub numbering: usize,
    /// When it sends its batch (minute of the day, UTC).
    pub minute: u32,
    /// How many days after the service it sends a claim.
    pub lag: i64,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct World {
    /// The practices.
    pub practices: Vec<PracticeWorld>,
    /// The payers.
    pub payers: Vec<PayerWorld>,
}

const CLASSES: [Class; 10] = [
    Class::Medicare,
    Class::Commercial,
    Class::Advantage,
    Class::Medicaid,
    Class::Commercial,
    Class::ManagedMedicaid,
    Class::Advantage,
    Class::Commercial,
    Class::Commercial,
    Class::ManagedMedicaid,
];

impl World {
    /// Draws the world of the options' seed.
    pub fn new(options: &Options) -> Self {
        let practices = (0..options.practices.max(1)).map(|place| practice(options, place)).collect::<Vec<_>>();
        let payers = (0..options.payers.max(1)).map(|place| payer(options, place, &practices)).collect();
        Self { practices, payers }
    }

    /// Practices of one claim type with their share; never empty for a type that is drawn.
    pub fn practices_of(&self, claim_type: ClaimType) -> Vec<u32> {
        self.practices
            .iter()
            .map(|practice| if practice.specialty.claim_type == claim_type { practice.weight } else { 0 })
            .collect()
    }

    /// Payers with their share of the claims of that type.
    pub fn payers_of(&self, claim_type: ClaimType) -> Vec<u32> {
        let count = |class| u32::try_from(self.payers.iter().filter(|p| p.class == class).count().max(1)).unwrap_or(1);
        self.payers
            .iter()
            .map(|payer| {
                let share = match (payer.class, claim_type) {
                    (Class::Medicare | Class::Advantage, ClaimType::Dental) => 0,
                    (Class::Medicare, _) => 2600,
                    (Class::Advantage, _) => 2000,
                    (Class::Commercial, _) => 3500,
                    (Class::Medicaid, _) => 800,
                    (Class::ManagedMedicaid, _) => 1100,
                };
                share / count(payer.class)
            })
            .collect()
    }
}

/// Which specialty a practice has: three in four professional, then hospitals, then dentists.
fn specialty_of(place: u32) -> &'static Specialty {
    let kind = match place {
        0 => 0,
        1 => 9,
        2 => 10,
        _ if place % 5 == 1 => 9,
        _ if place % 11 == 2 => 10,
        _ => usize::try_from(place % 9).unwrap_or(0),
    };
    SPECIALTIES.get(kind).unwrap_or(&SPECIALTIES[0])
}

fn practice(options: &Options, place: u32) -> PracticeWorld {
    let mut rand = Rand::of(options.seed, "practice", u64::from(place));
    let specialty = specialty_of(place);
    let count = match specialty.claim_type {
        ClaimType::Institutional => rand.between(8, 14),
        _ => rand.between(2, 8),
    };
    let carelessness = rand.around(100, 60);
    let providers = (0..count)
        .map(|_| ProviderWorld {
            npi: npi(&mut rand),
            effect: rand.around(0, 700),
            sloppiness: u32::try_from((carelessness + rand.around(0, 60)).max(20)).unwrap_or(100),
        })
        .collect();
    PracticeWorld {
        npi: npi(&mut rand),
        tax_id: rand.digits(9),
        clia: format!("{}D{}", rand.digits(2), rand.digits(7)),
        specialty,
        providers,
        weight: u32::try_from(rand.between(30, 100)).unwrap_or(50),
        charges: rand.around(110, 50),
        numbering: usize::try_from(place % 4).unwrap_or(0),
        minute: u32::try_from(rand.between(60, 1380)).unwrap_or(600),
        lag: rand.between(1, 9),
    }
}

const POLICY_REASONS: [(&str, &str); 8] = [
    ("50", "N115"),
    ("96", "N130"),
    ("204", "N130"),
    ("97", "M15"),
    ("55", "N623"),
    ("252", "M127"),
    ("11", "M76"),
    ("151", "N362"),
];

fn payer(options: &Options, place: u32, practices: &[PracticeWorld]) -> PayerWorld {
    let mut rand = Rand::of(options.seed, "payer", u64::from(place));
    let class = CLASSES.get(usize::try_from(place % 10).unwrap_or(0)).copied().unwrap_or(Class::Commercial);
    let (strictness, base, allowed) = match class {
        Class::Medicare => (42, -4_300, 42),
        Class::Advantage => (rand.between(90, 125), -3_350, 45),
        Class::Commercial => (rand.between(50, 130), rand.between(-4_300, -3_400), rand.between(52, 72)),
        Class::Medicaid => (170, -2_850, 30),
        Class::ManagedMedicaid => (rand.between(95, 130), -3_350, 33),
    };
    let mut step = 0;
    let walk = (0..=options.months.max(1))
        .map(|_| {
            step += if options.drift { rand.around(0, 160) } else { 0 };
            step
        })
        .collect();
    let edits = EDITS.iter().map(|edit| enforcement(options, &mut rand, edit.mean)).collect();
    let authorization = PROCEDURES
        .iter()
        .map(|procedure| {
            let listed = class != Class::Medicare && rand.chance(procedure.authorization * 9_000);
            let q = rand.around(700_000, 280_000);
            if listed { u32::try_from(q).unwrap_or(0) } else { 0 }
        })
        .collect();
    PayerWorld {
        id: format!("9{:04}", 1000 + 37 * place),
        name: format!("PAYER {:02}", place + 1),
        class,
        base,
        walk,
        allowed,
        status_four: rand.chance(250_000),
        hands_frequency_back: rand.chance(700_000),
        keeps_number: rand.chance(500_000),
        timely_limit: if class == Class::Commercial { rand.between(90, 180) } else { 365 },
        mangling: u64::from(place % 4),
        wants_ndc: class != Class::Medicare,
        edits,
        authorization,
        policies: policies(options, &mut rand, strictness),
        diagnosis_policies: diagnosis_policies(options, &mut rand, strictness),
        gaps: gaps(options, &mut rand, practices),
        families: Family::ALL.iter().map(|_| rand.around(0, 600)).collect(),
    }
}

fn some_day(options: &Options, rand: &mut Rand) -> Date {
    options.start + chrono::TimeDelta::days(rand.between(0, i64::from(options.months.max(1)) * 30))
}

fn enforcement(options: &Options, rand: &mut Rand, mean: u32) -> Enforcement {
    let draw = |rand: &mut Rand| {
        u32::try_from(rand.around(i64::from(mean), 450_000).clamp(30_000, 985_000)).unwrap_or(MILLION / 2)
    };
    let before = draw(rand);
    let (after, jumps, turn) = (draw(rand), rand.chance(250_000), some_day(options, rand));
    Enforcement { before, after: if jumps && options.drift { after } else { before }, turn }
}

fn policy(options: &Options, rand: &mut Rand) -> Policy {
    let (carc, rarc) = rand.pick(&POLICY_REASONS).copied().unwrap_or(("50", "N115"));
    let q = u32::try_from(rand.around(480_000, 400_000)).unwrap_or(MILLION / 2);
    let day = some_day(options, rand);
    let late = rand.chance(500_000) && options.drift;
    Policy { q, carc, rarc, from: if late { day } else { options.start - chrono::TimeDelta::days(400) } }
}

/// Hidden policies on 4.5 % of the services, more with strict payers.
fn policies(options: &Options, rand: &mut Rand, strictness: i64) -> Vec<Option<Policy>> {
    let share = u32::try_from(450 * strictness).unwrap_or(0);
    PROCEDURES
        .iter()
        .map(|_| {
            let (holds, policy) = (rand.chance(share), policy(options, rand));
            holds.then_some(policy)
        })
        .collect()
}

/// Hidden policies on 1.5 % of the pairs of a diagnosis category and a family.
fn diagnosis_policies(options: &Options, rand: &mut Rand, strictness: i64) -> BTreeMap<(&'static str, Family), Policy> {
    let share = u32::try_from(150 * strictness).unwrap_or(0);
    let mut found = BTreeMap::new();
    let categories: std::collections::BTreeSet<&'static str> =
        SPECIALTIES.iter().flat_map(|s| s.diagnoses).filter_map(|code| code.get(..3)).collect();
    for category in categories {
        for family in Family::ALL {
            let (holds, policy) = (rand.chance(share), policy(options, rand));
            if holds {
                found.insert((category, family), policy);
            }
        }
    }
    found
}

/// One provider in 125 is not enrolled with a payer for some months.
fn gaps(options: &Options, rand: &mut Rand, practices: &[PracticeWorld]) -> Vec<(usize, usize, Date, Date)> {
    let mut found = Vec::new();
    for (place, practice) in practices.iter().enumerate() {
        for provider in 0..practice.providers.len() {
            let from = some_day(options, rand);
            let days = rand.between(60, 200);
            if rand.chance(8_000) {
                found.push((place, provider, from, from + chrono::TimeDelta::days(days)));
            }
        }
    }
    found
}
