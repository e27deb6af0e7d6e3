//! Which subcommand.

use super::args::{LedgerArgs, Tool};
use super::{import, init, publish, serve, show, verify, witness};
use crate::exit::Failure;
use std::process::ExitCode;

/// Runs the subcommand.
pub(crate) async fn run(args: LedgerArgs) -> Result<ExitCode, Failure> {
    match args.tool {
        Tool::Init(args) => init::run(args).await,
        Tool::Publish(args) => publish::run(args).await,
        Tool::Serve(args) => serve::run(args).await,
        Tool::Witness(args) => witness::run(args).await,
        Tool::Verify(args) => verify::run(args).await,
        Tool::ImportLog(args) => import::run(args).await,
        Tool::Show(args) => show::run(args),
    }
}
