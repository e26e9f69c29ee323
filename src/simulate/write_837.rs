//! Writes claims as 837 files: professional (005010X222A1), institutional (005010X223A2), dental (005010X224A2).
//!
//! Must never: leave out a field of the claim that the scorer uses, or write one that the claim does not have.

use std::io::{self, Write};

use super::SimClaim;
use super::segments::{Envelope, Segments, Separators, day};
use crate::domain::claim::{Claim, ClaimType, OtherPayer, Provider, Responsibility, ServiceLine};
use crate::domain::types::Phi;

/// Writes the claims of one practice and one claim type as one interchange, a transaction per batch (same time).
///
/// They come in the order of [`super::Simulation::claims`].
///
/// # Errors
/// Whatever writing fails with.
pub fn write_837(claims: &[&SimClaim], out: &mut impl Write) -> io::Result<()> {
    let Some(first) = claims.first() else { return Ok(()) };
    let envelope = Envelope {
        sender: text(first.claim.billing_provider.npi.as_ref()).to_owned(),
        receiver: "CLEARING01".to_owned(),
        functional: "HC",
        version: match first.claim.claim_type {
            ClaimType::Professional => "005010X222A1",
            ClaimType::Institutional => "005010X223A2",
            ClaimType::Dental => "005010X224A2",
        },
        time: first.submitted,
        control: u32::try_from(first.practice).unwrap_or(0) + 1,
    };
    let mut segments = Segments::open(out, Separators::style(first.practice), envelope)?;
    for (number, batch) in claims.chunk_by(|a, b| a.submitted == b.submitted).enumerate() {
        segments.begin("837")?;
        header(&mut segments, batch, number)?;
        let mut level = 1;
        for entry in batch {
            level = subscriber(&mut segments, entry, level)?;
            claim(&mut segments, entry)?;
        }
        segments.end()?;
    }
    segments.close()
}

fn text(value: Option<&String>) -> &str {
    value.map_or("", String::as_str)
}

fn shown(value: Option<&Phi<String>>) -> &str {
    value.map_or("", |value| value.expose())
}

/// BHT, submitter, receiver, and the billing provider's level.
fn header<W: Write>(segments: &mut Segments<'_, W>, batch: &[&SimClaim], number: usize) -> io::Result<()> {
    let Some(first) = batch.first() else { return Ok(()) };
    let (date, time) = (day(first.submitted.date_naive()), first.submitted.format("%H%M").to_string());
    let name = format!("PRACTICE {:02}", first.practice + 1);
    let billing = &first.claim.billing_provider;
    let npi = text(billing.npi.as_ref());
    segments.put(&["BHT", "0019", "00", &format!("B{number:06}"), &date, &time, "CH"])?;
    segments.put(&["NM1", "41", "2", &name, "", "", "", "", "46", npi])?;
    segments.put(&["PER", "IC", "BILLING OFFICE", "TE", "5555550100"])?;
    segments.put(&["NM1", "40", "2", "CLEARINGHOUSE", "", "", "", "", "46", "CLEARING01"])?;
    segments.put(&["HL", "1", "", "20", "1"])?;
    segments.put(&["PRV", "BI", "PXC", text(billing.taxonomy_code.as_ref())])?;
    segments.put(&["NM1", "85", "2", &name, "", "", "", "", "XX", npi])?;
    address(segments)?;
    segments.put(&["REF", "EI", text(billing.tax_id.as_ref())])
}

fn address<W: Write>(segments: &mut Segments<'_, W>) -> io::Result<()> {
    segments.put(&["N3", "1 MAIN STREET"])?;
    segments.put(&["N4", "ANYTOWN", "PA", "171110000"])
}

