//! `weir load run`: its command line and output. The result goes to standard output; how it goes is shown on standard error.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;
use weir_load::run::{self, Progress, Report, RunError, Scenario};

use super::{interrupted, view};
use crate::exit::{CHECK_FAILED, CONFIGURATION, Failure, RUNTIME};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The scenario, a TOML file; loadtest/scenarios/evening.toml explains every key
    file: PathBuf,
    /// Viewers of each target, instead of the scenario's number
    #[arg(long, value_name = "N")]
    viewers: Option<u32>,
    /// Seconds of each round, instead of the scenario's
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Rounds, instead of the scenario's
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Seed of everything random, instead of the scenario's
    #[arg(long)]
    seed: Option<u64>,
    /// The page of the demo, instead of the scenario's
    #[arg(long, value_name = "URL")]
    demo: Option<Url>,
    /// Process whose CPU time is measured: PID, or TARGET=PID where the scenario has several targets; repeat for several
    #[arg(long, value_name = "[TARGET=]PID")]
    server_pid: Vec<String>,
    /// Print the report as JSON (schema weir-load-run/1), or write it to a file and print the table
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Write the report as a page that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Tell lines on standard error also on a terminal
    #[arg(long)]
    plain: bool,
}

/// Runs a scenario. The exit code is 3 when an expectation was not met.
pub(super) async fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let scenario = read(&args)?;
    let cancel = CancellationToken::new();
    let (progress, told) = watch::channel(Progress::default());
    let showing = tokio::spawn(view::show(told, args.plain));
    let running = run::run(&scenario, cancel.clone(), progress);
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        () = interrupted() => {
            // What was measured until now is still reported.
            cancel.cancel();
            running.await
        }
    };
    // It ends with the sender of what it tells.
    showing.await.map_err(|error| Failure::new(RUNTIME, error))?;
    let report = ended.map_err(|error| match error {
        RunError::Usage(_) | RunError::Demo { .. } | RunError::Keys { .. } => Failure::new(CONFIGURATION, error),
        error => Failure::new(RUNTIME, error),
    })?;
    tell(&args, &report)?;
    if report.is_met() {
        return Ok(ExitCode::SUCCESS);
    }
    for verdict in report.expectations.iter().filter(|verdict| !verdict.met) {
        let value = verdict.value.map_or_else(|| "not measured".to_owned(), |value| value.to_string());
        eprintln!("weir: {}: {} is {value}, expected {}", verdict.target, verdict.figure, verdict.bound);
    }
    for fault in report.faults.iter() {
        if let Some(reason) = &fault.failed {
            eprintln!("weir: {}: {} was not done: {reason}", fault.target, fault.what);
        }
    }
    Ok(ExitCode::from(CHECK_FAILED))
}

fn read(args: &RunArgs) -> Result<Scenario, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::new(CONFIGURATION, error);
    let mut scenario = Scenario::read(&args.file).map_err(|error| wrong(&error))?;
    scenario.viewers = args.viewers.unwrap_or(scenario.viewers);
    scenario.seconds = args.seconds.unwrap_or(scenario.seconds);
    if args.seconds.is_some() {
        scenario.ramp_seconds = scenario.ramp_seconds.min(scenario.seconds / 2.0);
    }
    scenario.rounds = args.rounds.unwrap_or(scenario.rounds);
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    if let Some(page) = &args.demo {
        scenario.targets.iter_mut().filter_map(|target| target.demo.as_mut()).for_each(|demo| demo.clone_from(page));
    }
    for text in &args.server_pid {
        let (name, pid) = match text.split_once('=') {
            Some((name, pid)) => (Some(name), pid),
            None => (None, text.as_str()),
        };
        let pid: u32 = pid.parse().map_err(|_| wrong(&format!("--server-pid {text}: `{pid}` is no process id")))?;
        let several = scenario.targets.len() > 1;
        let target = match name {
            Some(name) => scenario.targets.iter_mut().find(|target| target.name == name),
            None if several => {
                return Err(wrong(&format!("--server-pid {text}: say of which target, as TARGET={pid}")));
            }
            None => scenario.targets.first_mut(),
        };
        target
            .ok_or_else(|| wrong(&format!("--server-pid {text}: the scenario has no such target")))?
            .server_pids
            .push(pid);
    }
    scenario.check().map_err(|error| wrong(&error))?;
    Ok(scenario)
}

/// Writes and prints what was asked for.
fn tell(args: &RunArgs, report: &Report) -> Result<(), Failure> {
    let write = |path: &Path, text: &str| {
        fs::write(path, text)
            .map_err(|error| Failure::new(RUNTIME, format!("cannot write the report {}: {error}", path.display())))
    };
    if let Some(path) = &args.html {
        write(path, &report.html())?;
    }
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(report)
            .map_err(|error| Failure::new(RUNTIME, format!("cannot write the report: {error}")))?;
        if to_stdout {
            println!("{text}");
        } else {
            write(path, &(text + "\n"))?;
        }
    }
    if !to_stdout {
        print!("{report}");
    }
    Ok(())
}
