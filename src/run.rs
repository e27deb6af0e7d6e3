//! Runs the command that was asked for, on a runtime of its own, and turns its end into an exit code.

use crate::{
    cli::{Cli, Command},
    demo, edge,
    exit::{Failure, RUNTIME, fail},
    ledger, load, logging, origin, settle, token,
};
use std::{process::ExitCode, time::Duration};

/// How long threads that still block may take when everything is done.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// Runs the command to its end.
pub(crate) fn run(cli: Cli) -> ExitCode {
    logging::start();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure::new(RUNTIME, format!("cannot start: {error}"))),
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => demo::run(args).await,
            Command::DemoRelay(args) => demo::faults::run(*args).await.map(|()| ExitCode::SUCCESS),
            Command::Edge(args) => edge::run(*args).await.map(|()| ExitCode::SUCCESS),
            Command::Origin(args) => origin::run(*args).await.map(|()| ExitCode::SUCCESS),
            Command::Ledger(args) => ledger::run(args).await,
            Command::Settle(args) => settle::run(args).await,
            Command::Token(args) => token::run(args),
            Command::Load(args) => load::run(args).await,
        }
    });
    // A read of standard input cannot be called off, so the runtime does not wait for it.
    runtime.shutdown_timeout(SHUTDOWN);
    done.unwrap_or_else(|failure| fail(&failure))
}
