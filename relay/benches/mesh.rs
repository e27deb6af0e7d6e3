//! How long whom-to-ask takes: `cargo bench -p weir-relay --bench mesh`. Prints nanoseconds, median of the rounds.

use libp2p::identity::Keypair;
use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};
use weir_protocol::{
    ids::{RelayId, ResourceHash},
    time::UnixMillis,
};
use weir_relay::mesh::{Asking, Class, Member, Membership, Mesh, MeshConfig, Object};

const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(40);
const NOW: UnixMillis = UnixMillis(1 << 41);

/// Median time of one call, in nanoseconds.
fn measure(mut work: impl FnMut(u32)) -> f64 {
    let mut rounds = Vec::new();
    let mut n = 0;
    for _ in 0..ROUNDS {
        let (begun, mut calls) = (Instant::now(), 0);
        while begun.elapsed() < ROUND {
            for _ in 0..8 {
                work(n);
                n = n.wrapping_add(1);
            }
            calls += 8;
        }
        rounds.push(begun.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn object(n: u32) -> Object {
    let mut hash = [0; 32];
    for (at, chunk) in hash.chunks_mut(8).enumerate() {
        let mut x = (u64::from(n) << 8 | at as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(x ^ x >> 31).to_le_bytes());
    }
    Object::new(ResourceHash::from_bytes(hash), "/film/720p/17.ts")
}

fn main() {
    println!("{:>8}  {:<34} {:>12}", "members", "what", "ns");
    for count in [100, 1_000, 10_000] {
        let ids: Vec<_> = (0..count).map(|_| RelayId::from_public_key(&Keypair::generate_ed25519().public())).collect();
        let region: Arc<str> = "default".into();
        let member =
            |(n, id): (usize, &RelayId)| Member::new(*id, region.clone(), 20 + (n % 400) as u32, UnixMillis(0));
        let list: Vec<_> = ids.iter().enumerate().map(member).collect();
        let members = Arc::new(Membership::new(list.iter().cloned(), NOW));
        let region = members.region("default").expect("somebody is in it");
        let print = |what: &str, ns: f64| println!("{count:>8}  {what:<34} {ns:>12.0}");
        print("snapshot of the members", measure(|_| drop(black_box(Membership::new(list.iter().cloned(), NOW)))));
        for places in [2, 5, 16] {
            let ns = measure(|n| drop(black_box(members.owners(region, &object(n).hash, places))));
            print(&format!("first {places} owners"), ns);
        }
        let mut mesh = Mesh::new(ids[0], MeshConfig::default());
        mesh.set_members(members);
        for id in ids.iter().take(300) {
            mesh.asked(id, NOW);
            mesh.head_after(id, Asking::Owner, Duration::from_millis(40), NOW);
            mesh.succeeded(id, 1 << 20, Duration::from_millis(300), NOW);
            mesh.ended(id, NOW);
        }
        print("plan", measure(|n| drop(black_box(mesh.plan(&object(n), 0, NOW)))));
        (0..4).for_each(|_| mesh.busy(&object(0), NOW));
        print("plan, sixteen owners", measure(|n| drop(black_box(mesh.plan(&object(n), 0, NOW)))));
        print(
            "a request for what is held",
            measure(|n| {
                black_box(mesh.requested(&object(n % 5_000), true, NOW));
            }),
        );
        print(
            "admission to a full disk",
            measure(|n| {
                black_box(mesh.admit(&object(n), Class::Vod, true, NOW));
            }),
        );
    }
}
