//! Tests of the 837 reader: hierarchy, loops that must not mix, forms, and claims that cannot be read.

use super::{Item, Note, NoteReason, read_all};
use crate::domain::claim::{Claim, ClaimType, Responsibility};
use crate::domain::types::{Cents, Date, Phi, Units};

const ISA: &str =
    "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *261102*0900*^*00501*000000001*0*T*:~";

/// Reads segments as one transaction of the given guide.
fn read(guide: &str, segments: &[&str]) -> (Vec<Claim>, Vec<Note>) {
    let body = segments.join("~");
    let count = segments.len() + 2;
    let file =
        format!("{ISA}GS*HC*S*R*20261102*0900*1*X*{guide}~ST*837*0001~{body}~SE*{count}*0001~GE*1*1~IEA*1*000000001~");
    split(&file)
}

fn split(file: &str) -> (Vec<Claim>, Vec<Note>) {
    let (mut claims, mut notes) = (Vec::new(), Vec::new());
    for item in read_all(file.as_bytes()).0 {
        match item {
            Item::Claim(claim) => claims.push(claim.value),
            Item::Note(note) => notes.push(note),
            Item::Remittance(_) => panic!("no remittance in an 837"),
        }
    }
    (claims, notes)
}

fn professional(segments: &[&str]) -> (Vec<Claim>, Vec<Note>) {
    read("005010X222A1", segments)
}

fn day(text: &str) -> Option<Date> {
    text.parse().ok()
}

fn shown(value: Option<&Phi<String>>) -> Option<&str> {
    value.map(|phi| phi.expose().as_str())
}

const PROVIDER: [&str; 3] = ["HL*1**20*1", "PRV*BI*PXC*207Q00000X", "NM1*85*2*GROUP*****XX*1760854442"];
const SUBSCRIBER: [&str; 5] = [
    "HL*2*1*22*1",
    "SBR*P*18*******CI",
    "NM1*IL*1*A*B****MI*MEMBER1",
    "DMG*D8*19800101*F",
    "NM1*PR*2*PLAN*****PI*60054",
];

fn with_claim<'a>(claim: &[&'a str]) -> Vec<&'a str> {
    PROVIDER.iter().chain(&SUBSCRIBER).chain(claim).copied().collect()
}

#[test]
fn a_dependent_has_his_own_birth_date_and_the_subscribers_member_id() {
    let (claims, _) = professional(&with_claim(&[
        "CLM*A*10***11:B:1",
        "HL*3*2*23*0",
        "PAT*19",
        "NM1*QC*1*C*D****MI*OWNID",
        "DMG*D8*20100606*M",
        "CLM*B*20***11:B:1",
        "HL*4*2*23*0",
        "NM1*QC*1*E*F",
        "CLM*C*30***11:B:1",
    ]));
    let patients: Vec<_> = claims
        .iter()
        .map(|c| {
            let born = c.subscriber.birth_date.as_ref().map(|d| *d.expose());
            (c.patient_is_dependent, shown(c.subscriber.member_id.as_ref()), born, shown(c.subscriber.gender.as_ref()))
        })
        .collect();
    assert_eq!(
        patients,
        [
            (false, Some("MEMBER1"), day("1980-01-01"), Some("F")),
            (true, Some("MEMBER1"), day("2010-06-06"), Some("M")),
            (true, Some("MEMBER1"), None, None),
        ]
    );
}

#[test]
fn a_new_billing_provider_or_subscriber_takes_nothing_from_the_one_before() {
    let (claims, _) = professional(&with_claim(&[
        "CLM*A*10***11:B:1",
        "HL*3**20*1",
        "NM1*85*1*SOLO*D****24*111-22-3333",
        "HL*4*3*22*0",
        "SBR*S",
        "CLM*B*20***11:B:1",
    ]));
    assert_eq!(claims[0].billing_provider.taxonomy_code.as_deref(), Some("207Q00000X"));
    let second = &claims[1];
    assert_eq!(second.billing_provider.npi, None, "a tax id in NM109 is no NPI");
    assert_eq!(second.billing_provider.tax_id.as_deref(), Some("111223333"));
    assert_eq!(second.billing_provider.taxonomy_code, None);
    assert_eq!(second.billing_provider.is_organization, Some(false));
    assert_eq!((&second.payer.id, &second.subscriber.member_id), (&None, &None));
    assert_eq!((second.responsibility, second.filing_indicator.as_deref()), (Responsibility::Secondary, None));
}

#[test]
fn the_pay_to_address_gives_the_billing_provider_no_tax_id() {
    let (claims, _) = professional(&[
        "HL*1**20*1",
        "NM1*85*2*GROUP*****XX*1760854442",
        "REF*EI*12-3456789",
        "NM1*PE*2*PLAN*****PI*1",
        "REF*EI*999999999",
        "HL*2*1*22*0",
        "CLM*A*10***11:B:1",
    ]);
    assert_eq!(claims[0].billing_provider.tax_id.as_deref(), Some("123456789"));
}

