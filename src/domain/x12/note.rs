//! What the reader has to say of a file: where, what, how bad. Closed lists of words, positions and numbers only.
//!
//! Must never: carry a value from the file. Any element may be patient data, so a note names the place, not the content.

use std::fmt;

/// A place in the bytes handed to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Which interchange (ISA) of the file, from 1; 0 before the first.
    pub interchange: u32,
    /// Which segment of the whole file, from 1; 0 where no segment was made out.
    pub segment: u64,
    /// Offset of the segment's first byte, from 0.
    pub byte: u64,
}

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is wrong, yet something was not used.
    Info,
    /// Something is odd; everything was delivered all the same.
    Warning,
    /// Something could not be read, and what hangs on it was not delivered.
    Error,
}

impl Severity {
    /// The word for tables and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Everything the reader can find worth saying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteReason {
    /// The bytes are no X12, or do not begin with it.
    NotX12,
    /// An ISA whose 16 elements cannot be made out.
    IsaUnreadable,
    /// No usable ISA: the separators were guessed from the segments that follow.
    SeparatorsGuessed,
    /// A segment longer than the reader holds.
    SegmentTooLong,
    /// The bytes end inside a segment.
    Truncated,
    /// Bytes that begin with no segment identifier.
    UnreadableSegment,
    /// A claim or remitted claim without its control number (CLM01, CLP01).
    MissingIdentifier,
    /// A claim without its total or a remitted claim without charge or payment (CLM02, CLP03, CLP04).
    MissingAmount,
    /// An amount that is no decimal number of at most two places, or too large.
    UnreadableAmount,
    /// More service lines or list entries than the reader holds for one claim.
    TooManyEntries,
    /// An ISA that is not 106 bytes long.
    IsaNotFixedWidth,
    /// Bytes after the end of an interchange that begin no other.
    TrailingBytes,
    /// An interchange without IEA.
    MissingIea,
    /// A functional group without GE.
    MissingGe,
    /// A transaction without SE.
    MissingSe,
    /// A trailer without its header, or a segment outside any transaction.
    StraySegment,
    /// SE01 is not the number of segments.
    SegmentCountMismatch,
    /// GE01 is not the number of transactions.
    TransactionCountMismatch,
    /// IEA01 is not the number of groups.
    GroupCountMismatch,
    /// A trailer repeats another control number than its header's.
    ControlNumberMismatch,
    /// A required element is empty.
    MissingElement,
    /// A service line or adjustment without an amount: read as zero.
    LineAmountMissing,
    /// A date that is none of the calendar's: read as unknown.
    UnreadableDate,
    /// A quantity that is no decimal number: read as unknown.
    UnreadableQuantity,
    /// Composites use another separator than the ISA declares.
    ComponentSeparatorDiffers,
    /// The parts of a composite are written as elements.
    CompositeSplit,
    /// Charge less adjustments is not what was paid (835 balancing at claim level).
    ClaimNotBalanced,
    /// The payment is not the sum of the claims less provider adjustments (835 balancing at transaction level).
    PaymentNotBalanced,
    /// Provider adjustments in an 835 that delivers no claim to carry them.
    AdjustmentsWithoutClaim,
    /// A transaction that is neither 837 nor 835.
    TransactionPassedOver,
}

