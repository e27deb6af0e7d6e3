//! HTTP decisions that need neither a socket nor a clock: byte ranges, conditions, content coding and cross-origin
//! headers. Invariant: pure functions; a field that cannot be understood is ignored as RFC 9110 asks, never an error.

mod conditional;
mod cors;
mod encoding;
mod range;

pub use conditional::{Condition, ETag, Validators, evaluate, range_applies};
pub use cors::{EXPOSED_HEADERS, cors_headers, preflight};
pub use encoding::accepts_gzip;
pub use range::{ByteRange, RangeAnswer, RangeSpec, content_range, parse_range, range_spec, unsatisfied_range};
