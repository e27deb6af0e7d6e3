//! Either store behind one type.

use std::ops::Range;
use std::sync::Arc;

use crate::leaf::{Commitment, MessageId, Opening};
use crate::merkle::{NodeHash, TreeSize};
use crate::store::embedded::Embedded;
use crate::store::error::StoreError;
use crate::store::place::{Head, MAX_APPEND, Placed};
use crate::store::postgres::Postgres;
use crate::store::url::StoreUrl;
use crate::tile::{Resolver, TileKind, TilePlace};

/// A ledger's store.
#[derive(Debug, Clone)]
pub enum Store {
    /// redb, in this process.
    Embedded(Arc<Embedded>),
    /// PostgreSQL.
    Postgres(Postgres),
}

impl Store {
    /// Opens or creates the store of the log with this origin.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Foreign`] if it holds another log.
    pub async fn open(url: &StoreUrl, origin: &str) -> Result<Self, StoreError> {
        match url {
            StoreUrl::Redb(path) => {
                let (path, origin) = (path.clone(), origin.to_owned());
                let embedded = blocking(move || Embedded::open(&path, &origin)).await?;
                Ok(Self::Embedded(Arc::new(embedded)))
            }
            StoreUrl::Postgres(url) => Ok(Self::Postgres(Postgres::open(url, origin).await?)),
        }
    }

    /// Adds leaves, and says where each message is. At most [`MAX_APPEND`] of them.
    ///
    /// # Errors
    /// [`StoreError`]: nothing of the batch is acknowledged.
    pub async fn append(&self, openings: Vec<Opening>) -> Result<Vec<Placed>, StoreError> {
        if openings.len() > MAX_APPEND {
            return Err(StoreError::TooMany(openings.len()));
        }
        match self {
            Self::Embedded(embedded) => on(embedded, move |store| store.append(openings)).await,
            Self::Postgres(postgres) => postgres.append(openings).await,
        }
    }

    /// Size and root.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn head(&self) -> Result<Head, StoreError> {
        let size = match self {
            Self::Embedded(embedded) => on(embedded, Embedded::size).await?,
            Self::Postgres(postgres) => postgres.size().await?,
        };
        self.head_at(size).await
    }

    /// The root that the log had at a size that it has reached.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn head_at(&self, size: TreeSize) -> Result<Head, StoreError> {
        let resolver = self.fill(Resolver::root(size)).await?;
        let root = resolver.root_hash().map_err(|error| StoreError::Damaged(error.to_string()))?;
        Ok(Head { size, root })
    }

    /// Gives a proof the tiles that it wants.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn fill(&self, mut resolver: Resolver) -> Result<Resolver, StoreError> {
        for place in resolver.wants() {
            let hashes = self.hashes(&place).await?;
            resolver.give(place, hashes).map_err(|error| StoreError::Damaged(error.to_string()))?;
        }
        Ok(resolver)
    }

    /// The hashes of a tile.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn hashes(&self, place: &TilePlace) -> Result<Vec<NodeHash>, StoreError> {
        let range = place.range();
        match (self, place.kind) {
            (_, TileKind::Entries | TileKind::Openings | TileKind::Hashes(0)) => {
                Ok(self.entries(range).await?.iter().map(|entry| entry.leaf_hash().into()).collect())
            }
            (Self::Embedded(embedded), TileKind::Hashes(level)) => {
                on(embedded, move |store| store.nodes(level, range)).await
            }
            (Self::Postgres(postgres), TileKind::Hashes(level)) => postgres.nodes(level, range).await,
        }
    }

    /// The commitments of leaves.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Damaged`] when one is missing.
    pub async fn entries(&self, range: Range<u64>) -> Result<Vec<Commitment>, StoreError> {
        let expected = range.end.saturating_sub(range.start);
        let entries = match self {
            Self::Embedded(embedded) => on(embedded, move |store| store.entries(range)).await?,
            Self::Postgres(postgres) => postgres.entries(range).await?,
        };
        if entries.len() as u64 == expected {
            Ok(entries)
        } else {
            Err(StoreError::Damaged(format!("{} of {expected} leaves are there", entries.len())))
        }
    }

    /// The openings of leaves; `None` for deleted ones.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn openings(&self, range: Range<u64>) -> Result<Vec<Option<Opening>>, StoreError> {
        let mut openings = vec![None; range.end.saturating_sub(range.start) as usize];
        let first = range.start;
        let found = match self {
            Self::Embedded(embedded) => on(embedded, move |store| store.openings(range)).await?,
            Self::Postgres(postgres) => postgres.openings(range).await?,
        };
        for (index, opening) in found {
            openings[(index - first) as usize] = Some(opening);
        }
        Ok(openings)
    }

    /// The leaf of a message.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find(&self, id: MessageId) -> Result<Option<u64>, StoreError> {
        match self {
            Self::Embedded(embedded) => on(embedded, move |store| store.find(&id)).await,
            Self::Postgres(postgres) => postgres.find(&id).await,
        }
    }

    /// Deletes openings for good, and returns how many there were. Their entries stay.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget(&self, indices: Vec<u64>) -> Result<u64, StoreError> {
        match self {
            Self::Embedded(embedded) => on(embedded, move |store| store.forget(&indices)).await,
            Self::Postgres(postgres) => postgres.forget(&indices).await,
        }
    }

    /// The largest checkpoint kept, as its note.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkpoint(&self) -> Result<Option<String>, StoreError> {
        match self {
            Self::Embedded(embedded) => on(embedded, Embedded::checkpoint).await,
            Self::Postgres(postgres) => postgres.checkpoint().await,
        }
    }

    /// Keeps a checkpoint, unless a larger one is kept: several processes may sign at once. A note of the same size
    /// replaces the one that is there, since it may carry more witnesses' signatures.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_checkpoint(&self, size: TreeSize, note: String) -> Result<(), StoreError> {
        match self {
            Self::Embedded(embedded) => on(embedded, move |store| store.keep_checkpoint(size, &note)).await,
            Self::Postgres(postgres) => postgres.keep_checkpoint(size, &note).await,
        }
    }
}

async fn on<T: Send + 'static>(
    embedded: &Arc<Embedded>,
    work: impl FnOnce(&Embedded) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let embedded = Arc::clone(embedded);
    blocking(move || work(&embedded)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // redb panics on some kinds of damage instead of reporting them; the runtime's end is the other reason.
        Err(error) => Err(StoreError::Damaged(format!("the store stopped: {error}"))),
    }
}