/// The subscriber's level and, for a dependent, the patient's; returns the last level written.
fn subscriber<W: Write>(segments: &mut Segments<'_, W>, entry: &SimClaim, level: u32) -> io::Result<u32> {
    let claim = &entry.claim;
    let own = level + 1;
    let dependent = claim.patient_is_dependent;
    let patient = format!("{:06}", entry.patient);
    let relation = if dependent { "" } else { "18" };
    let filing = text(claim.filing_indicator.as_ref());
    segments.put(&["HL", &own.to_string(), "1", "22", if dependent { "1" } else { "0" }])?;
    segments.put(&["SBR", claim.responsibility.code(), relation, "", "", "", "", "", "", filing])?;
    let member = shown(claim.subscriber.member_id.as_ref());
    let qualifier = if member.is_empty() { "" } else { "MI" };
    let name = if dependent { "SUBSCRIBER" } else { "PATIENT" };
    segments.put(&["NM1", "IL", "1", name, &patient, "", "", "", qualifier, member])?;
    if !dependent {
        address(segments)?;
        demographics(segments, claim)?;
    }
    let payer = text(claim.payer.id.as_ref());
    segments.put(&["NM1", "PR", "2", text(claim.payer.name.as_ref()), "", "", "", "", "PI", payer])?;
    if !dependent {
        return Ok(own);
    }
    segments.put(&["HL", &(own + 1).to_string(), &own.to_string(), "23", "0"])?;
    segments.put(&["PAT", "19"])?;
    segments.put(&["NM1", "QC", "1", "PATIENT", &patient])?;
    address(segments)?;
    demographics(segments, claim)?;
    Ok(own + 1)
}

fn demographics<W: Write>(segments: &mut Segments<'_, W>, claim: &Claim) -> io::Result<()> {
    let Some(birth) = &claim.subscriber.birth_date else { return Ok(()) };
    segments.put(&["DMG", "D8", &day(*birth.expose()), shown(claim.subscriber.gender.as_ref())])
}

fn claim<W: Write>(segments: &mut Segments<'_, W>, entry: &SimClaim) -> io::Result<()> {
    let claim = &entry.claim;
    let institutional = claim.claim_type == ClaimType::Institutional;
    let place = segments.composite(&[
        text(claim.facility_type_code.as_ref()),
        if institutional { "A" } else { "B" },
        &claim.frequency_code,
    ]);
    let signature = if institutional { "" } else { "Y" };
    let total = claim.total_charge.to_string();
    segments.put(&[
        "CLM",
        claim.patient_control_number.expose(),
        &total,
        "",
        "",
        &place,
        signature,
        text(claim.assignment_code.as_ref()),
        "Y",
        "Y",
    ])?;
    claim_dates(segments, claim)?;
    if institutional {
        let (kind, source) = (text(claim.admission_type_code.as_ref()), text(claim.admission_source_code.as_ref()));
        segments.put(&["CL1", kind, source, text(claim.discharge_status_code.as_ref())])?;
    }
    for (qualifier, value) in [
        ("G1", shown(claim.prior_authorization_number.as_ref())),
        ("F8", shown(claim.payer_claim_control_number.as_ref())),
        ("X4", text(claim.clia_number.as_ref())),
        ("D9", shown(claim.claim_control_number.as_ref())),
    ] {
        if !value.is_empty() {
            segments.put(&["REF", qualifier, value])?;
        }
    }
    diagnoses(segments, claim)?;
    provider(segments, "DN", claim.referring_provider.as_ref())?;
    provider(segments, "71", claim.attending_provider.as_ref())?;
    provider(segments, "82", claim.rendering_provider.as_ref())?;
    for other in &claim.other_payers {
        other_payer(segments, entry, other)?;
    }
    for (number, line) in claim.lines.iter().enumerate() {
        service(segments, entry, number + 1, line)?;
    }
    Ok(())
}

fn claim_dates<W: Write>(segments: &mut Segments<'_, W>, claim: &Claim) -> io::Result<()> {
    if let Some(from) = claim.statement_date {
        let to = claim.statement_to_date.unwrap_or(from);
        segments.put(&["DTP", "434", "RD8", &format!("{}-{}", day(from), day(to))])?;
    }
    match claim.admission_date {
        Some(admitted) => segments.put(&["DTP", "435", "D8", &day(admitted)]),
        None => Ok(()),
    }
}

/// HI: the principal diagnosis (ABK) and the others (ABF); on an institutional claim in segments of their own.
fn diagnoses<W: Write>(segments: &mut Segments<'_, W>, claim: &Claim) -> io::Result<()> {
    let coded: Vec<String> = claim
        .diagnosis_codes
        .iter()
        .enumerate()
        .map(|(place, code)| segments.composite(&[if place == 0 { "ABK" } else { "ABF" }, code]))
        .collect();
    let together = if claim.claim_type == ClaimType::Institutional { 1 } else { 12 };
    let (first, others) = coded.split_at(coded.len().min(together));
    for group in std::iter::once(first).chain(others.chunks(12)) {
        if !group.is_empty() {
            let mut elements = vec!["HI"];
            elements.extend(group.iter().map(String::as_str));
            segments.put(&elements)?;
        }
    }
    Ok(())
}

