//! `weir load sim`: its command line and output. The report goes to standard output and depends on the scenario and seed
//! alone; what the run took of this machine goes to standard error.

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::exit::{CHECK_FAILED, CONFIGURATION, Failure, RUNTIME};
use clap::Args;
use weir_load::sim::{self, Report, Scenario};

#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// The scenario, a TOML file; loadtest/scenarios/mesh/flash_crowd.toml explains every key
    #[arg(long, value_name = "FILE")]
    scenario: PathBuf,
    /// Relays, instead of the scenario's number
    #[arg(long, value_name = "N")]
    relays: Option<u32>,
    /// Viewers, instead of the scenario's number
    #[arg(long, value_name = "M")]
    viewers: Option<u32>,
    /// Simulated seconds, instead of the scenario's
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u32>,
    /// Seed of everything random: the same seed gives the same report, byte for byte
    #[arg(long)]
    seed: Option<u64>,
    /// Print the report as JSON (schema weir-load-sim/1)
    #[arg(long)]
    json: bool,
    /// Draw the run: egress of the adapter over time, propagation, load of the relays
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs the simulation. The exit code is 3 when an expectation of the scenario was not met.
pub(crate) async fn run(args: SimArgs) -> Result<ExitCode, Failure> {
    let scenario = read(&args).map_err(|error| Failure::new(CONFIGURATION, error))?;
    let began = Instant::now();
    let report = tokio::task::spawn_blocking(move || sim::run(&scenario))
        .await
        .map_err(|error| Failure::new(RUNTIME, format!("the simulation broke off: {error}")))?;
    tell_cost(&report, began.elapsed());
    if args.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::new(RUNTIME, format!("cannot write the report: {error}")))?;
        println!("{text}");
    } else {
        print!("{report}");
    }
    if let Some(path) = &args.svg {
        fs::write(path, report.svg())
            .map_err(|error| Failure::new(RUNTIME, format!("cannot write the picture {}: {error}", path.display())))?;
    }
    if report.is_met() {
        return Ok(ExitCode::SUCCESS);
    }
    for verdict in report.expectations.iter().filter(|verdict| !verdict.met) {
        let figure = verdict.figure.map_or_else(|| "not measured".to_owned(), |figure| figure.to_string());
        eprintln!("weir: {} is {figure}, expected {}", verdict.what, verdict.bound);
    }
    Ok(ExitCode::from(CHECK_FAILED))
}

fn read(args: &SimArgs) -> Result<Scenario, sim::ScenarioError> {
    let mut scenario = Scenario::read(&args.scenario)?;
    scenario.relays = args.relays.unwrap_or(scenario.relays);
    scenario.viewers = args.viewers.unwrap_or(scenario.viewers);
    scenario.seconds = args.seconds.unwrap_or(scenario.seconds);
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    scenario.check()?;
    Ok(scenario)
}

fn tell_cost(report: &Report, took: Duration) {
    let rate = report.events as f64 / took.as_secs_f64().max(1e-9);
    let memory = peak_memory().map_or_else(String::new, |bytes| format!(", {} MiB at most", bytes >> 20));
    eprintln!("simulated {} s in {:.1} s: {:.0} events a second{memory}", report.seconds, took.as_secs_f64(), rate);
}

/// The most memory that this process has had, in bytes; `None` where the kernel does not tell.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_tells_the_peak() {
        assert!(super::peak_memory().is_none_or(|bytes| bytes > 1 << 20));
    }
}
