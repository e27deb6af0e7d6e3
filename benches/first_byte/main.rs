//! First byte of an object that no relay holds, over two relays and the adapter, beside the same object straight from
//! the origin.
//!
//! `cargo bench -p weir --bench first_byte -- [--requests N] [--round-trip MS]`
//!
//! ```text
//! viewer ─d─ edge A ─d─ owner B ─d─ adapter ─d─ origin      four links of a quarter of the delay each
//! viewer ───────────── 4d ───────────────────── origin      one link
//! ```
//! Doors, relays, adapter and origin are the real ones, in this process; every link is an impairment proxy of its own.
//! All connections are open before. Invariant: each request asks for a path that nobody asked for before, and that B
//! owns; the ways take turns.

mod origin;
mod route;

use anyhow::Context as _;
use route::Route;
use std::time::Duration;
use url::Url;
use weir_load::client::{Client, Config, Connection, Get, Protocol, Timeouts, Trust};

// The allocator of the `weir` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of one object.
const OBJECT: usize = 256 * 1024;
/// Share of datagrams lost in each direction of each link, in percent.
const LOSSES: [f64; 2] = [0.0, 1.0];
/// Requests before the measured ones.
const WARM: usize = 10;

struct Settings {
    requests: usize,
    round_trip: Duration,
}

impl Settings {
    fn read() -> anyhow::Result<Self> {
        let mut settings = Self { requests: 200, round_trip: Duration::from_millis(40) };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                // cargo's own.
                "--bench" => {}
                "--requests" => settings.requests = value()?.parse()?,
                "--round-trip" => settings.round_trip = Duration::from_secs_f64(value()?.parse::<f64>()? / 1e3),
                other => anyhow::bail!("unknown argument {other}"),
            }
        }
        Ok(settings)
    }
}

/// One way from the viewer to the bytes.
struct Way {
    name: &'static str,
    base: Url,
    connection: Connection,
    taken: Vec<Duration>,
}

impl Way {
    async fn open(name: &'static str, base: &str, protocol: Protocol) -> anyhow::Result<Self> {
        let base = Url::parse(base)?;
        let config = Config { protocol, trust: Trust::Insecure, connect: None, timeouts: Timeouts::default() };
        let connection = Client::new(config)?.connect(&base).await?;
        Ok(Self { name, base, connection, taken: Vec::new() })
    }

    async fn ask(&mut self, path: &str, counts: bool) -> anyhow::Result<()> {
        let url = self.base.join(path)?;
        let get = Get { url: &url, headers: &http::HeaderMap::new(), max_body: OBJECT as u64 };
        let exchange = self.connection.requester().get(&get, &mut |_| ()).await?;
        anyhow::ensure!(exchange.status.is_success() && exchange.body_bytes == OBJECT as u64, "{exchange:?}");
        if counts {
            self.taken.push(exchange.first_byte);
        }
        Ok(())
    }

    fn percentile(&mut self, share: f64) -> f64 {
        self.taken.sort();
        let at = ((self.taken.len() - 1) as f64 * share).round() as usize;
        self.taken[at].as_secs_f64() * 1e3
    }
}

fn main() -> anyhow::Result<()> {
    let settings = Settings::read()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(settings))
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    println!(
        "first byte of a cold object of {} KiB, round trip {} ms on both routes, {} requests",
        OBJECT >> 10,
        settings.round_trip.as_secs_f64() * 1e3,
        settings.requests
    );
    println!("{:22} {:>6} {:>9} {:>7} {:>9}", "way", "loss %", "median ms", "ratio", "p95 ms");
    for loss in LOSSES {
        let route = Route::open(settings.round_trip / 2, loss).await?;
        let mut ways = [
            Way::open("origin, HTTP/1.1", &format!("http://{}", route.direct()), Protocol::H1).await?,
            Way::open("two relays, HTTP/1.1", &format!("http://{}", route.plain()), Protocol::H1).await?,
            Way::open("two relays, HTTP/3", &format!("https://{}", route.secure()), Protocol::H3).await?,
        ];
        let ways_count = ways.len();
        for request in 0..WARM + settings.requests {
            for (at, way) in ways.iter_mut().enumerate() {
                let path = route.cold_path(request * ways_count + at);
                way.ask(&path, request >= WARM).await.with_context(|| format!("{} {path}", way.name))?;
            }
        }
        let base = ways[0].percentile(0.5);
        for way in &mut ways {
            let (median, late) = (way.percentile(0.5), way.percentile(0.95));
            println!("{:22} {loss:>6} {median:>9.2} {:>7.2} {late:>9.2}", way.name, median / base);
        }
        for way in ways {
            way.connection.close().await;
        }
    }
    Ok(())
}
