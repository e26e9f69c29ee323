//! Integration tests on real servers: private RabbitMQ, PostgreSQL and Redis, started once for all tests; each test has a
//! virtual host, a database and a Redis database of its own, and runs the real binary.

mod access;
mod audit;
mod bench;
mod calibration;
mod canary;
mod challengers;
mod clinic;
mod coherence;
mod dead_letters;
mod degraded;
mod earlier;
#[path = "../common/events.rs"]
mod events;
mod failures;
#[allow(dead_code, reason = "the checks of the files use the rest of it")]
#[path = "../dashboards/files.rs"]
mod files;
mod flow;
mod fresh;
#[allow(dead_code, reason = "the faults use the rest of it")]
#[path = "../common/harness.rs"]
mod harness;
mod hidden;
mod history;
mod learning;
mod least_privilege;
mod linking;
mod observability;
mod pki;
mod preview;
#[allow(dead_code, reason = "the faults use the rest of it")]
#[path = "../common/proxy.rs"]
mod proxy;
mod queries;
#[path = "../common/random.rs"]
mod random;
mod schemathesis;
mod simulated;
mod statistics;
mod tls;
#[path = "../common/truth.rs"]
mod truth;
