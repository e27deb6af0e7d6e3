//! Everything there is at a moment: nodes, what runs between them, viewers. Data only; what happens to it stands in
//! `transfer`, `pull`, `push`, `watch` and `lives`, each of which uses the ones before it, and `run` hands out events.

use super::{
    cache::Cache,
    content::{Content, Object, Rendition},
    decide::Decider,
    gossip::Gossip,
    measure::Counts,
    place::{Paths, Place},
    queue::{Micros, Queue},
    random::Random,
    roster::Roster,
    scenario::Scenario,
    slab::{Key, Slab},
    steering::Steering,
    trees::{Peer, Trees},
    uplink::{Share, Uplink},
};
use rustc_hash::{FxHashMap, FxHashSet};
use weir_protocol::ids::RelayId;
use weir_relay::mesh::{self, Holders, tree::Branch};

/// A node's index: relays first, the adapter last.
pub(super) type NodeId = u32;
/// A viewer's index.
pub(super) type ViewerId = u32;

/// Everything.
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) queue: Queue<Event>,
    pub(super) content: Content,
    pub(super) paths: Paths,
    pub(super) nodes: Vec<Node>,
    pub(super) viewers: Vec<Viewer>,
    pub(super) flows: Slab<Flow>,
    pub(super) transfers: Slab<Transfer>,
    pub(super) roster: Roster,
    pub(super) steering: Steering,
    pub(super) gossip: Gossip,
    pub(super) trees: Trees,
    pub(super) holders: Holders,
    pub(super) counts: Counts,
    pub(super) random: Streams,
}

/// Random numbers by what they are for.
pub(super) struct Streams {
    pub(super) lives: Random,
    pub(super) viewers: Random,
    pub(super) steering: Random,
}

/// What happens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// An uplink may have finished a transfer.
    Uplink(NodeId),
    /// A request has reached the node that is asked.
    Asked(Key),
    /// The adapter names relays that have what it is asked for.
    Elsewhere(Key),
    /// The first bytes of a transfer are there.
    Head(Key),
    /// The last byte of a transfer is there.
    Tail(Key),
    /// A transfer is over before its end.
    Broken(Key, Broken),
    /// The asker looks whether it should ask somebody else as well.
    Hedge(Key),
    /// The asker looks whether it should wait any longer.
    Patience(Key),
    /// The first byte of an object has come from the origin, and the last.
    OriginHead(Object),
    OriginTail(Object),
    /// The next live segment is there at the origin, or begins to be.
    Segment(Rendition, u32),
    /// A pushed object whose parent failed: if nobody sends it by now, it is asked for.
    Orphan(NodeId, u32, Object),
    /// A child looks whether a pushed object is late, and whether it stands still.
    Late(Key),
    Stands(Key),
    /// A relay's playlist lists a segment that its parent holds back.
    Listed(NodeId, u32, Rendition, u32),
    /// A relay looks after a subscription.
    Branch(NodeId, u32, Rendition),
    /// A message about a tree reaches its receiver.
    Message(Key),
    /// The adapter looks after its trees.
    Trees,
    /// A viewer comes.
    Arrive(ViewerId),
    /// A viewer looks for the next segment. The second number is the viewer's turn: an event of a former one is void.
    Look(ViewerId, u32),
    /// A viewer's request reaches its relay.
    Want(ViewerId, u32),
    /// A viewer has a segment.
    Got(ViewerId, u32),
    /// A viewer's relay is gone.
    Lost(ViewerId, u32),
    /// A viewer stops watching; the second number is the viewing.
    Stop(ViewerId, u32),
    /// A relay dies; it was in this life.
    Die(NodeId, u32),
    /// Another relay comes in the place of one that died.
    Come(NodeId),
    /// The adapter takes a silent relay for gone.
    Forget(NodeId, u32),
    /// A new list of members is sent.
    Members,
    /// A cut begins or ends.
    Cut(u8, bool),
    /// The adapter has heard nothing from a region for too long.
    Isolated(u8),
    /// Somebody announces something to all; an announcement reaches a relay from a neighbour.
    Announce,
    Heard(NodeId, NodeId, u32),
    /// A second has passed.
    Second,
}

