//! One node's view of one publisher's network. Invariant: it performs no I/O and knows no clock: what happens comes in,
//! whom to ask and what to do comes out, so the node, its tests and the simulation run the same decisions.

use super::{
    admission::{Admission, Class, Frequencies},
    demand::{Demand, Object, Reach, fan_out},
    formers::Formers,
    hedge::{Asking, Hedges},
    membership::{DEFAULT_WEIGHT, Membership, Place, Region},
    peers::Peers,
    plan::{Plan, Planner, Step},
    quantile::Quantiles,
    standing::{Failure, Standing, rate},
    uploads::Uploads,
    weigh::Seed,
};
use std::{sync::Arc, time::Duration};
use weir_protocol::{ids::RelayId, time::UnixMillis};

/// How large a node's view of a network is.
#[derive(Debug, Clone, Copy)]
pub struct MeshConfig {
    /// Peers whose behaviour is remembered.
    pub peers: usize,
    /// Counters in each of the four rows of the two sketches: 16 bytes for each. Twice the number of objects that are
    /// asked for in a few minutes keeps collisions rare.
    pub sketch: usize,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self { peers: 512, sketch: 8192 }
    }
}

/// What the node should do on its own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Fetch it in the background: it is hot and this node is one of its owners.
    Replicate,
}

/// Why a relay is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The object goes to as many relays as this node's line allows: the asker takes the next owner.
    Busy,
    /// The asker owes receipts for more than the credit window.
    Owes,
}

/// Transfers slower than this part of the usual rate are given up, between these bounds in bytes a second.
const DRIP_PART: u64 = 16;
const LEAST_RATE: u64 = 32 << 10;
const MOST_LEAST_RATE: u64 = 256 << 10;
/// Observations before the usual rate is believed.
const ENOUGH: u32 = 16;
/// Owners serve other owners beyond what they serve everybody else, so that copies spread first.
const OWNERS_SHARE: u32 = 4;

/// What a node reaches that knows nobody.
const ALONE: Reach = Reach { relays: 0, weight: 0, mine: DEFAULT_WEIGHT as u64 };

/// One node's view.
#[derive(Debug)]
pub struct Mesh {
    me: RelayId,
    seed: Seed,
    members: Arc<Membership>,
    formers: Formers,
    place: Option<Place>,
    region: Option<Region>,
    reach: Reach,
    peers: Peers,
    adapter: Standing,
    demand: Demand,
    frequencies: Frequencies,
    hedges: Hedges,
    uploads: Uploads,
    /// Time for 1 MiB, over all peers.
    paces: Quantiles,
}

impl Mesh {
    /// The view of a node that knows nobody yet.
    pub fn new(me: RelayId, config: MeshConfig) -> Self {
        Self {
            me,
            seed: Seed::of(&me),
            members: Arc::default(),
            formers: Formers::default(),
            place: None,
            region: None,
            reach: ALONE,
            peers: Peers::new(config.peers),
            adapter: Standing::default(),
            demand: Demand::new(config.sketch),
            frequencies: Frequencies::new(config.sketch),
            hedges: Hedges::new(),
            uploads: Uploads::default(),
            paces: Quantiles::default(),
        }
    }

    /// The members are now these. What is known of peers' behaviour stays, also of those that have left: a ban is not
    /// shaken off by leaving.
    pub fn set_members(&mut self, members: Arc<Membership>) {
        self.place = members.place(&self.me);
        // Who has not been admitted yet asks where most relays are.
        let largest = || members.regions().max_by_key(|region| (members.size(*region), std::cmp::Reverse(*region)));
        self.region = self.place.map(|place| members.region_of(place)).or_else(largest);
        let mine = self.place.map_or(DEFAULT_WEIGHT, |place| members.member(place).weight);
        self.reach = self.region.map_or(ALONE, |region| Reach {
            relays: u32::try_from(members.size(region)).unwrap_or(u32::MAX),
            weight: members.weight(region),
            mine: mine.into(),
        });
        let former = std::mem::replace(&mut self.members, members);
        self.formers.remember(former, self.members.made());
    }

    /// The members.
    pub fn members(&self) -> &Arc<Membership> {
        &self.members
    }

    /// What this node weighs as a member, in Mbit/s; the usual while it is none.
    pub fn weight(&self) -> u32 {
        self.place.map_or(DEFAULT_WEIGHT, |place| self.members.member(place).weight)
    }

    /// True when this relay is one of the members.
    pub fn is_member(&self, relay: &RelayId) -> bool {
        self.members.contains(relay)
    }

    /// What is known of a peer.
    pub fn standing(&self, relay: &RelayId) -> Option<&Standing> {
        self.peers.get(relay)
    }

    /// A viewer or a relay wants an object here; `held` when this node has it.
    pub fn requested(&mut self, object: &Object, held: bool, now: UnixMillis) -> Effect {
        self.demand.requested(object, now);
        self.frequencies.requested(object.key());
        if held || !self.demand.is_hot(object) {
            return Effect::Nothing;
        }
        let owners = self.owners(object, now);
        match owners > 1 && self.planner(owners, now).rank(object, owners).is_some() {
            true => Effect::Replicate,
            false => Effect::Nothing,
        }
    }

    /// How many owners an object has now, as far as this node knows.
    pub fn owners(&mut self, object: &Object, now: UnixMillis) -> usize {
        self.demand.owners(object, self.reach, now).into()
    }

