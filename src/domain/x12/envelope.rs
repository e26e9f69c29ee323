//! The envelope: interchange, functional group, transaction; counts them, checks their trailers, and hands the segments
//! of each transaction to the reader of its kind.
//!
//! Must never: drop a claim because a trailer is missing or counts wrongly.

use std::sync::Arc;

use super::claim::ClaimReader;
use super::note::{NoteReason, Position};
use super::output::{Out, Site, Transaction};
use super::remittance::RemittanceReader;
use super::segment::{Elements, Segment, date, known_id};
use crate::domain::claim::ClaimType;
use crate::domain::types::{Date, Instant};

/// The reader of the transaction at hand.
enum Body {
    /// Outside a transaction.
    None,
    Claims(Box<ClaimReader>),
    Remittances(Box<RemittanceReader>),
    /// A transaction of another kind.
    Other,
}

struct Interchange {
    control: Option<String>,
    sender: Option<String>,
    groups: u32,
    at: Position,
}

struct Group {
    control: Option<String>,
    form: Option<ClaimType>,
    time: Option<Instant>,
    transactions: u32,
    at: Position,
}

struct Open {
    control: Option<String>,
    at: Position,
}

/// What is open, from the outside in.
pub(super) struct Envelope {
    interchange: Option<Interchange>,
    group: Option<Group>,
    transaction: Option<Open>,
    body: Body,
}

impl Envelope {
    pub const fn new() -> Self {
        Self { interchange: None, group: None, transaction: None, body: Body::None }
    }

    /// Takes one whole segment.
    pub fn segment(&mut self, segment: &Segment<'_>, at: Position, out: &mut Out<'_>) {
        let id = segment.id();
        match id {
            b"ISA" => self.open_interchange(&segment.elements(), at, out),
            b"GS" => self.open_group(&segment.elements(), at, out),
            b"ST" => self.open_transaction(&segment.elements(), at, out),
            b"SE" => self.end_transaction(&segment.elements(), at, out),
            b"GE" => self.end_group(&segment.elements(), at, out),
            b"IEA" => self.end_interchange(&segment.elements(), at, out),
            _ => match &mut self.body {
                Body::Claims(reader) => {
                    if !reader.segment(id, segment, at, out) {
                        check_identifier(id, at, out);
                    }
                }
                Body::Remittances(reader) => {
                    if !reader.segment(id, segment, at, out) {
                        check_identifier(id, at, out);
                    }
                }
                Body::Other => {}
                // An interchange acknowledgement stands between ISA and GS.
                Body::None if id == b"TA1" => {}
                Body::None if is_identifier(id) => out.note(NoteReason::StraySegment, at, known_id(id), None),
                Body::None => check_identifier(id, at, out),
            },
        }
    }

    /// Takes the bytes at the end of the file that no terminator ends. A trailer may well lack its terminator; anything
    /// else may be cut in the middle of an amount, so the claim it belongs to is not delivered.
    pub fn tail(&mut self, segment: &Segment<'_>, at: Position, out: &mut Out<'_>) {
        let id = segment.id();
        if matches!(id, b"SE" | b"GE" | b"IEA") {
            return self.segment(segment, at, out);
        }
        out.note(NoteReason::Truncated, at, known_id(id), None);
        match &mut self.body {
            Body::Claims(reader) => reader.abandon(out),
            Body::Remittances(reader) => reader.abandon(out),
            Body::None | Body::Other => {}
        }
    }

    /// Ends the file: whatever is open is closed, with a remark on the missing trailer.
    pub fn finish(&mut self, out: &mut Out<'_>) {
        self.close_interchange(out);
    }

    fn open_interchange(&mut self, isa: &Elements<'_>, at: Position, out: &mut Out<'_>) {
        self.close_interchange(out);
        out.summary.interchanges += 1;
        self.interchange = Some(Interchange { control: isa.text(13), sender: isa.text(6), groups: 0, at });
    }

