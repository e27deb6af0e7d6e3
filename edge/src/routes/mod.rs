//! From a request to a response: whose content, which resource, from the fetcher, and how it is sent. Invariant: a
//! fresh hit is answered without waiting, and every body goes out under a delivery guard.

mod about;
mod ahead;
mod body;
mod booking;
mod cache_status;
mod cmsd;
mod errors;
mod growing;
mod handler;
mod own;
mod player;
mod ranged;
mod receipt;
mod reload;
mod respond;
mod sites;
mod sliced;
mod steer;
mod told;

pub use about::{About, KeyLists};
pub use handler::{Routes, RoutesConfig};
pub use player::player_file;
pub use sites::{Misdirected, Site, SiteError, Sites};
pub use steer::Steers;
