//! What counting costs: `cargo bench -p weir-relay --bench meter`. Prints nanoseconds, median of the rounds.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};
use weir_protocol::{
    CanonicalPath, EvidenceKey, KeyId, PublisherId, UnixMillis,
    token::{SessionClaims, TokenUse},
};
use weir_relay::{
    clock::Clock,
    http::Protocol,
    meter::{Journal, Meter, MeterConfig, Outcome},
};

const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(40);
const NOW: UnixMillis = UnixMillis(1 << 41);

/// Median time of one call, in nanoseconds.
fn measure(mut work: impl FnMut(u64)) -> f64 {
    let mut rounds = Vec::new();
    let mut n = 0;
    for _ in 0..ROUNDS {
        let (begun, mut calls) = (Instant::now(), 0);
        while begun.elapsed() < ROUND {
            for _ in 0..64 {
                work(n);
                n += 1;
            }
            calls += 64;
        }
        rounds.push(begun.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn main() {
    let folder = std::env::temp_dir().join(format!("weir-meter-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary directory");
    let journal = Journal::open(&folder.join("journal.redb")).expect("a journal");
    let key = EvidenceKey::from_bytes(&[3; 32]);
    let (meter, _books) = Meter::new(journal, key, Clock::System, MeterConfig::default());
    let publisher = PublisherId([1; 32]);
    meter.counts_by(publisher, 3_600_000);
    let sessions: Vec<_> = (0..1024)
        .map(|n| {
            let claims = SessionClaims {
                iss: publisher,
                sid: format!("s{n}"),
                prefix: "/".into(),
                exp: 9_000_000_000,
                nbf: None,
                iat: None,
                max_bytes: Some(u64::MAX),
                cnf: None,
                relays: Vec::new(),
                usage: TokenUse::Viewer,
            };
            meter.session(publisher, &format!("a.{n}.b"), KeyId([0; 8]), &claims).expect("room")
        })
        .collect();
    let path = CanonicalPath::parse("/ada/film/seg0001.m4s").expect("a canonical path");
    let clock = Clock::System;
    let found = measure(|n| {
        let token = sessions[(n % 1024) as usize].token;
        black_box(meter.open_session(&publisher, &token));
    });
    println!("a session is found            {found:8.0} ns");
    let charged = measure(|n| {
        let session = &sessions[(n % 1024) as usize];
        let charge = session.charge(&path, Protocol::H3, Some(500_000), NOW).expect("no limit");
        charge.settle(&Outcome { handed: 500_000, acked: None, completed: true }, clock.now());
    });
    println!("a response charged and booked {charged:8.0} ns");
    let peer = EvidenceKey::from_bytes(&[4; 32]).relay_id();
    let credit = meter.credit(peer, publisher);
    let sent = measure(|_| {
        let credit: &Arc<_> = &credit;
        // Charging nothing costs the same, and never fills the window.
        black_box(credit.charge(0));
    });
    println!("a run to a peer on credit     {sent:8.0} ns");
    drop(meter);
    // What a temporary directory holds is nobody's loss.
    let _ = std::fs::remove_dir_all(folder);
}
