//! Thirty faults, each against real servers, through proxies, signals, small disks, alarms, missing queues and rights; each
//! ends with the same ledger check. `make faults` runs all of them and writes the results into `docs/reliability.md`.
//!
//! Fast faults run with every `cargo test`; those that wait for something for long are ignored there, with the reason.

mod broker;
mod cache;
mod crash;
mod database;
#[allow(dead_code, reason = "the integration tests use the rest of it")]
#[path = "../common/events.rs"]
mod events;
#[allow(dead_code, reason = "the integration tests use the rest of it")]
#[path = "../common/harness.rs"]
mod harness;
mod host;
mod input;
mod ledger;
mod list;
mod matrix;
#[path = "../common/proxy.rs"]
mod proxy;
#[path = "../common/random.rs"]
mod random;
mod scene;
mod soak;
mod stop;
#[path = "../common/truth.rs"]
mod truth;
