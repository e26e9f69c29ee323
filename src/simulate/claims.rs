//! Makes claims: who is treated where, for what, at what charge, and when the claim is sent.
//!
//! Must never: decide anything about a payer's answer, or use a name or number of a real person.

use chrono::{Datelike, TimeDelta, Weekday};

use super::Options;
use super::codes::{Family, INPATIENT, PROCEDURES, Procedure, place_of};
use super::edits::Violation;
use super::random::{Rand, npi};
use super::world::{Class, PracticeWorld, World};
use crate::domain::claim::{
    Claim, ClaimType, Ndc, OtherPayer, Payer, Provider, Responsibility, ServiceLine, Subscriber,
};
use crate::domain::types::{Cents, Date, Instant, Phi, Units};

/// A claim in the making, with what the simulator knows of it.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The claim.
    pub claim: Claim,
    /// Place of the practice in the world.
    pub practice: usize,
    /// Place of the provider in the practice.
    pub provider: usize,
    /// Place of the payer in the world.
    pub payer: usize,
    /// Number of the patient.
    pub patient: u32,
    /// The service of each line, by place in the list of procedures.
    pub services: Vec<usize>,
    /// When it is sent.
    pub submitted: Instant,
    /// The visible errors on it.
    pub violations: Vec<Violation>,
    /// The second payer of the patient, if there is one.
    pub second_payer: Option<usize>,
    /// On a secondary claim: what the first payer left of each line, in cents.
    pub owed: Vec<i64>,
}

struct Patient {
    number: u32,
    member_id: String,
    birth_date: Date,
    gender: &'static str,
    dependent: bool,
    second_payer: Option<usize>,
}

/// Draws the first submission of a claim, still without errors.
pub fn draft(options: &Options, world: &World, episode: u32, rand: &mut Rand) -> Option<Draft> {
    let claim_type = match rand.weighted(&[75, 20, 5]) {
        0 => ClaimType::Professional,
        1 => ClaimType::Institutional,
        _ => ClaimType::Dental,
    };
    let place = rand.weighted(&world.practices_of(claim_type));
    let payer = rand.weighted(&world.payers_of(claim_type));
    let practice = world.practices.get(place)?;
    let claim_type = practice.specialty.claim_type;
    let patient = patient(options, world, payer, rand);
    let provider = rand.index(practice.providers.len());
    let (service_day, submitted) = days(options, practice, rand);
    let mut draft = Draft {
        claim: header(world, practice, &patient, payer, claim_type),
        practice: place,
        provider,
        payer,
        patient: patient.number,
        services: Vec::new(),
        submitted,
        violations: Vec::new(),
        second_payer: patient.second_payer,
        owed: Vec::new(),
    };
    draft.claim.patient_control_number =
        Phi::new(control_number(practice.numbering, u64::from(episode) * 2 + 1, patient.number));
    draft.claim.submitted_at = Some(submitted.date_naive());
    if rand.chance(200_000) {
        draft.claim.claim_control_number = Some(Phi::new(format!("CH{}", rand.digits(10))));
    }
    diagnoses(&mut draft.claim, practice, rand);
    match claim_type {
        ClaimType::Institutional => hospital(&mut draft, practice, service_day, rand),
        _ => office(&mut draft, practice, service_day, rand),
    }
    draft.claim.total_charge = draft.claim.lines_total();
    authorization(&mut draft, world, rand);
    Some(draft)
}

/// How a practice writes a control number; `sequence` is unique over all claims.
pub fn control_number(numbering: usize, sequence: u64, patient: u32) -> String {
    match numbering {
        0 => format!("PCN-{sequence:07}"),
        1 => format!("{sequence:010}"),
        2 => format!("{sequence:08}V{patient:07}X{:04}", sequence * 7919 % 10_000),
        _ => format!("A{sequence:08}"),
    }
}

/// The day of the service and the time of submission, which is never before it.
fn days(options: &Options, practice: &PracticeWorld, rand: &mut Rand) -> (Date, Instant) {
    let length = i64::from(options.months.max(1)) * 30;
    let sent = working_day(options.start + TimeDelta::days(rand.between(0, length - 1)));
    let service = sent - TimeDelta::days(practice.lag + rand.between(0, 9));
    (service, at(sent, practice.minute))
}

/// The instant of a minute of a day.
pub fn at(day: Date, minute: u32) -> Instant {
    day.and_hms_opt(minute / 60 % 24, minute % 60, 0).unwrap_or_default().and_utc()
}

/// That day, or the Monday after it.
pub fn working_day(day: Date) -> Date {
    match day.weekday() {
        Weekday::Sat => day + TimeDelta::days(2),
        Weekday::Sun => day + TimeDelta::days(1),
        _ => day,
    }
}

