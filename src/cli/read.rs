//! Reads all events of the files that a command is given, and says what could not be read.
//!
//! Must never: put a value of a file into a message.

use super::output::say;
use super::publish::input::{Format, Found, Reading, Source};
use crate::config::Config;
use crate::error::CommandError;
use crate::wire::Event;

/// Parts that could not be read and are shown; the others are counted.
const SHOWN: usize = 50;

/// What was read so far, and what could not be.
#[derive(Default)]
pub(super) struct Read {
    shown: usize,
    pub(super) errors: u64,
    pub(super) withheld: u64,
    /// Events that are no claims.
    others: u64,
    /// Files named on the command line in which nothing could be read.
    unread: Vec<String>,
}

impl Read {
    /// Hands every event of the files to `take`, which tells whether it had a use for it.
    pub(super) fn all(
        &mut self,
        sources: &[Source],
        config: &Config,
        take: &mut dyn FnMut(Event, &str) -> bool,
    ) -> Result<(), CommandError> {
        for source in sources {
            let name = source.name();
            let mut reading = Reading::open(source, config.max_event_bytes)?;
            let mut found: Vec<Found> = Vec::new();
            loop {
                let more = reading.step(&mut found)?;
                self.others += found.drain(..).map(|one| u64::from(!take(one.event, &name))).sum::<u64>();
                if !more {
                    break;
                }
            }
            self.end_file(source, &reading);
        }
        Ok(())
    }

    fn end_file(&mut self, source: &Source, reading: &Reading) {
        let (name, findings) = (source.name(), &reading.findings);
        if reading.format() == Format::Unknown && !source.named {
            say(&format!("{name}: passed over: neither X12 nor events"));
            return;
        }
        for trouble in findings.troubles.iter().take(SHOWN.saturating_sub(self.shown)) {
            say(&format!("{name}: {trouble}"));
            self.shown += 1;
        }
        self.errors += findings.errors;
        self.withheld += findings.withheld;
        if reading.format() == Format::Unknown || (findings.events == 0 && findings.errors > 0) {
            self.unread.push(name);
        }
    }

    pub(super) fn verdict(&self, claims: usize) -> Result<(), CommandError> {
        if !self.unread.is_empty() {
            let names = self.unread.join(", ");
            return Err(CommandError::BadData(format!("no claims could be read: {names}")));
        }
        if claims == 0 {
            let what = if self.others > 0 {
                "the files hold remittances or acknowledgements only"
            } else {
                "there are no claims in the files"
            };
            return Err(CommandError::BadData(format!("nothing to score: {what}; give 837 files or claim events")));
        }
        Ok(())
    }
}
