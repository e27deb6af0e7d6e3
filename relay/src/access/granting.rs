//! The publisher's decision about a relay that has come to the adapter.

use weir_protocol::{grant::SignedGrant, ids::RelayId, time::UnixMillis};

/// What is decided about a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is a member on these terms.
    Granted(SignedGrant),
    /// It is not; the text tells its operator what to do.
    Refused(String),
}

/// Decides about relays. Called when a relay comes, when its grant is half over, and after the policy has changed; must
/// not block.
pub trait Granting: Send + Sync + 'static {
    /// The decision about a relay. `former` is the grant that it showed, unverified: a member that was away is
    /// recognised by it.
    fn decide(&self, relay: &RelayId, former: Option<&[u8]>, now: UnixMillis) -> Decision;
}