fn patient(options: &Options, world: &World, payer: usize, rand: &mut Rand) -> Patient {
    let pool = u64::from(options.claims) / (5 * u64::try_from(world.payers.len()).unwrap_or(1)).max(1) + 20;
    let number = u32::try_from(rand.below(pool)).unwrap_or(0) * 100 + u32::try_from(payer % 100).unwrap_or(0);
    let mut own = Rand::of(options.seed, "patient", u64::from(number));
    let class = world.payers.get(payer).map_or(Class::Commercial, |payer| payer.class);
    let years = match class {
        Class::Medicare | Class::Advantage => own.between(66, 92),
        Class::Medicaid | Class::ManagedMedicaid => own.between(2, 60),
        Class::Commercial => own.between(3, 63),
    };
    let birth_date = options.start - TimeDelta::days(years * 365 + own.between(0, 364));
    let member_id = if class == Class::Medicare {
        format!("{}EG{}TE{}MK{}", own.digits(1), own.digits(1), own.digits(1), own.digits(2))
    } else {
        format!("W{}", own.digits(9))
    };
    let second_share = match class {
        Class::Medicare => 300_000,
        Class::Commercial => 40_000,
        _ => 0,
    };
    let commercial: Vec<usize> = (0..world.payers.len())
        .filter(|&other| other != payer && world.payers.get(other).is_some_and(|p| p.class == Class::Commercial))
        .collect();
    let second = own.pick(&commercial).copied();
    Patient {
        number,
        member_id,
        birth_date,
        gender: if own.chance(530_000) { "F" } else { "M" },
        dependent: class == Class::Commercial && own.chance(350_000),
        second_payer: if own.chance(second_share) { second } else { None },
    }
}

fn header(world: &World, practice: &PracticeWorld, patient: &Patient, payer: usize, claim_type: ClaimType) -> Claim {
    let insurer = world.payers.get(payer);
    Claim {
        complete: true,
        frequency_code: "1".to_owned(),
        filing_indicator: insurer.map(|p| p.class.filing_indicator(payer, claim_type).to_owned()),
        claim_type,
        facility_type_code: Some(practice.specialty.place.to_owned()),
        assignment_code: Some("A".to_owned()),
        payer: Payer { id: insurer.map(|p| p.id.clone()), name: insurer.map(|p| p.name.clone()) },
        subscriber: Subscriber {
            member_id: Some(Phi::new(patient.member_id.clone())),
            birth_date: Some(Phi::new(patient.birth_date)),
            gender: Some(Phi::new(patient.gender.to_owned())),
        },
        patient_is_dependent: patient.dependent,
        billing_provider: Provider {
            npi: Some(practice.npi.clone()),
            tax_id: Some(practice.tax_id.clone()),
            taxonomy_code: Some(practice.specialty.taxonomy.to_owned()),
            is_organization: Some(true),
        },
        other_payers: patient
            .second_payer
            .and_then(|second| world.payers.get(second))
            .map(|second| OtherPayer {
                id: Some(second.id.clone()),
                responsibility: Some(Responsibility::Secondary),
                ..OtherPayer::default()
            })
            .into_iter()
            .collect(),
        ..Claim::default()
    }
}

fn diagnoses(claim: &mut Claim, practice: &PracticeWorld, rand: &mut Rand) {
    let list = practice.specialty.diagnoses;
    let count = rand.weighted(&[45, 30, 15, 10]) + 1;
    let first = rand.index(list.len());
    claim.diagnosis_codes =
        list.iter().cycle().skip(first).take(count.min(list.len())).map(|code| (*code).to_owned()).collect();
}

/// Distinct services: one of the leading ones, then some of the others.
fn services(lead: &[&str], more: &[&str], rand: &mut Rand) -> Vec<usize> {
    let count = rand.weighted(&[34, 24, 16, 10, 6, 5, 3, 2]);
    let opening = rand.pick(lead).copied().unwrap_or_default();
    let first = rand.index(more.len());
    let mut found = vec![place_of(opening)];
    for code in more.iter().cycle().skip(first).take(more.len()) {
        let place = place_of(code);
        if found.len() <= count && !found.contains(&place) {
            found.push(place);
        }
    }
    found
}

fn charge(procedure: &Procedure, practice: &PracticeWorld, units: i64, rand: &mut Rand) -> Cents {
    let percent = practice.charges * rand.around(100, 12);
    Cents::new((procedure.charge * units * percent / 10_000).max(500))
}

fn line(number: usize, procedure: &Procedure, practice: &PracticeWorld, rand: &mut Rand) -> ServiceLine {
    let units = if procedure.most_units > 1 { rand.between(1, procedure.most_units) } else { 1 };
    ServiceLine {
        control_number: Some(Phi::new((number + 1).to_string())),
        procedure_code: Some(procedure.code).filter(|code| !code.is_empty()).map(str::to_owned),
        charge: charge(procedure, practice, units, rand),
        units: Some(Units::from_thousandths(units * 1000)),
        unit_type: Some("UN".to_owned()),
        ..ServiceLine::default()
    }
}

