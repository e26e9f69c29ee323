//! A claim as it was submitted (X12 837), free of how it travelled.
//!
//! Must never: know JSON, X12 or SQL. A field that is `None` or empty is unknown, and a rule that needs it abstains.

use super::member::MemberKey;
use super::remittance::Adjustment;
use super::types::{Cents, Date, Phi, Units};

/// Which payer a claim goes to, of those the patient has (X12 SBR01).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Responsibility {
    /// The first payer.
    #[default]
    Primary,
    /// The second payer, after the first has paid.
    Secondary,
    /// The third payer or a later one.
    Tertiary,
}

impl Responsibility {
    /// Reads SBR01; codes A to H (fourth payer and beyond) count as tertiary, unknown codes give `None`.
    pub fn parse(code: &str) -> Option<Self> {
        match code {
            "P" => Some(Self::Primary),
            "S" => Some(Self::Secondary),
            "T" | "A" | "B" | "C" | "D" | "E" | "F" | "G" | "H" => Some(Self::Tertiary),
            _ => None,
        }
    }

    /// The code as X12 writes it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Primary => "P",
            Self::Secondary => "S",
            Self::Tertiary => "T",
        }
    }
}

/// The three forms of the 837.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ClaimType {
    /// 837P: physicians and other professionals (service lines SV1).
    #[default]
    Professional,
    /// 837I: hospitals and other institutions (service lines SV2).
    Institutional,
    /// 837D: dentists (service lines SV3).
    Dental,
}

impl ClaimType {
    /// The word used in events and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Professional => "professional",
            Self::Institutional => "institutional",
            Self::Dental => "dental",
        }
    }

    /// Reads the word used in events and tables.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "professional" => Some(Self::Professional),
            "institutional" => Some(Self::Institutional),
            "dental" => Some(Self::Dental),
            _ => None,
        }
    }
}

/// A payer as a claim or remittance names it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Payer {
    /// Payer id (837 loop 2010BB NM109, 835 loop 1000A N104); absent in some files.
    pub id: Option<String>,
    /// Payer name.
    pub name: Option<String>,
}

impl Payer {
    /// What names the payer everywhere: its id, else `name:` and its name in capitals, else `unknown`.
    pub fn key(&self) -> String {
        if let Some(id) = self.id.as_deref().map(str::trim).filter(|id| !id.is_empty()) {
            return id.to_owned();
        }
        let name = self.name.as_deref().unwrap_or_default();
        let words: Vec<String> = name.split_whitespace().map(str::to_uppercase).collect();
        if words.is_empty() { "unknown".to_owned() } else { format!("name:{}", words.join(" ")) }
    }
}

/// The insured, or the patient where the patient is a dependent. All of it is patient data.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Subscriber {
    /// Member id (837 loop 2010BA NM109).
    pub member_id: Option<Phi<String>>,
    /// Birth date of the patient (DMG02).
    pub birth_date: Option<Phi<Date>>,
    /// `F`, `M` or `U` (DMG03).
    pub gender: Option<Phi<String>>,
}

/// Words that people put where a number is missing.
const FILLERS: [&str; 10] = ["UNKNOWN", "UNK", "NONE", "NA", "N/A", "TBD", "PENDING", "SELF", "TEST", "NOTONFILE"];

fn is_filler(id: &str) -> bool {
    let first = id.bytes().next();
    // One character over and over (000000000, XXXXXX); a short id may be real.
    let repeats = id.len() >= 4 && id.bytes().all(|byte| Some(byte) == first);
    repeats || FILLERS.iter().any(|filler| id.eq_ignore_ascii_case(filler))
}

impl Subscriber {
    /// The member id, where there is one that is no filler.
    pub fn usable_member_id(&self) -> Option<&str> {
        let id = self.member_id.as_ref()?.expose().trim();
        (!id.is_empty() && !is_filler(id)).then_some(id)
    }
}

/// A provider in one of its parts (billing, rendering, referring, attending, ordering, facility).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Provider {
    /// National Provider Identifier (NM108 = XX).
    pub npi: Option<String>,
    /// Tax id, digits only (REF EI/SY, or NM108 = 24/34/FI): names the practice where there is no NPI.
    pub tax_id: Option<String>,
    /// Taxonomy code (PRV03).
    pub taxonomy_code: Option<String>,
    /// Whether it is an organisation (NM102 = 2) or a person (1); `None` when not told.
    pub is_organization: Option<bool>,
}

