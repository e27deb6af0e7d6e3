//! The adapter's trees: one for each live rendition and region, run by the real coordinator, and whom the adapter feeds.

use super::{
    content::{Object, Rendition},
    queue::Micros,
    slab::Slab,
    world::NodeId,
};
use rustc_hash::FxHashMap;
use weir_relay::mesh::tree::{Coordinator, Moved, Place, TreeConfig};

/// A relay in a tree: its index and the life it is in.
pub(super) type Peer = (NodeId, u32);

/// A message about one rendition's tree.
pub(super) struct Message {
    pub(super) from: Peer,
    pub(super) to: Peer,
    pub(super) rendition: Rendition,
    pub(super) body: Body,
}

/// What it says.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// A relay to the adapter: it wants a rendition, and can feed so many.
    Join { capacity: usize },
    /// A relay to the adapter, or a child to its parent: it needs no more.
    Leave,
    /// The adapter to a relay.
    Placed(Option<Place<Peer>>),
    /// A child to a parent it turns to.
    Subscribe,
    /// A parent to the child.
    Accepted,
    /// A parent to the child, with children of its own that may have room.
    Refused(Vec<Peer>),
    /// A parent to a child: it feeds it no more.
    Ended,
    /// A relay to the adapter.
    Moved(Moved<Peer>),
}

/// All trees.
pub(super) struct Trees {
    regions: usize,
    coordinators: Vec<Coordinator<Peer>>,
    /// Whom the adapter feeds, by rendition.
    pub(super) heads: Vec<Vec<Peer>>,
    /// The newest segment of each rendition at the adapter.
    pub(super) newest: Vec<Option<u32>>,
    /// When the adapter had a segment's head, and its end.
    pub(super) began: FxHashMap<Object, Micros>,
    pub(super) ready: FxHashMap<Object, Micros>,
    pub(super) messages: Slab<Message>,
    /// Relays that are fed now.
    pub(super) fed: u64,
}

impl Trees {
    pub(super) fn new(renditions: Rendition, regions: usize) -> Self {
        let count = usize::from(renditions);
        Self {
            regions,
            coordinators: (0..count * regions).map(|_| Coordinator::new(TreeConfig::default())).collect(),
            heads: vec![Vec::new(); count],
            newest: vec![None; count],
            began: FxHashMap::default(),
            ready: FxHashMap::default(),
            messages: Slab::new(),
            fed: 0,
        }
    }

    /// The coordinator of a rendition in a region.
    pub(super) fn of(&mut self, rendition: Rendition, region: u8) -> &mut Coordinator<Peer> {
        &mut self.coordinators[usize::from(rendition) * self.regions + usize::from(region)]
    }

    /// All trees with their renditions.
    pub(super) fn all(&mut self) -> impl Iterator<Item = (Rendition, &mut Coordinator<Peer>)> {
        let regions = self.regions;
        let rendition = move |index: usize| Rendition::try_from(index / regions).expect("bounded by the scenario");
        self.coordinators.iter_mut().enumerate().map(move |(index, tree)| (rendition(index), tree))
    }
}
