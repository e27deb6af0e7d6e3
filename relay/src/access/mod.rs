//! Who may do what: grants that other relays have shown, what publishers have taken down, what this relay's operator
//! refuses. Decisions without I/O, but for `keep`, which writes what must survive a restart.
//!
//! Invariants: a grant or takedown counts only after its signature has been verified; an older takedown never undoes a
//! newer one; everything that strangers can make grow here is bounded.

mod blocklist;
mod book;
mod granting;
mod keep;
mod rules;
mod shown;
mod withdrawn;
mod withheld;

pub use blocklist::{Blocklist, BlocklistError};
pub use book::{MAX_HELD_TAKEDOWNS, TakedownBook, Verdict};
pub use granting::{Decision, Granting};
pub use keep::{KeepError, Kept};
pub use rules::Rules;
pub(crate) use shown::Shown;
pub use withdrawn::{Offered, Withdrawn};
pub use withheld::Withheld;
