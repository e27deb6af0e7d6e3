//! Members by region, and what a relay of a region is told of them: its own region, oldest first up to a bound, and a
//! few of every other. Invariant: relays of one region are told the same list under the same epoch, so that they rank
//! owners alike; a list and the changes to it are encoded once for all of them.

use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};
use weir_protocol::{
    ids::{PublisherId, RelayId},
    time::UnixMillis,
    wire::{Changes, ControlFrame, MAX_REVOKED, Member, Members},
};

/// Members of its own region that a relay is told. Together with the others below, with four addresses each, and with
/// [`MAX_REVOKED`], the list fits a control frame.
const OWN_REGION: usize = 640;
/// Members of other regions that a relay is told, and of each of them: last resorts and relays to punch holes through.
const OTHER_REGIONS: usize = 32;
const OF_EACH_OTHER: usize = 4;
/// Addresses of a member that are passed on.
const ADDRESSES: usize = 4;
/// Members of a region in its list that come from one public address (IPv4) or network (IPv6 /64): identities cost
/// nothing, addresses do.
const OF_ONE_HOST: usize = 16;
/// Former lists of a region that changes can be told from.
const FORMER: usize = 64;

/// A member as the adapter knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) relay: RelayId,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) region: Arc<str>,
    pub(super) weight: u32,
    pub(super) since: UnixMillis,
    pub(super) scoped: bool,
}

impl Listing {
    fn to_member(&self) -> Member {
        Member {
            relay: self.relay,
            addresses: self.addresses.iter().take(ADDRESSES).map(ToString::to_string).collect(),
            region: self.region.to_string(),
            weight: Some(self.weight),
            since: Some(self.since),
            scoped: self.scoped.then_some(true),
        }
    }

    /// Whose address it is, where that says anything about who runs it.
    fn host(&self) -> Option<IpAddr> {
        match self.addresses.first()?.ip() {
            IpAddr::V4(v4) if v4.is_loopback() || v4.is_private() || v4.is_link_local() => None,
            IpAddr::V6(v6) if v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() => None,
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Some(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            v4 => Some(v4),
        }
    }
}

/// What the relays of one region are told at one time.
struct View {
    epoch: u64,
    /// In the order of their ids.
    members: Vec<Arc<Listing>>,
    revoked: u64,
}

#[derive(Default)]
struct Region {
    /// In the order of their age.
    members: BTreeMap<(UnixMillis, RelayId), Arc<Listing>>,
    views: VecDeque<View>,
    /// The epoch up to which the newest view is known to hold.
    as_of: Option<u64>,
    /// Frames that lead to the newest view, by the epoch they start from.
    frames: HashMap<Option<u64>, Bytes>,
}

/// All members.
pub(super) struct Regions {
    publisher: PublisherId,
    epoch: u64,
    regions: BTreeMap<Arc<str>, Region>,
    revoked: BTreeSet<RelayId>,
    /// The epoch at which `revoked` changed last.
    revoked_at: u64,
}

impl Regions {
    /// Nobody yet. Epochs count from `epoch`, which must be higher than any that an adapter with this identity has
    /// used before.
    pub(super) fn new(publisher: PublisherId, epoch: u64) -> Self {
        Self { publisher, epoch, regions: BTreeMap::new(), revoked: BTreeSet::new(), revoked_at: epoch }
    }

    /// A member has come, or is known anew under the same age.
    pub(super) fn insert(&mut self, listing: Listing) {
        self.epoch += 1;
        let region = self.regions.entry(listing.region.clone()).or_default();
        region.members.insert((listing.since, listing.relay), Arc::new(listing));
    }

    /// A member has gone.
    pub(super) fn remove(&mut self, region: &Arc<str>, since: UnixMillis, relay: &RelayId) {
        let Some(found) = self.regions.get_mut(region) else { return };
        if found.members.remove(&(since, *relay)).is_some() {
            self.epoch += 1;
        }
        if found.members.is_empty() {
            self.regions.remove(region);
        }
    }

    /// A relay's grant no longer counts.
    pub(super) fn revoke(&mut self, relay: RelayId) {
        // The longest list that fits; which of more are left out is open, and their grants end by themselves.
        if self.revoked.len() < MAX_REVOKED && self.revoked.insert(relay) {
            self.epoch += 1;
            self.revoked_at = self.epoch;
        }
    }

    /// It counts again.
    pub(super) fn pardon(&mut self, relay: &RelayId) {
        if self.revoked.remove(relay) {
            self.epoch += 1;
            self.revoked_at = self.epoch;
        }
    }

