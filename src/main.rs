//! The `weir` command: reads what is asked for, builds it, runs it. Each subcommand has its assembly in a file or
//! folder of its own name.

mod cli;
mod demo;
mod edge;
mod evidence;
mod exit;
mod ledger;
mod load;
mod logging;
mod origin;
mod private;
mod reload;
mod run;
mod serving;
mod settings;
mod settle;
mod signals;
mod simulate;
mod token;

use std::process::ExitCode;

/// The hot path allocates frames and header maps by the thousand; mimalloc is measurably cheaper at that than glibc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::parse();
    run::run(cli)
}
