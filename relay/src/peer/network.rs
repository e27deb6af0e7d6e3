//! One publisher's network as this node knows it: who signs, who feeds it, who is in it. Invariant: members and key
//! lists change only on the word of the publisher's adapter or root key.

use super::{
    Listed, Statuses,
    admission::{Admission, Granted},
    members::Applied,
    statuses::listed_near,
};
use crate::{
    access::{Offered, TakedownBook, Withdrawn, Withheld},
    mesh::{Denied, Effect, Failure, Member, Membership, Mesh, MeshConfig, Object},
    meter::{Meter, Receiving},
};
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;
use weir_protocol::{
    epoch::DEFAULT_EPOCH_MS,
    gossip::RelayStatus,
    grant::{GrantError, SignedGrant},
    ids::{Generation, PublisherId, RelayId, ResourceHash},
    keys::KeyRing,
    resource::{CanonicalPath, ResourceKey},
    time::UnixMillis,
    wire::{Changes, Members, RefusalReason},
};

/// One publisher's network.
pub struct Network {
    me: RelayId,
    /// The publisher.
    pub publisher: PublisherId,
    /// The adapter's identity; its addresses may change.
    pub adapter: RelayId,
    adapter_addresses: ArcSwap<Vec<SocketAddr>>,
    bootstrap: ArcSwap<Vec<(RelayId, Vec<SocketAddr>)>>,
    ring: ArcSwap<KeyRing>,
    admission: Admission,
    statuses: Statuses,
    mesh: Mutex<Mesh>,
    meter: OnceLock<Meter>,
    tokens_required: AtomicBool,
}

impl Network {
    /// The network of the publisher whose keys are in `ring`, fed by `adapter`.
    pub fn new(me: RelayId, ring: KeyRing, adapter: RelayId, adapter_addresses: Vec<SocketAddr>) -> Self {
        Self {
            me,
            publisher: ring.publisher(),
            adapter,
            adapter_addresses: ArcSwap::from_pointee(adapter_addresses),
            bootstrap: ArcSwap::default(),
            admission: Admission::new(me, adapter, ring.publisher()),
            ring: ArcSwap::from_pointee(ring),
            mesh: Mutex::new(Mesh::new(me, MeshConfig::default())),
            statuses: Statuses::default(),
            meter: OnceLock::new(),
            tokens_required: AtomicBool::new(false),
        }
    }

    /// Whether the publisher has nothing served without a session token.
    pub fn requires_token(&self) -> bool {
        self.tokens_required.load(Ordering::Relaxed)
    }

    /// The publisher's policy on tokens, as its join document says.
    pub fn set_requires_token(&self, required: bool) {
        self.tokens_required.store(required, Ordering::Relaxed);
    }

    pub(super) fn set_meter(&self, meter: Meter) {
        let _ = self.meter.set(meter);
        self.tell_epochs();
    }

    /// The grant says how long the publisher's epochs are.
    fn tell_epochs(&self) {
        if let Some((meter, grant)) = self.meter.get().zip(self.own_grant()) {
            meter.counts_by(self.publisher, grant.grant().epoch_length());
        }
    }

    /// Length of the publisher's epochs, in milliseconds, as this relay's grant says.
    pub fn epoch_ms(&self) -> u64 {
        self.own_grant().map_or(DEFAULT_EPOCH_MS, |grant| grant.grant().epoch_length())
    }

    /// A transfer from a node of this network begins; `None` where nothing is counted.
    pub(super) fn receiving(
        &self,
        sender: RelayId,
        resource: ResourceHash,
        generation: Generation,
    ) -> Option<Receiving> {
        let meter = self.meter.get()?;
        let is_adapter = sender == self.adapter;
        Some(meter.receiving(self.publisher, sender, is_adapter, self.epoch_ms(), resource, generation))
    }

    /// This relay.
    pub fn me(&self) -> RelayId {
        self.me
    }

