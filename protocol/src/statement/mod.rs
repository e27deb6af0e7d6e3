//! Signed statements about what was delivered, received, watched and promised: the inputs of a settlement.
//!
//! All are deterministic CBOR in COSE_Sign1 with a context of their own. Counters are cumulative within an epoch: only
//! the statement with the highest counter counts, a replay changes nothing, and two statements that contradict each
//! other are a proof against their signer ([`Contradiction`]).
//!
//! * `signed`: the way from [`Unverified`] to [`Verified`], one at a time; `batch`: many at once.
//! * `peer_receipt`, `edge_claim`, `viewer_receipt`, `payee`: signed by relays and viewers.
//! * `promise`, `observation`, `probe`, `log_identity`: signed by the publisher.
//! * `kind`: the number that each of them, and each other input of a settlement, has in a ledger.

mod batch;
mod contradiction;
mod cumulative;
mod edge_claim;
mod error;
mod kind;
mod log_identity;
mod observation;
mod payee;
mod peer_receipt;
mod probe;
mod promise;
mod signed;
mod viewer_receipt;

pub use batch::{Evidence, verify_batch};
pub use contradiction::{Contradiction, Proven, Why, contradiction};
pub use cumulative::Cumulative;
pub use edge_claim::{ClaimClass, EdgeClaim, HttpVersion, MAX_CLAIM_PATH};
pub use error::StatementError;
pub use kind::Kind;
pub use log_identity::{LogIdentity, MAX_ORIGIN};
pub use observation::Observation;
pub use payee::{MAX_ACCOUNT, PayeeChange};
pub use peer_receipt::{PeerReceipt, ReceivedDigest};
pub use probe::{MAX_PROBES, ProbeCommitment, ProbeResult, ProbeReveal};
pub use promise::{INCLUSION_WITHIN_MS, InclusionPromise, MAX_PROMISED, PromisedLeaf};
pub use signed::{MessageHash, PublisherSigned, SelfSigned, Statement, Unverified, Verified};
pub use viewer_receipt::{MAX_RECEIPT_RELAYS, RelayShare, ViewerReceipt};
