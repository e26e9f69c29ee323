//! Tells how far publishing is: a bar on a terminal, else a line now and then; always on stderr.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::super::output::say;

/// Time between two lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// How far it is.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    /// Size of all files, where it is known.
    total: Option<u64>,
    /// Bytes of the files that are done.
    done: u64,
    last: Instant,
    troubles: usize,
}

impl Progress {
    /// Starts; `total` is the size of all files in bytes, unknown with standard input.
    pub(super) fn new(total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let (bar, template) = match total {
                Some(total) => (ProgressBar::new(total), "{bar:40} {bytes}/{total_bytes} {msg} {eta} left"),
                None => (ProgressBar::no_length(), "{spinner} {bytes} {msg}"),
            };
            // A template that is refused leaves the default one.
            ProgressStyle::with_template(template).map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
        });
        Self { bar, total, done: 0, last: Instant::now(), troubles: 0 }
    }

    /// Tells how many bytes of the file at hand were read and how many events were published.
    pub(super) fn tell(&mut self, bytes: u64, published: u64) {
        let bytes = self.done + bytes;
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            bar.set_message(format!("{published} events"));
        } else if self.last.elapsed() >= EVERY {
            self.last = Instant::now();
            let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
            say(&format!("{bytes}{of} bytes read, {published} events published"));
        }
    }

    /// The file at hand is read.
    pub(super) fn file_done(&mut self, bytes: u64) {
        self.done += bytes;
    }

    /// A line above the bar.
    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    /// Tells the troubles of a file, at most `shown` over all files.
    pub(super) fn troubles(&mut self, name: &str, troubles: &[String], shown: usize) {
        let room = shown.saturating_sub(self.troubles);
        for trouble in troubles.iter().take(room) {
            self.say(&format!("{name}: {trouble}"));
            self.troubles += 1;
        }
    }

    /// How many troubles were told.
    pub(super) fn told(&self) -> u64 {
        self.troubles as u64
    }

    /// Ends; the bar goes.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
