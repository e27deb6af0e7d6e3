//! Many submitters, one writer: whatever waits while a commit is under way goes into the next one together.
//!
//! Invariant: every submission is answered, with a promise after the commit that keeps it or with the error that
//! prevented it. When the queue is full submitters wait: that is the back-pressure on relays.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use weir_protocol::statement::MAX_PROMISED;
use weir_protocol::time::UnixMillis;

use crate::leaf::Salt;
use crate::log::record::{Acknowledged, Log, LogError};
use crate::log::submission::Submission;
use crate::store::MAX_APPEND;

/// Submissions that wait for a commit; more wait to enter the queue.
pub const MAX_WAITING: usize = 256;

/// Why a submission was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// The log failed; the same error answers everybody whose submission was in the same commit.
    #[error(transparent)]
    Log(Arc<LogError>),
    /// The writer has ended.
    #[error("the ledger is shutting down; submit again later")]
    Closed,
}

struct Job {
    submissions: Vec<Submission>,
    answer: oneshot::Sender<Result<Acknowledged, SubmitError>>,
}

/// A way to the log for any number of tasks.
#[derive(Debug, Clone)]
pub struct Submitter {
    queue: mpsc::Sender<Job>,
}

impl Submitter {
    /// Submits 1 to [`MAX_PROMISED`] messages, and waits until they are durable.
    ///
    /// # Errors
    /// [`SubmitError`]. Submitting again is safe: a message becomes one leaf, however often it comes.
    pub async fn submit(&self, submissions: Vec<Submission>) -> Result<Acknowledged, SubmitError> {
        if !(1..=MAX_PROMISED).contains(&submissions.len()) {
            return Err(SubmitError::Log(Arc::new(LogError::Count(submissions.len()))));
        }
        let (answer, answered) = oneshot::channel();
        self.queue.send(Job { submissions, answer }).await.map_err(|_| SubmitError::Closed)?;
        answered.await.unwrap_or(Err(SubmitError::Closed))
    }
}

/// The one task that writes.
pub struct Writer<C, R> {
    log: Log,
    queue: mpsc::Receiver<Job>,
    clock: C,
    salts: R,
}

impl<C: Fn() -> UnixMillis, R: FnMut() -> Salt> Writer<C, R> {
    /// A writer and its submitters' end. `clock` tells the time; `salts` draws 16 random bytes.
    pub fn new(log: Log, clock: C, salts: R) -> (Self, Submitter) {
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        (Self { log, queue, clock, salts }, Submitter { queue: sender })
    }

    /// Writes until it is cancelled or every submitter is gone; what waits then is still written.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            let job = tokio::select! {
                biased;
                () = cancel.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
                job = self.queue.recv() => job,
            };
            let Some(job) = job else { return };
            let mut group = vec![job];
            let mut leaves = group[0].submissions.len();
            while leaves + MAX_PROMISED <= MAX_APPEND {
                let Ok(job) = self.queue.try_recv() else { break };
                leaves += job.submissions.len();
                group.push(job);
            }
            self.write(group).await;
        }
    }

    async fn write(&mut self, mut group: Vec<Job>) {
        let now = (self.clock)();
        let submissions = group.iter_mut().map(|job| std::mem::take(&mut job.submissions)).collect();
        match self.log.record_all(submissions, now, &mut self.salts).await {
            Ok(acknowledged) => {
                for (job, acknowledged) in group.into_iter().zip(acknowledged) {
                    // A submitter that no longer waits has its messages kept all the same.
                    let _ = job.answer.send(Ok(acknowledged));
                }
            }
            Err(error) => {
                tracing::error!(%error, "the ledger acknowledges nothing");
                let error = Arc::new(error);
                for job in group {
                    let _ = job.answer.send(Err(SubmitError::Log(Arc::clone(&error))));
                }
            }
        }
    }
}
