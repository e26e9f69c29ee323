//! The thirty faults: what goes wrong, how it is made, what is checked besides the ledger.

/// One fault.
pub struct Fault {
    pub number: u8,
    pub name: &'static str,
    /// How it is made.
    pub how: &'static str,
    /// What is checked besides the ledger.
    pub checked: &'static str,
}

const fn fault(number: u8, name: &'static str, how: &'static str, checked: &'static str) -> Fault {
    Fault { number, name, how, checked }
}

/// All of them.
pub const FAULTS: [Fault; 30] = [
    fault(1, "worker killed", "`kill -9` after 50 to 500 ms of work, again and again", "each event applied once"),
    fault(
        2,
        "killed between commit and acknowledgement",
        "the proxy keeps acknowledgements from the broker, then `kill -9`",
        "what comes again is a `duplicate`",
    ),
    fault(
        3,
        "killed between commit and cache",
        "the proxy keeps the cache's script from Redis, then `kill -9`",
        "the redelivery writes the cache again, unread",
    ),
    fault(
        4,
        "worker stands still past its heartbeats",
        "SIGSTOP in mid-batch for 8 s at a heartbeat of 2 s, another worker goes on, SIGCONT",
        "its late work overwrites nothing; it consumes again",
    ),
    fault(5, "broker killed", "`kill -9` under load, restart on the same data", "ready within 10 s of its return"),
    fault(
        6,
        "broker away for longer than any waiting grows",
        "`kill -9`, 45 s away (`CLAIMRISK_OUTAGE_SECONDS` for more), restart",
        "not ready meanwhile, the API answers; consuming within 10 s of its return",
    ),
    fault(
        7,
        "connections reset in mid-frame",
        "the proxy resets the broker's connections after chosen numbers of bytes, either way",
        "all is worked off between resets",
    ),
    fault(
        8,
        "silence between worker and broker",
        "the proxy holds both ways back for 10 s, at a heartbeat of 2 s",
        "noticed within 6 s, ready again within 12 s",
    ),
    fault(
        9,
        "silence between worker and PostgreSQL, with a batch in flight",
        "all open connections fall silent for good, none is closed; new ones are fine; once under the learner's reading",
        "the deadline closes them; working again within 3 deadlines; the pool is whole; the right to learn comes free",
    ),
    fault(
        10,
        "answer to COMMIT lost",
        "the proxy passes COMMIT on and resets the connection instead of passing the answer",
        "no double; what was committed is found as `duplicate`",
    ),
    fault(11, "PostgreSQL restarts at once", "immediate stop under load, restart", "nothing dead for it"),
    fault(
        12,
        "PostgreSQL's disk is full",
        "its data on a small tmpfs, filled up under load, emptied again",
        "nothing dead for it; goes on by itself",
    ),
    fault(
        13,
        "deadlocks, locked tables, serialization failures",
        "sessions that lock rows and tables against the workers; two workers on the same claims",
        "tried again; none dead; no deadlock among workers alone",
    ),
    fault(
        14,
        "starved pool, requests given up in the middle",
        "pool of 2; clients that hang up after 0 to 20 ms",
        "no statement runs in a stale transaction",
    ),
    fault(15, "Redis away at start and dying in the middle", "no Redis, then one, then `kill -9`", "events go on"),
    fault(16, "Redis slow", "SIGSTOP; the proxy delays by 2 s", "events go on; 99 of 100 reads below 1 s"),
    fault(
        17,
        "poisoned or stale cache values",
        "garbage, other types, future versions, other keys' values; FLUSHALL; full memory",
        "every answer is PostgreSQL's",
    ),
    fault(
        18,
        "bad bodies",
        "bad UTF-8, 10,000 nested arrays, NUL in a text, overflow, trailing bytes, wrong types among good events",
        "each dead alone with its reason, neighbours applied",
    ),
    fault(
        19,
        "50 MB messages",
        "events of 50 MB; an interchange of 50 MB",
        "`too_large`; split; memory bounded; connection kept",
    ),
    fault(
        20,
        "event that kills the process",
        "the process is killed whenever the event's statement reaches PostgreSQL",
        "isolated, then dead as `delivery_limit`; no neighbour dead",
    ),
    fault(
        21,
        "same id again",
        "same id and body, same id and other body, same claim under a new id",
        "applied once, `id_conflict`, money once",
    ),
    fault(
        22,
        "any order",
        "remittance before claim, reversal before payment, shuffled, two workers, delays",
        "parked, then joined; nothing stays parked",
    ),
    fault(
        23,
        "wrong clocks",
        "events, properties and headers dated ten years ago and ahead",
        "order by version; lifetimes and durations sane",
    ),
    fault(
        24,
        "consumer cancelled, queue deleted, rights revoked, acknowledgement too late",
        "deleted queue; cleared permissions and closed connection; `consumer_timeout` of 1 s",
        "not ready while it lasts, never silently idle; goes on by itself",
    ),
    fault(
        25,
        "broker's memory alarm",
        "`set_vm_memory_high_watermark 0.0000001` with events to be copied, then restored",
        "consuming goes on; originals stay until their copies are confirmed; none counted up to its limit",
    ),
    fault(
        26,
        "SIGTERM in mid-batch, twice, past the grace",
        "SIGTERM under load; SIGTERM twice and a grace of 1 s with a batch that waits for a lock",
        "exit 0 in the grace; else what was taken goes back",
    ),
    fault(
        27,
        "copies not taken",
        "dead letters and delayed queues unbound; dead letters full",
        "originals stay, are not counted up to their limit, keep their reason",
    ),
    fault(28, "TLS", "expired, wrong authority, wrong host", "refused, no plaintext instead"),
    fault(
        29,
        "rolling deployment with a new major version of an event",
        "events of version 2 to this worker",
        "`unsupported_version`, body whole",
    ),
    fault(
        30,
        "worker without file descriptors, with a full log disk",
        "`prlimit --nofile` under load, restored; log to /dev/full",
        "lives, and goes on",
    ),
];

#[test]
fn faults_are_numbered_from_one_to_thirty() {
    for (at, fault) in FAULTS.iter().enumerate() {
        assert_eq!(usize::from(fault.number), at + 1);
    }
}
