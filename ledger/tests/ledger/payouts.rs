//! Who is paid, where, and when.

use weir_ledger::export::{Distributor, payments_csv};
use weir_ledger::settle::PayStatus;

use crate::support::{adds_up, at_once};
use crate::world::{POLICY, World, relay};

#[test]
fn amounts_wait_for_a_payee_and_for_the_minimum() {
    let mut world = World::new();
    let keys = [relay(1), relay(2), relay(3)];
    keys.iter().for_each(|key| _ = world.grant(key, "/", |_| {}));
    world.at(0, 10);
    for (at, key) in keys.iter().enumerate() {
        let token = world.token(&format!("s{at}"), |_| {});
        world.claim(key, 0, token, 1_000_000 * (at as u64 + 1));
    }
    world.payee(&keys[0], 1, Some(0xaa), None);
    world.payee(&keys[1], 1, None, Some("DE00 operator 2"));
    world.later(30);
    let settled = world.settle(&(at_once() + "[payout]\nminimum_micro = 1500\n"));
    adds_up(&settled);
    let status = |key: &weir_protocol::EvidenceKey| {
        settled.payouts.iter().find(|payout| payout.relay == key.relay_id()).map(|payout| payout.status)
    };
    assert_eq!(status(&keys[0]), Some(PayStatus::BelowMinimum));
    assert_eq!(status(&keys[1]), Some(PayStatus::Due));
    assert_eq!(status(&keys[2]), Some(PayStatus::NoPayee));
    let csv = payments_csv(&settled);
    assert!(csv.contains(",DE00 operator 2,,EUR,2000,0.002000,due\r\n"), "{csv}");
    assert!(Distributor::of(&settled).is_err(), "nobody with an address is due");
    // A payee can be set after earning.
    world.payee(&keys[2], 1, Some(0xcc), None);
    world.later(31);
    let settled = world.settle(&at_once());
    let third = settled.payouts.iter().find(|payout| payout.relay == keys[2].relay_id()).unwrap();
    assert_eq!(
        (third.address.as_deref().map(str::len), third.cumulative, third.status),
        (Some(42), 3000, PayStatus::Due)
    );
}

#[test]
fn a_changed_payee_gets_what_is_released_afterwards_and_nothing_twice() {
    let mut world = World::new();
    let key = relay(1);
    world.grant(&key, "/", |_| {});
    let token = world.token("s", |claims| claims.exp += 1_000_000);
    world.at(0, 10);
    world.payee(&key, 1, Some(0xaa), None);
    world.claim(&key, 0, token, 1_000_000);
    world.later(30);
    let first = world.settle(&at_once());
    world.payee(&key, 2, Some(0xbb), None);
    // An old message cannot bring back the old address.
    let old = world
        .leaves
        .iter()
        .find(|leaf| leaf.kind == weir_protocol::statement::Kind::PayeeChange)
        .unwrap()
        .message
        .clone();
    world.add(weir_protocol::statement::Kind::PayeeChange, &old);
    world.at(30, 30);
    world.claim(&key, 30, token, 500_000);
    world.later(60);
    let second = world.settle(&at_once());
    let amounts = |settled: &weir_ledger::settle::Settlement| {
        settled.payouts.iter().map(|payout| (payout.address.clone().unwrap(), payout.cumulative)).collect::<Vec<_>>()
    };
    let address = |digits: &str| format!("0x{}", digits.repeat(20));
    assert_eq!(amounts(&first), [(address("aa"), 1000)]);
    assert_eq!(amounts(&second), [(address("aa"), 1000), (address("bb"), 500)]);
}

#[test]
fn pay_outs_only_grow() {
    let mut world = World::new();
    let keys = [relay(1), relay(2)];
    keys.iter().for_each(|key| _ = world.grant(key, "/", |_| {}));
    let policy = POLICY.to_owned() + "[hold_epochs]\ne0 = 40\ne1 = 2\n";
    let mut last = Vec::new();
    for epoch in 0..60 {
        world.at(epoch, 10);
        for (at, key) in keys.iter().enumerate() {
            let token = world.token(&format!("s{epoch}-{at}"), |_| {});
            world.claim(key, epoch, token, 1_234_567 + epoch * 999);
            if (epoch + at as u64).is_multiple_of(3) {
                world.observe(key, epoch, token, |seen| seen.reported_bytes = Some(1_000_001));
            }
        }
        world.receipt(&keys[0], &keys[1], epoch, 1, 300_000);
        let settled = world.settle(&policy);
        adds_up(&settled);
        let paid: Vec<_> = settled.relays.iter().map(|relay| (relay.relay, relay.paid)).collect();
        for (relay, before) in &last {
            let now = paid.iter().find(|(other, _)| other == relay).map_or(0, |(_, paid)| *paid);
            assert!(now >= *before, "relay {relay} had {before} and has {now} in epoch {epoch}");
        }
        last = paid;
    }
    assert!(last.iter().all(|(_, paid)| *paid > 10_000));
}
