//! Which subcommand.

use super::args::{SettleArgs, Tool};
use super::{export, forget, run as running, show, verify};
use crate::exit::Failure;
use std::process::ExitCode;

/// Runs the subcommand.
pub(crate) async fn run(args: SettleArgs) -> Result<ExitCode, Failure> {
    match args.tool {
        Tool::Run(args) => running::run(args).await,
        Tool::Forget(args) => forget::run(args).await,
        Tool::Show(args) => show::run(&args),
        Tool::Verify(args) => verify::run(&args),
        Tool::Export(args) => export::run(&args),
    }
}
