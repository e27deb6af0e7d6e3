//! What a leaf of the log is: a salted commitment to a message, and the opening that shows what was committed to.
//!
//! The log itself carries commitments only. An opening (salt, time of receipt, kind, message) proves what a leaf says;
//! without it nobody can tell, not even by trying all messages that are likely. Deleting an opening therefore unlinks a
//! session for good while every proof about the log stays valid.

mod opening;

pub use opening::{Commitment, ENTRY_LEN, LeafError, MAX_MESSAGE, MessageId, Opening, Salt};
