//! The adapter's own list of its network. Invariant: a relay is in it exactly as long as its control stream lives and
//! the publisher grants.

mod doors;
mod regions;
mod sent;
#[cfg(test)]
mod tests;

use super::orders::PurgeOrders;
use super::statuses::is_public;
use crate::{
    access::{Decision, Granting, TakedownBook, Verdict, Withdrawn},
    clock::Clock,
    fetch::{Spread, Spreading},
    meter::Collect,
};
use bytes::Bytes;
use doors::Doors;
pub use doors::{Door, REPORT_EVERY, REPORT_HOLDS};
use futures_util::{FutureExt, future::BoxFuture};
use regions::{Listing, Regions};
use sent::Sent;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock},
};
use tokio::sync::watch;
use weir_protocol::{
    grant::SignedGrant,
    ids::{PublisherId, RelayId},
    keys::{KeyRing, RootKey},
    reach::Reach,
    resource::CanonicalPath,
    takedown::SignedTakedown,
    time::UnixMillis,
    wire::{DoorReport, Purge, RefusalReason},
};

/// Relays that one adapter takes.
const MAX_RELAYS: usize = 16_384;
/// Public addresses that a relay may declare beside the one it is seen at.
const MAX_DECLARED: usize = 2;

/// The adapter's own list of its network: relays that are connected, what each was granted, the keys the publisher
/// signs with, and what it has taken down.
pub struct Directory {
    publisher: PublisherId,
    clock: Clock,
    granting: Arc<dyn Granting>,
    state: Mutex<State>,
    /// Counts changes of the members.
    members: watch::Sender<u64>,
    /// Counts changes of what is granted.
    policy: watch::Sender<u64>,
    keys: watch::Sender<Vec<u8>>,
    ring: RwLock<Option<KeyRing>>,
    withdrawn: Withdrawn,
    /// Counts changes of what is taken down.
    takedowns: watch::Sender<u64>,
    purges: PurgeOrders,
    collector: OnceLock<Arc<dyn Collect>>,
    sent: Sent,
}

struct State {
    regions: Regions,
    present: HashMap<RelayId, Present>,
    doors: Doors,
    sessions: u64,
}

/// A relay at its control stream.
struct Present {
    session: u64,
    /// Where its connection comes from.
    address: SocketAddr,
    /// Where else it says that it can be reached.
    declared: Vec<SocketAddr>,
    /// True when it says that strangers can dial it.
    open: bool,
    grant: SignedGrant,
}

impl Present {
    fn addresses(&self) -> Vec<SocketAddr> {
        std::iter::once(self.address).chain(self.declared.iter().copied()).collect()
    }
}

/// A relay was let in.
pub(super) struct Entered {
    pub(super) session: u64,
    pub(super) grant: SignedGrant,
}

/// What a second look at a member finds.
pub(super) enum Review {
    /// Nothing has changed.
    Same,
    /// It gets this grant now.
    Renewed(SignedGrant),
    /// It is refused now.
    Refused(String),
    /// A newer session of the same relay has taken its place.
    Replaced,
}

