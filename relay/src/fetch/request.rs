//! What a requester wants of the fetcher.

use crate::source::Asked;
use std::sync::Arc;
use weir_hls::ResourceKind;
use weir_protocol::{ids::RelayId, resource::ResourceKey, wire::Class};

/// One request: a resource, and the fields by which its origin may answer one way or the other.
#[derive(Clone)]
pub struct Ask {
    /// The resource; its variant is found by the fields unless it is given.
    pub key: ResourceKey,
    /// How many relays the request has passed.
    pub hops: u8,
    /// How urgent it is.
    pub class: Class,
    /// Method, fields and body.
    pub asked: Arc<Asked>,
    /// The relay that asks; `None` for a viewer.
    pub behind: Option<RelayId>,
}

impl Ask {
    /// A plain GET without any field, as urgent as a viewer's.
    pub fn plain(key: &ResourceKey, hops: u8) -> Self {
        Self { hops, ..Self::viewer(key.clone(), Arc::default()) }
    }

    /// A viewer of this node: a playlist is urgent, since it may be live and the player can do nothing without it.
    pub fn viewer(key: ResourceKey, asked: Arc<Asked>) -> Self {
        let playlist = ResourceKind::of(key.path.as_str(), None) == ResourceKind::Playlist;
        let class = if playlist { Class::LivePart } else { Class::Vod };
        Self { key, hops: 0, class, asked, behind: None }
    }
}
