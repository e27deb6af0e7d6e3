//! One test for each attack: what it earns, and what evidence remains.

use weir_ledger::settle::Reason;
use weir_protocol::statement::{Contradiction, ProbeResult, Unverified, contradiction};
use weir_protocol::{EdgeClaim, EvidenceKey, SigningKey, TokenHash};

use crate::support::{accepted, adds_up, at_once, earned, rejected};
use crate::world::{FIRST, HOUR, POLICY, World, relay};

/// A world with one granted relay, some minutes into the first epoch.
fn one() -> (World, EvidenceKey) {
    let mut world = World::new();
    let key = relay(1);
    world.grant(&key, "/", |_| {});
    world.at(0, 10);
    (world, key)
}

#[test]
fn replay_earns_nothing() {
    let (mut world, key) = one();
    let token = world.token("s", |_| {});
    let first = world.claim(&key, 0, token, 1000);
    world.claim(&key, 0, token, 2000);
    // The old message once more, as a store without memory of it would take it.
    let replayed = world.leaves[first as usize].message.clone();
    world.add(weir_protocol::statement::Kind::EdgeClaim, &replayed);
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    assert_eq!(accepted(&settled, &key), 2000, "the latest counter counts, once");
    assert!(settled.misconduct.is_empty(), "a replay is no contradiction of its signer");
}

#[test]
fn inflation_is_bounded_by_the_token_and_by_what_existed() {
    let (mut world, key) = one();
    let bounded = world.token("bounded", |claims| claims.max_bytes = Some(5000));
    let listed = world.token("listed", |_| {});
    world.claim(&key, 0, bounded, 1_000_000);
    world.claim(&key, 0, listed, 1_000_000);
    world.observe(&key, 0, listed, |seen| seen.listed_bytes = Some(6000));
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    assert_eq!(accepted(&settled, &key), 5000 + 6000);
    assert_eq!(rejected(&settled, &key)[&Reason::SessionLimit], 995_000);
    assert_eq!(rejected(&settled, &key)[&Reason::NotListed], 994_000);
}

#[test]
fn a_session_that_is_spread_over_many_paths_earns_no_more_than_was_seen_of_it() {
    let (mut world, key) = one();
    let viewer = relay(9);
    let reported = world.token("reported", |_| {});
    let confirmed = world.token("confirmed", |claims| World::confirming(claims, &viewer));
    for at in 0..10 {
        for token in [reported, confirmed] {
            let claim = world.claim_of(&key, 0, token, 30_000);
            world.put(&key, EdgeClaim { path: format!("/{at}/"), ..claim });
        }
    }
    world.observe(&key, 0, reported, |seen| seen.reported_bytes = Some(30_000));
    world.view(&viewer, &key, 0, confirmed, 20_001);
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    assert_eq!(accepted(&settled, &key), 30_000 + 20_001, "of each session together");
    assert_eq!(rejected(&settled, &key)[&Reason::NotReported], 270_000);
    assert_eq!(rejected(&settled, &key)[&Reason::NotConfirmed], 279_999);
}

#[test]
fn an_invented_session_earns_nothing() {
    let (mut world, key) = one();
    // A token that nobody logged, one that another key signed, and one of another publisher.
    world.claim(&key, 0, TokenHash::of("e.y.J"), 1000);
    let forged = world.token_text("forged", |_| {});
    let (signed, _) = forged.rsplit_once('.').unwrap();
    let signature = data_encoding::BASE64URL_NOPAD.encode(&[1; 64]);
    let forged = format!("{signed}.{signature}");
    world.add(weir_protocol::statement::Kind::Token, forged.as_bytes());
    world.claim(&key, 0, TokenHash::of(&forged), 2000);
    let stranger = SigningKey::from_bytes(&[0x99; 32]);
    let mut foreign = weir_protocol::token::UnverifiedToken::parse(&world.token_text("x", |_| {}))
        .unwrap()
        .verify(&world.signing().verifying_key(), world.now, 0)
        .unwrap();
    foreign.iss = weir_protocol::RootKey::from_bytes(&[0x98; 32]).publisher_id();
    let foreign = foreign.sign(&stranger).unwrap();
    world.add(weir_protocol::statement::Kind::Token, foreign.as_bytes());
    world.claim(&key, 0, TokenHash::of(&foreign), 3000);
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    assert_eq!(accepted(&settled, &key), 0);
    let reasons: Vec<_> = rejected(&settled, &key).into_iter().collect();
    assert_eq!(reasons, [(Reason::NoToken, 1000), (Reason::BadToken, 5000)]);
}

