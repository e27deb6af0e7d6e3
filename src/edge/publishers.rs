//! The publishers of an edge, as its gate asks about them.

use std::sync::Arc;
use weir_edge::tokens::Publishers;
use weir_protocol::{ids::PublisherId, keys::KeyRing};
use weir_relay::peer::Networks;

/// The networks that the edge has joined.
pub(super) struct Joint(pub(super) Arc<Networks>);

impl Publishers for Joint {
    fn ring(&self, publisher: &PublisherId) -> Option<Arc<KeyRing>> {
        Some(self.0.get(publisher)?.ring())
    }

    fn requires_token(&self, publisher: &PublisherId) -> bool {
        self.0.get(publisher).is_some_and(|network| network.requires_token())
    }
}
