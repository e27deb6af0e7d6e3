//! From a request to a response in hand: hit, join or fill. Invariant: for one shareable resource at most one fill
//! runs at a time, however many ask, and it outlives whoever asked first.

mod fill;
mod lookup;
mod plan;
mod served;
mod shared;

pub use lookup::Fetch;
pub use plan::{Candidate, Observer, Plan};
pub use served::{FetchError, How, Served};
pub use shared::FetchConfig;