    fn open_group(&mut self, gs: &Elements<'_>, at: Position, out: &mut Out<'_>) {
        self.close_group(out);
        out.summary.groups += 1;
        if let Some(interchange) = &mut self.interchange {
            interchange.groups += 1;
        }
        self.group = Some(Group {
            control: gs.text(6),
            form: claim_form(gs.get(8)),
            time: date(gs.get(4)).and_then(|day| instant(day, gs.get(5))),
            transactions: 0,
            at,
        });
    }

    fn open_transaction(&mut self, st: &Elements<'_>, at: Position, out: &mut Out<'_>) {
        self.close_transaction(out);
        *out.separator_noted = false;
        out.summary.transactions += 1;
        let group = self.group.as_mut().map(|group| {
            group.transactions += 1;
            &*group
        });
        let transaction = Transaction {
            sender_id: self.interchange.as_ref().and_then(|i| i.sender.clone()),
            time: group.and_then(|g| g.time),
            interchange_control_number: self.interchange.as_ref().and_then(|i| i.control.clone()),
            group_control_number: group.and_then(|g| g.control.clone()),
            transaction_control_number: st.text(2),
        };
        let form = claim_form(st.get(3)).or(group.and_then(|g| g.form));
        self.transaction = Some(Open { control: st.text(2), at });
        self.body = match st.get(1) {
            b"837" => Body::Claims(Box::new(ClaimReader::new(Arc::new(transaction), form))),
            b"835" => Body::Remittances(Box::new(RemittanceReader::new(Arc::new(transaction)))),
            _ => {
                out.summary.passed_over += 1;
                out.note(NoteReason::TransactionPassedOver, at, "ST", Some(1));
                Body::Other
            }
        };
    }

    fn end_transaction(&mut self, se: &Elements<'_>, at: Position, out: &mut Out<'_>) {
        let Some(open) = self.transaction.take() else {
            return out.note(NoteReason::StraySegment, at, "SE", None);
        };
        self.end_body(out);
        let count = at.segment - open.at.segment + 1;
        let mut site = Site { out, at, segment_id: b"SE" };
        check_trailer(se, count, NoteReason::SegmentCountMismatch, open.control.as_ref(), &mut site);
    }

    fn end_group(&mut self, ge: &Elements<'_>, at: Position, out: &mut Out<'_>) {
        self.close_transaction(out);
        let Some(group) = self.group.take() else {
            return out.note(NoteReason::StraySegment, at, "GE", None);
        };
        let mut site = Site { out, at, segment_id: b"GE" };
        let count = u64::from(group.transactions);
        check_trailer(ge, count, NoteReason::TransactionCountMismatch, group.control.as_ref(), &mut site);
    }

    fn end_interchange(&mut self, iea: &Elements<'_>, at: Position, out: &mut Out<'_>) {
        self.close_group(out);
        let Some(interchange) = self.interchange.take() else {
            return out.note(NoteReason::StraySegment, at, "IEA", None);
        };
        let mut site = Site { out, at, segment_id: b"IEA" };
        let count = u64::from(interchange.groups);
        check_trailer(iea, count, NoteReason::GroupCountMismatch, interchange.control.as_ref(), &mut site);
    }

    fn end_body(&mut self, out: &mut Out<'_>) {
        match std::mem::replace(&mut self.body, Body::None) {
            Body::Claims(mut reader) => reader.finish(out),
            Body::Remittances(mut reader) => reader.finish(out),
            Body::None | Body::Other => {}
        }
    }

    fn close_transaction(&mut self, out: &mut Out<'_>) {
        self.end_body(out);
        if let Some(open) = self.transaction.take() {
            out.note(NoteReason::MissingSe, open.at, "ST", None);
        }
    }

    fn close_group(&mut self, out: &mut Out<'_>) {
        self.close_transaction(out);
        if let Some(group) = self.group.take() {
            out.note(NoteReason::MissingGe, group.at, "GS", None);
        }
    }

