//! Properties of whole networks of [`Mesh`]es.

use super::{testing::*, *};
use proptest::prelude::*;
use std::{collections::HashMap, sync::Arc, time::Duration};
use weir_protocol::{ids::RelayId, time::UnixMillis};

const NOW: UnixMillis = UnixMillis(1 << 40);

fn thing(n: u32) -> Object {
    Object::new(object(n), &format!("/film/{n}.ts"))
}

fn member(n: u32, region: &str) -> Member {
    Member::new(relay(n), region.into(), 100, UnixMillis(0))
}

fn in_one_region(count: u32) -> Arc<Membership> {
    Arc::new(Membership::new((0..count).map(|n| member(n, "r")), NOW))
}

fn mesh(n: u32, members: &Arc<Membership>) -> Mesh {
    let mut mesh = Mesh::new(relay(n), MeshConfig { peers: 64, sketch: 64 });
    mesh.set_members(members.clone());
    mesh
}

fn owners(members: &Arc<Membership>, object: &Object, places: usize) -> Vec<RelayId> {
    let region = members.region("r").expect("it has members");
    members.owners(region, &object.hash, places).into_iter().map(|place| members.member(place).relay).collect()
}

/// A member of the network that is none of the first owners.
fn bystander(members: &Arc<Membership>, object: &Object, places: usize) -> u32 {
    let owners = owners(members, object, places);
    (0..).find(|n| !owners.contains(&relay(*n))).expect("there are more members than owners")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn in_each_region_exactly_one_relay_asks_the_adapter_first(n: u32, a in 1u32..15, b in 1u32..15, hot: bool) {
        let sizes = [("a", 0..a), ("b", a..a + b)];
        let list = sizes.iter().flat_map(|(region, range)| range.clone().map(|n| member(n, region)));
        let members = Arc::new(Membership::new(list, NOW));
        for (_, range) in sizes {
            let firsts = range.filter(|me| {
                let mut mesh = mesh(*me, &members);
                (0..if hot { 4 } else { 0 }).for_each(|_| mesh.busy(&thing(n), NOW));
                mesh.plan(&thing(n), 0, NOW).steps[0] == Step::Adapter
            });
            prop_assert_eq!(firsts.count(), 1);
        }
    }

    #[test]
    fn every_plan_has_the_adapter_once_and_nobody_twice(
        n: u32, count in 1u32..40, me in 0u32..45, hops in 0u8..10, busy in 0u32..5,
        failed in prop::collection::vec((0u32..40, 0u32..4), 0..20), away: bool
    ) {
        let members = in_one_region(count);
        let mut mesh = mesh(me, &members);
        (0..busy).for_each(|_| mesh.busy(&thing(n), NOW));
        for (who, how) in failed {
            let how = [Failure::Unreachable, Failure::Stalled, Failure::Withheld, Failure::Corrupt][how as usize];
            mesh.failed(&relay(who), how, NOW);
        }
        if away {
            mesh.adapter_failed(Failure::Stalled, NOW);
        }
        let Plan { stage, steps } = mesh.plan(&thing(n), hops, NOW);
        prop_assert!(stage >= hops);
        let to_owners = steps.iter().filter(|step| matches!(step, Step::Owner(_))).count();
        // One that is away is left to the owners that are asked.
        let expected = usize::from(!away || to_owners == 0);
        prop_assert_eq!(steps.iter().filter(|step| **step == Step::Adapter).count(), expected);
        let mut asked: Vec<_> = steps.iter().filter_map(Step::peer).map(|(relay, _)| relay).collect();
        prop_assert!(!asked.contains(&relay(me)));
        prop_assert!(asked.iter().all(|relay| mesh.standing(relay).is_none_or(|peer| peer.is_good(NOW))));
        let all = asked.len();
        asked.sort_unstable();
        asked.dedup();
        prop_assert_eq!(asked.len(), all);
        prop_assert!(to_owners <= 5 && (stage < LAST_STAGE || to_owners == 0));
        // Whatever fails, an owner is asked before the adapter, and a holder never before an owner.
        prop_assert!(steps[..to_owners].iter().all(|step| matches!(step, Step::Owner(_))));
    }

    /// Relays with different views of who is a member, who fails and what is hot ask one another in any order. Each
    /// fill waits for whichever owner of its plan a hostile scheduler picks; hedged requests are a second such wait.
    #[test]
    fn nobody_waits_in_a_circle(
        views in prop::collection::vec((prop::collection::vec(any::<bool>(), 8), 0u32..5), 8),
        requests in prop::collection::vec((0u32..8, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..60),
        n: u32,
    ) {
        let mut meshes: Vec<_> = views.iter().enumerate().map(|(me, (sees, busy))| {
            let list = (0..8u32).filter(|other| *other == me as u32 || sees[*other as usize]).map(|n| member(n, "r"));
            let mut mesh = mesh(me as u32, &Arc::new(Membership::new(list, NOW)));
            (0..*busy).for_each(|_| mesh.busy(&thing(n), NOW));
            mesh
        }).collect();
        let number = |relay_id: RelayId| (0..8u32).find(|n| relay(*n) == relay_id).expect("one of eight");
        // Fills: relay and stage; waits: from fill to fill. The newest fill of a relay is the one that others find.
        let mut fills: Vec<(u32, u8)> = Vec::new();
        let mut newest: HashMap<u32, usize> = HashMap::new();
        let mut waits: Vec<(usize, usize)> = Vec::new();
        for (viewer_at, pick, hedge) in requests {
            let mut open: Vec<(u32, u8, Option<usize>)> = vec![(viewer_at, 0, None)];
            while let Some((at, hops, from)) = open.pop() {
                let joined = newest.get(&at).copied().filter(|fill| may_wait(fills[*fill].1, hops));
                let fill = joined.unwrap_or_else(|| {
                    let plan = meshes[at as usize].plan(&thing(n), hops, NOW);
                    let fill = fills.len();
                    fills.push((at, plan.stage));
                    newest.insert(at, fill);
                    let owners: Vec<_> = plan.steps.iter().filter(|step| matches!(step, Step::Owner(_))).collect();
                    for pick in [pick, hedge] {
                        if !owners.is_empty() {
                            let (owner, _) = pick.get(&owners).peer().expect("an owner is a peer");
                            open.push((number(owner), plan.stage + 1, Some(fill)));
                        }
                    }
                    fill
                });
                waits.extend(from.map(|from| (from, fill)));
            }
        }
        // Without circles, taking away whoever waits for nobody takes away everybody.
        let mut left: Vec<usize> = (0..fills.len()).collect();
        while !left.is_empty() {
            let free = |fill: &usize| !waits.iter().any(|(from, to)| from == fill && left.contains(to));
            let (gone, rest): (Vec<_>, Vec<_>) = left.iter().copied().partition(free);
            prop_assert!(!gone.is_empty(), "these wait for one another: {:?}", rest.iter().map(|fill| fills[*fill]).collect::<Vec<_>>());
            left = rest;
        }
    }
}

#[test]
fn a_request_passes_at_most_two_owners() {
    let members = in_one_region(30);
    let hot = thing(3);
    let mut stages = Vec::new();
    for me in 0..30 {
        let mut mesh = mesh(me, &members);
        (0..3).for_each(|_| mesh.busy(&hot, NOW));
        for hops in [0, 1, 2, 7] {
            let plan = mesh.plan(&hot, hops, NOW);
            stages.push((hops, plan.stage));
            assert_eq!(plan.steps[0] == Step::Adapter, plan.stage >= LAST_STAGE);
        }
    }
    for expected in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2), (7, 7)] {
        assert!(stages.contains(&expected), "{expected:?}");
    }
}

