//! Tests of the 835 reader: payer and payee, adjustments, lines, provider adjustments, balance.

use super::{Item, Note, NoteReason, Parsed, read_all};
use crate::domain::remittance::Remittance;
use crate::domain::types::{Cents, Date, Phi, Units};

const ISA: &str =
    "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *261102*0900*^*00501*000000001*0*T*:~";
const PAYMENT: &str = "BPR*I*100*C*ACH************20261120";

fn read(segments: &[&str]) -> (Vec<Parsed<Remittance>>, Vec<Note>) {
    let body = segments.join("~");
    let count = segments.len() + 2;
    let file = format!(
        "{ISA}GS*HP*S*R*20261102*0915*7*X*005010X221A1~ST*835*0001~{body}~SE*{count}*0001~GE*1*7~IEA*1*000000001~"
    );
    let (mut remittances, mut notes) = (Vec::new(), Vec::new());
    for item in read_all(file.as_bytes()).0 {
        match item {
            Item::Remittance(remittance) => remittances.push(*remittance),
            Item::Note(note) => notes.push(note),
            Item::Claim(_) => panic!("no claim in an 835"),
        }
    }
    (remittances, notes)
}

fn day(text: &str) -> Option<Date> {
    text.parse().ok()
}

#[test]
fn an_adjustment_carries_up_to_six_triplets_with_or_without_quantity() {
    let (read, notes) = read(&[PAYMENT, "CLP*A*1*121*100", "CAS*PR*1*1**2*2**3*3*1.5*96*4**45*5**97*6*2"]);
    let found: Vec<_> = read[0]
        .value
        .adjustments
        .iter()
        .map(|a| (a.group_code.as_str(), a.reason_code.as_str(), a.amount.get(), a.quantity))
        .collect();
    let half = Some(Units::from_thousandths(1_500));
    let two = Some(Units::from_thousandths(2_000));
    assert_eq!(
        found,
        [
            ("PR", "1", 100, None),
            ("PR", "2", 200, None),
            ("PR", "3", 300, half),
            ("PR", "96", 400, None),
            ("PR", "45", 500, None),
            ("PR", "97", 600, two),
        ]
    );
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn adjustments_and_remarks_before_the_first_line_are_the_claims_and_after_it_the_lines() {
    let (read, _) = read(&[
        PAYMENT,
        "CLP*A*1*150*100",
        "CAS*CO*45*20",
        "MOA***MA01*MA18",
        "MIA*0***1*N689***************MA02",
        "SVC*HC:99213:25*100*80**1",
        "CAS*PR*1*20",
        "REF*6R*LINE1",
        "LQ*HE*N130",
        "LQ*RX*70",
        "SVC*NU:0450*50*20*0999*2",
        "CAS*CO*97*10",
    ]);
    let claim = &read[0].value;
    assert_eq!(claim.adjustments.len(), 1);
    assert_eq!(claim.remark_codes, ["MA01", "MA18", "N689", "MA02"]);
    assert_eq!(claim.lines[0].remark_codes, ["N130"]);
    assert_eq!(claim.lines[0].control_number, Some(Phi::from("LINE1")));
    assert_eq!((claim.lines[0].procedure_code.as_deref(), claim.lines[0].modifiers.len()), (Some("99213"), 1));
    assert_eq!(
        (claim.lines[1].procedure_code.as_deref(), claim.lines[1].revenue_code.as_deref()),
        (None, Some("0450"))
    );
    assert!(claim.balances());
}

#[test]
fn payer_and_payee_come_from_their_own_loops() {
    let (read, _) = read(&[
        PAYMENT,
        "TRN*1*EFT1*1234567890",
        "N1*PR*PLAN",
        "REF*2U*60054",
        "REF*TJ*000000000",
        "N1*PE*GROUP*XX*1760854442",
        "REF*2U*99999",
        "REF*TJ*12-3456789",
        "CLP*A*1*100*100**MB*PAYERNO*22*7",
    ]);
    let claim = &read[0].value;
    assert_eq!((claim.payer.id.as_deref(), claim.payer.name.as_deref()), (Some("60054"), Some("PLAN")));
    assert_eq!(claim.payee.npi.as_deref(), Some("1760854442"));
    assert_eq!(claim.payee.tax_id.as_deref(), Some("123456789"));
    assert_eq!((claim.trace_number.as_deref(), claim.payment_date), (Some("EFT1"), day("2026-11-20")));
    assert_eq!((claim.filing_indicator.as_deref(), claim.frequency_code.as_deref()), (Some("MB"), Some("7")));
    assert_eq!(claim.patient_responsibility, None, "empty is unknown, not zero");
}

#[test]
fn the_member_id_is_the_insureds_and_never_a_social_security_number() {
    for (names, member) in [
        (&["NM1*QC*1*A*B****MI*M1"][..], Some("M1")),
        (&["NM1*QC*1*A*B****34*111223333"], None),
        (&["NM1*QC*1*A*B****MI*M1", "NM1*IL*1*C*D****MI*M2"], Some("M2")),
        (&["NM1*IL*1*C*D****MI*M2", "NM1*QC*1*A*B****MI*M1"], Some("M2")),
        (&["NM1*QC*1*A*B****MI*M1", "NM1*74*1*X*Y****C*M9"], Some("M1")),
    ] {
        let mut all = vec![PAYMENT, "CLP*A*1*100*100"];
        all.extend(names);
        let (read, _) = read(&all);
        assert_eq!(read[0].value.member_id.as_ref().map(|id| id.expose().as_str()), member, "{names:?}");
    }
}

#[test]
fn provider_adjustments_of_the_whole_835_ride_on_its_last_claim() {
    let (read, notes) = read(&[
        "BPR*I*90*C*ACH************20261120",
        "CLP*A*22*-50*-50",
        "CLP*A*1*150*150",
        "PLB*1760854442*20261231*WO:REF*20*CS*-12.5",
        "PLB*1760854442*20261231*L6*2.5",
    ]);
    assert!(read[0].value.provider_adjustments.is_empty());
    let carried: Vec<_> =
        read[1].value.provider_adjustments.iter().map(|a| (a.reason_code.as_str(), a.amount.get())).collect();
    assert_eq!(carried, [("WO", 2_000), ("CS", -1_250), ("L6", 250)]);
    let ordinals: Vec<_> = read.iter().map(|r| r.value.claim_ordinal).collect();
    assert_eq!(ordinals, [1, 2]);
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn sums_that_do_not_balance_are_remarked_on_and_delivered() {
    let (read, notes) = read(&["BPR*I*99*C*ACH************20261120", "CLP*A*1*150*100"]);
    assert_eq!(read.len(), 1);
    let reasons: Vec<_> = notes.iter().map(|n| (n.reason, n.segment_id)).collect();
    assert_eq!(reasons, [(NoteReason::ClaimNotBalanced, "CLP"), (NoteReason::PaymentNotBalanced, "BPR")]);
}

#[test]
fn a_remitted_claim_that_cannot_be_read_is_reported_and_keeps_its_ordinal() {
    for bad in [
        "CLP**1*1*1",
        "CLP*B*1**1",
        "CLP*B*1*1*x",
        "CLP*B*1*1*1*x",
        "CLP*B*1*1*1~SVC*HC:1*1*x",
        "CLP*B*1*1*1~CAS*CO*1*x",
    ] {
        let mut all = vec![PAYMENT, "CLP*A*1*1*1"];
        all.extend(bad.split('~'));
        all.push("CLP*C*1*1*1");
        let (read, notes) = read(&all);
        let ordinals: Vec<_> = read.iter().map(|r| r.value.claim_ordinal).collect();
        assert_eq!(ordinals, [1, 3], "{bad}");
        assert!(notes.iter().any(|n| n.severity == super::Severity::Error), "{bad}: {notes:?}");
    }
}

#[test]
fn a_payment_day_outside_the_calendar_leaves_the_time_to_the_production_date_or_the_group() {
    for (header, time) in [
        (&["BPR*I*1*C*ACH************20261120"][..], "2026-11-20 00:00:00 UTC"),
        (&["BPR*I*1*C*ACH************20261120", "DTM*405*20261119"], "2026-11-20 00:00:00 UTC"),
        (&["BPR*I*1*C*ACH************20002316", "DTM*405*20261119"], "2026-11-19 00:00:00 UTC"),
        (&["BPR*I*1*C*ACH"], "2026-11-02 09:15:00 UTC"),
    ] {
        let mut all = header.to_vec();
        all.push("CLP*A*1*1*1");
        let (read, _) = read(&all);
        assert_eq!(read[0].transaction.time.map(|t| t.to_string()).as_deref(), Some(time), "{header:?}");
    }
}

#[test]
fn the_transaction_tells_sender_and_control_numbers() {
    let (read, _) = read(&[PAYMENT, "CLP*A*1*100*100"]);
    let transaction = &read[0].transaction;
    assert_eq!(transaction.sender_id.as_deref(), Some("SENDER"));
    assert_eq!(transaction.interchange_control_number.as_deref(), Some("000000001"));
    assert_eq!(transaction.group_control_number.as_deref(), Some("7"));
    assert_eq!(transaction.transaction_control_number.as_deref(), Some("0001"));
    assert_eq!((read[0].at.interchange, read[0].at.segment), (1, 5));
}

#[test]
fn a_composite_with_another_separator_is_read_and_remarked_on_once() {
    let (read, notes) = read(&[PAYMENT, "CLP*A*1*100*100", "SVC*HC>99213>26*60*60**1", "SVC*HC>99214*40*40**1"]);
    let codes: Vec<_> = read[0].value.lines.iter().filter_map(|l| l.procedure_code.as_deref()).collect();
    assert_eq!(codes, ["99213", "99214"]);
    let reasons: Vec<_> = notes.iter().map(|n| n.reason).collect();
    assert_eq!(reasons, [NoteReason::ComponentSeparatorDiffers]);
}

#[test]
fn money_of_lines_is_kept_to_the_cent() {
    let (read, _) =
        read(&[PAYMENT, "CLP*A*1*100.5*100.05", "SVC*HC:1*100.5*100.05**1.9", "DTM*150*20261030", "DTM*151*20261031"]);
    let line = &read[0].value.lines[0];
    assert_eq!((line.charge, line.payment), (Cents::new(10_050), Cents::new(10_005)));
    assert_eq!((line.service_from, line.service_to), (day("2026-10-30"), day("2026-10-31")));
    assert_eq!(line.units, Some(Units::from_thousandths(1_900)));
}
