//! How long a response may be used and whether it may be kept (RFC 9111), and what a live playlist's own rules add.
//! Invariant: pure decisions; the same response at the same time gets the same verdict everywhere.

mod age;
mod dates;
mod directives;
mod judge;
mod live;
mod request;
mod targeted;

pub use directives::Directives;
pub use judge::{Judged, Judgement, Rules, judge};
pub use request::RequestDirectives;
