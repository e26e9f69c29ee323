//! What the reader hands out: claims, remittances and notes, and the sums at the end.
//!
//! Must never: keep what it has handed out. The reader's memory does not grow with the file.

use std::sync::Arc;

use super::note::{Note, NoteReason, Position, Severity};
use super::segment::known_id;
use crate::domain::claim::Claim;
use crate::domain::remittance::Remittance;
use crate::domain::types::{Cents, Instant};

/// After this many notes the rest are only counted: a broken file of gigabytes must not bury whoever listens.
pub const MAX_NOTES: u64 = 10_000;

/// One thing read from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A claim (one CLM of an 837).
    Claim(Box<Parsed<Claim>>),
    /// A remitted claim (one CLP of an 835).
    Remittance(Box<Parsed<Remittance>>),
    /// A remark.
    Note(Note),
}

/// A value with where it was found and what it travelled in.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Parsed<T> {
    /// The claim or remittance.
    pub value: T,
    /// Place of its first segment (CLM or CLP).
    pub at: Position,
    /// The transaction it came in; shared by all claims of it.
    pub transaction: Arc<Transaction>,
}

/// Envelope data of one transaction (ST to SE). None of it is a patient's.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Transaction {
    /// Who sent the interchange (ISA06), trimmed.
    pub sender_id: Option<String>,
    /// When the transaction was made, UTC: BHT04 and BHT05 of an 837; the day BPR16 of an 835, else its DTM*405. Where
    /// these cannot be read, GS04 and GS05. It depends on the file alone, so that a file sent again is the same event.
    pub time: Option<Instant>,
    /// Interchange control number (ISA13).
    pub interchange_control_number: Option<String>,
    /// Group control number (GS06).
    pub group_control_number: Option<String>,
    /// Transaction control number (ST02).
    pub transaction_control_number: Option<String>,
}

/// Counts and sums of a whole file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Summary {
    /// Interchanges (ISA).
    pub interchanges: u32,
    /// Functional groups (GS).
    pub groups: u32,
    /// Transactions (ST), those passed over included.
    pub transactions: u32,
    /// Transactions that are neither 837 nor 835.
    pub passed_over: u32,
    /// Segments.
    pub segments: u64,
    /// Bytes.
    pub bytes: u64,
    /// Claims delivered.
    pub claims: u64,
    /// Remitted claims delivered.
    pub remittances: u64,
    /// Claims and remitted claims found but not delivered; an error note says why of each.
    pub withheld: u64,
    /// Sum of CLM02 over the claims delivered.
    pub claim_total: Cents,
    /// Sum of CLP03 over the remitted claims delivered.
    pub remittance_charge_total: Cents,
    /// Sum of CLP04 over the remitted claims delivered.
    pub remittance_payment_total: Cents,
    /// Sum of BPR02 over the 835 transactions.
    pub payment_total: Cents,
    /// Sum of the PLB amounts over the 835 transactions.
    pub provider_adjustment_total: Cents,
    /// Remarks of severity error.
    pub errors: u64,
    /// Remarks of severity warning.
    pub warnings: u64,
    /// Remarks of severity info.
    pub infos: u64,
    /// Remarks counted above but not handed out, beyond [`MAX_NOTES`].
    pub notes_suppressed: u64,
}

/// Where the parts of the reader put what they have read: counts it and passes it on.
pub(super) struct Out<'a> {
    pub sink: &'a mut dyn FnMut(Item),
    pub summary: &'a mut Summary,
    /// Whether the transaction at hand has been remarked on for its component separator: once is enough.
    pub separator_noted: &'a mut bool,
}

impl Out<'_> {
    pub fn note(&mut self, reason: NoteReason, at: Position, segment_id: &'static str, element: Option<u8>) {
        let severity = reason.severity();
        match severity {
            Severity::Error => self.summary.errors += 1,
            Severity::Warning => self.summary.warnings += 1,
            Severity::Info => self.summary.infos += 1,
        }
        if self.summary.errors + self.summary.warnings + self.summary.infos > MAX_NOTES {
            self.summary.notes_suppressed += 1;
            return;
        }
        (self.sink)(Item::Note(Note { severity, reason, at, segment_id, element }));
    }

    pub fn claim(&mut self, parsed: Box<Parsed<Claim>>) {
        self.summary.claims += 1;
        self.summary.claim_total += parsed.value.total_charge;
        (self.sink)(Item::Claim(parsed));
    }

    pub fn remittance(&mut self, parsed: Box<Parsed<Remittance>>) {
        self.summary.remittances += 1;
        self.summary.remittance_charge_total += parsed.value.total_charge;
        self.summary.remittance_payment_total += parsed.value.payment;
        (self.sink)(Item::Remittance(parsed));
    }
}

/// The segment at hand, for remarks on it.
pub(super) struct Site<'a, 'o> {
    pub out: &'a mut Out<'o>,
    pub at: Position,
    pub segment_id: &'a [u8],
}

impl Site<'_, '_> {
    /// Remarks on an element of the segment, from 1; 0 means the segment as a whole.
    pub fn note(&mut self, reason: NoteReason, element: usize) {
        let element = u8::try_from(element).ok().filter(|&e| e > 0);
        self.out.note(reason, self.at, known_id(self.segment_id), element);
    }

    /// Remarks on a component separator that is not the declared one, once in a transaction.
    pub fn note_separator(&mut self, element: usize) {
        if !std::mem::replace(self.out.separator_noted, true) {
            self.note(NoteReason::ComponentSeparatorDiffers, element);
        }
    }
}
