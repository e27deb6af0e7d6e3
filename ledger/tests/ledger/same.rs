//! Everybody computes the same, and every byte stands somewhere.

use proptest::prelude::*;
use weir_ledger::settle::canonical;
use weir_protocol::statement::Kind;

use crate::support::{adds_up, at_once};
use crate::world::{World, relay};

/// Something that happens in the log.
#[derive(Debug, Clone)]
enum Step {
    Claim { relay: u8, session: u8, bytes: u64 },
    Observe { relay: u8, session: u8, bytes: u64 },
    Receipt { to: u8, from: u8, bytes: u64 },
    Garbage { kind: usize, bytes: Vec<u8> },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u8..4, 0_u8..6, 0_u64..1 << 36).prop_map(|(relay, session, bytes)| Step::Claim { relay, session, bytes }),
        2 => (1_u8..4, 0_u8..6, 0_u64..1 << 36).prop_map(|(relay, session, bytes)| Step::Observe { relay, session, bytes }),
        2 => (1_u8..4, 1_u8..4, 0_u64..1 << 36).prop_map(|(to, from, bytes)| Step::Receipt { to, from, bytes }),
        1 => (0_usize..14, proptest::collection::vec(any::<u8>(), 0..80))
            .prop_map(|(kind, bytes)| Step::Garbage { kind, bytes }),
    ]
}

fn play(steps: &[Step]) -> World {
    let mut world = World::new();
    (1..4).for_each(|seed| _ = world.grant(&relay(seed), "/", |_| {}));
    world.at(0, 5);
    let tokens: Vec<_> = (0..6)
        .map(|n| world.token(&format!("s{n}"), |claims| claims.max_bytes = (n % 2 == 0).then_some(1 << 34)))
        .collect();
    world.at(0, 20);
    let mut claimed = std::collections::HashMap::new();
    let mut received = std::collections::HashMap::new();
    for step in steps {
        match step {
            Step::Claim { relay: seed, session, bytes } => {
                let sum: &mut u64 = claimed.entry((*seed, *session)).or_insert(0);
                *sum += bytes;
                let sum = *sum;
                world.claim(&relay(*seed), 0, tokens[usize::from(*session)], sum);
            }
            Step::Observe { relay: seed, session, bytes } => {
                world.observe(&relay(*seed), 0, tokens[usize::from(*session)], |seen| {
                    seen.reported_bytes = Some(*bytes)
                });
            }
            Step::Receipt { to, from, bytes } if to != from => {
                let (counter, sum): &mut (u64, u64) = received.entry((*to, *from)).or_insert((0, 0));
                *counter += 1;
                *sum += bytes;
                let (counter, sum) = (*counter, *sum);
                world.receipt(&relay(*to), &relay(*from), 0, counter, sum);
            }
            Step::Receipt { .. } => {}
            // Totals are the publisher's own word about its own log; nonsense there is an error, not evidence.
            Step::Garbage { kind, bytes } if Kind::ALL[*kind] != Kind::EpochTotals => {
                world.add(Kind::ALL[*kind], bytes);
            }
            Step::Garbage { .. } => {}
        }
    }
    world.later(30);
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is in the log, a settlement adds up, is the same twice, and is canonical JSON.
    #[test]
    fn any_log_adds_up(steps in proptest::collection::vec(step(), 0..40)) {
        let world = play(&steps);
        let policy = at_once() + "[caps]\nrelay_bytes = 40000000000\nbudget_micro = 30000000\n\
            [[split]]\npath = \"/\"\ncreator = \"c\"\ncreator_permille = 137\nplatform_permille = 11\n";
        let settled = world.settle(&policy);
        adds_up(&settled);
        let spent: u64 = settled.lines.iter().map(|line| line.amount).sum();
        prop_assert!(spent <= 30_000_000 + settled.lines.iter().map(|line| line.to_peers).sum::<u64>());
        let text = settled.json().unwrap();
        prop_assert_eq!(world.settle(&policy).json().unwrap(), text.clone());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(canonical(&value).unwrap() + "\n", text);
    }
}
