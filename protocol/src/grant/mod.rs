//! A publisher's grant to a relay: what it may serve, until when, and on which terms.
//!
//! Invariant: a [`SignedGrant`] comes from the publisher's own key or out of [`UnverifiedGrant::verify`], which checks
//! signature, bounds and the relay it is for. Terms of payment are optional members, so that a publisher that pays
//! nothing signs none.

mod body;
mod signed;
mod terms;

pub use body::{DEFAULT_WEIGHT, Grant, MAX_GRANT_MS, MAX_REGION, MAX_SCOPE, MAX_SCOPES, MAX_WEIGHT, is_region};
pub use signed::{GRANT_CONTEXT, GrantError, MAX_GRANT, SignedGrant, UnverifiedGrant};
pub use terms::{Caps, MAX_CURRENCY, MAX_PRICES, Price, PriceClass, Prices};
