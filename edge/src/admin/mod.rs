//! The private address: liveness, readiness, metrics and status. Invariant: it only reads, and answers only requests
//! that name it by an address or a configured name, so that a web page cannot reach it by rebinding a DNS name.

mod handler;
mod readiness;
mod status;

pub use handler::Admin;
pub use readiness::{Check, Readiness};
pub use status::StatusSource;
