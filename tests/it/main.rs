//! Integration tests on real servers: private RabbitMQ, PostgreSQL and Redis, started once for all tests; each test has a
//! virtual host, a database and a Redis database of its own, and runs the real binary.

mod calibration;
mod challengers;
mod coherence;
mod degraded;
mod earlier;
#[path = "../common/events.rs"]
mod events;
mod failures;
#[allow(dead_code, reason = "the checks of the files use the rest of it")]
#[path = "../dashboards/files.rs"]
mod files;
mod flow;
#[allow(dead_code, reason = "the faults use the rest of it")]
#[path = "../common/harness.rs"]
mod harness;
mod history;
mod learning;
mod linking;
mod observability;
#[allow(dead_code, reason = "the faults use the rest of it")]
#[path = "../common/proxy.rs"]
mod proxy;
mod queries;
mod simulated;
mod statistics;
#[path = "../common/truth.rs"]
mod truth;
