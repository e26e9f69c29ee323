//! Writes remittances as 835 files (005010X221A1).
//!
//! Must never: write a transaction that does not balance: BPR02 is the sum of CLP04 less the sum of PLB.

use std::io::{self, Write};

use super::SimRemittance;
use super::segments::{Envelope, Segments, Separators, day};
use crate::domain::remittance::{Adjustment, Remittance, RemittanceLine};
use crate::domain::types::{Cents, Date};

/// Writes the remittances of one payer as one interchange, a transaction per trace number.
///
/// They come in the order of [`super::Simulation::remittances`]; of another payer's, nothing is checked.
///
/// # Errors
/// Whatever writing fails with.
pub fn write_835(remittances: &[&SimRemittance], out: &mut impl Write) -> io::Result<()> {
    let Some(first) = remittances.first() else { return Ok(()) };
    let envelope = Envelope {
        sender: first.remittance.payer.id.clone().unwrap_or_default(),
        receiver: "CLEARING01".to_owned(),
        functional: "HP",
        version: "005010X221A1",
        time: first.time,
        control: u32::try_from(first.payer).unwrap_or(0) + 1,
    };
    let mut segments = Segments::open(out, Separators::style(first.payer), envelope)?;
    for transaction in remittances.chunk_by(|a, b| a.remittance.trace_number == b.remittance.trace_number) {
        header(&mut segments, transaction)?;
        for entry in transaction {
            claim(&mut segments, entry)?;
        }
        provider_adjustments(&mut segments, transaction)?;
        segments.end()?;
    }
    segments.close()
}

fn header<W: Write>(segments: &mut Segments<'_, W>, transaction: &[&SimRemittance]) -> io::Result<()> {
    let Some(first) = transaction.first() else { return Ok(()) };
    let told = &first.remittance;
    let paid: Cents = transaction.iter().map(|entry| entry.remittance.payment).sum();
    let held: Cents = transaction.iter().flat_map(|e| &e.remittance.provider_adjustments).map(|a| a.amount).sum();
    let amount = paid - held;
    let date = told.payment_date.map(day).unwrap_or_default();
    let payer = told.payer.id.clone().unwrap_or_default();
    segments.begin("835")?;
    if amount.is_positive() {
        let (from, to) = (format!("7{payer}"), "123456789");
        segments.put(&[
            "BPR",
            "I",
            &amount.to_string(),
            "C",
            "ACH",
            "CCP",
            "01",
            "999999992",
            "DA",
            &from,
            "1999999999",
            "",
            "01",
            "999988880",
            "DA",
            to,
            &date,
        ])?;
    } else {
        segments.put(&["BPR", "H", "0.00", "C", "NON", "", "", "", "", "", "1999999999", "", "", "", "", "", &date])?;
    }
    segments.put(&["TRN", "1", told.trace_number.as_deref().unwrap_or_default(), "1999999999"])?;
    segments.put(&["DTM", "405", &date])?;
    segments.put(&["N1", "PR", told.payer.name.as_deref().unwrap_or_default(), "XV", &payer])?;
    segments.put(&["N3", "1 PAYER STREET"])?;
    segments.put(&["N4", "ANYTOWN", "PA", "17111"])?;
    segments.put(&["PER", "BL", "PROVIDER SERVICES", "TE", "5555550100"])?;
    let name = format!("PRACTICE {:02}", first.practice + 1);
    segments.put(&["N1", "PE", &name, "XX", told.payee.npi.as_deref().unwrap_or_default()])?;
    if let Some(tax) = &told.payee.tax_id {
        segments.put(&["REF", "TJ", tax])?;
    }
    segments.put(&["LX", "1"])
}

fn text(value: Option<&String>) -> &str {
    value.map_or("", String::as_str)
}

