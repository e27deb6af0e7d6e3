//! The log over a store: leaves in, promises and checkpoints out.
//!
//! Invariant: a promise is signed only after its leaves are durable, and a checkpoint only over leaves that are durable.
//! So a crash can lose an answer and never an acknowledged message, and the log never signs two roots for one size.

use std::sync::Arc;

use weir_protocol::PublisherId;
use weir_protocol::keys::SigningKey;
use weir_protocol::statement::{
    INCLUSION_WITHIN_MS, InclusionPromise, MAX_PROMISED, PromisedLeaf, StatementError, Verified,
};
use weir_protocol::time::UnixMillis;

use crate::leaf::{Opening, Salt};
use crate::log::proof::InclusionProof;
use crate::log::submission::Submission;
use crate::merkle::{NodeHash, ProofError, TreeSize};
use crate::note::{Checkpoint, CheckpointError, NoteKey, SignedCheckpoint};
use crate::store::{Placed, Store, StoreError};
use crate::tile::Resolver;

/// Why the log cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is kept as checkpoint is none of this log's.
    #[error("the kept checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The kept checkpoint does not fit the leaves: the store was exchanged for another or an older one.
    #[error(
        "the log signed {signed} leaves and its store holds others or fewer ({kept}): it was replaced by an older copy; \
         nothing is signed any more, since that would show two histories"
    )]
    RolledBack {
        /// Size of the signed checkpoint.
        signed: TreeSize,
        /// Size of the store.
        kept: TreeSize,
    },
    /// There is no such leaf, or no such older tree.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// More messages in one submission than one promise can name, or none.
    #[error("{0} messages in one submission; 1 to 256 are allowed")]
    Count(usize),
    /// The promise cannot be signed.
    #[error("promise: {0}")]
    Promise(#[from] StatementError),
}

/// The keys of a publisher's log.
#[derive(Debug)]
pub struct LogKeys {
    /// Whose log it is.
    pub publisher: PublisherId,
    /// Signs checkpoints; its name is the log's origin.
    pub note: NoteKey,
    /// Signs promises; in the publisher's key list.
    pub promises: SigningKey,
}

/// What a submitter gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Where each message is, with what opens its leaf. The submitter keeps it, to show later what it submitted.
    pub placed: Vec<Placed>,
    /// The publisher's word that a checkpoint will cover them soon.
    pub promise: Verified<InclusionPromise>,
}

/// A publisher's log.
#[derive(Debug, Clone)]
pub struct Log {
    store: Store,
    keys: Arc<LogKeys>,
}

