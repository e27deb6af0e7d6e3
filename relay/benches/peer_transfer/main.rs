//! What a verified transfer between two relays costs, beside raw QUIC on the same sockets in the same run.
//!
//! `cargo bench -p weir-relay --bench peer_transfer -- [--rounds N] [--objects N] [--only WAY]`
//!
//! Both ends run in this process over loopback with the node's own transport parameters; the figure is the process's
//! CPU time (user and system, all threads) for each 10⁹ body bytes, so it counts both sides together. The ways take
//! turns within each round. Invariant: every way moves the same bodies, four streams at a time, over one connection
//! that was open before.

mod node;
mod raw;

use anyhow::Context as _;
use bytes::Bytes;
use node::Pair;
use rustix::time::{ClockId, clock_gettime};
use std::{fmt, time::Duration};

// The allocator of the `weir` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of one object: a segment of a few seconds.
const OBJECT: usize = 2 << 20;
/// Different objects, so that a body does not stay in the processor's caches.
const DISTINCT: usize = 32;
/// Transfers at a time.
const STREAMS: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Nothing but QUIC: whole bodies written and read in chunks.
    Raw,
    /// A relay's reply, verified group by group, dropped by the asker.
    Verified,
    /// The same through the asker's fetcher into its memory tier.
    Node,
}

impl Way {
    const ALL: [Self; 3] = [Self::Raw, Self::Verified, Self::Node];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Raw => "raw",
            Self::Verified => "verified",
            Self::Node => "node",
        })
    }
}

struct Settings {
    rounds: usize,
    objects: usize,
    only: Option<Way>,
}

impl Settings {
    fn read() -> anyhow::Result<Self> {
        let mut settings = Self { rounds: 5, objects: 128, only: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                // cargo's own.
                "--bench" => {}
                "--rounds" => settings.rounds = value()?.parse()?,
                "--objects" => settings.objects = value()?.parse()?,
                "--only" => {
                    let name = value()?;
                    let way = Way::ALL.into_iter().find(|way| way.to_string() == name);
                    settings.only = Some(way.with_context(|| format!("{name} is none of raw, verified, node"))?);
                }
                other => anyhow::bail!("unknown argument {other}"),
            }
        }
        Ok(settings)
    }
}

fn cpu() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.try_into().unwrap_or(0), spent.tv_nsec.try_into().unwrap_or(0))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn bodies() -> Vec<Bytes> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..DISTINCT).map(|_| (0..OBJECT / 8).flat_map(|_| next()).collect::<Vec<u8>>().into()).collect()
}

fn main() -> anyhow::Result<()> {
    let settings = Settings::read()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(settings))
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let bodies = bodies();
    let raw = raw::Pair::open(&bodies).await?;
    let pair = Pair::open(&bodies).await?;
    let ways: Vec<Way> = Way::ALL.into_iter().filter(|way| settings.only.is_none_or(|only| only == *way)).collect();
    let mut costs = vec![Vec::new(); ways.len()];
    // The first round warms congestion windows, path MTU and allocator, and is not counted.
    for round in 0..=settings.rounds {
        for (way, costs) in ways.iter().zip(&mut costs) {
            let before = cpu();
            let moved = match way {
                Way::Raw => raw.transfer(settings.objects).await?,
                Way::Verified => pair.transfer(settings.objects, false).await?,
                Way::Node => pair.transfer(settings.objects, true).await?,
            };
            anyhow::ensure!(moved == (settings.objects * OBJECT) as u64, "{moved} bytes arrived");
            let cost = (cpu() - before).as_secs_f64() / (moved as f64 / 1e9);
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    println!(
        "{} rounds of {} objects of {} MiB, {STREAMS} streams, loopback, both sides together",
        settings.rounds,
        settings.objects,
        OBJECT >> 20
    );
    println!("{:10} {:>9} {:>7}  rounds", "way", "CPU-s/GB", "ratio");
    let mut base = None;
    for (way, costs) in ways.iter().zip(&mut costs) {
        let rounds: Vec<String> = costs.iter().map(|cost| format!("{cost:.2}")).collect();
        let middle = median(costs);
        let base = *base.get_or_insert(middle);
        println!("{way:10} {middle:>9.2} {:>7.2}  {}", middle / base, rounds.join(" "));
    }
    Ok(())
}