#[test]
fn lower_owners_ask_the_first_and_take_over_when_it_fails() {
    let members = in_one_region(9);
    let owners = owners(&members, &thing(9), 3);
    let me = |owner: &RelayId| (0..9).find(|n| relay(*n) == *owner).expect("a member");
    let mut second = mesh(me(&owners[1]), &members);
    assert_eq!(second.plan(&thing(9), 1, NOW).steps[..2], [Step::Owner(owners[0]), Step::Adapter]);
    second.failed(&owners[0], Failure::Stalled, NOW);
    let plan = second.plan(&thing(9), 1, NOW);
    assert_eq!((plan.stage, plan.steps[0]), (LAST_STAGE, Step::Adapter));
    assert_eq!(second.plan(&thing(9), 1, NOW.plus_ms(1_000)).steps[0], Step::Owner(owners[0]));

    let other = bystander(&members, &thing(9), 3);
    let mut other = mesh(other, &members);
    let mut two = other.plan(&thing(9), 0, NOW).steps[..3].to_vec();
    two[..2].sort_by_key(|step| *step != Step::Owner(owners[0]));
    assert_eq!(two, [Step::Owner(owners[0]), Step::Owner(owners[1]), Step::Adapter]);
    other.failed(&owners[0], Failure::Corrupt, NOW);
    let then = NOW.plus_ms(500_000);
    let mut two = other.plan(&thing(9), 0, then).steps[..2].to_vec();
    two.sort_by_key(|step| *step != Step::Owner(owners[1]));
    assert_eq!(two, [Step::Owner(owners[1]), Step::Owner(owners[2])]);
    assert!(!other.plan(&thing(9), 0, then).steps.contains(&Step::Holder(owners[0])));
}

