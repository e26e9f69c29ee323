//! Reads X12 interchanges as a stream: 837 claims (professional, institutional, dental) and 835 remittances, in versions
//! 4010 and 5010, into the domain's own types.
//!
//! The way of the bytes: `tokenizer` cuts segments (with `separators`), `envelope` follows ISA, GS and ST and hands each
//! segment to `claim` or `remittance`, and these hand out whole claims through `output`. What cannot be read becomes a
//! [`Note`] with its place and reason, and the rest is delivered. Segments and elements are borrowed slices of the
//! caller's buffer; only values that go into a claim are copied.
//!
//! Must never: panic on any input, hold more than one claim and one partial segment, or put a value from the file into a
//! note. The result does not depend on how the bytes are cut into chunks.

mod claim;
mod claim_line;
mod claim_parts;
mod envelope;
mod note;
mod output;
mod remittance;
mod remittance_line;
mod segment;
mod separators;
mod tokenizer;

#[cfg(test)]
mod claim_tests;
#[cfg(test)]
mod remittance_tests;

pub use note::{Note, NoteReason, Position, Severity};
pub use output::{Item, MAX_NOTES, Parsed, Summary, Transaction};

use envelope::Envelope;
use output::Out;
use tokenizer::{Framed, Tokenizer};

/// The streaming reader: bytes are pushed in, items come out as soon as they are whole.
///
/// ```
/// use claimrisk::domain::x12::{Item, Reader};
///
/// let mut notes = 0;
/// let mut sink = |item: Item| notes += u32::from(matches!(item, Item::Note(_)));
/// let mut reader = Reader::new();
/// reader.push(b"this is ", &mut sink);
/// reader.push(b"not X12", &mut sink);
/// let summary = reader.finish(&mut sink);
/// assert_eq!((notes, summary.errors, summary.claims), (1, 1, 0));
/// ```
pub struct Reader {
    tokenizer: Tokenizer,
    envelope: Envelope,
    summary: Summary,
    separator_noted: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the beginning of a file.
    pub fn new() -> Self {
        Self {
            tokenizer: Tokenizer::new(),
            envelope: Envelope::new(),
            summary: Summary::default(),
            separator_noted: false,
        }
    }

    /// Takes the next bytes of the file, as many as there are, and hands what they complete to `sink`.
    ///
    /// Never fails: what cannot be read is handed out as [`Item::Note`].
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Item)) {
        let Self { tokenizer, envelope, summary, separator_noted } = self;
        summary.bytes += bytes.len() as u64;
        let mut out = Out { sink, summary, separator_noted };
        tokenizer.push(bytes, &mut |framed| take(envelope, &framed, &mut out));
    }

    /// Ends the file: hands out what is still open, remarks on what is missing, and gives the sums.
    pub fn finish(self, sink: &mut dyn FnMut(Item)) -> Summary {
        let Self { mut tokenizer, mut envelope, mut summary, mut separator_noted } = self;
        let mut out = Out { sink, summary: &mut summary, separator_noted: &mut separator_noted };
        tokenizer.finish(&mut |framed| take(&mut envelope, &framed, &mut out));
        envelope.finish(&mut out);
        summary.segments = tokenizer.segments();
        summary
    }
}

fn take(envelope: &mut Envelope, framed: &Framed<'_>, out: &mut Out<'_>) {
    match framed {
        Framed::Segment(segment, at) => envelope.segment(segment, *at, out),
        Framed::Tail(segment, at) => envelope.tail(segment, *at, out),
        Framed::Note(reason, at) => out.note(*reason, *at, "", None),
    }
}

/// Reads bytes that are all at hand: every item in order, and the sums. For files of any size use [`Reader`].
pub fn read_all(bytes: &[u8]) -> (Vec<Item>, Summary) {
    let mut items = Vec::new();
    let mut sink = |item| items.push(item);
    let mut reader = Reader::new();
    reader.push(bytes, &mut sink);
    let summary = reader.finish(&mut sink);
    (items, summary)
}