/// Modifiers that a careful practice puts on.
fn modifiers(procedure: &Procedure, with_others: bool, telehealth: bool) -> Vec<String> {
    let code = match procedure.family {
        Family::Therapy => "GP",
        Family::Visit if with_others => "25",
        Family::Behavioral if telehealth => "95",
        _ => return Vec::new(),
    };
    vec![code.to_owned()]
}

fn drug(procedure: &Procedure, units: Option<Units>) -> Option<Ndc> {
    if procedure.family != Family::Drug {
        return None;
    }
    let place = place_of(procedure.code);
    Some(Ndc { code: format!("000{:08}", 11_223_344 + place * 1_000), unit: Some("ML".to_owned()), quantity: units })
}

/// A professional or dental claim.
fn office(draft: &mut Draft, practice: &PracticeWorld, day: Date, rand: &mut Rand) {
    let specialty = practice.specialty;
    let dental = specialty.claim_type == ClaimType::Dental;
    draft.services = services(specialty.lead, specialty.more, rand);
    let operates = draft.services.iter().filter_map(|&s| PROCEDURES.get(s)).any(|p| p.family == Family::Surgery);
    let telehealth = specialty.taxonomy == "103T00000X" && rand.chance(250_000);
    if telehealth {
        draft.claim.facility_type_code = Some("10".to_owned());
    }
    let known = draft.claim.diagnosis_codes.len();
    for (number, &service) in draft.services.iter().enumerate() {
        let Some(procedure) = PROCEDURES.get(service) else { continue };
        let mut line = line(number, procedure, practice, rand);
        line.modifiers = modifiers(procedure, operates, telehealth);
        line.service_from = Some(day);
        line.ndc = drug(procedure, line.units);
        if dental {
            line.unit_type = None;
        } else if known > 0 {
            let pointer = u8::try_from(rand.index(known) + 1).unwrap_or(1);
            line.diagnosis_pointers = if pointer == 1 { vec![1] } else { vec![1, pointer] };
        }
        draft.claim.lines.push(line);
    }
    let provider = practice.providers.get(draft.provider);
    draft.claim.rendering_provider = provider.map(|provider| Provider {
        npi: Some(provider.npi.clone()),
        taxonomy_code: Some(specialty.taxonomy.to_owned()),
        is_organization: Some(false),
        ..Provider::default()
    });
    let families: Vec<Family> =
        draft.services.iter().filter_map(|&s| PROCEDURES.get(s)).map(|procedure| procedure.family).collect();
    if families.iter().any(|f| matches!(f, Family::Imaging | Family::Lab | Family::Drug)) {
        draft.claim.referring_provider =
            Some(Provider { npi: Some(npi(rand)), is_organization: Some(false), ..Provider::default() });
    }
    if families.contains(&Family::Lab) {
        draft.claim.clia_number = Some(practice.clia.clone());
    }
}

/// An institutional claim, of an outpatient or of a stay.
fn hospital(draft: &mut Draft, practice: &PracticeWorld, day: Date, rand: &mut Rand) {
    let stay = rand.chance(280_000);
    let nights = if stay { rand.between(1, 7) } else { 0 };
    draft.services = if stay {
        services(&["0120"], INPATIENT, rand)
    } else {
        services(practice.specialty.lead, practice.specialty.more, rand)
    };
    for (number, &service) in draft.services.iter().enumerate() {
        let Some(procedure) = PROCEDURES.get(service) else { continue };
        let mut line = line(number, procedure, practice, rand);
        line.revenue_code = Some(procedure.revenue.to_owned());
        line.service_from = (!stay).then_some(day);
        line.ndc = drug(procedure, line.units);
        if procedure.family == Family::Room && matches!(procedure.revenue, "0120" | "0200") {
            line.unit_type = Some("DA".to_owned());
        }
        draft.claim.lines.push(line);
    }
    let claim = &mut draft.claim;
    claim.facility_type_code = Some(if stay { "11" } else { "13" }.to_owned());
    claim.type_of_bill = Some(if stay { "0111" } else { "0131" }.to_owned());
    claim.statement_date = Some(day - TimeDelta::days(nights));
    claim.statement_to_date = Some(day);
    claim.admission_type_code = Some(if stay { "1" } else { "3" }.to_owned());
    claim.admission_source_code = Some("1".to_owned());
    claim.discharge_status_code = Some("01".to_owned());
    if stay {
        claim.admission_date = claim.statement_date;
    }
    claim.attending_provider = practice.providers.get(draft.provider).map(|provider| Provider {
        npi: Some(provider.npi.clone()),
        is_organization: Some(false),
        ..Provider::default()
    });
}

/// Four practices in five have asked for the authorization that the payer wants.
fn authorization(draft: &mut Draft, world: &World, rand: &mut Rand) {
    let Some(payer) = world.payers.get(draft.payer) else { return };
    let wanted = draft.services.iter().any(|&s| payer.authorization.get(s).is_some_and(|&q| q > 0));
    let (asked, number) = (rand.chance(800_000), rand.digits(8));
    if wanted && asked {
        draft.claim.prior_authorization_number = Some(Phi::new(format!("AU{number}")));
    }
}