#[test]
fn both_owners_come_to_have_what_several_want() {
    let members = in_one_region(60);
    let owners = owners(&members, &thing(4), 2);
    let others = (0..60).filter(|n| !owners.contains(&relay(*n)));
    let asks_second = others.filter(|n| mesh(*n, &members).plan(&thing(4), 0, NOW).steps[0] == Step::Owner(owners[1]));
    assert!((15..=43).contains(&asks_second.count()));
}

#[test]
fn a_new_first_owner_asks_the_former_one_before_the_adapter() {
    let minute = 60_000;
    let at = |n: u64| NOW.plus_ms(n * minute);
    let list = |count: u32, n: u64| Arc::new(Membership::new((0..count).map(|n| member(n, "r")), at(n)));
    let mut asked = 0;
    for n in 0..40 {
        let (before, after) = (list(19, 0), list(20, 2));
        let (former, now) = (owners(&before, &thing(n), 1)[0], owners(&after, &thing(n), 1)[0]);
        let newcomer = now == relay(19);
        let me = (0..20).find(|n| relay(*n) == now).expect("a member");
        let mut mesh = mesh(me, &before);
        for n in 1..3 {
            mesh.set_members(list(19 + u32::from(n == 2), n));
        }
        let steps = mesh.plan(&thing(n), 1, at(2)).steps;
        let expected = if newcomer { vec![Step::Holder(former), Step::Adapter] } else { vec![Step::Adapter] };
        assert_eq!(steps[..expected.len()], expected, "{n}");
        assert_eq!(steps.iter().filter(|step| **step == Step::Holder(former)).count(), usize::from(former != now));
        asked += u32::from(newcomer);
        mesh.failed(&former, Failure::Stalled, at(2));
        assert_eq!(mesh.plan(&thing(n), 1, at(2)).steps[0], Step::Adapter);
        assert_eq!(
            mesh.plan(&thing(n), 1, at(60)).steps[0],
            if newcomer { Step::Holder(former) } else { Step::Adapter }
        );
        mesh.set_members(list(20, 60));
        assert_eq!(mesh.plan(&thing(n), 1, at(60)).steps[0], Step::Adapter, "it was so long ago");
    }
    assert!(asked > 0);
}

