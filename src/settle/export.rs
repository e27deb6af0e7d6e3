//! `weir settle export`.

use super::args::{ExportArgs, Form};
use super::verify::check;
use crate::exit::{DATA_DIRECTORY, Failure, RUNTIME};
use std::process::ExitCode;
use weir_ledger::export::{Distributor, payments_csv};

/// Exports.
pub(super) fn run(args: &ExportArgs) -> Result<ExitCode, Failure> {
    let settled = check(&args.check)?.settlement;
    let text = match args.form {
        Form::Payments => payments_csv(&settled),
        Form::Merkle => {
            let distributor = Distributor::of(&settled).map_err(|error| Failure::new(RUNTIME, error))?;
            format!("{:#}\n", distributor.dump())
        }
    };
    match &args.out {
        None => print!("{text}"),
        Some(path) => std::fs::write(path, text)
            .map_err(|error| Failure::new(DATA_DIRECTORY, format!("cannot write {}: {error}", path.display())))?,
    }
    Ok(ExitCode::SUCCESS)
}