/// Another payer of the same patient, and what it did (837 loops 2320, 2330, 2430).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OtherPayer {
    /// Payer id (loop 2330B NM109).
    pub id: Option<String>,
    /// Its place in the order of payers (loop 2320 SBR01).
    pub responsibility: Option<Responsibility>,
    /// What it paid on the claim (AMT*D).
    pub paid_amount: Option<Cents>,
    /// Its adjustments, claim and lines together (CAS).
    pub adjustments: Vec<Adjustment>,
}

/// A document sent or held for the claim (PWK).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Attachment {
    /// Report type code (PWK01).
    pub report_type_code: Option<String>,
    /// How it is sent (PWK02).
    pub transmission_code: Option<String>,
}

/// A drug on a service line (LIN and CTP).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ndc {
    /// National Drug Code (LIN03 where LIN02 = N4).
    pub code: String,
    /// Unit of measure (CTP05-1).
    pub unit: Option<String>,
    /// Quantity (CTP04).
    pub quantity: Option<Units>,
}

/// One service line (SV1, SV2 or SV3 with its DTP, REF, LIN, CTP and provider loops).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ServiceLine {
    /// The submitter's own line number (REF*6R, else LX01). Some submitters make it of the patient's account.
    pub control_number: Option<Phi<String>>,
    /// HCPCS, CPT or CDT code (SV101-2, SV202-2, SV301-2).
    pub procedure_code: Option<String>,
    /// Up to four modifiers, in order.
    pub modifiers: Vec<String>,
    /// Revenue code (SV201).
    pub revenue_code: Option<String>,
    /// Charge (SV102, SV203, SV302).
    pub charge: Cents,
    /// Units (SV104, SV205, SV306); `None` when not told.
    pub units: Option<Units>,
    /// What the units are: `UN`, `MJ` (minutes), `DA` (days) ... (SV103, SV204).
    pub unit_type: Option<String>,
    /// Place of service, where it differs from the claim's (SV105).
    pub place_of_service: Option<String>,
    /// First day of service (DTP*472).
    pub service_from: Option<Date>,
    /// Last day of service, when it is a range.
    pub service_to: Option<Date>,
    /// Places in the claim's diagnosis list, from 1 (SV107). Empty when none were given.
    pub diagnosis_pointers: Vec<u8>,
    /// The drug given, if one is named.
    pub ndc: Option<Ndc>,
    /// Free text on what was done (SV101-7 or NTE).
    pub description: Option<Phi<String>>,
    /// Ordering provider (loop 2420E).
    pub ordering_provider: Option<Provider>,
}