#[test]
fn an_owner_with_no_way_to_the_first_one_leaves_it_to_the_asker() {
    let members = in_one_region(9);
    let owners = owners(&members, &thing(9), 3);
    let me = (0..9).find(|n| relay(*n) == owners[1]).expect("a member");
    let mut mesh = mesh(me, &members);
    mesh.failed(&owners[0], Failure::Unreachable, NOW);
    assert_eq!(mesh.plan(&thing(9), 1, NOW).steps[0], Step::Adapter, "it may have died");
    let then = NOW.plus_ms(60_000);
    assert_eq!(mesh.plan(&thing(9), 1, then), Plan { stage: 1, steps: vec![Step::Owner(owners[0])] });
    mesh.failed(&owners[0], Failure::Unreachable, then);
    assert_eq!(mesh.plan(&thing(9), 1, then), Plan { stage: 1, steps: Vec::new() });
    // For its own viewers it asks another owner, and who has no other way is served.
    let own = mesh.plan(&thing(9), 0, then);
    assert_eq!((own.stage, own.steps[0]), (0, Step::Owner(owners[2])));
    assert_eq!(mesh.plan(&thing(9), 2, then).steps[0], Step::Adapter);
}

#[test]
fn an_adapter_that_is_away_is_left_to_the_owners() {
    let members = in_one_region(20);
    let other = bystander(&members, &thing(9), 2);
    let mut mesh = mesh(other, &members);
    mesh.adapter_failed(Failure::Unreachable, NOW);
    assert!(!mesh.plan(&thing(9), 0, NOW).steps.contains(&Step::Adapter));
    assert!(mesh.plan(&thing(9), 0, NOW.plus_ms(1_000)).steps.contains(&Step::Adapter));
}

#[test]
fn a_ban_is_not_shaken_off_by_leaving() {
    let members = in_one_region(3);
    let mut mesh = mesh(0, &members);
    mesh.failed(&relay(1), Failure::Corrupt, NOW);
    mesh.set_members(in_one_region(1));
    mesh.set_members(members);
    assert!(mesh.standing(&relay(1)).is_some_and(|standing| !standing.is_good(NOW)));
}

#[test]
fn an_adapter_that_is_away_is_asked_last() {
    let members = in_one_region(5);
    let mut mesh = mesh(0, &members);
    mesh.adapter_failed(Failure::Stalled, NOW);
    let plan = mesh.plan(&thing(3), 2, NOW);
    assert!(plan.steps.len() == 4 && plan.steps[3] == Step::Adapter, "{plan:?}");
    mesh.adapter_succeeded();
    assert_eq!(mesh.plan(&thing(3), 2, NOW).steps[0], Step::Adapter);
}

#[test]
fn other_regions_are_asked_last_and_for_what_they_hold() {
    let list = (0..4).map(|n| member(n, "r")).chain((4..8).map(|n| member(n, "s")));
    let members = Arc::new(Membership::new(list, NOW));
    for n in 0..50 {
        let steps = mesh(0, &members).plan(&thing(n), 0, NOW).steps;
        let foreign: Vec<_> = (4..8).map(relay).collect();
        let at = steps.iter().position(|step| step.peer().is_some_and(|(relay, _)| foreign.contains(&relay)));
        assert_eq!(at, Some(steps.len() - 1));
        assert!(matches!(steps.last(), Some(Step::Holder(_))) && steps.contains(&Step::Adapter));
    }
}

#[test]
fn relays_spread_over_the_owners_of_a_hot_object() {
    let members = in_one_region(400);
    let hot = thing(1);
    let mut asked: HashMap<RelayId, u32> = HashMap::new();
    for me in 0..400 {
        let mut mesh = mesh(me, &members);
        (0..4).for_each(|_| mesh.busy(&hot, NOW));
        if let Step::Owner(owner) = mesh.plan(&hot, 0, NOW).steps[0] {
            *asked.entry(owner).or_default() += 1;
        }
    }
    let owners = owners(&members, &hot, MAX_OWNERS.into());
    // The other owners ask the first one; everybody else asks any of them.
    asked.entry(owners[0]).and_modify(|count| *count -= u32::from(MAX_OWNERS) - 1);
    assert_eq!((asked.len(), asked.values().sum::<u32>()), (MAX_OWNERS.into(), 400 - u32::from(MAX_OWNERS)));
    assert!(asked.values().all(|count| (10..=44).contains(count)), "{asked:?}");
}