    /// Whom to ask for an object, best first. `hops` is the stage of the request (0 for a viewer's).
    pub fn plan(&mut self, object: &Object, hops: u8, now: UnixMillis) -> Plan {
        let owners = self.owners(object, now);
        self.planner(owners, now).plan(object, hops)
    }

    fn planner(&self, owners: usize, now: UnixMillis) -> Planner<'_> {
        Planner {
            members: &self.members,
            formers: &self.formers,
            peers: &self.peers,
            me: self.place,
            region: self.region,
            seed: self.seed,
            owners,
            adapter_is_good: self.adapter.is_good(now),
            now,
        }
    }

    /// A peer is being asked; [`Mesh::ended`] must follow.
    pub fn asked(&mut self, relay: &RelayId, now: UnixMillis) {
        self.hedges.asked();
        self.peers.of(relay, now).asked();
    }

    /// A peer's head came so long after the question.
    pub fn head_after(&mut self, relay: &RelayId, asking: Asking, took: Duration, now: UnixMillis) {
        self.hedges.head_after(asking, took);
        self.peers.of(relay, now).head_after(took);
    }

    /// A second request was answered before this one, which was under way for so long. It may have been bad luck; who is
    /// late again and again is asked last.
    pub fn outrun(&mut self, relay: &RelayId, asking: Asking, took: Duration, now: UnixMillis) {
        self.head_after(relay, asking, took, now);
        self.peers.of(relay, now).late(now);
    }

    /// A request to a peer is over, in whatever way.
    pub fn ended(&mut self, relay: &RelayId, now: UnixMillis) {
        self.peers.of(relay, now).ended();
    }

    /// A peer served: so many bytes, for which it was waited so long in all.
    pub fn succeeded(&mut self, relay: &RelayId, bytes: u64, took: Duration, now: UnixMillis) {
        self.peers.of(relay, now).succeeded(bytes, took, now);
        if let Some(rate) = rate(bytes, took) {
            self.paces.record(Duration::from_micros((1 << 20) * 1_000_000 / rate.max(1)));
        }
    }

    /// A peer failed.
    pub fn failed(&mut self, relay: &RelayId, failure: Failure, now: UnixMillis) {
        self.peers.of(relay, now).failed(failure, now);
    }

    /// A peer has refused because it serves as many as it can. That is no failure: the object needs more owners.
    pub fn busy(&mut self, object: &Object, now: UnixMillis) {
        self.demand.busy(object, now);
    }

    /// The round-trip time to a peer, as its connection measures it.
    pub fn round_trip(&mut self, relay: &RelayId, took: Duration, now: UnixMillis) {
        self.peers.of(relay, now).round_trip(took);
    }

    /// Receipts outstanding with a peer, in bytes of deliveries: what it owes this node, and what this node owes it.
    pub fn receipts(&mut self, relay: &RelayId, owes_us: u64, owed_by_us: u64, now: UnixMillis) {
        self.peers.of(relay, now).receipts(owes_us, owed_by_us);
    }

    /// The adapter served.
    pub fn adapter_succeeded(&mut self) {
        self.adapter.forgive();
    }

    /// The adapter is away. Whatever it does it stays in every plan: nobody else has what is new.
    pub fn adapter_failed(&mut self, failure: Failure, now: UnixMillis) {
        if failure != Failure::Corrupt {
            self.adapter.failed(failure, now);
        }
    }

    /// How long a source may take for its head before a second peer is asked too; `None` for the adapter, which is
    /// never hedged against.
    pub fn hedge_after(&self, step: &Step) -> Option<Duration> {
        let (relay, asking) = step.peer()?;
        Some(self.hedges.after(asking, self.peers.get(&relay).and_then(Standing::heads)))
    }

    /// How long a relay may take for a head that a fill of this stage waits for, however often it says that it waits.
    pub fn patience(&self, stage: u8) -> Duration {
        self.hedges.patience(stage)
    }

    /// True when a second request may be sent now; it is counted against the budget.
    pub fn hedge(&mut self) -> bool {
        self.hedges.take()
    }

    /// The bytes a second below which a peer that has a whole object drips: a part of what peers usually give.
    pub fn least_rate(&self) -> u64 {
        let usual = self.paces.percentile(50).filter(|_| self.paces.observations() >= ENOUGH);
        let usual =
            usual.map_or(0, |pace| (1 << 20) * 1_000_000 / u64::try_from(pace.as_micros()).unwrap_or(u64::MAX).max(1));
        (usual / DRIP_PART).clamp(LEAST_RATE, MOST_LEAST_RATE)
    }

    /// A relay asks for an object: whether it is served. After `Ok` [`Mesh::served`] must follow. `hops` is the stage
    /// of its request: owners are served beyond what others are.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn serve(&mut self, relay: &RelayId, object: &Object, hops: u8) -> Result<(), Denied> {
        if self.peers.get(relay).is_some_and(Standing::owes_too_much) {
            return Err(Denied::Owes);
        }
        let most = fan_out(self.reach.mine) * if hops > 1 { OWNERS_SHARE } else { 1 };
        if self.uploads.begin(&object.hash, most) { Ok(()) } else { Err(Denied::Busy) }
    }

    /// A reply to a relay is over.
    pub fn served(&mut self, object: &Object) {
        self.uploads.end(&object.hash);
    }

    /// Where a filled object is kept; `full` when the disk is.
    pub fn admit(&mut self, object: &Object, class: Class, full: bool, now: UnixMillis) -> Admission {
        let owners = self.owners(object, now).max(2);
        let owner = full && self.planner(owners, now).rank(object, owners).is_some();
        self.frequencies.admit(object.key(), class, owner, full)
    }
}
