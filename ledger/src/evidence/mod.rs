//! What the log's openings say, verified and put in order: the input of a settlement.
//!
//! * `source`: openings, whoever keeps them.
//! * `keys`, `tokens`, `terms`: the publisher's keys, its session tokens, and its grants.
//! * `series`: the latest statement of each series, and contradictions among all of them.
//! * `probes`: what blind probes measured, with a confidence interval.
//! * `book`: everything together.

mod book;
mod keys;
mod probes;
mod series;
mod source;
mod terms;
mod tokens;

pub(crate) use book::Deadlines;
pub use book::{Book, BookError, Misconduct, Seen};
pub use probes::{Inflation, ProbeSample};
pub use series::Latest;
pub use source::{LeafSource, Leaves, SourceError};
pub use terms::Terms;
pub use tokens::{Token, TokenFault};
