//! Who is in the adapter's list, for how long, and what it is told.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use weir_protocol::{
    epoch::{DEFAULT_EPOCH_MS, Epoch},
    grant::Grant,
    keys::{KeyEntry, SigningKey, SigningKeyList},
};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// Grants everything for ten hours, or refuses.
struct Rule {
    publisher: PublisherId,
    open: AtomicBool,
}

impl Granting for Rule {
    fn decide(&self, relay: &RelayId, _: Option<&[u8]>, now: UnixMillis) -> Decision {
        if !self.open.load(Ordering::Relaxed) {
            return Decision::Refused("closed".into());
        }
        let first = Epoch::of(now, DEFAULT_EPOCH_MS);
        let grant = Grant {
            publisher: self.publisher,
            relay: *relay,
            scopes: vec![CanonicalPath::parse("/").unwrap()],
            first,
            last: Epoch(first.0 + 9),
            region: "default".into(),
            weight: 100,
            issued: now,
            since: now,
            prices: None,
            caps: None,
            policy: None,
            budget: None,
            epoch_ms: None,
        };
        Decision::Granted(SignedGrant::sign(grant, &SigningKey::from_bytes(&[2; 32])).unwrap())
    }
}

fn directory() -> (Directory, Arc<Rule>, Arc<AtomicU64>) {
    let (root, key) = (RootKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let expires = NOW.plus_ms(1 << 40);
    let keys = vec![KeyEntry::new(&key, UnixMillis(0), expires)];
    let list = SigningKeyList { publisher: root.publisher_id(), issued: NOW, expires, keys }.sign(&root).unwrap();
    let rule = Arc::new(Rule { publisher: root.publisher_id(), open: AtomicBool::new(true) });
    let time = Arc::new(AtomicU64::new(NOW.0));
    (Directory::new(&root, list, rule.clone(), Clock::Manual(time.clone())), rule, time)
}

fn relay(seed: u8) -> RelayId {
    let key = libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).unwrap();
    RelayId::from_public_key(&key.public())
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn a_grant_is_renewed_when_half_of_it_is_over_and_not_before() {
    let (directory, _, time) = directory();
    let Ok(Entered { session, grant }) = directory.enter(relay(1), at(1), None) else { panic!("it is open") };
    let mut held = grant;
    for hour in 1..40 {
        time.store(NOW.0 + hour * DEFAULT_EPOCH_MS, Ordering::Relaxed);
        let now = UnixMillis(time.load(Ordering::Relaxed));
        let age = now.since(held.grant().issued);
        match directory.review(&relay(1), session, false) {
            Review::Same => assert!(age < 5 * DEFAULT_EPOCH_MS, "late in hour {hour}"),
            Review::Renewed(grant) => {
                assert!(age >= 4 * DEFAULT_EPOCH_MS, "early in hour {hour}");
                held = grant;
            }
            Review::Refused(_) | Review::Replaced => panic!("it is a member"),
        }
        assert!(held.grant().holds_at(now));
    }
}

#[test]
fn a_relay_that_is_refused_later_is_out_and_named_as_revoked() {
    let (directory, rule, _) = directory();
    let Ok(first) = directory.enter(relay(1), at(1), None) else { panic!("it is open") };
    directory.enter(relay(2), at(2), None).ok().unwrap();
    let region: Arc<str> = "default".into();
    let (epoch, _) = directory.news(&region, None, true).unwrap();
    rule.open.store(false, Ordering::Relaxed);
    assert!(matches!(directory.review(&relay(1), first.session, false), Review::Same), "nobody said that it changed");
    assert!(matches!(directory.review(&relay(1), first.session, true), Review::Refused(_)));
    assert!(!directory.contains(&relay(1)));
    let (_, frame) = directory.news(&region, Some(epoch), true).unwrap();
    match weir_protocol::wire::ControlFrame::decode(&frame[4..]) {
        Ok(weir_protocol::wire::ControlFrame::Changes(changes)) => {
            assert_eq!((changes.left, changes.revoked), (vec![relay(1)], Some(vec![relay(1)])));
        }
        other => panic!("{other:?}"),
    }
    assert!(directory.enter(relay(1), at(1), None).is_err());
    rule.open.store(true, Ordering::Relaxed);
    assert!(directory.enter(relay(1), at(1), None).is_ok());
    assert!(matches!(directory.review(&relay(1), first.session, true), Review::Replaced), "its former session");
    directory.leave(&relay(1), first.session);
    assert!(directory.contains(&relay(1)), "the end of the former session is not the relay's");
}

#[test]
fn a_door_counts_while_it_is_reported_and_its_session_lives() {
    let (directory, _, time) = directory();
    let report = |load| DoorReport {
        publisher: directory.publisher(),
        url: "https://r.example".into(),
        since: 1,
        load,
        requests: 0,
        draining: false,
    };
    let loads = || directory.doors().iter().map(|door| door.report.load).collect::<Vec<_>>();
    directory.report_door(&relay(1), 1, report(1));
    assert_eq!(loads(), [0_u16; 0], "it is no member");
    let Ok(first) = directory.enter(relay(1), at(1), None) else { panic!("it is open") };
    directory.report_door(&relay(1), first.session, report(2));
    assert_eq!(loads(), [2]);
    let holds = u64::try_from(REPORT_HOLDS.as_millis()).unwrap();
    time.store(NOW.0 + holds - 1, Ordering::Relaxed);
    assert_eq!(loads(), [2]);
    time.store(NOW.0 + holds, Ordering::Relaxed);
    assert_eq!(loads(), [0_u16; 0], "it has died");
    let Ok(second) = directory.enter(relay(1), at(2), None) else { panic!("it is open") };
    directory.report_door(&relay(1), first.session, report(3));
    assert_eq!(loads(), [0_u16; 0], "the former session's word");
    directory.report_door(&relay(1), second.session, report(4));
    assert_eq!(loads(), [4]);
    directory.leave(&relay(1), second.session);
    assert_eq!(loads(), [0_u16; 0]);
}

#[test]
fn a_new_key_list_renews_the_ring_that_judges_takedowns() {
    let (directory, ..) = directory();
    let (root, next) = (RootKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[3; 32]));
    let target = weir_protocol::takedown::Target::path(CanonicalPath::parse("/film/").unwrap());
    let takedown =
        weir_protocol::takedown::Takedown { publisher: directory.publisher(), serial: NOW, until: None, target };
    let signed = SignedTakedown::sign(takedown, &next);
    assert!(directory.offer_takedowns(&[signed.bytes().clone()]).new.is_empty());
    let expires = NOW.plus_ms(1 << 40);
    let keys = vec![KeyEntry::new(&next, UnixMillis(0), expires)];
    let list = SigningKeyList { publisher: root.publisher_id(), issued: NOW.plus_ms(1), expires, keys };
    directory.set_keys(list.sign(&root).unwrap());
    assert_eq!(directory.offer_takedowns(&[signed.bytes().clone()]).new.len(), 1);
}
