//! From a request to a response: whose content, which resource, from the fetcher, and how it is sent. Invariant: a
//! fresh hit is answered without waiting, and every body goes out under a delivery guard.

mod body;
mod cache_status;
mod errors;
mod handler;
mod own;
mod respond;
mod sites;

pub use handler::{Routes, RoutesConfig};
pub use sites::{Misdirected, Site, SiteError, Sites};