/// A whole claim, one submission of it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Claim {
    /// Practice as named by the publisher; see [`Claim::practice_key`].
    pub practice_id: Option<String>,
    /// Patient control number (CLM01).
    pub patient_control_number: Phi<String>,
    /// Claim number given by the clearinghouse, if any (REF*D9).
    pub claim_control_number: Option<Phi<String>>,
    /// Which payer this goes to.
    pub responsibility: Responsibility,
    /// Claim frequency (CLM05-3): `1` original, `7` replacement, `8` void, others on institutional claims.
    pub frequency_code: String,
    /// The payer's number of the claim this one replaces or voids (REF*F8).
    pub payer_claim_control_number: Option<Phi<String>>,
    /// Kind of insurance (SBR09).
    pub filing_indicator: Option<String>,
    /// Which 837.
    pub claim_type: ClaimType,
    /// Place of service (837P) or the first two digits of the type of bill (837I) (CLM05-1).
    pub facility_type_code: Option<String>,
    /// Whole type of bill, four characters (837I).
    pub type_of_bill: Option<String>,
    /// Whether the provider takes assignment (CLM07).
    pub assignment_code: Option<String>,
    /// The payer this claim goes to.
    pub payer: Payer,
    /// The patient's insurance.
    pub subscriber: Subscriber,
    /// Whether the patient is a dependent with an own loop (HL 23).
    pub patient_is_dependent: bool,
    /// Billing provider (loop 2010AA).
    pub billing_provider: Provider,
    /// Rendering provider (loop 2310B).
    pub rendering_provider: Option<Provider>,
    /// Referring provider (loop 2310A).
    pub referring_provider: Option<Provider>,
    /// Attending provider (837I loop 2310A).
    pub attending_provider: Option<Provider>,
    /// Ordering provider, where given for the claim.
    pub ordering_provider: Option<Provider>,
    /// Service facility (loop 2310C).
    pub service_facility: Option<Provider>,
    /// Prior authorization number (REF*G1).
    pub prior_authorization_number: Option<Phi<String>>,
    /// Referral number (REF*9F).
    pub referral_number: Option<Phi<String>>,
    /// CLIA number of the laboratory (REF*X4).
    pub clia_number: Option<String>,
    /// Statement from-date (DTP*434) of an institutional claim.
    pub statement_date: Option<Date>,
    /// Statement through-date (DTP*434).
    pub statement_to_date: Option<Date>,
    /// Admission date (DTP*435).
    pub admission_date: Option<Date>,
    /// Discharge date (DTP*096).
    pub discharge_date: Option<Date>,
    /// Accident date (DTP*439).
    pub accident_date: Option<Date>,
    /// Causes such as `AA` (auto), `EM` (employment), `OA` (other) (CLM11).
    pub related_causes: Vec<String>,
    /// Admission type (CL101).
    pub admission_type_code: Option<String>,
    /// Admission source (CL102).
    pub admission_source_code: Option<String>,
    /// Patient status at discharge (CL103).
    pub discharge_status_code: Option<String>,
    /// Day the claim was sent (BHT04 or the publisher's word).
    pub submitted_at: Option<Date>,
    /// Total charge (CLM02).
    pub total_charge: Cents,
    /// ICD-10 diagnosis codes without dots, principal first (HI).
    pub diagnosis_codes: Vec<String>,
    /// Condition codes (HI*BG).
    pub condition_codes: Vec<String>,
    /// Other payers and what they did.
    pub other_payers: Vec<OtherPayer>,
    /// Documents sent along.
    pub attachments: Vec<Attachment>,
    /// The service lines.
    pub lines: Vec<ServiceLine>,
    /// Whether it was read whole from its 837, so that an optional field it lacks was *not sent*. Of a claim that came as
    /// an event its publisher may say so; else what is absent is unknown.
    pub complete: bool,
}

impl Claim {
    /// The practice a claim belongs to: the publisher's id, else the billing provider's NPI, else its tax id.
    pub fn practice_key(&self) -> Option<&str> {
        practice_key(self.practice_id.as_deref(), &self.billing_provider)
    }

    /// What names the member in the practice; none without a usable member id.
    pub fn member_key(&self) -> Option<MemberKey> {
        Some(MemberKey::of(self.practice_key()?, self.subscriber.usable_member_id()?))
    }

    /// The first day of service: the earliest of the lines, else the statement's, else the admission.
    pub fn service_date(&self) -> Option<Date> {
        self.lines.iter().filter_map(|line| line.service_from).min().or(self.statement_date).or(self.admission_date)
    }

    /// The last day of service: the latest of the lines, else the statement's end, else the discharge.
    pub fn last_service_date(&self) -> Option<Date> {
        self.lines
            .iter()
            .filter_map(|line| line.service_to.or(line.service_from))
            .max()
            .or(self.statement_to_date)
            .or(self.discharge_date)
            .or_else(|| self.service_date())
    }

    /// Whether this submission replaces an earlier one (frequency 7).
    pub fn is_replacement(&self) -> bool {
        self.frequency_code == "7"
    }

    /// Whether this submission voids an earlier one (frequency 8).
    pub fn is_void(&self) -> bool {
        self.frequency_code == "8"
    }

    /// The sum of the lines' charges.
    pub fn lines_total(&self) -> Cents {
        self.lines.iter().map(|line| line.charge).sum()
    }
}

/// The practice that a publisher's id or a provider stands for.
pub fn practice_key<'a>(practice_id: Option<&'a str>, provider: &'a Provider) -> Option<&'a str> {
    practice_id
        .filter(|id| !id.is_empty())
        .or(provider.npi.as_deref().filter(|npi| !npi.is_empty()))
        .or(provider.tax_id.as_deref().filter(|tax| !tax.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payer_is_known_by_id_else_by_name() {
        let key = |id: Option<&str>, name: Option<&str>| {
            Payer { id: id.map(str::to_owned), name: name.map(str::to_owned) }.key()
        };
        assert_eq!(key(Some(" 60054 "), Some("x")), "60054");
        assert_eq!(key(Some(""), Some("Example  health Plan")), "name:EXAMPLE HEALTH PLAN");
        assert_eq!(key(None, None), "unknown");
    }
}
