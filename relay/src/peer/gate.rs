//! Who may ask a node for what. Invariant: nobody outside a publisher's network is served from it.

use super::{Directory, Networks, network::Upload, networks::object_of};
use crate::mesh::Denied;
use std::sync::Arc;
use weir_protocol::{
    ids::{PublisherId, RelayId},
    resource::ResourceKey,
    wire::RefusalReason,
};

/// Who may ask a node for what.
pub(super) enum Gate {
    /// A relay: members of the networks it is in.
    Relay(Arc<Networks>),
    /// An adapter: relays in its directory.
    Adapter(Arc<Directory>),
}

impl Gate {
    /// True when the peer is in some network that is served here.
    pub(super) fn knows(&self, peer: &RelayId) -> bool {
        match self {
            Self::Relay(networks) => {
                let now = networks.clock().now();
                networks.all().iter().any(|network| network.may_ask(peer, now))
            }
            Self::Adapter(directory) => directory.contains(peer),
        }
    }

    /// Counts the reply among those a relay may give; the adapter, whom few ask, gives all.
    pub(super) fn serve(&self, peer: &RelayId, key: &ResourceKey, hops: u8) -> Result<Option<Upload>, Denied> {
        match self {
            Self::Relay(networks) => {
                networks.get(&key.publisher).map(|network| network.serve(peer, object_of(key), hops)).transpose()
            }
            Self::Adapter(_) => Ok(None),
        }
    }

    /// Why the peer gets nothing of what it asks for, before anything else of its request is looked at.
    pub(super) fn refuses(&self, peer: &RelayId, publisher: &PublisherId) -> Option<(RefusalReason, String)> {
        let (known, member) = match self {
            Self::Relay(networks) => match networks.get(publisher) {
                Some(network) => (true, network.may_ask(peer, networks.clock().now())),
                None => (false, false),
            },
            Self::Adapter(directory) => (directory.publisher() == *publisher, directory.contains(peer)),
        };
        if !known {
            Some((RefusalReason::UnknownPublisher, format!("{} is not served here", publisher.short())))
        } else if !member {
            let detail =
                format!("{peer} shows no grant of {} that holds, nor does its adapter list it", publisher.short());
            Some((RefusalReason::NotMember, detail))
        } else {
            None
        }
    }

    /// Why the peer may not have this resource.
    pub(super) fn withholds(&self, peer: &RelayId, key: &ResourceKey) -> Option<RefusalReason> {
        match self {
            Self::Relay(networks) => networks.get(&key.publisher)?.refuses(peer, &key.path, networks.clock().now()),
            Self::Adapter(directory) => directory.refuses(peer, &key.path),
        }
    }
}