fn claim<W: Write>(segments: &mut Segments<'_, W>, entry: &SimRemittance) -> io::Result<()> {
    let told = &entry.remittance;
    let owed = told.patient_responsibility.map(|cents| cents.to_string()).unwrap_or_default();
    segments.put(&[
        "CLP",
        told.patient_control_number.expose(),
        &told.status_code,
        &told.total_charge.to_string(),
        &told.payment.to_string(),
        &owed,
        text(told.filing_indicator.as_ref()),
        told.payer_claim_control_number.as_ref().map_or("", |number| number.expose()),
        text(told.facility_type_code.as_ref()),
        text(told.frequency_code.as_ref()),
    ])?;
    adjustments(segments, &told.adjustments)?;
    let patient = format!("{:06}", entry.patient);
    let member = told.member_id.as_ref().map_or("", |id| id.expose());
    let qualifier = if member.is_empty() { "" } else { "MI" };
    segments.put(&["NM1", "QC", "1", "PATIENT", &patient, "", "", "", qualifier, member])?;
    remarks(segments, told)?;
    date(segments, "232", told.service_from)?;
    date(segments, "233", told.service_to)?;
    for line in &told.lines {
        service(segments, line)?;
    }
    Ok(())
}

/// Claim-level remarks: MOA03 and on, at most five.
fn remarks<W: Write>(segments: &mut Segments<'_, W>, told: &Remittance) -> io::Result<()> {
    if told.remark_codes.is_empty() {
        return Ok(());
    }
    let mut elements = vec!["MOA", "", ""];
    elements.extend(told.remark_codes.iter().take(5).map(String::as_str));
    segments.put(&elements)
}

fn date<W: Write>(segments: &mut Segments<'_, W>, qualifier: &str, date: Option<Date>) -> io::Result<()> {
    match date {
        Some(date) => segments.put(&["DTM", qualifier, &day(date)]),
        None => Ok(()),
    }
}

/// One CAS per group, with up to six triplets.
fn adjustments<W: Write>(segments: &mut Segments<'_, W>, adjustments: &[Adjustment]) -> io::Result<()> {
    for group in adjustments.chunk_by(|a, b| a.group_code == b.group_code) {
        for six in group.chunks(6) {
            let amounts: Vec<String> = six.iter().map(|adjustment| adjustment.amount.to_string()).collect();
            let mut elements = vec!["CAS", six.first().map_or("", |adjustment| &adjustment.group_code)];
            for (adjustment, amount) in six.iter().zip(&amounts) {
                elements.extend([adjustment.reason_code.as_str(), amount, ""]);
            }
            segments.put(&elements)?;
        }
    }
    Ok(())
}

fn service<W: Write>(segments: &mut Segments<'_, W>, line: &RemittanceLine) -> io::Result<()> {
    let revenue = text(line.revenue_code.as_ref());
    let code = match &line.procedure_code {
        Some(code) => {
            let kind = if code.starts_with('D') { "AD" } else { "HC" };
            let mut parts = vec![kind, code.as_str()];
            parts.extend(line.modifiers.iter().map(String::as_str));
            segments.composite(&parts)
        }
        None => segments.composite(&["NU", revenue]),
    };
    let beside = if line.procedure_code.is_some() { revenue } else { "" };
    let units = line.units.map(|units| units.to_string()).unwrap_or_default();
    segments.put(&["SVC", &code, &line.charge.to_string(), &line.payment.to_string(), beside, &units])?;
    if line.service_to.is_some() {
        date(segments, "150", line.service_from)?;
        date(segments, "151", line.service_to)?;
    } else {
        date(segments, "472", line.service_from)?;
    }
    adjustments(segments, &line.adjustments)?;
    if let Some(number) = &line.control_number {
        segments.put(&["REF", "6R", number.expose()])?;
    }
    for remark in &line.remark_codes {
        segments.put(&["LQ", "HE", remark])?;
    }
    Ok(())
}

/// PLB: the fiscal year's end, then pairs of reason and amount.
fn provider_adjustments<W: Write>(segments: &mut Segments<'_, W>, transaction: &[&SimRemittance]) -> io::Result<()> {
    let Some(last) = transaction.last().filter(|last| !last.remittance.provider_adjustments.is_empty()) else {
        return Ok(());
    };
    let year = last.time.format("%Y1231").to_string();
    let pairs: Vec<String> = last
        .remittance
        .provider_adjustments
        .iter()
        .flat_map(|a| [a.reason_code.clone(), a.amount.to_string()])
        .collect();
    let mut elements = vec!["PLB", text(last.remittance.payee.npi.as_ref()), &year];
    elements.extend(pairs.iter().map(String::as_str));
    segments.put(&elements)
}
