//! Session tokens at the door: where a request carries one, whether it is good, and what it is charged to.
//!
//! Invariant: a token is read once, verified with the keys of the publisher whose content is asked for, and goes no
//! further: neither into a cache key nor to the origin nor into a log.

mod carried;
mod gate;
mod onward;

pub use gate::{Admission, Gate, NotAdmitted, Publishers};
pub(crate) use onward::{MAX_CARRIED, carry};