#[test]
fn the_dearer_of_two_owners_is_passed_over_and_a_poor_one_is_asked_last() {
    let members = in_one_region(60);
    let hot = thing(1);
    let mut mesh = mesh(bystander(&members, &hot, 16), &members);
    (0..4).for_each(|_| mesh.busy(&hot, NOW));
    let Some((first, _)) = mesh.plan(&hot, 0, NOW).steps[0].peer() else { panic!("owners are asked first") };
    mesh.succeeded(&first, 1 << 20, Duration::from_secs(8), NOW);
    let Some((second, _)) = mesh.plan(&hot, 0, NOW).steps[0].peer() else { panic!("owners are asked first") };
    assert_ne!(first, second);
    for _ in 0..4 {
        mesh.failed(&second, Failure::Stalled, NOW);
    }
    let plan = mesh.plan(&hot, 0, NOW.plus_ms(8_000));
    assert_ne!(plan.steps[0].peer().map(|(relay, _)| relay), Some(second));
    mesh.succeeded(&first, 1 << 20, Duration::from_millis(1), NOW);
    for _ in 0..64 {
        mesh.asked(&first, NOW);
    }
    assert_ne!(mesh.plan(&hot, 0, NOW).steps[0].peer().map(|(relay, _)| relay), Some(first), "it has enough to do");
}

#[test]
fn a_hot_object_is_replicated_by_its_owners_and_by_nobody_else() {
    let members = in_one_region(200);
    let hot = thing(1);
    let owners = owners(&members, &hot, MAX_OWNERS.into());
    let mut replicas = 0;
    for me in 0..200 {
        let mut mesh = mesh(me, &members);
        (0..4).for_each(|_| mesh.busy(&hot, NOW));
        let first = mesh.requested(&hot, false, NOW);
        assert_eq!(first, Effect::Nothing, "one request is no demand");
        (0..10).for_each(|_| {
            mesh.requested(&hot, true, NOW);
        });
        let effect = mesh.requested(&hot, false, NOW);
        assert_eq!(effect == Effect::Replicate, owners.contains(&relay(me)));
        replicas += u8::from(effect == Effect::Replicate);
    }
    assert_eq!(replicas, MAX_OWNERS);
}

#[test]
fn an_owner_serves_so_many_at_a_time_and_other_owners_beyond_that() {
    let members = in_one_region(100);
    let mut mesh = mesh(0, &members);
    let served = (0..).take_while(|_| mesh.serve(&relay(1), &thing(1), 1).is_ok()).count();
    assert_eq!((served, mesh.serve(&relay(1), &thing(1), 1)), (16, Err(Denied::Busy)));
    assert_eq!((0..).take_while(|_| mesh.serve(&relay(2), &thing(1), 2).is_ok()).count(), 48);
    assert!(mesh.serve(&relay(1), &thing(2), 1).is_ok());
    (0..49).for_each(|_| mesh.served(&thing(1)));
    assert!(mesh.serve(&relay(1), &thing(1), 1).is_ok());
    mesh.receipts(&relay(3), MAX_OWED_BYTES + 1, 0, NOW);
    assert_eq!(mesh.serve(&relay(3), &thing(3), 1), Err(Denied::Owes));
}

#[test]
fn a_drip_is_measured_by_what_peers_usually_give() {
    let mut mesh = mesh(0, &in_one_region(9));
    assert_eq!(mesh.least_rate(), 32 << 10);
    for n in 1..9 {
        (0..4).for_each(|_| mesh.succeeded(&relay(n), 2 << 20, Duration::from_secs(1), NOW));
    }
    assert!((100 << 10..=128 << 10).contains(&mesh.least_rate()), "{}", mesh.least_rate());
    (0..2000).for_each(|_| mesh.succeeded(&relay(1), 200 << 20, Duration::from_secs(1), NOW));
    assert_eq!(mesh.least_rate(), 256 << 10);
}

#[test]
fn the_adapter_is_never_hedged_against() {
    let mesh = mesh(0, &in_one_region(9));
    assert_eq!(mesh.hedge_after(&Step::Adapter), None);
    assert!(mesh.hedge_after(&Step::Owner(relay(1))).is_some());
}