#[test]
fn what_another_payer_says_is_never_the_claims_own() {
    let (claims, _) = professional(&with_claim(&[
        "CLM*A*100***11:B:1",
        "AMT*F5*5",
        "REF*G1*MINE",
        "NM1*82*1*R*R****XX*1942788757",
        "SBR*S*18*******MC",
        "CAS*CO*45*10**97*5*1",
        "AMT*D*60",
        "AMT*EAF*25",
        "DMG*D8*19000101*M",
        "NM1*IL*1*O*O****MI*OTHERMEMBER",
        "NM1*PR*2*OTHER*****PI*OTH1",
        "REF*G1*THEIRS",
        "REF*F8*THEIRNUMBER",
        "NM1*82*1*X*X****XX*9999999999",
        "SBR*T*18",
        "NM1*PR*2*THIRD*****PI*OTH2",
        "LX*1",
        "SV1*HC:99213*100*UN*1***1",
        "SVD*OTH1*60*HC:99213**1",
        "CAS*PR*1*25",
        "SVD*UNKNOWN*1*HC:99213**1",
        "CAS*PR*2*7",
    ]));
    let claim = &claims[0];
    assert_eq!(shown(claim.prior_authorization_number.as_ref()), Some("MINE"));
    assert_eq!(claim.payer_claim_control_number, None);
    assert_eq!(claim.rendering_provider.as_ref().and_then(|p| p.npi.as_deref()), Some("1942788757"));
    assert_eq!(shown(claim.subscriber.member_id.as_ref()), Some("MEMBER1"));
    assert_eq!(claim.subscriber.birth_date.as_ref().map(|d| *d.expose()), day("1980-01-01"));
    assert_eq!((claim.responsibility, claim.payer.id.as_deref()), (Responsibility::Primary, Some("60054")));
    let payers: Vec<_> = claim
        .other_payers
        .iter()
        .map(|p| {
            let adjusted: Vec<_> = p.adjustments.iter().map(|a| (a.reason_code.as_str(), a.amount.get())).collect();
            (p.id.as_deref(), p.responsibility, p.paid_amount.map(Cents::get), adjusted)
        })
        .collect();
    assert_eq!(
        payers,
        [
            (
                Some("OTH1"),
                Some(Responsibility::Secondary),
                Some(6_000),
                vec![("45", 1_000), ("97", 500), ("1", 2_500)]
            ),
            (Some("OTH2"), Some(Responsibility::Tertiary), None, vec![]),
            (Some("UNKNOWN"), None, None, vec![("2", 700)]),
        ]
    );
}

#[test]
fn only_principal_and_other_diagnoses_are_diagnoses_and_the_principal_comes_first() {
    let (claims, _) = read(
        "005010X223A2",
        &with_claim(&[
            "CLM*A*10***11:A:1",
            "HI*ABF:I10*ABF:Z79.4",
            "HI*ABK:E11.9",
            "HI*ABJ:R079*APR:R05*ABN:W010",
            "HI*BG:09*BG:C1",
            "HI*BBR:0210093:D8:20261002",
        ]),
    );
    assert_eq!(claims[0].diagnosis_codes, ["E119", "I10", "Z794"]);
    assert_eq!(claims[0].condition_codes, ["09", "C1"]);
}

#[test]
fn a_diagnosis_written_as_two_elements_is_read_and_remarked_on() {
    let (claims, notes) = professional(&with_claim(&["CLM*A*10***11:B:1", "HI*BK*8901*BF*87200*BF:5559"]));
    assert_eq!(claims[0].diagnosis_codes, ["8901", "87200", "5559"]);
    assert!(notes.iter().all(|n| n.reason == NoteReason::CompositeSplit) && notes.len() == 2, "{notes:?}");
}

#[test]
fn each_form_of_line_is_read_by_its_own_layout_and_decides_the_form_of_the_claim() {
    let (claims, _) = read(
        "",
        &with_claim(&[
            "CLM*P*10***11:B:1",
            "LX*1",
            "SV1*HC:99213:25:59::LT:TEXT*10*MJ*61.5*12**1:2.00:3",
            "CLM*I*20***11:A:7",
            "LX*1",
            "SV2*0300*HC:85025*20*UN*3",
            "CLM*D*30***11:B:1",
            "DTP*472*D8*20261015",
            "LX*7",
            "SV3*AD:D3320*30*21***2",
            "CLM*X*40***13:A:1",
        ]),
    );
    let forms: Vec<_> = claims.iter().map(|c| (c.claim_type, c.type_of_bill.as_deref())).collect();
    assert_eq!(
        forms,
        [
            (ClaimType::Professional, None),
            (ClaimType::Institutional, Some("0117")),
            (ClaimType::Dental, None),
            (ClaimType::Institutional, Some("0131")),
        ]
    );
    let line = &claims[0].lines[0];
    assert_eq!(line.modifiers, ["25", "59", "LT"]);
    assert_eq!(shown(line.description.as_ref()), Some("TEXT"));
    assert_eq!((line.units, line.unit_type.as_deref()), (Some(Units::from_thousandths(61_500)), Some("MJ")));
    assert_eq!((line.place_of_service.as_deref(), line.diagnosis_pointers.as_slice()), (Some("12"), &[1, 2, 3][..]));
    let line = &claims[1].lines[0];
    assert_eq!((line.revenue_code.as_deref(), line.procedure_code.as_deref()), (Some("0300"), Some("85025")));
    assert_eq!(line.units, Some(Units::from_thousandths(3_000)));
    let line = &claims[2].lines[0];
    assert_eq!(
        (line.control_number.as_ref().map(|number| number.expose().as_str()), line.units),
        (Some("7"), Some(Units::from_thousandths(2_000)))
    );
    assert_eq!(line.service_from, day("2026-10-15"), "the date of the whole claim");
}

