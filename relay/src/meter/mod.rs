//! Counting delivered bytes: every response body and peer stream carries a [`Delivery`] guard, so no byte leaves
//! the node outside an account.

mod delivery;

pub use delivery::{Account, Delivery, Outcome};
