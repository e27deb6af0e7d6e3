//! `weir load compare` and `weir load figures`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use weir_load::run::report::figure::FIGURES;
use weir_load::run::{compare, report::compare::CompareError};

use crate::exit::{CHECK_FAILED, CONFIGURATION, Failure};

/// Longest report that is read, in bytes.
const MAX_REPORT: u64 = 256 << 20;

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The earlier report, as `weir load run --json FILE` wrote it
    first: PathBuf,
    /// The later one
    second: PathBuf,
    /// End with exit code 3 when any figure became worse by more than noise
    #[arg(long)]
    strict: bool,
}

/// Compares two reports.
pub(super) fn run(args: &CompareArgs) -> Result<ExitCode, Failure> {
    let (first, second) = (read(&args.first)?, read(&args.second)?);
    let compared =
        compare(&first, &second).map_err(|error: CompareError| Failure::new(CONFIGURATION, named(&error, args)))?;
    print!("{compared}");
    Ok(if args.strict && compared.is_worse() { ExitCode::from(CHECK_FAILED) } else { ExitCode::SUCCESS })
}

fn named(error: &CompareError, args: &CompareArgs) -> String {
    format!("cannot compare {} with {}: {error}", args.first.display(), args.second.display())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed =
        |reason: String| Failure::new(CONFIGURATION, format!("cannot read the report {}: {reason}", path.display()));
    if fs::metadata(path).map_err(|error| failed(error.to_string()))?.len() > MAX_REPORT {
        return Err(failed("it is longer than 256 MiB".to_owned()));
    }
    fs::read(path).map_err(|error| failed(error.to_string()))
}

/// Lists the figures.
pub(super) fn figures() -> ExitCode {
    for figure in FIGURES {
        println!("{:<28}{:<8}{}", figure.name, figure.unit, figure.about);
    }
    ExitCode::SUCCESS
}
