//! Who may open control connections to this node.
//!
//! Invariant: what it says counts for every protocol of the swarm alike (gossip, Kademlia, circuits, reachability
//! tests), since it is asked when a connection is established. Until something is set everybody may: a node that is in
//! no network has nobody to tell apart.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use libp2p::PeerId;

type Admits = Box<dyn Fn(&PeerId) -> bool + Send + Sync>;

/// Decides who may come in. Cheap to clone; all clones decide alike.
#[derive(Clone, Default)]
pub struct Admission(Arc<ArcSwapOption<Admits>>);

impl Admission {
    /// From now on only peers for which `admits` is true are let in. It is asked from the swarm's task and must not
    /// block.
    pub fn set(&self, admits: impl Fn(&PeerId) -> bool + Send + Sync + 'static) {
        self.0.store(Some(Arc::new(Box::new(admits))));
    }

    pub(super) fn admits(&self, peer: &PeerId) -> bool {
        self.0.load().as_ref().is_none_or(|admits| admits(peer))
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}
