//! The codes the simulated practices use: numbers only, without the wording of their owners.
//!
//! Must never: be taken for a reference table. It is a small sample, and the charges are made up.

use crate::domain::claim::ClaimType;

/// Families of procedures: the level at which payers' hidden habits differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Visits.
    Visit,
    /// Imaging.
    Imaging,
    /// Laboratory.
    Lab,
    /// Tests on the heart and the vessels.
    Cardiac,
    /// Operations, large and small.
    Surgery,
    /// Physical therapy.
    Therapy,
    /// Behavioural health.
    Behavioral,
    /// Drugs given by the practice.
    Drug,
    /// Emergency visits.
    Emergency,
    /// Room and board, and what a hospital bills by revenue code alone.
    Room,
    /// Dentistry.
    Dental,
}

impl Family {
    /// All families, in order.
    pub const ALL: [Self; 11] = [
        Self::Visit,
        Self::Imaging,
        Self::Lab,
        Self::Cardiac,
        Self::Surgery,
        Self::Therapy,
        Self::Behavioral,
        Self::Drug,
        Self::Emergency,
        Self::Room,
        Self::Dental,
    ];

    /// The word used in the truth file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Visit => "visit",
            Self::Imaging => "imaging",
            Self::Lab => "lab",
            Self::Cardiac => "cardiac",
            Self::Surgery => "surgery",
            Self::Therapy => "therapy",
            Self::Behavioral => "behavioral",
            Self::Drug => "drug",
            Self::Emergency => "emergency",
            Self::Room => "room",
            Self::Dental => "dental",
        }
    }
}

/// A service that can be billed.
#[derive(Clone, Copy, Debug)]
pub struct Procedure {
    /// HCPCS, CPT or CDT code; empty where only a revenue code is billed.
    pub code: &'static str,
    /// Its family.
    pub family: Family,
    /// The usual charge for one unit, in cents.
    pub charge: i64,
    /// Revenue code on an institutional claim.
    pub revenue: &'static str,
    /// The most units on one line.
    pub most_units: i64,
    /// Weight of the service being on payers' lists of what needs authorization, in percent.
    pub authorization: u32,
}

const fn service(
    code: &'static str,
    family: Family,
    charge: i64,
    revenue: &'static str,
    most_units: i64,
    authorization: u32,
) -> Procedure {
    Procedure { code, family, charge, revenue, most_units, authorization }
}

