//! Where the log's leaves are kept.
//!
//! Two stores do the same: [`Embedded`] (redb, one process) and `Postgres` (several adapters on one ledger); a URL
//! chooses. Invariants of both:
//!
//! * What [`Store::append`] returned is durable: it survives kill -9 and a power cut.
//! * A message is one leaf, however often and by however many processes it is submitted.
//! * Leaf numbers have no gaps and never change; entries are never rewritten. Only openings can be deleted.
//! * Times of receipt never go backwards from leaf to leaf, however the clocks of several adapters differ: what a
//!   settlement took for over stays over.
//!
//! A failed append may still have been kept (the answer got lost): submitting again is always safe.

mod any;
mod embedded;
mod error;
mod growth;
mod place;
mod postgres;
mod url;

pub use any::Store;
pub use embedded::{Embedded, Opener};
pub use error::StoreError;
pub use growth::{Completed, Growth};
pub use place::{Head, MAX_APPEND, Placed};
pub use postgres::Postgres;
pub use url::{StoreUrl, StoreUrlError};
