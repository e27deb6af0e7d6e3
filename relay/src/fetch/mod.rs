//! From a request to a response in hand: hit, join or fill. Invariant: for one shareable resource at most one fill
//! runs at a time, however many ask, and it outlives whoever asked first.

mod ask;
mod awaited;
mod fill;
mod keep;
mod lookup;
mod outdate;
mod parts;
mod plan;
mod purge;
mod register;
mod reload;
mod request;
mod running;
mod served;
mod shared;
mod variants;
mod way;

pub use lookup::Fetch;
pub use parts::{Layout, place};
pub use plan::{Candidate, Hedge, Observer, Plan, Route, Spread, Spreading};
pub use purge::covers;
pub use reload::Reloaded;
pub use request::Ask;
pub use served::{FetchError, How, Served};
pub use shared::FetchConfig;