impl Log {
    /// A log over its store.
    #[must_use]
    pub fn new(store: Store, keys: LogKeys) -> Self {
        Self { store, keys: Arc::new(keys) }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &LogKeys {
        &self.keys
    }

    /// Keeps messages and promises their inclusion. Durable when it returns. `salts` draws 16 random bytes that nobody
    /// can predict.
    ///
    /// # Errors
    /// [`LogError`]: nothing is acknowledged. Submitting again is safe.
    pub async fn record(
        &self,
        submissions: Vec<Submission>,
        now: UnixMillis,
        mut salts: impl FnMut() -> Salt,
    ) -> Result<Acknowledged, LogError> {
        let mut acknowledged = self.record_all(vec![submissions], now, &mut salts).await?;
        Ok(acknowledged.pop().expect("one submission, one answer"))
    }

    /// Keeps several submissions in one commit, and promises each its inclusion: 1 to [`MAX_PROMISED`] messages each, and
    /// together at most [`MAX_APPEND`](crate::store::MAX_APPEND).
    ///
    /// # Errors
    /// [`LogError`]: nothing of all of it is acknowledged.
    pub async fn record_all(
        &self,
        submissions: Vec<Vec<Submission>>,
        now: UnixMillis,
        mut salts: impl FnMut() -> Salt,
    ) -> Result<Vec<Acknowledged>, LogError> {
        let counts: Vec<usize> = submissions.iter().map(Vec::len).collect();
        if let Some(count) = counts.iter().find(|count| !(1..=MAX_PROMISED).contains(*count)) {
            return Err(LogError::Count(*count));
        }
        let openings = submissions.into_iter().flatten().map(|submission| opening(submission, now, salts())).collect();
        let mut placed = self.store.append(openings).await?.into_iter();
        counts.into_iter().map(|count| self.promise(placed.by_ref().take(count).collect(), now)).collect()
    }

    fn promise(&self, placed: Vec<Placed>, now: UnixMillis) -> Result<Acknowledged, LogError> {
        let leaf = |placed: &Placed| PromisedLeaf {
            index: placed.index,
            commitment: placed.opening.commitment().0,
            received: placed.opening.received,
        };
        let promise = InclusionPromise {
            publisher: self.keys.publisher,
            leaves: placed.iter().map(leaf).collect(),
            include_by: now.plus_ms(INCLUSION_WITHIN_MS),
            time: now,
        };
        let promise = Verified::sign_as_publisher(promise, &self.keys.promises)?;
        Ok(Acknowledged { placed, promise })
    }

    /// The latest signed checkpoint, if there is one.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, LogError> {
        let note = self.store.checkpoint().await?;
        Ok(note.map(|note| SignedCheckpoint::verify(&note, self.keys.note.verifier())).transpose()?)
    }

    /// Signs a checkpoint over everything that is kept, unless the latest one covers it already.
    ///
    /// # Errors
    /// [`LogError`]; [`LogError::RolledBack`] if the store forgot leaves that were signed.
    pub async fn sign_checkpoint(&self) -> Result<SignedCheckpoint, LogError> {
        let signed = self.checkpoint().await?;
        let head = self.store.head().await?;
        if let Some(signed) = signed {
            let Checkpoint { size, root, .. } = *signed.checkpoint();
            let rolled_back = LogError::RolledBack { signed: size, kept: head.size };
            if size > head.size || self.store.head_at(size).await?.root != root {
                return Err(rolled_back);
            }
            if size == head.size {
                return Ok(signed);
            }
        }
        let origin = self.keys.note.verifier().name().to_owned();
        let checkpoint = Checkpoint { origin, size: head.size, root: head.root }.sign(&self.keys.note)?;
        self.keep(&checkpoint).await?;
        Ok(checkpoint)
    }

    /// Keeps a checkpoint, for example one that witnesses have cosigned.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn keep(&self, checkpoint: &SignedCheckpoint) -> Result<(), LogError> {
        Ok(self.store.keep_checkpoint(checkpoint.checkpoint().size, checkpoint.to_string()).await?)
    }

    /// The proof that a leaf is under a checkpoint, with the leaf's opening where it is still kept.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn prove(&self, index: u64, checkpoint: &SignedCheckpoint) -> Result<InclusionProof, LogError> {
        let resolver = Resolver::inclusion(index, checkpoint.checkpoint().size)?;
        let path = self.proof(resolver).await?;
        let opening = self.store.openings(index..index + 1).await?.pop().flatten();
        Ok(InclusionProof { index, path, opening, checkpoint: checkpoint.clone() })
    }

    /// The proof that the tree of `new` leaves begins with the one of `old`.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn prove_consistency(&self, old: TreeSize, new: TreeSize) -> Result<Vec<NodeHash>, LogError> {
        self.proof(Resolver::consistency(old, new)?).await
    }

    async fn proof(&self, resolver: Resolver) -> Result<Vec<NodeHash>, LogError> {
        let filled = self.store.fill(resolver).await?;
        filled.proof().map_err(|error| StoreError::Damaged(error.to_string()).into())
    }
}

fn opening(submission: Submission, received: UnixMillis, salt: Salt) -> Opening {
    let (kind, message) = submission.into_parts();
    Opening { salt, received, kind, message }
}