fn provider<W: Write>(segments: &mut Segments<'_, W>, role: &str, provider: Option<&Provider>) -> io::Result<()> {
    let Some(provider) = provider else { return Ok(()) };
    let kind = if provider.is_organization == Some(true) { "2" } else { "1" };
    segments.put(&["NM1", role, kind, "PROVIDER", "ANY", "", "", "", "XX", text(provider.npi.as_ref())])?;
    match &provider.taxonomy_code {
        Some(taxonomy) => segments.put(&["PRV", "PE", "PXC", taxonomy]),
        None => Ok(()),
    }
}

/// Loop 2320 and 2330: another payer of the patient and, where it has decided, what it did.
fn other_payer<W: Write>(segments: &mut Segments<'_, W>, entry: &SimClaim, other: &OtherPayer) -> io::Result<()> {
    let place = other.responsibility.unwrap_or(Responsibility::Secondary).code();
    segments.put(&["SBR", place, "18", "", "", "", "", "", "", "ZZ"])?;
    for group in other.adjustments.chunk_by(|a, b| a.group_code == b.group_code) {
        for six in group.chunks(6) {
            let amounts: Vec<String> = six.iter().map(|adjustment| adjustment.amount.to_string()).collect();
            let mut elements = vec!["CAS", six.first().map_or("", |adjustment| &adjustment.group_code)];
            for (adjustment, amount) in six.iter().zip(&amounts) {
                elements.extend([adjustment.reason_code.as_str(), amount, ""]);
            }
            segments.put(&elements)?;
        }
    }
    if let Some(paid) = other.paid_amount {
        segments.put(&["AMT", "D", &paid.to_string()])?;
    }
    segments.put(&["OI", "", "", "Y", "", "", "Y"])?;
    let patient = format!("{:06}", entry.patient);
    segments.put(&["NM1", "IL", "1", "PATIENT", &patient, "", "", "", "MI", &format!("O{patient}")])?;
    segments.put(&["NM1", "PR", "2", "OTHER PAYER", "", "", "", "", "PI", text(other.id.as_ref())])
}

fn service<W: Write>(
    segments: &mut Segments<'_, W>,
    entry: &SimClaim,
    number: usize,
    line: &ServiceLine,
) -> io::Result<()> {
    segments.put(&["LX", &number.to_string()])?;
    let code = text(line.procedure_code.as_ref());
    let kind = if entry.claim.claim_type == ClaimType::Dental { "AD" } else { "HC" };
    let mut parts = vec![kind, code];
    parts.extend(line.modifiers.iter().map(String::as_str));
    let code = if code.is_empty() { String::new() } else { segments.composite(&parts) };
    let charge = line.charge.to_string();
    let units = line.units.map(|units| units.to_string()).unwrap_or_default();
    let unit = text(line.unit_type.as_ref());
    match entry.claim.claim_type {
        ClaimType::Professional => {
            let pointers: Vec<String> = line.diagnosis_pointers.iter().map(u8::to_string).collect();
            let pointers = segments.composite(&pointers.iter().map(String::as_str).collect::<Vec<_>>());
            let place = text(line.place_of_service.as_ref());
            segments.put(&["SV1", &code, &charge, unit, &units, place, "", &pointers])?;
        }
        ClaimType::Institutional => {
            segments.put(&["SV2", text(line.revenue_code.as_ref()), &code, &charge, unit, &units])?;
        }
        ClaimType::Dental => segments.put(&["SV3", &code, &charge, "", "", "", &units])?,
    }
    match (line.service_from, line.service_to) {
        (Some(from), Some(to)) => {
            segments.put(&["DTP", "472", "RD8", &format!("{}-{}", day(from), day(to))])?;
        }
        (Some(from), None) => segments.put(&["DTP", "472", "D8", &day(from)])?,
        _ => {}
    }
    // Half of the practices number their lines themselves; the others leave it at LX, with the same number.
    if entry.practice.is_multiple_of(2) {
        segments.put(&["REF", "6R", shown(line.control_number.as_ref())])?;
    }
    if let Some(ndc) = &line.ndc {
        segments.put(&["LIN", "", "N4", &ndc.code])?;
        let quantity = ndc.quantity.map(|quantity| quantity.to_string()).unwrap_or_default();
        segments.put(&["CTP", "", "", "", &quantity, text(ndc.unit.as_ref())])?;
    }
    Ok(())
}
