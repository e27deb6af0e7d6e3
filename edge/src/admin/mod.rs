//! The private address: liveness, readiness, metrics, status, commands and purges. Invariant: it answers only requests
//! that name it by an address or a configured name, so that a web page cannot reach it by rebinding a DNS name; what
//! changes something is JSON without an `Origin`, which no web page can send, and a purge names the token besides.

mod command;
mod handler;
mod purge;
mod readiness;
mod status;

pub use command::Command;
pub use handler::Admin;
pub use purge::PurgeDesk;
pub use readiness::{Check, Readiness};
pub use status::StatusSource;