/// Why a transfer is over before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// No connection, or it ended.
    Gone,
    /// Nothing came for too long, or too little.
    Stalled,
    /// It does not have it, or cannot wait for it.
    Refused,
    /// It serves as many as it can.
    Busy,
    /// It had begun, and then kept it back.
    Withheld,
    /// What came does not verify.
    Corrupt,
}

/// How a relay can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Direct,
    Cone,
    Symmetric,
}

/// What a malicious relay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conduct {
    WrongBytes,
    Drip,
    Liar,
    Silence,
}

/// A relay, or the adapter.
pub(super) struct Node {
    pub(super) relay: RelayId,
    pub(super) place: Place,
    pub(super) class: u8,
    pub(super) reach: Reach,
    pub(super) conduct: Option<Conduct>,
    pub(super) up: bool,
    /// Counts the relays that have had this index.
    pub(super) life: u32,
    pub(super) since: Micros,
    pub(super) uplink: Uplink,
    /// Bytes per microsecond, and when the line is free again.
    pub(super) down_rate: f64,
    pub(super) down_free: Micros,
    pub(super) cache: Cache,
    pub(super) fills: FxHashMap<Object, Fill>,
    pub(super) decider: Decider,
    /// Nodes that there is a connection with.
    pub(super) links: FxHashSet<NodeId>,
    /// Fills that nobody waits for.
    pub(super) background: Vec<Object>,
    /// What is being pushed here.
    pub(super) pushes: Vec<Key>,
    /// Live renditions that are wanted here, few.
    pub(super) live: Vec<Watched>,
    /// Bit rate of the viewers that were sent here, in Mbit/s.
    pub(super) assigned: f64,
    /// Bytes sent to nodes and to viewers.
    pub(super) sent_nodes: f64,
    pub(super) sent_viewers: f64,
    /// Time during which the relay was up before this life, for its load.
    pub(super) up_before: Micros,
}

/// A live rendition that a relay has viewers for.
pub(super) struct Watched {
    pub(super) rendition: Rendition,
    /// The newest segment that the relay's playlist lists.
    pub(super) newest: Option<u32>,
    pub(super) viewers: u32,
    /// Viewers who wait for the first playlist.
    pub(super) waiting: Vec<(ViewerId, u32)>,
    /// Its place in the tree, and whom it feeds.
    pub(super) branch: Branch<Peer>,
    pub(super) children: Vec<Peer>,
    pub(super) capacity: usize,
    /// When the branch is looked after next.
    pub(super) wake: Micros,
    /// Since when it is fed, without regard to repairs.
    pub(super) since: Option<Micros>,
    /// Since when nobody watches.
    pub(super) idle: Option<Micros>,
    /// When a playlist was asked for last, since none was pushed.
    pub(super) pulled: Option<Micros>,
    /// Until then it waits for the adapter's answer before it asks for a place again.
    pub(super) joins_at: Micros,
}

/// An object on its way into a node's cache.
pub(super) struct Fill {
    /// Its head is here: readers may follow.
    pub(super) head: bool,
    /// Who waits for the head.
    pub(super) readers: Vec<Reader>,
    /// Transfers that have sent everything there is and wait for the end.
    pub(super) drained: Vec<Key>,
    /// Bytes here when a source failed.
    pub(super) got: u32,
    /// Whom to ask; none for an object that is pushed or comes from the origin.
    pub(super) plan: Option<Plan>,
}

