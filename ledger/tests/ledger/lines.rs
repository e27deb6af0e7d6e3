//! What honest relays get.

use weir_ledger::settle::{Grade, Reason};
use weir_protocol::statement::ClaimClass;
use weir_protocol::token::TokenUse;

use crate::support::{accepted, adds_up, at_once, earned, of, rejected};
use crate::world::{FIRST, POLICY, World, relay};

#[test]
fn three_relays_get_what_they_delivered_to_the_byte() {
    let mut world = World::new();
    let relays = [relay(1), relay(2), relay(3)];
    relays.iter().for_each(|key| _ = world.grant(key, "/", |_| {}));
    world.at(0, 5);
    let tokens: Vec<_> = (0..6).map(|n| world.token(&format!("s{n}"), |_| {})).collect();
    let bytes = [1_234_567, 89, 4_000_000_001];
    for (at, key) in relays.iter().enumerate() {
        world.at(0, 20 + at as u64 * 2);
        // Cumulative: the later claim of a session counts, and an aborted response is counted apart.
        world.claim(key, 0, tokens[2 * at], 5);
        let mut last = world.claim_of(key, 0, tokens[2 * at], bytes[at] - 40);
        last.aborted_bytes = 30;
        world.put(key, last);
        world.claim(key, 0, tokens[2 * at + 1], 10);
    }
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    for (key, bytes) in relays.iter().zip(bytes) {
        assert_eq!(accepted(&settled, key), bytes);
        assert!(rejected(&settled, key).is_empty());
    }
    // 1 000 000 micro for each GB: the three together are paid for their sum, to the last micro.
    let sum: u64 = bytes.iter().sum();
    assert_eq!(relays.iter().map(|key| earned(&settled, key)).sum::<u64>(), sum / 1000);
    assert_eq!(settled.lines[0].epoch, FIRST);
    assert!(settled.open_epochs.is_empty() && settled.withheld.is_empty() && settled.misconduct.is_empty());
}

#[test]
fn an_epoch_is_settled_when_nothing_more_can_arrive() {
    let mut world = World::new();
    let key = relay(1);
    world.grant(&key, "/", |_| {});
    world.at(0, 10);
    let token = world.token("s", |_| {});
    world.claim(&key, 0, token, 1000);
    world.later(24);
    let settled = world.settle(POLICY);
    assert!(settled.lines.is_empty());
    assert_eq!(settled.open_epochs[0].epoch, FIRST);
    world.later(25);
    assert_eq!(world.settle(POLICY).lines.len(), 1);
}

#[test]
fn evidence_lowers_a_claim_and_shortens_its_wait() {
    let mut world = World::new();
    let key = relay(1);
    let session = relay(9);
    world.grant(&key, "/", |_| {});
    world.at(0, 10);
    let bare = world.token("bare", |_| {});
    let listed = world.token("listed", |_| {});
    let reported = world.token("reported", |_| {});
    let viewed = world.token("viewed", |claims| World::confirming(claims, &session));
    for token in [bare, listed, reported, viewed] {
        world.claim(&key, 0, token, 1000);
    }
    world.at(0, 50);
    world.observe(&key, 0, listed, |seen| seen.listed_bytes = Some(700));
    world.observe(&key, 0, reported, |seen| seen.reported_bytes = Some(800));
    world.view(&session, &key, 0, viewed, 900);
    world.later(30);
    let settled = world.settle(POLICY);
    adds_up(&settled);
    let by_grade: Vec<_> = of(&settled, &key).iter().map(|line| (line.grade, line.claimed, line.accepted)).collect();
    assert_eq!(by_grade, [(Grade::E0, 2000, 1700), (Grade::E1, 1000, 800), (Grade::E2, 1000, 900)]);
    let reasons = rejected(&settled, &key);
    assert_eq!(
        reasons.into_iter().collect::<Vec<_>>(),
        [(Reason::NotListed, 300), (Reason::NotReported, 200), (Reason::NotConfirmed, 100)]
    );
    let waits: Vec<_> = of(&settled, &key).iter().map(|line| line.release_epoch.0 - FIRST.0).collect();
    assert_eq!(waits, [168, 72, 24]);
    assert_eq!(
        settled.lines_with_state().filter(|(_, released)| !released).count(),
        2,
        "the one that a viewer confirmed is released by now"
    );
}

