//! `weir demo`: everything on one machine, with real processes.
pub(crate) mod origin;
#[derive(clap::Args)]
pub(crate) struct DemoArgs {}
pub(crate) async fn run(_: DemoArgs) -> Result<std::process::ExitCode, crate::exit::Failure> {
    Ok(std::process::ExitCode::SUCCESS)
}