/// What is left of a plan.
pub(super) struct Plan {
    /// Only requests of at most this stage may wait for the fill.
    pub(super) stage: u8,
    pub(super) steps: Vec<Step>,
    pub(super) next: usize,
    /// Owners that failed.
    pub(super) failed: usize,
    /// Relays asked so far: none is asked twice.
    pub(super) asked: Vec<NodeId>,
    /// Requests that run; the second one is a hedge.
    pub(super) running: Vec<Key>,
    /// The adapter has named holders: asked again it sends the object.
    pub(super) insists: bool,
    /// The relay for which the fill began.
    pub(super) behind: Option<NodeId>,
}

/// One node to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) node: NodeId,
    pub(super) life: u32,
    pub(super) what: mesh::Step,
}

/// Who reads an object at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Viewer(ViewerId, u32),
    Node(Key),
}

/// Bytes that leave a node.
pub(super) struct Flow {
    pub(super) from: NodeId,
    pub(super) object: Object,
    pub(super) reader: Reader,
    pub(super) began: Micros,
    /// Bytes of the part that runs, and of all that has been sent before.
    pub(super) bytes: f64,
    pub(super) before: f64,
    pub(super) share: Option<Share>,
    /// What runs is the end of the object.
    pub(super) last: bool,
}

/// An object on its way from one node to another.
pub(super) struct Transfer {
    pub(super) from: NodeId,
    pub(super) from_life: u32,
    pub(super) to: NodeId,
    pub(super) to_life: u32,
    pub(super) object: Object,
    pub(super) kind: TransferKind,
    /// First byte wanted.
    pub(super) offset: u32,
    pub(super) asked: Micros,
    /// Until then its head is waited for.
    pub(super) gives_up: Micros,
    pub(super) head: Option<Micros>,
    pub(super) flow: Option<Key>,
    /// The sender's decisions count it among its uploads.
    pub(super) counted: bool,
    /// Relays that the adapter names instead of sending the object.
    pub(super) elsewhere: Vec<RelayId>,
}

/// Why an object goes from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransferKind {
    /// Down a tree; one-way delays of the path from the adapter.
    Push(Micros),
    /// It was asked for.
    Ask { stage: u8, step: mesh::Step, insists: bool },
}

/// What a viewer watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watching {
    Nothing,
    Live(Rendition),
    Title(u32),
}

/// A viewer.
pub(super) struct Viewer {
    pub(super) relay: Option<(NodeId, u32)>,
    pub(super) region: u8,
    pub(super) watching: Watching,
    /// Void events of former requests.
    pub(super) turn: u32,
    pub(super) viewing: u32,
    /// The segment wanted next.
    pub(super) next: u32,
    /// When the buffer will be empty; `None` until the first segment is there.
    pub(super) empty_at: Option<Micros>,
    /// When this viewer began to wait for a first segment.
    pub(super) began: Micros,
    /// When playing began.
    pub(super) played_from: Micros,
    /// The newest segment of the playlist that was looked at last, and when that was.
    pub(super) listed: Option<u32>,
    pub(super) looked: Micros,
    pub(super) stalled: Micros,
    pub(super) stalls: u32,
}

impl World {
    pub(super) fn now(&self) -> Micros {
        self.queue.now()
    }

    pub(super) fn adapter(&self) -> NodeId {
        u32::try_from(self.nodes.len() - 1).expect("the scenario's check bounds the relays")
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// True while the relay that was here in that life lives.
    pub(super) fn lives(&self, id: NodeId, life: u32) -> bool {
        let node = self.node(id);
        node.up && node.life == life
    }

    /// What a message between two nodes takes; `None` when it does not arrive.
    pub(super) fn message(&mut self, from: NodeId, to: NodeId) -> Option<Micros> {
        let now = self.queue.now();
        let (a, b) = (self.nodes[from as usize].place, self.nodes[to as usize].place);
        self.paths.message(&a, &b, now)
    }

    /// One-way delay between two nodes without jitter and loss.
    pub(super) fn one_way(&self, a: NodeId, b: NodeId) -> Micros {
        Paths::one_way(&self.node(a).place, &self.node(b).place)
    }
}