#[test]
fn a_service_is_a_class_of_its_own() {
    let mut world = World::new();
    let key = relay(1);
    world.grant(&key, "/", |_| {});
    world.at(0, 10);
    let token = world.token("cdn", |claims| claims.usage = TokenUse::Service);
    let mut claim = world.claim_of(&key, 0, token, 1_000_000);
    claim.class = ClaimClass::Service;
    world.put(&key, claim.clone());
    // The same token as a viewer's: refused.
    claim.class = ClaimClass::Viewer;
    claim.counter += 1;
    world.put(&key, claim);
    world.observe(&key, 0, token, |seen| seen.imported_bytes = Some(600_000));
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    let lines: Vec<_> = of(&settled, &key).iter().map(|line| (line.kind.name(), line.accepted, line.amount)).collect();
    assert_eq!(lines, [("viewer", 0, 0), ("service", 600_000, 300)]);
    assert_eq!(rejected(&settled, &key)[&Reason::OutsideToken], 1_000_000);
    assert_eq!(rejected(&settled, &key)[&Reason::NotImported], 400_000);
}

#[test]
fn creators_and_the_platform_have_their_shares() {
    let mut world = World::new();
    let key = relay(1);
    world.grant(&key, "/", |_| {});
    world.at(0, 10);
    for (sid, path) in [("a", "/ada/"), ("b", "/bob/film"), ("c", "/")] {
        let token = world.token(sid, |claims| claims.prefix = path.into());
        let mut claim = world.claim_of(&key, 0, token, 1_001_000);
        claim.path = path.into();
        world.put(&key, claim);
    }
    world.later(30);
    let policy = at_once()
        + "[[split]]\npath = \"/\"\nplatform_permille = 100\n\
           [[split]]\npath = \"/ada/\"\ncreator = \"Ada\"\ncreator_permille = 333\nplatform_permille = 100\n";
    let settled = world.settle(&policy);
    adds_up(&settled);
    let lines: Vec<_> = settled
        .lines
        .iter()
        .map(|line| (line.path.as_str(), line.amount, line.creator_amount, line.platform_amount, line.relay_amount))
        .collect();
    assert_eq!(lines, [("/", 2002, 0, 200, 1802), ("/ada/", 1001, 333, 100, 568)]);
    assert_eq!((settled.creators[0].creator.as_str(), settled.creators[0].paid), ("Ada", 333));
    assert_eq!(settled.platform.paid, 300);
}

#[test]
fn a_price_that_was_signed_is_paid_whatever_the_policy_says() {
    use weir_protocol::grant::{Price, PriceClass, Prices};
    let mut world = World::new();
    let key = relay(1);
    let prices = vec![Price { class: PriceClass::Viewer, micro_per_gib: 2_000_000 }];
    world.grant(&key, "/", |grant| grant.prices = Some(Prices { currency: "EUR".into(), prices }));
    world.at(0, 10);
    let token = world.token("s", |_| {});
    world.claim(&key, 0, token, 1 << 30);
    world.later(30);
    assert_eq!(earned(&world.settle(&at_once()), &key), 2_000_000);
}

#[test]
fn fills_are_paid_out_of_the_receivers_share() {
    let mut world = World::new();
    let (edge, helper) = (relay(1), relay(2));
    world.grant(&edge, "/", |_| {});
    world.grant(&helper, "/", |_| {});
    world.at(0, 10);
    let token = world.token("s", |_| {});
    world.claim(&edge, 0, token, 10_000_000);
    // It was filled with 1 MB, by the helper and by the adapter, which has no grant and earns nothing.
    world.receipt(&edge, &helper, 0, 1, 400_000);
    world.receipt(&edge, &helper, 0, 2, 1_000_000);
    world.receipt(&edge, &relay(7), 0, 1, 5_000_000);
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    assert_eq!(earned(&settled, &helper), 100, "1 MB at 0.1 per GB");
    assert_eq!(earned(&settled, &edge), 10_000 - 100);
    assert_eq!(rejected(&settled, &relay(7))[&Reason::NoGrant], 5_000_000);
}
