//! Waits with an end and a reason. Invariant: nothing here waits longer than it was told.

use std::time::{Duration, Instant};

/// Longest wait for anything that takes a moment: a start, a join, a small request.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Polls until `probe` has something, at most [`PATIENCE`].
pub(crate) async fn until<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, probe).await
}

/// Polls until `probe` has something, at most `patience`.
pub(crate) async fn until_within<T>(patience: Duration, what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(began.elapsed() < patience, "waited {patience:?} in vain for: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// The future's result, or a panic that names it.
pub(crate) async fn within<T>(patience: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(patience, future).await {
        Ok(done) => done,
        Err(_) => panic!("not done within {patience:?}: {what}"),
    }
}