impl Directory {
    /// An empty network of the publisher with this root key, whose current key list is `keys`; `granting` decides who
    /// is let in.
    pub fn new(root: &RootKey, keys: Vec<u8>, granting: Arc<dyn Granting>, clock: Clock) -> Self {
        let publisher = root.publisher_id();
        let ring = KeyRing::verify(publisher, &keys, clock.now()).ok();
        // Epochs grow over restarts: no adapter changes its list a thousand times a second for long.
        let epoch = clock.now().0;
        Self {
            publisher,
            clock,
            granting,
            state: Mutex::new(State {
                regions: Regions::new(publisher, epoch),
                present: HashMap::new(),
                doors: Doors::default(),
                sessions: 0,
            }),
            members: watch::Sender::new(0),
            policy: watch::Sender::new(0),
            keys: watch::Sender::new(keys),
            ring: RwLock::new(ring),
            withdrawn: Withdrawn::new(publisher),
            takedowns: watch::Sender::new(0),
            purges: PurgeOrders::default(),
            collector: OnceLock::new(),
            sent: Sent::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between related changes of the state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what relays submit from now on. Once.
    pub fn set_collector(&self, collector: Arc<dyn Collect>) {
        let _ = self.collector.set(collector);
    }

    pub(super) fn collector(&self) -> Option<&Arc<dyn Collect>> {
        self.collector.get()
    }

    /// The grant of a relay that is connected.
    pub fn grant_of(&self, relay: &RelayId) -> Option<SignedGrant> {
        self.state().present.get(relay).map(|present| present.grant.clone())
    }

    /// The publisher.
    pub fn publisher(&self) -> PublisherId {
        self.publisher
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Publishes a new key list to every connected relay.
    pub fn set_keys(&self, encoded: Vec<u8>) {
        if let Ok(ring) = KeyRing::verify(self.publisher, &encoded, self.clock.now()) {
            *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Some(ring);
        }
        self.keys.send_replace(encoded);
    }

    /// What is granted may have changed: every member is looked at anew.
    pub fn policy_changed(&self) {
        self.policy.send_modify(|count| *count += 1);
    }

    /// Relays that are connected now.
    pub fn relays(&self) -> Vec<RelayId> {
        self.state().present.keys().copied().collect()
    }

    /// Relays that are connected now, with what they were granted.
    pub fn grants(&self) -> Vec<SignedGrant> {
        let mut grants: Vec<SignedGrant> = self.state().present.values().map(|member| member.grant.clone()).collect();
        grants.sort_by_key(|grant| grant.grant().relay);
        grants
    }

    /// The region a relay is assigned to; `default` for one that is not connected.
    pub fn region_of(&self, relay: &RelayId) -> Arc<str> {
        self.region_if_present(relay).unwrap_or_else(|| "default".into())
    }

    fn region_if_present(&self, relay: &RelayId) -> Option<Arc<str>> {
        self.state().present.get(relay).map(|member| member.grant.grant().region.as_str().into())
    }

    /// What was taken down before a restart.
    pub fn restore(&self, takedowns: TakedownBook) {
        self.withdrawn.restore(takedowns);
    }

    /// Takes something down, or lifts it, at every relay.
    pub fn take_down(&self, signed: &SignedTakedown) -> Verdict {
        let verdict = self.withdrawn.accept(signed, self.clock.now());
        self.takedowns.send_modify(|count| *count += 1);
        verdict
    }

    /// What is taken down.
    pub fn withdrawn(&self) -> &Withdrawn {
        &self.withdrawn
    }

    /// A relay has takedowns that this adapter may have lost.
    pub(super) fn offer_takedowns(&self, all: &[Bytes]) -> crate::access::Offered {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let Some(ring) = &*ring else { return crate::access::Offered::default() };
        let offered = self.withdrawn.offer(all, ring, self.clock.now());
        if !offered.new.is_empty() {
            self.takedowns.send_modify(|count| *count += 1);
        }
        offered
    }

    /// Purges on their way to relays.
    pub(super) fn purges(&self) -> &PurgeOrders {
        &self.purges
    }

    pub(super) fn watch_members(&self) -> watch::Receiver<u64> {
        self.members.subscribe()
    }

    pub(super) fn watch_policy(&self) -> watch::Receiver<u64> {
        self.policy.subscribe()
    }

    pub(super) fn watch_keys(&self) -> watch::Receiver<Vec<u8>> {
        self.keys.subscribe()
    }

    /// Counts changes of what is taken down.
    pub fn watch_takedowns(&self) -> watch::Receiver<u64> {
        self.takedowns.subscribe()
    }

    /// A relay has come, with the grant it had, if it showed one. Otherwise why it is not let in, for its operator.
    pub(super) fn enter(
        &self,
        relay: RelayId,
        address: SocketAddr,
        former: Option<&[u8]>,
    ) -> Result<Entered, (RefusalReason, String)> {
        let grant = match self.granting.decide(&relay, former, self.clock.now()) {
            Decision::Granted(grant) => grant,
            Decision::Refused(why) => return Err((RefusalReason::NotMember, why)),
        };
        let mut state = self.state();
        if state.present.len() >= MAX_RELAYS && !state.present.contains_key(&relay) {
            return Err((RefusalReason::Overloaded, format!("this network has {MAX_RELAYS} relays and takes no more")));
        }
        state.take_out(&relay);
        state.sessions += 1;
        let session = state.sessions;
        state.regions.pardon(&relay);
        state.put_in(Present { session, address, declared: Vec::new(), open: false, grant: grant.clone() });
        drop(state);
        self.tell();
        Ok(Entered { session, grant })
    }

    /// That session is over. A newer one of the same relay stays: a relay that was killed and started again comes from
    /// the same address while its former connection has not timed out yet.
    pub(super) fn leave(&self, relay: &RelayId, session: u64) {
        let mut state = self.state();
        if state.present.get(relay).is_some_and(|member| member.session == session) {
            state.take_out(relay);
            state.doors.gone(relay);
            drop(state);
            self.sent.left(relay);
            self.tell();
        }
    }

    /// The relay of that session is at `address` now.
    pub(super) fn moved(&self, relay: &RelayId, session: u64, address: SocketAddr) {
        let mut state = self.state();
        if state.present.get(relay).is_some_and(|member| member.session == session && member.address != address)
            && let Some(mut member) = state.take_out(relay)
        {
            member.address = address;
            state.put_in(member);
            drop(state);
            self.tell();
        }
    }

    /// The relay of that session says how it can be reached. At most [`MAX_DECLARED`] public addresses and one of its
    /// local network are believed: they are dialled by everybody, whomever they belong to.
    pub(super) fn declare(&self, relay: &RelayId, session: u64, reach: &Reach) {
        let mut state = self.state();
        let Some(member) = state.present.get(relay).filter(|member| member.session == session) else { return };
        let others = || reach.sockets().filter(|address| !address.ip().is_loopback() && *address != member.address);
        let mut declared: Vec<_> = others().filter(|address| is_public(address.ip())).take(MAX_DECLARED).collect();
        declared.extend(others().find(|address| !is_public(address.ip())));
        let open = reach.class.is_open();
        if (member.declared != declared || member.open != open)
            && let Some(mut member) = state.take_out(relay)
        {
            (member.declared, member.open) = (declared, open);
            state.put_in(member);
            drop(state);
            self.tell();
        }
    }

    /// The relay of that session says where viewers come to it.
    pub(super) fn report_door(&self, relay: &RelayId, session: u64, report: DoorReport) {
        let now = self.clock.now();
        let mut state = self.state();
        if state.present.get(relay).is_some_and(|member| member.session == session) {
            state.doors.note(*relay, session, report, now);
        }
    }

    /// The doors of connected relays that have been reported lately, in the order of their relays.
    pub fn doors(&self) -> Vec<Door> {
        let now = self.clock.now();
        let state = self.state();
        let mut doors: Vec<Door> = state
            .present
            .iter()
            .filter_map(|(relay, member)| {
                let report = state.doors.of(relay, member.session, now)?.clone();
                let grant = member.grant.grant();
                let (region, weight, scopes) = (grant.region.clone(), grant.weight, grant.scopes.clone());
                Some(Door { relay: *relay, report, region, weight, scopes })
            })
            .collect();
        doors.sort_by_key(|door| door.relay);
        doors
    }

    /// Where a connected relay's connection comes from.
    pub fn address_of(&self, relay: &RelayId) -> Option<SocketAddr> {
        self.state().present.get(relay).map(|member| member.address)
    }

    /// Where a connected relay is, as members are told: first where its connection comes from.
    fn addresses_of(&self, relay: &RelayId) -> Option<Vec<SocketAddr>> {
        self.state().present.get(relay).map(Present::addresses)
    }

    /// At most `max` relays that strangers can dial, those that have been connected longest first: to begin with, for
    /// relays that find the adapter away.
    pub fn open_relays(&self, max: usize) -> Vec<(RelayId, Vec<SocketAddr>)> {
        let state = self.state();
        let mut open: Vec<_> = state.present.iter().filter(|(_, member)| member.open).collect();
        open.sort_unstable_by_key(|(_, member)| member.session);
        let places = |member: &Present| {
            let public = member.declared.iter().copied().filter(|address| is_public(address.ip()));
            let mut places: Vec<SocketAddr> = std::iter::once(member.address).chain(public).collect();
            places.dedup();
            places
        };
        open.into_iter().take(max).map(|(relay, member)| (*relay, places(member))).collect()
    }

    /// Looks at a member again: its grant is half over, or what is granted has changed.
    pub(super) fn review(&self, relay: &RelayId, session: u64, changed: bool) -> Review {
        let now = self.clock.now();
        let former = match self.state().present.get(relay) {
            Some(member) if member.session == session => member.grant.clone(),
            _ => return Review::Replaced,
        };
        if !changed && !is_half_over(&former, now) {
            return Review::Same;
        }
        match self.granting.decide(relay, Some(former.bytes()), now) {
            Decision::Granted(grant) if !is_half_over(&former, now) && same_terms(&former, &grant) => Review::Same,
            Decision::Granted(grant) => {
                let mut state = self.state();
                if let Some(mut member) = state.take_out(relay) {
                    member.grant = grant.clone();
                    state.put_in(member);
                }
                drop(state);
                self.tell();
                Review::Renewed(grant)
            }
            Decision::Refused(why) => {
                let mut state = self.state();
                state.take_out(relay);
                state.regions.revoke(*relay);
                drop(state);
                self.sent.left(relay);
                self.tell();
                Review::Refused(why)
            }
        }
    }

    fn tell(&self) {
        self.members.send_modify(|count| *count += 1);
    }

    /// What to tell a relay of this region, and the epoch it holds then.
    pub(super) fn news(&self, region: &Arc<str>, held: Option<u64>, changes: bool) -> Option<(u64, Bytes)> {
        self.state().regions.news(region, held, changes)
    }

    /// True for a relay that is connected now.
    pub fn contains(&self, relay: &RelayId) -> bool {
        self.state().present.contains_key(relay)
    }

    /// Why a relay may not have what is at a path.
    pub(super) fn refuses(&self, relay: &RelayId, path: &CanonicalPath) -> Option<RefusalReason> {
        match self.state().present.get(relay) {
            None => Some(RefusalReason::NotMember),
            // The network's own pages are nobody's content.
            Some(member) if member.grant.grant().covers(path) || path.as_str().starts_with("/weir/") => None,
            Some(_) => Some(RefusalReason::OutOfScope),
        }
    }
}

impl State {
    fn put_in(&mut self, member: Present) {
        let grant = member.grant.grant();
        self.regions.insert(Listing {
            relay: grant.relay,
            addresses: member.addresses(),
            region: grant.region.as_str().into(),
            weight: grant.weight,
            since: grant.since,
            scoped: !grant.covers_all(),
        });
        self.present.insert(grant.relay, member);
    }

    fn take_out(&mut self, relay: &RelayId) -> Option<Present> {
        let member = self.present.remove(relay)?;
        let grant = member.grant.grant();
        self.regions.remove(&grant.region.as_str().into(), grant.since, relay);
        Some(member)
    }
}

fn is_half_over(grant: &SignedGrant, now: UnixMillis) -> bool {
    let grant = grant.grant();
    let life = grant.ends().since(grant.issued);
    now.since(grant.issued) >= life / 2
}

fn same_terms(one: &SignedGrant, other: &SignedGrant) -> bool {
    let (one, other) = (one.grant(), other.grant());
    let terms = |grant: &weir_protocol::grant::Grant| (grant.prices.clone(), grant.caps, grant.policy, grant.budget);
    (&one.scopes, &one.region, one.weight) == (&other.scopes, &other.region, other.weight) && terms(one) == terms(other)
}

impl Spread for Directory {
    fn spread<'a>(&'a self, purge: &'a Purge) -> BoxFuture<'a, Spreading> {
        self.sent.forget();
        self.purges.tell(purge.clone()).boxed()
    }
}
