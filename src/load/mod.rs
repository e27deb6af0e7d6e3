//! `weir load`: measuring tools that work against any server. Owns their command line and output; the work is done in
//! `weir_load`. Standard output carries the result alone.

mod compare;
mod run;
mod view;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use crate::{
    exit::Failure,
    simulate::{self, SimArgs},
};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;
use weir_load::client::{self, Protocol, Timeouts, Trust};
use weir_load::impair::{self, Impairment, LinkConfig};
use weir_load::raw;

/// Arguments of `weir load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Get one URL again and again over HTTP/1.1, 2 or 3, and report latency, throughput and the server's CPU time
    Raw(RawArgs),
    /// Stand between clients and a server, and make the network worse: delay, jitter and a rate, for UDP also loss and
    /// reordering
    Impair(ImpairArgs),
    /// Let hundreds of viewers play HLS against a demo or any server, with faults on a schedule, and report
    Run(run::RunArgs),
    /// Show what changed between two reports of `weir load run`
    Compare(compare::CompareArgs),
    /// List the figures that a scenario can expect something of
    Figures,
    /// Simulate thousands of relays and viewers with the decisions that relays really run
    Sim(SimArgs),
}

#[derive(Debug, Args)]
struct RawArgs {
    /// http or https URL; HTTP/2 over http is spoken by prior knowledge
    url: String,
    /// Version of HTTP: 1, 2 or 3
    #[arg(long, value_name = "1|2|3", default_value = "1")]
    http: Protocol,
    /// Connections held open at a time
    #[arg(short = 'c', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    connections: u32,
    /// Requests in all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// Requests in flight at a time on each HTTP/2 or HTTP/3 connection
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    streams: u32,
    /// Threads, each with its share of the connections
    #[arg(short = 't', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Process whose CPU time is measured; repeat for several
    #[arg(long, value_name = "PID")]
    server_pid: Vec<u32>,
    /// Longest wait for a connection, and for a whole response, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Trust the certificates in this PEM file too
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Accept any certificate
    #[arg(long)]
    insecure: bool,
    /// Connect to this address, whatever the URL's host resolves to
    #[arg(long, value_name = "ADDR")]
    connect: Option<SocketAddr>,
    /// Print the report as JSON (schema weir-load-raw/1)
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ImpairArgs {
    /// Where clients connect
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// The server
    #[arg(long, value_name = "ADDR")]
    to: SocketAddr,
    /// Carry UDP (without --udp and --tcp: both)
    #[arg(long)]
    udp: bool,
    /// Carry TCP (without --udp and --tcp: both)
    #[arg(long)]
    tcp: bool,
    /// One-way delay in each direction, in milliseconds
    #[arg(long, value_name = "MS", default_value = "0", value_parser = milliseconds)]
    delay: Duration,
    /// One-way delay towards the server, instead of --delay
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    delay_up: Option<Duration>,
    /// One-way delay towards clients, instead of --delay
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    delay_down: Option<Duration>,
    /// Share of UDP datagrams lost in each direction, in percent
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    loss: f64,
    /// Share lost towards the server, instead of --loss
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    loss_up: Option<f64>,
    /// Share lost towards clients, instead of --loss
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    loss_down: Option<f64>,
    /// Most that is added to each packet's delay, evenly drawn, in milliseconds; packets keep their order
    #[arg(long, value_name = "MS", default_value = "0", value_parser = milliseconds)]
    jitter: Duration,
    /// Share of UDP datagrams that come after later ones, in percent
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    reorder: f64,
    /// Most that is sent in each direction of a flow, in Mbit/s (10⁶ bits)
    #[arg(long, value_name = "MBIT", value_parser = megabits)]
    rate: Option<u64>,
    /// Most towards the server, instead of --rate
    #[arg(long, value_name = "MBIT", value_parser = megabits)]
    rate_up: Option<u64>,
    /// Most towards clients, instead of --rate
    #[arg(long, value_name = "MBIT", value_parser = megabits)]
    rate_down: Option<u64>,
    /// Bytes that may wait for a rate before datagrams are lost, in KiB [default: what the rate sends in 100 ms]
    #[arg(long, value_name = "KIB", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    queue: Option<u64>,
    /// Seed of the random decisions: the same seed loses the same datagrams of a flow
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Longest delay accepted, in milliseconds.
const MAX_DELAY_MS: f64 = 60_000.0;

fn milliseconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if (0.0..=MAX_DELAY_MS).contains(&value) {
        Ok(Duration::from_secs_f64(value / 1e3))
    } else {
        Err(format!("{value} ms is not between 0 and {MAX_DELAY_MS}"))
    }
}

/// Most megabits a second that are accepted.
const MAX_MEGABITS: f64 = 100_000.0;

/// Bytes a second.
fn megabits(text: &str) -> Result<u64, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if (0.001..=MAX_MEGABITS).contains(&value) {
        Ok((value * 1e6 / 8.0) as u64)
    } else {
        Err(format!("{value} Mbit/s is not between 0.001 and {MAX_MEGABITS}"))
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    LinkConfig::new(Duration::ZERO, value).map_err(|error| error.to_string())?;
    Ok(value)
}

/// Runs the tool.
///
/// The exit code is 1 when a measured request failed, 2 for arguments that make no sense together, 3 when a scenario did not
/// keep what it promises or a comparison shows something worse.
pub(crate) async fn run(args: LoadArgs) -> Result<ExitCode, Failure> {
    match args.tool {
        Tool::Raw(args) => Ok(run_raw(args).await?),
        Tool::Impair(args) => Ok(run_impair(args).await?),
        Tool::Run(args) => run::run(args).await,
        Tool::Compare(args) => compare::run(&args),
        Tool::Figures => Ok(compare::figures()),
        Tool::Sim(args) => simulate::run(args).await,
    }
}

async fn run_raw(args: RawArgs) -> anyhow::Result<ExitCode> {
    let wait = Duration::from_secs(args.timeout);
    let trust = match args.ca {
        _ if args.insecure => Trust::Insecure,
        Some(file) => Trust::SystemAnd(file),
        None => Trust::System,
    };
    let config = raw::Config {
        url: args.url.parse().with_context(|| format!("while reading the URL {}", args.url))?,
        client: client::Config {
            protocol: args.http,
            trust,
            connect: args.connect,
            timeouts: Timeouts { connect: wait, head: wait, body_idle: wait, total: wait },
        },
        connections: args.connections,
        streams: args.streams,
        requests: args.requests,
        server_pids: args.server_pid,
    };
    let cancel = CancellationToken::new();
    let report = {
        let mut work = pin!(raw::run_on_threads(&config, args.threads, cancel.clone()));
        tokio::select! {
            report = &mut work => report,
            () = interrupted() => {
                // What was measured until now is still reported.
                cancel.cancel();
                work.await
            }
        }
    };
    let report = match report {
        Err(error @ raw::RunError::Usage(_)) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::from(2));
        }
        report => report?,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).context("while writing the report")?);
    } else {
        print!("{report}");
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run_impair(args: ImpairArgs) -> anyhow::Result<ExitCode> {
    let both = args.udp == args.tcp;
    let mut config = impair::Config::new(args.listen, args.to);
    config.udp = both || args.udp;
    config.tcp = both || args.tcp;
    let link = |delay: Option<Duration>, loss: Option<f64>, rate: Option<u64>| {
        let link = LinkConfig::new(delay.unwrap_or(args.delay), loss.unwrap_or(args.loss))?;
        let link = link.with_jitter(args.jitter).with_reordering(args.reorder)?;
        match rate.or(args.rate) {
            Some(rate) => link.with_rate(rate, args.queue.map(|kib| kib << 10)),
            None => Ok(link),
        }
    };
    config.up = link(args.delay_up, args.loss_up, args.rate_up)?;
    config.down = link(args.delay_down, args.loss_down, args.rate_down)?;
    config.seed = args.seed;
    let proxy = Impairment::bind(config).await.with_context(|| format!("while listening on {}", args.listen))?;
    println!("listening on {}, to {}", proxy.local_addr(), args.to);
    interrupted().await;
    let counts = proxy.shutdown().await;
    println!("{}", serde_json::to_string(&counts).context("while writing the counts")?);
    Ok(ExitCode::SUCCESS)
}

/// Ends at Ctrl-C or SIGTERM.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