#[test]
fn dates_of_an_institutional_claim_come_from_their_own_qualifiers() {
    let (claims, _) = read(
        "005010X223A2",
        &with_claim(&[
            "CLM*A*10***11:A:1",
            "DTP*096*TM*1130",
            "DTP*434*RD8*20261001-20261005",
            "DTP*435*DT*202610010830",
            "CL1*1*7*01",
        ]),
    );
    let claim = &claims[0];
    assert_eq!((claim.statement_date, claim.statement_to_date), (day("2026-10-01"), day("2026-10-05")));
    assert_eq!((claim.admission_date, claim.discharge_date), (day("2026-10-01"), day("2026-10-05")));
    assert_eq!(claim.admission_source_code.as_deref(), Some("7"));
    assert_eq!(claim.discharge_status_code.as_deref(), Some("01"));
}

#[test]
fn a_claim_that_cannot_be_read_is_reported_and_its_neighbours_are_delivered() {
    for (bad, reason, segment, element) in [
        ("CLM**10***11:B:1", NoteReason::MissingIdentifier, "CLM", 1),
        ("CLM*B****11:B:1", NoteReason::MissingAmount, "CLM", 2),
        ("CLM*B*1O.00***11:B:1", NoteReason::UnreadableAmount, "CLM", 2),
        ("CLM*B*10***11:B:1~LX*1~SV1*HC:1*ten*UN*1", NoteReason::UnreadableAmount, "SV1", 2),
        ("CLM*B*10***11:B:1~SBR*S~AMT*D*1e3", NoteReason::UnreadableAmount, "AMT", 2),
        ("CLM*B*10***11:B:1~SBR*S~CAS*CO*45*x", NoteReason::UnreadableAmount, "CAS", 3),
    ] {
        let bad_segments: Vec<&str> = bad.split('~').collect();
        let mut all = vec!["CLM*A*10***11:B:1"];
        all.extend(bad_segments);
        all.push("CLM*C*30***11:B:1");
        let (claims, notes) = professional(&with_claim(&all));
        let numbers: Vec<_> = claims.iter().map(|c| c.patient_control_number.expose().as_str()).collect();
        assert_eq!(numbers, ["A", "C"], "{bad}");
        let first = notes.first().map(|n| (n.reason, n.segment_id, n.element));
        assert_eq!(first, Some((reason, segment, Some(element))), "{bad}");
    }
}

#[test]
fn more_lines_than_any_guide_allows_are_an_error_and_the_next_claim_is_read() {
    for (lines, delivered) in [(999, 2), (1_000, 1)] {
        let mut all = vec!["CLM*A*10***11:B:1"];
        all.extend(std::iter::repeat_n("SV1*HC:1*1*UN*1", lines));
        all.push("CLM*B*10***11:B:1");
        let (claims, notes) = professional(&with_claim(&all));
        assert_eq!(claims.len(), delivered, "{lines}");
        let said = notes.iter().filter(|n| n.reason == NoteReason::TooManyEntries).count();
        assert_eq!(said, 2 - delivered, "{lines}");
    }
}

#[test]
fn a_line_without_service_segment_takes_nothing_to_the_line_before() {
    let (claims, _) = professional(&with_claim(&[
        "CLM*A*10***11:B:1",
        "LX*1",
        "SV1*HC:1*10*UN*1",
        "REF*6R*FIRST",
        "LX*2",
        "REF*6R*LOST",
        "DTP*472*D8*20260101",
        "NTE*ADD*LOST",
    ]));
    let line = &claims[0].lines[0];
    assert_eq!(
        (line.control_number.as_ref().map(|number| number.expose().as_str()), line.service_from, &line.description),
        (Some("FIRST"), None, &None)
    );
}

#[test]
fn the_claim_at_which_the_file_is_cut_off_is_not_delivered() {
    let body = with_claim(&["CLM*A*10***11:B:1", "CLM*B*200***11:B:1", "LX*1"]).join("~");
    let (claims, notes) = split(&format!("{ISA}GS*HC*S*R*20261102*0900*1*X*005010X222A1~ST*837*1~{body}~SV1*HC:1*20"));
    assert_eq!(claims.len(), 1);
    assert!(notes.iter().any(|n| n.reason == NoteReason::Truncated && n.segment_id == "SV1"), "{notes:?}");
}
