//! What the process uses of its machine, under the names that Prometheus' own libraries give it. Read at each scrape.
//!
//! Must never: fail a scrape. Where the system has no /proc, only the processor's time is told.

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};

use super::catalogue::{PROCESS_CPU, PROCESS_FDS, PROCESS_FDS_MAX, PROCESS_MEMORY};
use super::{gauge_text, head, micro_text};

/// The text of a scrape.
pub(super) fn text() -> String {
    let mut text = String::new();
    if let Some(kilobytes) = status_kib("self", "VmRSS") {
        text += &gauge_text(PROCESS_MEMORY, PROCESS_MEMORY, f64::from(kilobytes) * 1024.0);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        // Less the one that counts.
        let open = u32::try_from(files.count().saturating_sub(1)).unwrap_or(u32::MAX);
        text += &gauge_text(PROCESS_FDS, PROCESS_FDS, f64::from(open));
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        text += &gauge_text(PROCESS_FDS_MAX, PROCESS_FDS_MAX, f64::from(u32::try_from(soft).unwrap_or(u32::MAX)));
    }
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let (user, system) = (usage.user_time(), usage.system_time());
        let micros = (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
        text += &head(PROCESS_CPU, "counter");
        text += &micro_text(PROCESS_CPU, u64::try_from(micros).unwrap_or(0));
    }
    text
}

/// A size that the system tells of a process, in KiB: `VmRSS` in use, `VmHWM` the most so far; `process` is its id, or `self`.
pub fn status_kib(process: &str, field: &str) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let rest = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    rest.split_whitespace().next()?.parse().ok()
}
