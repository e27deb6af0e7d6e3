//! The worked example of `docs/rewards.md`, number by number.

use weir_ledger::settle::Grade;

use crate::support::{adds_up, of};
use crate::world::{FIRST, World, relay};

const POLICY: &str = r#"
version = 1
currency = "EUR"

[[price]]
kind = "viewer"
micro_per_gb = 4000

[[price]]
kind = "peer"
micro_per_gb = 1000

[[split]]
path = "/ada/"
creator = "Ada"
creator_permille = 100
platform_permille = 50

[peer]
share_permille = 200
"#;

#[test]
fn the_worked_example_is_true() {
    let mut world = World::new();
    let (a, b) = (relay(1), relay(2));
    world.grant(&a, "/", |_| {});
    world.grant(&b, "/", |_| {});
    world.at(0, 10);
    let first = world.token("first", |claims| claims.prefix = "/ada/".into());
    let second = world.token("second", |claims| claims.prefix = "/ada/".into());
    for (token, bytes) in [(first, 2_000_000_000), (second, 500_000_000)] {
        let mut claim = world.claim_of(&a, 0, token, bytes);
        claim.path = "/ada/".into();
        world.put(&a, claim);
    }
    world.observe(&a, 0, first, |seen| seen.reported_bytes = Some(1_900_000_000));
    world.receipt(&a, &b, 0, 1, 600_000_000);
    world.payee(&a, 1, None, Some("DE00 1234"));
    world.later(80);
    let settled = world.settle(POLICY);
    adds_up(&settled);
    let row = |line: &&weir_ledger::settle::Line| {
        let wait = line.release_epoch.0 - FIRST.0;
        (
            line.grade,
            line.claimed,
            line.accepted,
            line.amount,
            line.creator_amount,
            line.platform_amount,
            line.to_peers,
            line.relay_amount,
            wait,
        )
    };
    assert_eq!(
        of(&settled, &a).iter().map(row).collect::<Vec<_>>(),
        [
            (Grade::E0, 500_000_000, 500_000_000, 2000, 200, 100, 125, 1575, 168),
            (Grade::E1, 2_000_000_000, 1_900_000_000, 7600, 760, 380, 475, 5985, 72),
        ]
    );
    assert_eq!(of(&settled, &b).iter().map(|line| line.relay_amount).sum::<u64>(), 600);
    // 80 epochs later the observed session is released and the other one is not.
    let total = settled.relays.iter().find(|total| total.relay == a.relay_id()).unwrap();
    assert_eq!((total.paid, total.held), (5985, 1575));
    assert_eq!((settled.payouts.iter().find(|payout| payout.relay == a.relay_id()).unwrap().cumulative), 5985);
}
