//! Who learns what peers are sent.

use crate::meter::Account;
use std::sync::Arc;
use weir_protocol::ids::{PublisherId, RelayId};

/// Learns what peers are sent.
pub trait PeerObserver: Send + Sync + 'static {
    /// The account for one reply to `peer` with `publisher`'s bytes.
    fn delivery(&self, peer: RelayId, publisher: PublisherId) -> Arc<dyn Account>;

    /// `peer` was told who has what it asked for, instead of being sent it.
    fn sent_on(&self, peer: RelayId, publisher: PublisherId) {
        let _ = (peer, publisher);
    }
}
