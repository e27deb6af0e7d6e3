//! `POST /api/control`: what the player page and the load tester do to the demo's relays; `POST /api/session`: tokens for
//! viewers.
//!
//! Invariant: nothing changes on behalf of another site's page. See [`admit`] for how that is held.

mod admit;
mod command;
mod session;

pub(super) use admit::{Token, is_for_this_machine, is_from_elsewhere};
pub(super) use command::{Control, Desk};
pub(super) use session::Tokens;