    fn close_interchange(&mut self, out: &mut Out<'_>) {
        self.close_group(out);
        if let Some(interchange) = self.interchange.take() {
            out.note(NoteReason::MissingIea, interchange.at, "ISA", None);
        }
    }
}

/// Compares a trailer's count and control number with what was read.
fn check_trailer(
    trailer: &Elements<'_>,
    count: u64,
    mismatch: NoteReason,
    control: Option<&String>,
    site: &mut Site<'_, '_>,
) {
    let said = std::str::from_utf8(trailer.get(1)).ok().and_then(|t| t.parse::<u64>().ok());
    if said != Some(count) {
        site.note(mismatch, 1);
    }
    if trailer.text(2).as_ref() != control {
        site.note(NoteReason::ControlNumberMismatch, 2);
    }
}

/// Whether bytes have the form of a segment identifier: two or three capitals or digits, a capital first.
fn is_identifier(id: &[u8]) -> bool {
    (2..=3).contains(&id.len())
        && id.first().is_some_and(u8::is_ascii_uppercase)
        && id.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// Remarks on bytes that are no segment at all. A segment that is merely not used passes without a word.
fn check_identifier(id: &[u8], at: Position, out: &mut Out<'_>) {
    if !is_identifier(id) {
        out.note(NoteReason::UnreadableSegment, at, "", None);
    }
}

/// The form of an 837 by its implementation guide (ST03 or GS08): X098, X222 and X298 are professional, X096, X223 and
/// X299 institutional, X097, X224 and X300 dental.
fn claim_form(guide: &[u8]) -> Option<ClaimType> {
    let number = guide.iter().position(|&b| b == b'X').and_then(|at| guide.get(at + 1..at + 4))?;
    match number {
        b"098" | b"222" | b"298" => Some(ClaimType::Professional),
        b"096" | b"223" | b"299" => Some(ClaimType::Institutional),
        b"097" | b"224" | b"300" => Some(ClaimType::Dental),
        _ => None,
    }
}

/// Day and time (HHMM, HHMMSS, or with hundredths behind) as an instant in UTC; an unreadable time counts as midnight.
pub(super) fn instant(day: Date, time: &[u8]) -> Option<Instant> {
    let two = |at: usize| match time.get(at..at + 2) {
        Some([tens @ b'0'..=b'9', ones @ b'0'..=b'9']) => Some(u32::from(tens - b'0') * 10 + u32::from(ones - b'0')),
        _ => None,
    };
    let (hour, minute, second) = (two(0).unwrap_or(0), two(2).unwrap_or(0), two(4).unwrap_or(0));
    day.and_hms_opt(hour, minute, second).or_else(|| day.and_hms_opt(0, 0, 0)).map(|naive| naive.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_tells_the_form_in_both_versions() {
        for (guide, form) in [
            (&b"005010X222A1"[..], Some(ClaimType::Professional)),
            (b"004010X098A1", Some(ClaimType::Professional)),
            (b"005010X223A2", Some(ClaimType::Institutional)),
            (b"004010X096", Some(ClaimType::Institutional)),
            (b"005010X224A3", Some(ClaimType::Dental)),
            (b"004010X097A1", Some(ClaimType::Dental)),
            (b"005010X221A1", None),
            (b"X22", None),
            (b"", None),
        ] {
            assert_eq!(claim_form(guide), form);
        }
    }

    #[test]
    fn a_time_of_day_is_read_in_its_four_six_and_eight_digit_forms() {
        let day = Date::from_ymd_opt(2026, 11, 2).expect("a day of the calendar");
        for (time, clock) in [
            (&b"1023"[..], "2026-11-02 10:23:00 UTC"),
            (b"102359", "2026-11-02 10:23:59 UTC"),
            (b"09460000", "2026-11-02 09:46:00 UTC"),
            (b"", "2026-11-02 00:00:00 UTC"),
            (b"9999", "2026-11-02 00:00:00 UTC"),
        ] {
            assert_eq!(instant(day, time).map(|i| i.to_string()).as_deref(), Some(clock));
        }
    }
}
