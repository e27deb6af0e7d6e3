//! SIGTERM and Ctrl-C: the first drains, the second quits at once.

use tokio::{
    io::AsyncReadExt,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was told twice: 128 + SIGINT.
const TOLD_TWICE: i32 = 130;

/// Cancels `stop` at the first signal. Must be called within a runtime; failing to listen for signals is an error,
/// since a process that cannot be drained loses what viewers are receiving.
pub(crate) fn listen(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for told in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if told > 0 {
                std::process::exit(TOLD_TWICE);
            }
            tracing::info!("draining; a second signal quits at once");
            stop.cancel();
        }
    });
    Ok(())
}

/// Cancels `stop` when standard input ends: whoever started this process holds the other end, so it is gone too.
pub(crate) fn stop_with_stdin(stop: CancellationToken) {
    tokio::spawn(async move {
        let mut input = tokio::io::stdin();
        let mut buffer = [0; 64];
        // Whatever is written is ignored; an error is an end too.
        while matches!(input.read(&mut buffer).await, Ok(1..)) {}
        stop.cancel();
    });
}
