//! Counting delivered bytes, and the evidence for them: every response body and peer stream carries a [`Delivery`] guard,
//! so no byte leaves the node outside an account.
//!
//! * `delivery`: the guard. `session`: what a token's session was sent. `received`: what other relays sent here, and the
//!   receipts that are owed for it. `credit`: what they owe. `chain`: claims in their order. None of these does I/O.
//! * `journal`: what is signed or received and not in the ledger yet, durably.
//! * `node`: what other parts call. `books`: the one task that signs, writes and submits.
//! * `collect`: the publisher's end, as a trait.
//!
//! Invariant: nothing signed leaves before it is durable here, and nothing durable is forgotten before it is acknowledged.

mod books;
mod chain;
mod collect;
mod credit;
mod delivery;
mod journal;
mod lines;
mod node;
mod outbound;
mod received;
mod session;
mod totals;

pub use books::Books;
pub use collect::{Collect, Collected};
pub use credit::{CREDIT_WINDOW, Credit};
pub use delivery::{Account, Delivery, Outcome};
pub use journal::{Journal, JournalError, Kept, MAX_KEPT, MAX_WAITING, Opener};
pub use lines::Line;
pub(crate) use node::Receiving;
pub use node::{Heard, Meter, MeterConfig, TooManySessions};
pub use session::{Charge, Exhausted, Session};
pub use totals::{MeterTotals, Totals};