#[test]
fn expired_and_foreign_sessions_earn_nothing() {
    let (mut world, key) = one();
    let now = world.now.as_secs();
    let expired = world.token("expired", |claims| claims.exp = now - 4000);
    let assigned = world.token("assigned", |claims| claims.relays = vec![relay(2).relay_id()]);
    let elsewhere = world.token("elsewhere", |claims| claims.prefix = "/film".into());
    world.claim(&key, 0, expired, 1000);
    world.claim(&key, 0, assigned, 2000);
    world.claim(&key, 0, elsewhere, 4000);
    // A claim for another time than its epoch, and one by a relay without a grant.
    let valid = world.token("valid", |_| {});
    let mut early = world.claim_of(&key, 0, valid, 8000);
    early.first = FIRST.start(HOUR).minus_ms(HOUR);
    world.put(&key, early);
    world.claim(&relay(5), 0, valid, 16_000);
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    assert_eq!(settled.lines.iter().map(|line| line.accepted).sum::<u64>(), 0);
    let reasons: Vec<_> = rejected(&settled, &key).into_iter().collect();
    assert_eq!(
        reasons,
        [
            (Reason::OutsideEpoch, 8000),
            (Reason::ExpiredToken, 1000),
            (Reason::NotAssigned, 2000),
            (Reason::OutsideToken, 4000)
        ]
    );
    assert_eq!(rejected(&settled, &relay(5))[&Reason::NoGrant], 16_000);
}

/// The proof that remains: two leaves, whose messages anybody can verify.
fn proof(world: &World, leaves: [u64; 2]) -> Contradiction {
    let message = |leaf: u64| {
        let bytes = world.leaves[leaf as usize].message.clone();
        Unverified::<EdgeClaim>::new(bytes.into()).verify().unwrap()
    };
    contradiction(&message(leaves[0]), &message(leaves[1])).unwrap().1
}

#[test]
fn a_rolled_back_counter_costs_the_epoch_and_leaves_a_proof() {
    let (mut world, key) = one();
    let token = world.token("s", |_| {});
    let other = world.token("t", |_| {});
    world.claim(&key, 0, token, 5000);
    world.claim(&key, 0, other, 7000);
    world.claim(&key, 0, token, 4000);
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    assert_eq!(accepted(&settled, &key), 0);
    assert_eq!(rejected(&settled, &key)[&Reason::Contradiction], 11_000);
    let found = &settled.misconduct[0];
    assert_eq!((found.relay, found.why, found.epoch), (key.relay_id(), "rollback", FIRST));
    let proven = Contradiction::decode(&proof(&world, found.leaves).encode()).unwrap().verify().unwrap();
    assert_eq!(proven.signer, key.public_bytes());
}

#[test]
fn two_claims_with_one_number_cost_the_epoch_and_leave_a_proof() {
    let (mut world, key) = one();
    let token = world.token("s", |_| {});
    let claim = world.claim_of(&key, 0, token, 5000);
    world.put(&key, claim.clone());
    world.put(&key, EdgeClaim { bytes: 6000, ..claim });
    // The next epoch is another one: it is paid.
    world.at(1, 30);
    world.claim(&key, 1, token, 3000);
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    assert_eq!(accepted(&settled, &key), 3000);
    assert_eq!(settled.misconduct[0].why, "same_counter");
    proof(&world, settled.misconduct[0].leaves).verify().unwrap();
}

#[test]
fn sybil_viewers_earn_no_more_than_the_caps() {
    let (mut world, key) = one();
    let second = relay(2);
    world.grant(&second, "/", |_| {});
    for viewer in 0..50 {
        let token = world.token(&format!("sybil{viewer}"), |claims| claims.max_bytes = Some(1000));
        world.claim(if viewer % 2 == 0 { &key } else { &second }, 0, token, 1000);
    }
    world.later(30);
    let group = format!(
        "[[group]]\nname = \"one operator\"\nrelays = [\"{}\", \"{}\"]\nbytes = 9001\n",
        key.relay_id(),
        second.relay_id()
    );
    let settled = world.settle(&(at_once() + &group));
    adds_up(&settled);
    assert_eq!(accepted(&settled, &key) + accepted(&settled, &second), 9001, "to the byte");
    assert_eq!(rejected(&settled, &key)[&Reason::GroupCap] + rejected(&settled, &second)[&Reason::GroupCap], 40_999);
    let capped = world.settle(&(at_once() + "[caps]\nrelay_bytes = 100\n"));
    assert_eq!((accepted(&capped, &key), rejected(&capped, &key)[&Reason::RelayCap]), (100, 24_900));
    let budget = world.settle(&(at_once() + "[caps]\nbudget_micro = 7\n"));
    adds_up(&budget);
    let spent: u64 = budget.lines.iter().map(|line| line.amount).sum();
    assert!((5..=7).contains(&spent), "{spent}");
    // Without evidence of a viewer all of it waits longest.
    assert!(world.settle(POLICY).lines.iter().all(|line| line.release_epoch.0 == FIRST.0 + 168));
}