/// Every service of the simulation. Hidden rules are kept by the place in this list.
pub static PROCEDURES: &[Procedure] = &[
    service("99202", Family::Visit, 14_500, "0510", 1, 0),
    service("99203", Family::Visit, 21_000, "0510", 1, 0),
    service("99204", Family::Visit, 31_500, "0510", 1, 0),
    service("99212", Family::Visit, 10_500, "0510", 1, 0),
    service("99213", Family::Visit, 17_500, "0510", 1, 0),
    service("99214", Family::Visit, 25_500, "0510", 1, 0),
    service("99215", Family::Visit, 35_500, "0510", 1, 0),
    service("99396", Family::Visit, 24_000, "0510", 1, 0),
    service("G0439", Family::Visit, 21_500, "0510", 1, 0),
    service("70553", Family::Imaging, 182_000, "0610", 1, 80),
    service("72148", Family::Imaging, 124_000, "0610", 1, 80),
    service("73721", Family::Imaging, 118_500, "0610", 1, 70),
    service("74177", Family::Imaging, 146_000, "0350", 1, 60),
    service("71046", Family::Imaging, 12_800, "0324", 1, 0),
    service("76700", Family::Imaging, 42_000, "0402", 1, 5),
    service("77080", Family::Imaging, 19_400, "0320", 1, 0),
    service("73030", Family::Imaging, 11_900, "0320", 1, 0),
    service("80053", Family::Lab, 6_400, "0301", 1, 0),
    service("85025", Family::Lab, 4_900, "0305", 1, 0),
    service("83036", Family::Lab, 5_800, "0301", 1, 0),
    service("84443", Family::Lab, 9_600, "0301", 1, 0),
    service("80061", Family::Lab, 7_900, "0301", 1, 0),
    service("81001", Family::Lab, 2_900, "0307", 1, 0),
    service("82306", Family::Lab, 14_800, "0301", 1, 0),
    service("87637", Family::Lab, 21_400, "0306", 1, 0),
    service("81528", Family::Lab, 68_000, "0310", 1, 40),
    service("93000", Family::Cardiac, 7_700, "0730", 1, 0),
    service("93306", Family::Cardiac, 98_000, "0483", 1, 30),
    service("78452", Family::Cardiac, 214_000, "0341", 1, 75),
    service("93880", Family::Cardiac, 61_500, "0921", 1, 10),
    service("93015", Family::Cardiac, 38_000, "0482", 1, 5),
    service("20610", Family::Surgery, 24_600, "0361", 2, 0),
    service("29881", Family::Surgery, 421_000, "0360", 1, 70),
    service("27447", Family::Surgery, 1_185_000, "0360", 1, 90),
    service("11102", Family::Surgery, 24_800, "0361", 1, 0),
    service("17000", Family::Surgery, 16_700, "0361", 1, 0),
    service("17110", Family::Surgery, 22_100, "0361", 1, 0),
    service("11042", Family::Surgery, 31_700, "0361", 2, 5),
    service("45378", Family::Surgery, 142_000, "0750", 1, 15),
    service("45380", Family::Surgery, 168_000, "0750", 1, 15),
    service("43239", Family::Surgery, 151_000, "0750", 1, 25),
    service("64483", Family::Surgery, 112_000, "0361", 1, 60),
    service("97110", Family::Therapy, 7_800, "0420", 4, 20),
    service("97140", Family::Therapy, 7_100, "0420", 3, 20),
    service("97530", Family::Therapy, 8_600, "0430", 3, 20),
    service("97161", Family::Therapy, 18_900, "0424", 1, 5),
    service("97112", Family::Therapy, 8_200, "0420", 3, 20),
    service("90834", Family::Behavioral, 17_800, "0914", 1, 5),
    service("90837", Family::Behavioral, 24_300, "0914", 1, 20),
    service("90791", Family::Behavioral, 31_200, "0914", 1, 5),
    service("96127", Family::Behavioral, 1_900, "0918", 2, 0),
    service("J1885", Family::Drug, 1_450, "0636", 4, 0),
    service("J3301", Family::Drug, 2_300, "0636", 8, 0),
    service("J0897", Family::Drug, 4_200, "0636", 60, 70),
    service("J1071", Family::Drug, 180, "0636", 200, 10),
    service("J2357", Family::Drug, 6_900, "0636", 60, 85),
    service("99283", Family::Emergency, 68_500, "0450", 1, 0),
    service("99284", Family::Emergency, 112_000, "0450", 1, 0),
    service("99285", Family::Emergency, 168_000, "0450", 1, 0),
    service("", Family::Room, 245_000, "0120", 6, 60),
    service("", Family::Room, 512_000, "0200", 3, 40),
    service("", Family::Room, 38_500, "0250", 1, 0),
    service("", Family::Room, 21_900, "0270", 1, 0),
    service("", Family::Room, 162_000, "0360", 1, 10),
    service("", Family::Room, 47_000, "0300", 1, 0),
    service("D0120", Family::Dental, 5_900, "", 1, 0),
    service("D0150", Family::Dental, 9_400, "", 1, 0),
    service("D0274", Family::Dental, 7_200, "", 1, 0),
    service("D1110", Family::Dental, 11_200, "", 1, 0),
    service("D2391", Family::Dental, 21_600, "", 1, 0),
    service("D2740", Family::Dental, 138_000, "", 1, 45),
    service("D3330", Family::Dental, 124_000, "", 1, 30),
    service("D4341", Family::Dental, 29_800, "", 1, 35),
    service("D7140", Family::Dental, 22_400, "", 1, 0),
];

/// What a kind of practice does.
#[derive(Clone, Copy, Debug)]
pub struct Specialty {
    /// Provider taxonomy code of the practice and of its providers.
    pub taxonomy: &'static str,
    /// Which 837 it sends.
    pub claim_type: ClaimType,
    /// Place of service, or the first two digits of the type of bill.
    pub place: &'static str,
    /// Codes a claim can open with; for hospitals revenue codes where there is no code.
    pub lead: &'static [&'static str],
    /// Codes of the further lines.
    pub more: &'static [&'static str],
    /// Diagnosis codes, without dots.
    pub diagnoses: &'static [&'static str],
}

const VISITS: &[&str] = &["99213", "99214", "99203", "99212", "99215", "99204"];

