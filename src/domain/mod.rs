//! The pure core: claims, remittances, linking, labels, rules and scores.
//!
//! Everything here is a function of its arguments. It must never do I/O, ask a clock, keep a global, log or count:
//! no tokio, sqlx, lapin, redis, metrics or tracing is named below this folder (`tests/tidy.rs` looks).

pub mod carc;
pub mod claim;
pub mod drift;
pub mod earlier;
pub mod link;
pub mod member;
pub mod model;
pub mod outcome;
pub mod reference;
pub mod remittance;
pub mod rules;
pub mod score;
pub mod types;
pub mod x12;
