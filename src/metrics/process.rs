//! What the process uses of its machine, under the names that Prometheus' own libraries give it. Read at each scrape.
//!
//! Must never: fail a scrape. Where the system has no /proc, only the processor's time is told.

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};

use super::catalogue::{PROCESS_CPU, PROCESS_FDS, PROCESS_FDS_MAX, PROCESS_MEMORY};
use super::{gauge_text, help};

/// The text of a scrape.
pub(super) fn text() -> String {
    let mut text = String::new();
    if let Some(kilobytes) = resident_kilobytes() {
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
        let (name, help) = (PROCESS_CPU, help(PROCESS_CPU));
        let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
        text += &format!("# HELP {name} {help}\n# TYPE {name} counter\n{name} {whole}.{rest:06}\n");
    }
    text
}

/// Memory in use, in kilobytes.
pub(super) fn resident_kilobytes() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