#[test]
fn one_session_is_paid_once_however_many_relays_claim_it() {
    let (mut world, key) = one();
    let second = relay(2);
    world.grant(&second, "/", |_| {});
    let token = world.token("s", |claims| claims.max_bytes = Some(9000));
    world.claim(&key, 0, token, 8000);
    world.claim(&second, 0, token, 4000);
    // A second token of the same session brings no second allowance, and neither does the next epoch.
    let renewed = world.token("s", |claims| {
        claims.max_bytes = Some(9000);
        claims.exp += 1;
    });
    world.at(1, 30);
    world.claim(&key, 1, renewed, 5000);
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    assert_eq!([accepted(&settled, &key), accepted(&settled, &second)], [6000, 3000], "pro rata");
    assert_eq!(rejected(&settled, &key)[&Reason::SessionLimit], 2000 + 5000);
}

#[test]
fn a_colluding_viewer_earns_its_relay_no_more_than_the_publisher_saw() {
    let (mut world, key) = one();
    let session = relay(9);
    let token = world.token("s", |claims| {
        World::confirming(claims, &session);
        claims.max_bytes = Some(1_000_000);
    });
    world.claim(&key, 0, token, 900_000);
    world.view(&session, &key, 0, token, 900_000);
    world.observe(&key, 0, token, |seen| seen.reported_bytes = Some(30_000));
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    assert_eq!(accepted(&settled, &key), 30_000, "bounded by what was reported; it cannot be prevented altogether");
    // A receipt by a key that the token does not confirm is none.
    let (mut world, key) = one();
    let token = world.token("s", |claims| World::confirming(claims, &session));
    world.claim(&key, 0, token, 900);
    world.view(&relay(8), &key, 0, token, 5);
    world.later(30);
    assert_eq!(accepted(&world.settle(&at_once()), &key), 900);
}

#[test]
fn bytes_that_go_in_circles_earn_nothing() {
    let (mut world, first) = one();
    let second = relay(2);
    world.grant(&second, "/", |_| {});
    world.receipt(&first, &second, 0, 1, 1 << 40);
    world.receipt(&second, &first, 0, 1, 1 << 40);
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    assert_eq!((earned(&settled, &first), earned(&settled, &second)), (0, 0));
    assert_eq!(rejected(&settled, &first)[&Reason::ReceiverShare], 1 << 40);
    // With one viewer they share what that viewer is worth, and nothing more.
    let (mut world, first) = one();
    world.grant(&second, "/", |_| {});
    let token = world.token("s", |_| {});
    world.claim(&first, 0, token, 1_000_000);
    world.receipt(&first, &second, 0, 1, 1 << 40);
    world.receipt(&second, &first, 0, 1, 1 << 40);
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    assert_eq!(earned(&settled, &first) + earned(&settled, &second), 1000);
    assert_eq!(earned(&settled, &second), 200, "at most the policy's share of what the receiver earns");
}

#[test]
fn a_relay_that_inflates_one_session_in_a_hundred_is_found_and_pays_for_all() {
    let mut world = World::new();
    let (honest, crook) = (relay(1), relay(2));
    for key in [&honest, &crook] {
        world.grant(key, "/", |_| {});
    }
    let mut probes = Vec::new();
    let mut tokens = Vec::new();
    for probe in 0..300 {
        let token = world.token(&format!("p{probe}"), |claims| claims.exp += 100_000);
        tokens.push(token);
        for key in [&honest, &crook] {
            probes.push(ProbeResult { relay: key.relay_id(), token, bytes: 10_000_000, objects: 5 });
        }
    }
    let list: Vec<_> = probes
        .chunks(500)
        .enumerate()
        .map(|(number, chunk)| {
            let mut list = world.probes(0, chunk.to_vec());
            list.list = number as u64;
            list
        })
        .collect();
    list.iter().for_each(|list| _ = world.commit(list));
    world.at(0, 30);
    for (at, token) in tokens.iter().enumerate() {
        world.claim(&honest, 0, *token, 10_000_000);
        // Three sessions of three hundred count thrice.
        world.claim(&crook, 0, *token, if at % 100 == 7 { 30_000_000 } else { 10_000_000 });
    }
    let viewer = world.token("viewer", |_| {});
    world.claim(&crook, 0, viewer, 1_000_000);
    world.at(1, 5);
    list.into_iter().for_each(|list| _ = world.reveal(list));
    world.later(30);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    let of = |key: &EvidenceKey| settled.probes.iter().find(|note| note.relay == key.relay_id()).unwrap();
    assert_eq!((of(&honest).probes, of(&honest).inflated, of(&honest).estimate_ppm), (300, 0, 0));
    let found = of(&crook);
    assert_eq!((found.inflated, found.estimate_ppm), (3, 60_000_000_u64 * 1_000_000 / 3_060_000_000));
    assert!(found.low_ppm > 0 && found.low_ppm < found.estimate_ppm && found.high_ppm > found.estimate_ppm);
    assert!(rejected(&settled, &honest).is_empty());
    let claimed = 3_061_000_000;
    let clawed = claimed * found.estimate_ppm / 1_000_000;
    assert_eq!(rejected(&settled, &crook)[&Reason::Inflation], clawed, "the whole relay, not only the probes");
    assert_eq!(accepted(&settled, &crook), claimed - clawed);
}