impl NoteReason {
    /// The closed, stable name for tables, logs and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotX12 => "not_x12",
            Self::IsaUnreadable => "isa_unreadable",
            Self::SeparatorsGuessed => "separators_guessed",
            Self::SegmentTooLong => "segment_too_long",
            Self::Truncated => "truncated",
            Self::UnreadableSegment => "unreadable_segment",
            Self::MissingIdentifier => "missing_identifier",
            Self::MissingAmount => "missing_amount",
            Self::UnreadableAmount => "unreadable_amount",
            Self::TooManyEntries => "too_many_entries",
            Self::IsaNotFixedWidth => "isa_not_fixed_width",
            Self::TrailingBytes => "trailing_bytes",
            Self::MissingIea => "missing_iea",
            Self::MissingGe => "missing_ge",
            Self::MissingSe => "missing_se",
            Self::StraySegment => "stray_segment",
            Self::SegmentCountMismatch => "segment_count_mismatch",
            Self::TransactionCountMismatch => "transaction_count_mismatch",
            Self::GroupCountMismatch => "group_count_mismatch",
            Self::ControlNumberMismatch => "control_number_mismatch",
            Self::MissingElement => "missing_element",
            Self::LineAmountMissing => "line_amount_missing",
            Self::UnreadableDate => "unreadable_date",
            Self::UnreadableQuantity => "unreadable_quantity",
            Self::ComponentSeparatorDiffers => "component_separator_differs",
            Self::CompositeSplit => "composite_split",
            Self::ClaimNotBalanced => "claim_not_balanced",
            Self::PaymentNotBalanced => "payment_not_balanced",
            Self::AdjustmentsWithoutClaim => "adjustments_without_claim",
            Self::TransactionPassedOver => "transaction_passed_over",
        }
    }

    /// One sentence for a person.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotX12 => "These bytes are not X12.",
            Self::IsaUnreadable => "The ISA segment does not have 16 elements.",
            Self::SeparatorsGuessed => "There is no usable ISA; the separators were guessed.",
            Self::SegmentTooLong => "The segment is too long and was skipped.",
            Self::Truncated => "The file ends inside a segment; what was open is not delivered.",
            Self::UnreadableSegment => "This is not a segment and was skipped.",
            Self::MissingIdentifier => "The claim has no control number and is not delivered.",
            Self::MissingAmount => "The claim lacks a required amount and is not delivered.",
            Self::UnreadableAmount => "The amount cannot be read; what it belongs to is not delivered.",
            Self::TooManyEntries => "The claim has more entries than can be held and is not delivered.",
            Self::IsaNotFixedWidth => "The ISA segment is not 106 bytes long.",
            Self::TrailingBytes => "There are bytes after the end of the interchange.",
            Self::MissingIea => "The interchange has no IEA.",
            Self::MissingGe => "The functional group has no GE.",
            Self::MissingSe => "The transaction has no SE.",
            Self::StraySegment => "The segment stands where it means nothing.",
            Self::SegmentCountMismatch => "SE01 does not match the number of segments.",
            Self::TransactionCountMismatch => "GE01 does not match the number of transactions.",
            Self::GroupCountMismatch => "IEA01 does not match the number of groups.",
            Self::ControlNumberMismatch => "The trailer's control number is not the header's.",
            Self::MissingElement => "A required element is empty.",
            Self::LineAmountMissing => "An amount is empty and was read as zero.",
            Self::UnreadableDate => "The date cannot be read and counts as unknown.",
            Self::UnreadableQuantity => "The quantity cannot be read and counts as unknown.",
            Self::ComponentSeparatorDiffers => "Composites use another separator than the ISA declares.",
            Self::CompositeSplit => "A composite is written as separate elements.",
            Self::ClaimNotBalanced => "Charge less adjustments is not the payment.",
            Self::PaymentNotBalanced => "The payment is not the sum of the claims less provider adjustments.",
            Self::AdjustmentsWithoutClaim => "Provider adjustments have no claim to ride on.",
            Self::TransactionPassedOver => "The transaction is neither 837 nor 835 and was passed over.",
        }
    }

    /// How much it matters. What cannot be delivered, or was read on a guess, is an error.
    pub const fn severity(self) -> Severity {
        match self {
            Self::NotX12
            | Self::IsaUnreadable
            | Self::SeparatorsGuessed
            | Self::SegmentTooLong
            | Self::Truncated
            | Self::UnreadableSegment
            | Self::MissingIdentifier
            | Self::MissingAmount
            | Self::UnreadableAmount
            | Self::TooManyEntries => Severity::Error,
            Self::TransactionPassedOver => Severity::Info,
            Self::IsaNotFixedWidth
            | Self::TrailingBytes
            | Self::MissingIea
            | Self::MissingGe
            | Self::MissingSe
            | Self::StraySegment
            | Self::SegmentCountMismatch
            | Self::TransactionCountMismatch
            | Self::GroupCountMismatch
            | Self::ControlNumberMismatch
            | Self::MissingElement
            | Self::LineAmountMissing
            | Self::UnreadableDate
            | Self::UnreadableQuantity
            | Self::ComponentSeparatorDiffers
            | Self::CompositeSplit
            | Self::ClaimNotBalanced
            | Self::PaymentNotBalanced
            | Self::AdjustmentsWithoutClaim => Severity::Warning,
        }
    }
}

/// One remark on a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub reason: NoteReason,
    /// Where it is.
    pub at: Position,
    /// The segment's identifier if it is one the reader knows, else empty: unknown bytes may be patient data.
    pub segment_id: &'static str,
    /// The element, from 1, where one is meant.
    pub element: Option<u8>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} (byte {})", self.at.segment, self.at.byte)?;
        if !self.segment_id.is_empty() {
            write!(f, " {}", self.segment_id)?;
            if let Some(element) = self.element {
                write!(f, "{element:02}")?;
            }
        }
        write!(f, ": {}: {}", self.reason.as_str(), self.reason.sentence())
    }
}