    /// The signing keys now in force.
    pub fn ring(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// Where the adapter is.
    pub fn adapter_addresses(&self) -> Arc<Vec<SocketAddr>> {
        self.adapter_addresses.load_full()
    }

    /// The adapter has moved.
    pub fn set_adapter_addresses(&self, addresses: Vec<SocketAddr>) {
        self.adapter_addresses.store(Arc::new(addresses));
    }

    /// Relays to begin with when the adapter is away and no members are known.
    pub fn bootstrap(&self) -> Arc<Vec<(RelayId, Vec<SocketAddr>)>> {
        self.bootstrap.load_full()
    }

    /// The join document names these relays to begin with.
    pub fn set_bootstrap(&self, relays: Vec<(RelayId, Vec<SocketAddr>)>) {
        self.bootstrap.store(Arc::new(relays));
    }

    /// A key list has arrived; true when it is valid, signed by the publisher's root key, and newer.
    pub fn offer_keys(&self, encoded: &[u8], now: UnixMillis) -> bool {
        let Ok(ring) = KeyRing::verify(self.publisher, encoded, now) else { return false };
        let newer = ring.issued() > self.ring.load().issued();
        if newer {
            self.ring.store(Arc::new(ring));
        }
        newer
    }

    /// The adapter has said who is in the network, and where. Lists of an older epoch are ignored.
    pub fn set_members(&self, epoch: u64, members: Vec<(Member, Vec<SocketAddr>)>, now: UnixMillis) {
        let listed = members.into_iter().map(|(member, addresses)| Listed { member, addresses, scoped: false });
        let replaced = self.admission.roll().replace(epoch, listed.collect());
        if replaced {
            self.rank_anew(now);
        }
    }

    /// The same, off the wire.
    pub(super) fn take_members(&self, list: Members, now: UnixMillis) {
        let taken = self.admission.roll().take(list);
        if taken {
            self.rank_anew(now);
        }
    }

    /// What has changed since an earlier list; the epoch that is held instead when the changes do not fit it.
    pub(super) fn change_members(&self, changes: Changes, now: UnixMillis) -> Result<(), u64> {
        let (applied, epoch) = {
            let mut roll = self.admission.roll();
            (roll.apply(changes), roll.epoch())
        };
        match applied {
            Applied::Yes => self.rank_anew(now),
            Applied::Stale => {}
            Applied::Gap => return Err(epoch),
        }
        Ok(())
    }

    fn rank_anew(&self, now: UnixMillis) {
        // Whose grant covers some paths only fetches for itself: as an owner it would refuse the others.
        let (members, known): (Vec<Member>, HashSet<RelayId>) = {
            let roll = self.admission.roll();
            let known = roll.members().map(|listed| listed.member.relay).collect();
            (roll.members().filter(|listed| !listed.scoped).map(|listed| listed.member.clone()).collect(), known)
        };
        // No two locks at once.
        self.statuses.retain(|relay| known.contains(relay));
        self.mesh().set_members(Arc::new(Membership::new(members, now)));
    }

    /// A new session with the adapter begins: it is there, and it may count its epochs anew.
    pub(super) fn adapter_is_back(&self) {
        self.mesh().adapter_succeeded();
        self.admission.roll().expect_any();
    }

    /// Known members.
    pub fn members(&self) -> Vec<RelayId> {
        self.admission.roll().members().map(|listed| listed.member.relay).collect()
    }

    /// Known members with everything that is known of them.
    pub fn listed(&self) -> Vec<Listed> {
        self.admission.roll().members().cloned().collect()
    }

    /// True when `peer` may ask for some of this publisher's content.
    pub fn may_ask(&self, peer: &RelayId, now: UnixMillis) -> bool {
        self.admission.admits(peer, now)
    }

    /// Why `peer` may not have what is at `path`.
    pub(super) fn refuses(&self, peer: &RelayId, path: &CanonicalPath, now: UnixMillis) -> Option<RefusalReason> {
        self.admission.refuses(peer, path, now)
    }

    /// Relays that have shown a grant at an open connection.
    pub fn shown_grants(&self) -> usize {
        self.admission.shown().len()
    }

    /// Those relays as members, as their grants describe them: enough to begin with while the adapter is away. Whoever
    /// was granted some paths only is left out.
    pub fn shown_members(&self) -> Vec<Member> {
        let all = self.admission.shown().all();
        let whole = all.iter().map(SignedGrant::grant).filter(|grant| grant.covers_all());
        whole.map(|grant| Member::new(grant.relay, grant.region.as_str().into(), grant.weight, grant.since)).collect()
    }

    /// What the publisher has granted to this relay.
    pub fn granted(&self) -> Arc<Granted> {
        self.admission.own()
    }

    /// The publisher's grant to this relay, if there is one, of now or of the past.
    pub fn own_grant(&self) -> Option<SignedGrant> {
        match &*self.granted() {
            Granted::Yes(grant) => Some(grant.clone()),
            Granted::Unknown | Granted::Refused(_) => None,
        }
    }

    /// A grant for this relay has come; true when it is newer than the one held.
    pub fn offer_grant(&self, bytes: &Bytes, now: UnixMillis) -> Result<bool, GrantError> {
        let granted = self.admission.granted(bytes, &self.ring(), now);
        self.tell_epochs();
        granted
    }

    /// What was kept over a restart: this relay's grant, and what is taken down.
    pub fn restore(&self, grant: Option<Vec<u8>>, takedowns: TakedownBook, now: UnixMillis) {
        self.admission.withdrawn().restore(takedowns);
        if let Some(Err(error)) = grant.map(|bytes| self.admission.restore(&bytes.into(), &self.ring(), now)) {
            tracing::warn!(publisher = %self.publisher.short(), %error, "the kept grant is not used");
        }
    }

    /// Takedowns have come from a node or by announcement. What is new among them has been taken in and is passed on
    /// to every relay of the network that is connected here.
    pub fn offer_takedowns(&self, all: &[Bytes], now: UnixMillis) -> Offered {
        let offered = self.admission.withdrawn().offer(all, &self.ring(), now);
        if !offered.new.is_empty() {
            tracing::info!(publisher = %self.publisher.short(), count = offered.new.len(), "taken down or lifted by the publisher");
            self.admission.tell();
        }
        offered
    }

    /// What the publisher has taken down.
    pub fn withdrawn(&self) -> &Withdrawn {
        self.admission.withdrawn()
    }

    /// Why this relay serves a resource to nobody.
    pub fn withheld(&self, key: &ResourceKey, now: UnixMillis) -> Option<Withheld> {
        self.admission.withheld(key, now)
    }

    /// Counts changes of the grant and of takedowns.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.admission.news()
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// What members have said about themselves.
    pub fn statuses(&self) -> &Statuses {
        &self.statuses
    }

    /// A member says this about itself; false if it is no member, or has said something newer.
    pub fn note_status(&self, relay: RelayId, status: RelayStatus) -> bool {
        let member = self.admission.roll().get(&relay).is_some();
        member && self.statuses.note(relay, status)
    }

    /// Where the adapter sees a relay, itself included, and what that relay has declared to it.
    pub(crate) fn listed_addresses_of(&self, relay: &RelayId) -> Vec<SocketAddr> {
        self.admission.roll().get(relay).map(|found| found.addresses.clone()).unwrap_or_default()
    }

    /// Where a member or the adapter is, best first. Addresses of private networks are left out unless this relay and
    /// the member come from the same address: elsewhere they are somebody else's.
    pub(crate) fn addresses_of(&self, relay: &RelayId) -> Vec<SocketAddr> {
        if *relay == self.adapter {
            return self.adapter_addresses().to_vec();
        }
        let listed = listed_near(&self.listed_addresses_of(&self.me), self.listed_addresses_of(relay));
        self.statuses.addresses(relay, listed)
    }

    /// The same, or what is said to be an unknown relay's addresses.
    pub(super) fn addresses_or(&self, relay: &RelayId, said: &[SocketAddr]) -> Vec<SocketAddr> {
        let known = self.addresses_of(relay);
        match known.is_empty() && !said.is_empty() {
            true => listed_near(&self.listed_addresses_of(&self.me), said.to_vec()),
            false => known,
        }
    }

    pub(super) fn failed(&self, relay: &RelayId, failure: Failure, now: UnixMillis) {
        match *relay == self.adapter {
            true => self.mesh().adapter_failed(failure, now),
            false => self.mesh().failed(relay, failure, now),
        }
    }

    /// A peer or the adapter served so many bytes, for which it was waited so long in all.
    pub(super) fn succeeded(&self, relay: &RelayId, bytes: u64, took: Duration, now: UnixMillis) {
        match *relay == self.adapter {
            true => self.mesh().adapter_succeeded(),
            false => self.mesh().succeeded(relay, bytes, took, now),
        }
    }

    /// A relay asks for an object: as long as the upload lives, it counts among those that it is sent to.
    ///
    /// # Errors
    /// [`Denied`].
    pub(super) fn serve(self: &Arc<Self>, relay: &RelayId, object: Object, hops: u8) -> Result<Upload, Denied> {
        let owed = self.meter.get().map(|meter| (meter.owed(relay, &self.publisher), meter.now()));
        let mut mesh = self.mesh();
        if let Some((owed, now)) = owed {
            mesh.receipts(relay, owed, 0, now);
        }
        mesh.serve(relay, &object, hops)?;
        drop(mesh);
        Ok(Upload { network: self.clone(), object })
    }

    /// Somebody wants an object; true when this relay should have a copy. What is held is asked for often and counted
    /// only when nobody else is at the mesh.
    pub(super) fn requested(&self, object: &Object, held: bool, now: UnixMillis) -> bool {
        let mut mesh = match self.mesh.try_lock() {
            Ok(mesh) => mesh,
            Err(_) if held => return false,
            Err(_) => self.mesh(),
        };
        mesh.requested(object, held, now) == Effect::Replicate
    }

    /// What this relay can send, as its publisher has it, in Mbit/s.
    pub(crate) fn weight(&self) -> u32 {
        self.mesh().weight()
    }

    /// This relay's view of the network, with members as old as they are now.
    pub(super) fn mesh_at(&self, now: UnixMillis) -> MutexGuard<'_, Mesh> {
        let mut mesh = self.mesh();
        if mesh.members().next_step().is_some_and(|step| step <= now) {
            let aged = mesh.members().aged(now);
            mesh.set_members(Arc::new(aged));
        }
        mesh
    }

    pub(super) fn mesh(&self) -> MutexGuard<'_, Mesh> {
        self.mesh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An object on its way to a relay.
pub(super) struct Upload {
    network: Arc<Network>,
    object: Object,
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.network.mesh().served(&self.object);
    }
}