#[test]
fn probes_that_were_not_committed_to_before_prove_nothing() {
    let (mut world, key) = one();
    let tokens: Vec<_> = (0..40).map(|n| world.token(&format!("p{n}"), |_| {})).collect();
    tokens.iter().for_each(|token| _ = world.claim(&key, 0, *token, 10_000_000));
    let chosen = tokens.iter().map(|token| ProbeResult { relay: key.relay_id(), token: *token, bytes: 1, objects: 1 });
    let list = world.probes(0, chosen.collect());
    // The publisher picks its probes when it has seen the claims.
    world.commit(&list);
    world.at(1, 5);
    world.reveal(list);
    world.later(30);
    let settled = world.settle(&at_once());
    assert_eq!(accepted(&settled, &key), 400_000_000);
    assert!(settled.probes.is_empty());
}

#[test]
fn a_late_claim_is_shown_and_not_paid() {
    let (mut world, key) = one();
    let token = world.token("s", |_| {});
    let other = world.token("t", |_| {});
    world.claim(&key, 0, token, 1000);
    world.at(30, 0);
    let mut late = world.claim_of(&key, 0, token, 5000);
    late.last = FIRST.start(HOUR).plus_ms(2_000_000);
    world.put(&key, late);
    world.claim(&key, 0, other, 300);
    let settled = world.settle(&at_once());
    adds_up(&settled);
    assert_eq!(accepted(&settled, &key), 1000);
    assert_eq!(rejected(&settled, &key)[&Reason::Late], 4000 + 300);
}

/// What a relay claims for a probe's session in another epoch is still claimed for it; a probe that did not take place
/// raises nobody's grade.
#[test]
fn a_probe_is_measured_over_all_epochs_and_one_that_did_not_take_place_not_at_all() {
    let text = format!("{}[probes]\nleast = 2\nslack_bytes = 0\n", at_once());
    let mut world = World::new();
    let (hides, honest) = (relay(1), relay(2));
    for key in [&hides, &honest] {
        world.grant(key, "/", |_| {});
    }
    let tokens: Vec<TokenHash> =
        (0..4).map(|n| world.token(&format!("p{n}"), |claims| claims.exp += 100_000)).collect();
    let session = world.token("s", |claims| claims.exp += 100_000);
    let result =
        |key: &EvidenceKey, token: TokenHash, bytes| ProbeResult { relay: key.relay_id(), token, bytes, objects: 1 };
    let probes = vec![
        result(&hides, tokens[0], 1_000_000),
        result(&hides, tokens[1], 1_000_000),
        result(&honest, tokens[2], 0),
        result(&honest, tokens[3], 0),
    ];
    let list = world.probes(1, probes);
    world.commit(&list);
    world.at(1, 30);
    for token in &tokens[..2] {
        world.claim(&hides, 1, *token, 1_000_000);
    }
    for key in [&hides, &honest] {
        world.claim(key, 1, session, 1_000_000);
        world.observe(key, 1, session, |seen| seen.reported_bytes = Some(1_000_000));
    }
    world.at(2, 30);
    for token in &tokens[..2] {
        world.claim(&hides, 2, *token, 1_000_000);
    }
    world.reveal(list);
    world.later(60);
    let settled = world.settle(&text);
    adds_up(&settled);
    let notes: Vec<_> =
        settled.probes.iter().map(|note| (note.relay, note.probes, note.claimed, note.measured)).collect();
    assert_eq!(notes, [(hides.relay_id(), 2, 4_000_000, 2_000_000)]);
    let grade = |key: &EvidenceKey| {
        let lines = settled.lines.iter().filter(|line| line.relay == key.relay_id());
        lines.map(|line| line.grade).max().unwrap()
    };
    assert_eq!(grade(&honest), weir_ledger::settle::Grade::E1);
}
