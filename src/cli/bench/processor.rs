//! Processor time of the worker and of the private servers, as the system tells it in `/proc`.
//!
//! A process counts with all its children, those that have ended among them, so that what it is asked for twice only
//! grows. Must never: count the bench itself.

use std::collections::BTreeMap;

/// Whose time is told, in the order of [`Used`].
pub(super) const NAMES: [&str; 4] = ["worker", "postgres", "rabbitmq", "redis"];

/// Microseconds of a tick: Linux counts 100 of them in a second on every machine that this runs on.
const TICK_MICROS: u64 = 10_000;

/// Microseconds of each that [`NAMES`] names; none where the system does not tell.
pub(super) type Used = [Option<u64>; 4];

/// One line of `/proc/PID/stat`: the parent, and the ticks of the process and of its ended children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: u32,
    ticks: u64,
}

impl Process {
    fn read(stat: &str) -> Option<Self> {
        // The second field is the name in brackets and may hold blanks and brackets itself.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_whitespace().collect();
        // Behind the name: state, parent, ...; the 14th to 17th of all are user and system time, own and of ended children.
        let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
        Some(Self { parent: fields.get(1)?.parse().ok()?, ticks })
    }
}

/// All processes of this machine.
fn processes() -> BTreeMap<u32, Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| Some((id, Process::read(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?)))
        .collect()
}

/// The ticks of a process and of all below it; none when it is gone.
fn ticks_below(processes: &BTreeMap<u32, Process>, root: u32) -> Option<u64> {
    let mut ticks = processes.get(&root)?.ticks;
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for (id, process) in processes.iter().filter(|(_, process)| process.parent == parent) {
            ticks += process.ticks;
            parents.push(*id);
        }
    }
    Some(ticks)
}

/// What the processes of these ids have used so far, each with its children.
pub(super) fn used(roots: [u32; 4]) -> Used {
    let processes = processes();
    roots.map(|root| ticks_below(&processes, root).map(|ticks| ticks * TICK_MICROS))
}

/// Microseconds per event between two readings.
pub(super) fn per_event(before: &Used, after: &Used, events: u64) -> [Option<f64>; 4] {
    let each = |index: usize| -> Option<f64> {
        let (before, after) = ((*before.get(index)?)?, (*after.get(index)?)?);
        (events > 0).then(|| after.saturating_sub(before) as f64 / events as f64)
    };
    std::array::from_fn(each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_name_holds() {
        let line = "4242 (a) b (c) S 17 4242 4242 0 -1 4194560 910 5 0 0 300 20 4 1 20 0 8 0 123 456 789 1844";
        assert_eq!(Process::read(line), Some(Process { parent: 17, ticks: 325 }));
        assert_eq!(Process::read("4242 (short) S 17 4242"), None);
        assert_eq!(Process::read(""), None);
    }

    #[test]
    fn a_process_counts_with_all_that_it_started_and_with_nothing_else() {
        let process = |parent, ticks| Process { parent, ticks };
        let all = BTreeMap::from([
            (1, process(0, 1000)),
            (10, process(1, 7)),
            (11, process(10, 20)),
            (12, process(11, 300)),
            (20, process(1, 4000)),
        ]);
        assert_eq!(ticks_below(&all, 10), Some(327));
        assert_eq!(ticks_below(&all, 99), None);
    }

    #[test]
    fn time_per_event_is_of_the_increase() {
        let (before, after) = ([Some(1000), Some(5), None, Some(9)], [Some(61_000), Some(5), Some(7), None]);
        assert_eq!(per_event(&before, &after, 1000), [Some(60.0), Some(0.0), None, None]);
        assert_eq!(per_event(&before, &after, 0), [None; 4]);
    }

    #[test]
    fn this_process_uses_its_processor() {
        let id = std::process::id();
        let before = used([id; 4]);
        let started = std::time::Instant::now();
        while started.elapsed().as_millis() < 100 {
            std::hint::black_box(before);
        }
        let grown = per_event(&before, &used([id; 4]), 1);
        assert!(grown.iter().all(|micros| micros.is_some_and(|micros| micros >= 20_000.0)), "{grown:?}");
    }
}