/// The kinds of practice: professional ones first, then hospitals, then dentists.
pub static SPECIALTIES: &[Specialty] = &[
    Specialty {
        taxonomy: "207Q00000X",
        claim_type: ClaimType::Professional,
        place: "11",
        lead: &["99213", "99214", "99203", "99396", "G0439", "99215", "99212"],
        more: &["80053", "85025", "83036", "93000", "81001", "80061", "J3301", "96127", "84443"],
        diagnoses: &["I10", "E119", "E785", "Z0000", "J069", "M545", "E039", "K219", "F419", "N390"],
    },
    Specialty {
        taxonomy: "207RC0000X",
        claim_type: ClaimType::Professional,
        place: "11",
        lead: VISITS,
        more: &["93000", "93306", "78452", "93880", "93015", "80061", "80053", "85025"],
        diagnoses: &["I10", "I2510", "I480", "I509", "R079", "E785", "R002", "I350"],
    },
    Specialty {
        taxonomy: "207X00000X",
        claim_type: ClaimType::Professional,
        place: "11",
        lead: &["99213", "99203", "99214", "29881", "27447", "20610"],
        more: &["73030", "73721", "20610", "J3301", "J1885", "72148", "64483"],
        diagnoses: &["M1711", "M545", "M25561", "M7541", "M4806", "M2391", "M5416"],
    },
    Specialty {
        taxonomy: "207N00000X",
        claim_type: ClaimType::Professional,
        place: "11",
        lead: &["99213", "99203", "99212", "17000", "11102"],
        more: &["17110", "11042", "11102", "J2357", "J3301", "85025", "80053"],
        diagnoses: &["L570", "L82", "C4491", "L400", "D225", "L2089", "B079"],
    },
    Specialty {
        taxonomy: "2085R0202X",
        claim_type: ClaimType::Professional,
        place: "22",
        lead: &["72148", "70553", "73721", "74177", "71046", "76700"],
        more: &["77080", "73030", "71046", "76700", "74177", "73721", "70553"],
        diagnoses: &["M545", "R519", "M25561", "R109", "R0602", "R911", "M810", "M5416"],
    },
    Specialty {
        taxonomy: "291U00000X",
        claim_type: ClaimType::Professional,
        place: "81",
        lead: &["80053", "85025", "84443", "80061", "81528", "87637"],
        more: &["83036", "82306", "81001", "84443", "85025", "80061", "80053", "87637"],
        diagnoses: &["E119", "E785", "E039", "Z0000", "D649", "E559", "R5383", "N390"],
    },
    Specialty {
        taxonomy: "225100000X",
        claim_type: ClaimType::Professional,
        place: "11",
        lead: &["97110", "97161", "97140"],
        more: &["97140", "97530", "97112", "97110"],
        diagnoses: &["M545", "M25511", "M25561", "M542", "R262", "M6281"],
    },
    Specialty {
        taxonomy: "103T00000X",
        claim_type: ClaimType::Professional,
        place: "11",
        lead: &["90834", "90837", "90791"],
        more: &["96127"],
        diagnoses: &["F411", "F331", "F4310", "F419", "F900", "F1020"],
    },
    Specialty {
        taxonomy: "207RG0100X",
        claim_type: ClaimType::Professional,
        place: "11",
        lead: &["99214", "99204", "45378", "45380", "43239"],
        more: &["43239", "85025", "80053", "81528", "76700", "74177"],
        diagnoses: &["K219", "Z1211", "K5730", "R109", "K635", "K590", "D509"],
    },
    Specialty {
        taxonomy: "282N00000X",
        claim_type: ClaimType::Institutional,
        place: "13",
        lead: &["99284", "99283", "45378", "74177", "93306", "29881", "99285"],
        more: &["80053", "85025", "71046", "93000", "J1885", "0250", "0270", "87637", "97110"],
        diagnoses: &["R079", "R109", "J189", "N390", "K219", "I509", "A419", "M1711", "Z1211"],
    },
    Specialty {
        taxonomy: "1223G0001X",
        claim_type: ClaimType::Dental,
        place: "11",
        lead: &["D0120", "D0150", "D1110", "D2740", "D3330"],
        more: &["D0274", "D1110", "D2391", "D4341", "D7140", "D2740"],
        diagnoses: &[],
    },
];

/// What an inpatient stay is made of: revenue codes, with a code where one is billed.
pub static INPATIENT: &[&str] = &["0120", "0250", "0270", "0300", "0360", "0200", "71046", "97110"];

/// The place of a procedure in [`PROCEDURES`], by its code or, where it has none, by its revenue code.
pub fn place_of(code: &str) -> usize {
    PROCEDURES
        .iter()
        .position(
            |procedure| {
                if procedure.code.is_empty() { procedure.revenue == code } else { procedure.code == code }
            },
        )
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_a_specialty_names_is_a_procedure() {
        for specialty in SPECIALTIES {
            for code in specialty.lead.iter().chain(specialty.more).chain(INPATIENT) {
                let found = PROCEDURES.get(place_of(code)).map(|p| if p.code.is_empty() { p.revenue } else { p.code });
                assert_eq!(found, Some(*code));
            }
        }
    }
}