    /// What to tell a relay of this region that holds the list of epoch `held`, and the epoch it holds then; nothing
    /// when there is no news. Changes are told only to those who understand them.
    pub(super) fn news(&mut self, region: &Arc<str>, held: Option<u64>, changes: bool) -> Option<(u64, Bytes)> {
        self.renew(region);
        let (publisher, revoked) = (self.publisher, &self.revoked);
        let found = self.regions.get_mut(region)?;
        let newest = found.views.back()?;
        if held == Some(newest.epoch) {
            return None;
        }
        let from = held.filter(|_| changes);
        let former = from.and_then(|epoch| found.views.iter().find(|view| view.epoch == epoch));
        let key = former.map(|view| view.epoch);
        if let Some(frame) = found.frames.get(&key) {
            return Some((newest.epoch, frame.clone()));
        }
        let revoked = || Some(revoked.iter().copied().collect()).filter(|list: &Vec<_>| !list.is_empty());
        let frame = match former {
            None => ControlFrame::Members(Members {
                publisher,
                epoch: newest.epoch,
                members: newest.members.iter().map(|listing| listing.to_member()).collect(),
                revoked: revoked(),
            }),
            Some(former) => {
                let (joined, left) = difference(&former.members, &newest.members);
                let changed = former.revoked != newest.revoked;
                ControlFrame::Changes(Changes {
                    publisher,
                    since: former.epoch,
                    epoch: newest.epoch,
                    joined: joined.iter().map(|listing| listing.to_member()).collect(),
                    left,
                    revoked: changed.then(|| self.revoked.iter().copied().collect()),
                })
            }
        };
        let (epoch, frame) = (newest.epoch, frame.encode().expect("the bounds above fit a control frame"));
        found.frames.insert(key, frame.clone());
        Some((epoch, frame))
    }

