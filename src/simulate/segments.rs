//! Writes X12 segments: separators, trailing empty elements, counts, envelopes.
//!
//! Must never: write a value that holds a separator; the simulator's values are letters, digits, blanks, `-` and `.`.

use std::io::{self, Write};

use crate::domain::types::{Date, Instant};

/// Separators of one interchange.
#[derive(Clone, Copy, Debug)]
pub struct Separators {
    /// Between elements.
    pub element: char,
    /// Between the parts of a composite.
    pub component: char,
    /// At the end of a segment.
    pub segment: &'static str,
}

impl Separators {
    /// Three ways in which real files are written.
    pub const fn style(number: usize) -> Self {
        match number % 3 {
            0 => Self { element: '*', component: ':', segment: "~\n" },
            1 => Self { element: '*', component: '>', segment: "~" },
            _ => Self { element: '|', component: ':', segment: "~\r\n" },
        }
    }
}

/// Who sends an interchange to whom, and what it holds.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Sender id (ISA06, GS02), at most 15 characters.
    pub sender: String,
    /// Receiver id (ISA08, GS03), at most 15 characters.
    pub receiver: String,
    /// Functional id (GS01): `HC` for claims, `HP` for remittances.
    pub functional: &'static str,
    /// Implementation guide (GS08).
    pub version: &'static str,
    /// When it was made.
    pub time: Instant,
    /// Control number.
    pub control: u32,
}

/// A writer of segments.
pub struct Segments<'a, W: Write> {
    out: &'a mut W,
    separators: Separators,
    envelope: Envelope,
    /// Segments since ST, itself included.
    count: u32,
    /// Transactions since GS.
    transactions: u32,
}

impl<'a, W: Write> Segments<'a, W> {
    /// Opens an interchange with one functional group.
    ///
    /// # Errors
    /// Whatever writing fails with; so does every other function here.
    pub fn open(out: &'a mut W, separators: Separators, envelope: Envelope) -> io::Result<Self> {
        let Envelope { sender, receiver, functional, version, time, control } = envelope.clone();
        let mut segments = Self { out, separators, envelope, count: 0, transactions: 0 };
        let component = separators.component.to_string();
        segments.raw(&[
            "ISA",
            "00",
            "          ",
            "00",
            "          ",
            "ZZ",
            &format!("{sender:<15}"),
            "ZZ",
            &format!("{receiver:<15}"),
            &time.format("%y%m%d").to_string(),
            &time.format("%H%M").to_string(),
            "^",
            "00501",
            &format!("{control:09}"),
            "0",
            "T",
            &component,
        ])?;
        segments.raw(&[
            "GS",
            functional,
            &sender,
            &receiver,
            &day(time.date_naive()),
            &time.format("%H%M").to_string(),
            &control.to_string(),
            "X",
            version,
        ])?;
        Ok(segments)
    }

    /// Opens a transaction set (ST).
    pub fn begin(&mut self, set: &str) -> io::Result<()> {
        self.transactions += 1;
        self.count = 0;
        let number = format!("{:04}", self.transactions);
        if set == "837" {
            let version = self.envelope.version;
            self.put(&["ST", set, &number, version])
        } else {
            self.put(&["ST", set, &number])
        }
    }

    /// Closes it (SE) with its count.
    pub fn end(&mut self) -> io::Result<()> {
        let (count, number) = (self.count + 1, format!("{:04}", self.transactions));
        self.put(&["SE", &count.to_string(), &number])
    }

    /// Closes the group and the interchange.
    pub fn close(mut self) -> io::Result<()> {
        let (transactions, control) = (self.transactions.to_string(), self.envelope.control);
        self.raw(&["GE", &transactions, &control.to_string()])?;
        self.raw(&["IEA", "1", &format!("{control:09}")])
    }

    /// Writes a segment without its trailing empty elements.
    pub fn put(&mut self, elements: &[&str]) -> io::Result<()> {
        self.count += 1;
        let used = elements.iter().rposition(|element| !element.is_empty()).map_or(0, |place| place + 1);
        self.raw(elements.get(..used).unwrap_or(elements))
    }

    /// A composite element, without its trailing empty parts.
    pub fn composite(&self, parts: &[&str]) -> String {
        let used = parts.iter().rposition(|part| !part.is_empty()).map_or(0, |place| place + 1);
        parts.get(..used).unwrap_or(parts).join(&self.separators.component.to_string())
    }

    fn raw(&mut self, elements: &[&str]) -> io::Result<()> {
        for (place, element) in elements.iter().enumerate() {
            if place > 0 {
                write!(self.out, "{}", self.separators.element)?;
            }
            write!(self.out, "{element}")?;
        }
        write!(self.out, "{}", self.separators.segment)
    }
}

/// A date as X12 writes it (CCYYMMDD).
pub fn day(date: Date) -> String {
    date.format("%Y%m%d").to_string()
}
