//! From a request to a response in hand: hit, join or fill. Invariant: for one shareable resource at most one fill
//! runs at a time, however many ask, and it outlives whoever asked first.

mod fill;
mod lookup;
mod plan;

pub use lookup::{Fetch, FetchConfig, FetchError, How, Served};
pub use plan::{Candidate, Observer, Plan};