    /// Makes the region's newest view, if anything in it has changed.
    fn renew(&mut self, region: &Arc<str>) {
        let (epoch, revoked) = (self.epoch, self.revoked_at);
        // A relay whose region has no members is in it alone, and about to leave.
        let Some(own) = self.regions.get(region).filter(|own| own.as_of != Some(epoch)) else { return };
        let mut hosts: HashMap<IpAddr, usize> = HashMap::new();
        let mut few_of_one_host = |listing: &&Arc<Listing>| {
            listing.host().is_none_or(|host| {
                let count = hosts.entry(host).or_default();
                *count += 1;
                *count <= OF_ONE_HOST
            })
        };
        let mut members: Vec<Arc<Listing>> =
            own.members.values().filter(|listing| few_of_one_host(listing)).take(OWN_REGION).cloned().collect();
        let others = self.regions.iter().filter(|(name, _)| *name != region);
        let others = others.flat_map(|(_, other)| other.members.values().take(OF_EACH_OTHER));
        members.extend(others.take(OTHER_REGIONS).cloned());
        members.sort_by_key(|listing| listing.relay);
        let own = self.regions.entry(region.clone()).or_default();
        own.as_of = Some(epoch);
        if own.views.back().is_some_and(|view| view.members == members && view.revoked == revoked) {
            return;
        }
        own.frames.clear();
        if own.views.len() == FORMER {
            own.views.pop_front();
        }
        own.views.push_back(View { epoch, members, revoked });
    }
}

/// Who is new or changed, and who is gone; both lists in the order of ids.
fn difference<'a>(former: &[Arc<Listing>], newest: &'a [Arc<Listing>]) -> (Vec<&'a Arc<Listing>>, Vec<RelayId>) {
    let was = |listing: &Arc<Listing>| {
        former.binary_search_by_key(&listing.relay, |former| former.relay).ok().map(|at| &former[at])
    };
    let joined = newest.iter().filter(|listing| was(listing) != Some(*listing)).collect();
    let is = |relay: &RelayId| newest.binary_search_by_key(relay, |listing| listing.relay).is_ok();
    let left = former.iter().map(|listing| listing.relay).filter(|relay| !is(relay)).collect();
    (joined, left)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weir_protocol::wire::MAX_CONTROL_FRAME;

    const PUBLISHER: PublisherId = PublisherId::from_bytes([1; 32]);

    fn relay(n: u32) -> RelayId {
        let mut secret = [1; 32];
        secret[..4].copy_from_slice(&n.to_be_bytes());
        let key = libp2p::identity::Keypair::ed25519_from_bytes(secret).unwrap();
        RelayId::from_public_key(&key.public())
    }

    fn listing(relay: RelayId, region: &str, address: &str, since: u64) -> Listing {
        Listing {
            relay,
            addresses: vec![address.parse().unwrap()],
            region: region.into(),
            weight: 100,
            since: UnixMillis(since),
            scoped: false,
        }
    }

    fn decoded(frame: &[u8]) -> ControlFrame {
        ControlFrame::decode(&frame[4..]).unwrap()
    }

    /// A relay that takes what it is told.
    #[derive(Default)]
    struct Told {
        epoch: Option<u64>,
        members: BTreeMap<RelayId, Member>,
        bytes: usize,
    }

    impl Told {
        fn hear(&mut self, regions: &mut Regions, region: &str) {
            let Some((epoch, frame)) = regions.news(&region.into(), self.epoch, true) else { return };
            self.bytes += frame.len();
            match decoded(&frame) {
                ControlFrame::Members(list) => {
                    self.members = list.members.into_iter().map(|member| (member.relay, member)).collect();
                    assert_eq!(list.epoch, epoch);
                }
                ControlFrame::Changes(changes) => {
                    assert_eq!((Some(changes.since), changes.epoch), (self.epoch, epoch));
                    changes.left.iter().for_each(|relay| assert!(self.members.remove(relay).is_some()));
                    self.members.extend(changes.joined.into_iter().map(|member| (member.relay, member)));
                }
                other => panic!("{other:?}"),
            }
            self.epoch = Some(epoch);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// However seldom a relay listens, it ends with the list of its region.
        #[test]
        fn changes_lead_to_the_same_list_as_the_whole(
            events in prop::collection::vec((0u32..12, any::<bool>(), any::<bool>(), any::<bool>()), 1..80),
        ) {
            let mut regions = Regions::new(PUBLISHER, 7);
            let mut told = Told::default();
            regions.insert(listing(relay(99), "eu", "192.0.2.1:1", 0));
            for (n, comes, eu, listens) in events {
                // As the directory does: a relay is taken out of where it was before it is put in anywhere.
                for name in ["eu", "us"] {
                    regions.remove(&name.into(), UnixMillis(u64::from(n)), &relay(n));
                }
                if comes {
                    let name = if eu { "eu" } else { "us" };
                    regions.insert(listing(relay(n), name, "127.0.0.1:9", u64::from(n)));
                }
                if listens {
                    told.hear(&mut regions, "eu");
                }
            }
            told.hear(&mut regions, "eu");
            let mut fresh = Told::default();
            fresh.hear(&mut regions, "eu");
            prop_assert_eq!(told.members, fresh.members);
        }
    }

    #[test]
    fn a_list_is_bounded_told_alike_and_fits_its_frame() {
        let mut regions = Regions::new(PUBLISHER, 0);
        for n in 0..2000 {
            let name = if n % 2 == 0 { "a-region-with-a-name-that-is-long" } else { "us" };
            let mut listing = listing(
                relay(n),
                &name[..name.len().min(32)],
                "[fd00:1111:2222:3333:4444:5555:6666:7777]:65535",
                u64::from(n),
            );
            listing.addresses = vec![listing.addresses[0]; 8];
            regions.insert(listing);
        }
        (0..2000).for_each(|n| regions.revoke(relay(100_000 + n)));
        let (epoch, frame) = regions.news(&"us".into(), None, true).unwrap();
        assert!(frame.len() <= MAX_CONTROL_FRAME);
        let ControlFrame::Members(list) = decoded(&frame) else { panic!("a whole list") };
        assert_eq!(list.members.len(), OWN_REGION + OF_EACH_OTHER);
        let own: Vec<_> = list.members.iter().filter(|member| member.region == "us").collect();
        assert!(own.iter().all(|member| member.since.unwrap().0 < 2 * OWN_REGION as u64), "the oldest");
        assert_eq!(regions.news(&"us".into(), Some(epoch), true), None);
        assert_eq!(regions.news(&"us".into(), None, false), Some((epoch, frame)));
    }

    #[test]
    fn identities_behind_one_address_do_not_crowd_a_list() {
        let mut regions = Regions::new(PUBLISHER, 0);
        for n in 0..50 {
            regions.insert(listing(relay(n), "eu", &format!("198.51.100.7:{}", 1000 + n), 0));
            regions.insert(listing(relay(100 + n), "eu", &format!("[2001:db8::{n}]:1"), 0));
            regions.insert(listing(relay(200 + n), "eu", &format!("192.0.2.{n}:1"), 0));
        }
        let (_, frame) = regions.news(&"eu".into(), None, true).unwrap();
        let ControlFrame::Members(list) = decoded(&frame) else { panic!("a whole list") };
        assert_eq!(list.members.len(), 2 * OF_ONE_HOST + 50);
    }

    /// Ten thousand relays in ten regions whose median life is twenty minutes: what one of them is told in a minute.
    #[test]
    fn the_members_of_ten_thousand_relays_cost_little_to_tell() {
        let mut regions = Regions::new(PUBLISHER, 0);
        let name = |n: u32| format!("region-{}", n % 10);
        for n in 0..10_000 {
            regions.insert(listing(relay(n), &name(n), "192.0.2.1:4433", u64::from(n)));
        }
        let mut told = Told::default();
        told.hear(&mut regions, "region-3");
        let whole = std::mem::take(&mut told.bytes);
        // ln 2 / 1200 s of 10 000 leave in a second, and as many come.
        let mut next = 10_000;
        for second in 0..60 {
            for leaving in 0..6 {
                let n = second * 6 + leaving;
                regions.remove(&name(n).into(), UnixMillis(u64::from(n)), &relay(n));
                regions.insert(listing(relay(next), &name(next), "192.0.2.1:4433", u64::from(next)));
                next += 1;
            }
            told.hear(&mut regions, "region-3");
        }
        // A relay with ten viewers of 4 Mbit/s moves 300 MB in that minute; one in a hundred is 3 MB.
        assert!(whole + told.bytes < 300_000, "{whole} bytes of the list and {} of changes", told.bytes);
    }
}
