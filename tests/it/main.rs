//! Integration tests on real servers: private RabbitMQ, PostgreSQL and Redis, started once for all tests; each test has a
//! virtual host, a database and a Redis database of its own, and runs the real binary.

mod calibration;
mod coherence;
mod degraded;
mod failures;
mod flow;
mod harness;
mod history;
mod learning;
mod linking;
mod proxy;
mod queries;
mod simulated;
mod statistics;
