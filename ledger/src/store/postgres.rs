//! The store of several processes: PostgreSQL.
//!
//! Invariant: whoever appends holds the row lock of `weir_ledger_head` until its commit, so leaf numbers are given out
//! one transaction after another, whatever number of processes write. Unique keys on number and message id stand behind
//! it: a mistake here would fail an insert rather than the log.

use std::ops::Range;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{PgConnection, Row as _};

use weir_protocol::UnixMillis;

use crate::leaf::{Commitment, MessageId, Opening};
use crate::merkle::{NodeHash, TreeSize};
use crate::store::error::StoreError;
use crate::store::growth::{Completed, Growth};
use crate::store::place::{Placed, following};
use crate::tile::TILE_WIDTH;

/// Connections of one process.
const CONNECTIONS: u32 = 4;
/// Longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Longest any statement may take, waiting for the lock included. PostgreSQL cancels it then.
const STATEMENT_TIMEOUT: &str = "30s";
/// The format that this program writes.
const FORMAT: i64 = 1;
/// Key of the advisory lock under which the tables are created: two processes may start at once.
const CREATION_LOCK: i64 = 0x7765_6972_6c65_6467;

const TABLES: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS weir_ledger_head (one boolean PRIMARY KEY DEFAULT true CHECK (one), format bigint NOT NULL, \
     origin text NOT NULL, size bigint NOT NULL, latest bigint NOT NULL DEFAULT 0, checkpoint_size bigint, checkpoint text)",
    "CREATE TABLE IF NOT EXISTS weir_ledger_entry (index bigint PRIMARY KEY, commitment bytea NOT NULL)",
    "CREATE TABLE IF NOT EXISTS weir_ledger_opening (index bigint PRIMARY KEY, id bytea NOT NULL UNIQUE, body bytea NOT NULL)",
    "CREATE TABLE IF NOT EXISTS weir_ledger_node (level smallint, index bigint, hash bytea NOT NULL, PRIMARY KEY (level, index))",
];

/// A pool of connections to the ledger's database.
#[derive(Debug, Clone)]
pub struct Postgres {
    pool: PgPool,
    /// Saves reading the right edge when no other process appended meanwhile.
    growth: Arc<Mutex<Option<Growth>>>,
}

impl Postgres {
    /// Connects, and creates the tables if there are none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(url: &str, origin: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?
            .application_name("weir-ledger")
            // An append is acknowledged when it is on disk, whatever the database's default says.
            .options([("synchronous_commit", "on"), ("statement_timeout", STATEMENT_TIMEOUT)]);
        let pool =
            PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECT_WAIT).connect_with(options);
        let store = Self { pool: pool.await?, growth: Arc::default() };
        store.create(origin).await?;
        Ok(store)
    }

    async fn create(&self, origin: &str) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CREATION_LOCK).execute(&mut *tx).await?;
        for table in TABLES {
            sqlx::query(table).execute(&mut *tx).await?;
        }
        sqlx::query("INSERT INTO weir_ledger_head (format, origin, size) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING")
            .bind(FORMAT)
            .bind(origin)
            .execute(&mut *tx)
            .await?;
        let row = sqlx::query("SELECT format, origin FROM weir_ledger_head").fetch_one(&mut *tx).await?;
        let (format, found): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        if format != FORMAT {
            return Err(StoreError::Format(format.unsigned_abs()));
        }
        if found != origin {
            return Err(StoreError::Foreign { expected: origin.to_owned(), found });
        }
        Ok(tx.commit().await?)
    }

    pub(super) async fn append(&self, openings: Vec<Opening>) -> Result<Vec<Placed>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let head = sqlx::query("SELECT size, latest FROM weir_ledger_head FOR UPDATE").fetch_one(&mut *tx).await?;
        let size = TreeSize::new(unsigned(head.try_get(0)?)?);
        let mut latest = UnixMillis(unsigned(head.try_get(1)?)?);
        let ids: Vec<[u8; 16]> = openings.iter().map(|opening| opening.id().0).collect();
        let mut known = known(&mut tx, &ids).await?;
        let growth = self.cached().filter(|growth| growth.size() == size);
        let mut growth = match growth {
            Some(growth) => growth,
            None => resume(&mut tx, size).await?,
        };
        let mut batch = Batch::default();
        let mut placed = Vec::with_capacity(openings.len());
        for (mut opening, id) in openings.into_iter().zip(ids) {
            if let Some((index, kept)) = known.get(&id) {
                placed.push(Placed { index: *index, opening: kept.clone(), fresh: false });
                continue;
            }
            let index = growth.size().get();
            opening.received = following(latest, opening.received)?;
            latest = opening.received;
            let commitment = opening.commitment();
            growth.append(commitment.leaf_hash(), |completed| batch.completed(completed));
            batch.leaf(index, commitment, id, &opening)?;
            known.insert(id, (index, opening.clone()));
            placed.push(Placed { index, opening, fresh: true });
        }
        if !batch.indices.is_empty() {
            batch.insert(&mut tx).await?;
            sqlx::query("UPDATE weir_ledger_head SET size = $1, latest = $2")
                .bind(signed(growth.size().get())?)
                .bind(signed(latest.0)?)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        *self.growth.lock().unwrap_or_else(PoisonError::into_inner) = Some(growth);
        Ok(placed)
    }

    pub(super) async fn size(&self) -> Result<TreeSize, StoreError> {
        let row = sqlx::query("SELECT size FROM weir_ledger_head").fetch_one(&self.pool).await?;
        Ok(TreeSize::new(unsigned(row.try_get(0)?)?))
    }

    pub(super) async fn entries(&self, range: Range<u64>) -> Result<Vec<Commitment>, StoreError> {
        entries(&mut *self.pool.acquire().await?, range).await
    }

    pub(super) async fn nodes(&self, level: u8, range: Range<u64>) -> Result<Vec<NodeHash>, StoreError> {
        nodes(&mut *self.pool.acquire().await?, level, range).await
    }

    pub(super) async fn openings(&self, range: Range<u64>) -> Result<Vec<(u64, Opening)>, StoreError> {
        let rows =
            sqlx::query("SELECT index, body FROM weir_ledger_opening WHERE index >= $1 AND index < $2 ORDER BY index")
                .bind(signed(range.start)?)
                .bind(signed(range.end)?)
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(|row| Ok((unsigned(row.try_get(0)?)?, decode(row.try_get(1)?)?))).collect()
    }

    pub(super) async fn find(&self, id: &MessageId) -> Result<Option<u64>, StoreError> {
        let row = sqlx::query("SELECT index FROM weir_ledger_opening WHERE id = $1")
            .bind(id.0.as_slice())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| unsigned(row.try_get(0)?)).transpose()
    }

    pub(super) async fn forget(&self, indices: &[u64]) -> Result<u64, StoreError> {
        let indices: Vec<i64> = indices.iter().map(|index| signed(*index)).collect::<Result<_, _>>()?;
        let done = sqlx::query("DELETE FROM weir_ledger_opening WHERE index = ANY($1)").bind(indices);
        Ok(done.execute(&self.pool).await?.rows_affected())
    }

    pub(super) async fn checkpoint(&self) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT checkpoint FROM weir_ledger_head").fetch_one(&self.pool).await?;
        Ok(row.try_get(0)?)
    }

    pub(super) async fn keep_checkpoint(&self, size: TreeSize, note: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE weir_ledger_head SET checkpoint_size = $1, checkpoint = $2 \
             WHERE checkpoint_size IS NULL OR checkpoint_size <= $1",
        )
        .bind(signed(size.get())?)
        .bind(note)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    fn cached(&self) -> Option<Growth> {
        self.growth.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// New rows, column by column.
#[derive(Default)]
struct Batch {
    indices: Vec<i64>,
    commitments: Vec<Vec<u8>>,
    ids: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    levels: Vec<i16>,
    node_indices: Vec<i64>,
    hashes: Vec<Vec<u8>>,
}

impl Batch {
    fn leaf(&mut self, index: u64, commitment: Commitment, id: [u8; 16], opening: &Opening) -> Result<(), StoreError> {
        self.indices.push(signed(index)?);
        self.commitments.push(commitment.0.to_vec());
        self.ids.push(id.to_vec());
        self.bodies.push(opening.encode());
        Ok(())
    }

    fn completed(&mut self, completed: Completed) {
        self.levels.push(i16::from(completed.level));
        self.node_indices.push(i64::try_from(completed.index).unwrap_or(i64::MAX));
        self.hashes.push(completed.hash.as_bytes().to_vec());
    }

    async fn insert(self, connection: &mut PgConnection) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO weir_ledger_entry SELECT * FROM UNNEST($1::bigint[], $2::bytea[])")
            .bind(&self.indices)
            .bind(&self.commitments)
            .execute(&mut *connection)
            .await?;
        sqlx::query("INSERT INTO weir_ledger_opening SELECT * FROM UNNEST($1::bigint[], $2::bytea[], $3::bytea[])")
            .bind(&self.indices)
            .bind(&self.ids)
            .bind(&self.bodies)
            .execute(&mut *connection)
            .await?;
        if !self.levels.is_empty() {
            sqlx::query("INSERT INTO weir_ledger_node SELECT * FROM UNNEST($1::smallint[], $2::bigint[], $3::bytea[])")
                .bind(&self.levels)
                .bind(&self.node_indices)
                .bind(&self.hashes)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }
}

type Known = std::collections::HashMap<[u8; 16], (u64, Opening)>;

async fn known(connection: &mut PgConnection, ids: &[[u8; 16]]) -> Result<Known, StoreError> {
    let ids: Vec<&[u8]> = ids.iter().map(<[u8; 16]>::as_slice).collect();
    let rows = sqlx::query("SELECT id, index, body FROM weir_ledger_opening WHERE id = ANY($1)")
        .bind(ids)
        .fetch_all(&mut *connection)
        .await?;
    rows.iter()
        .map(|row| {
            let id: &[u8] = row.try_get(0)?;
            let id = id.try_into().map_err(|_| StoreError::Damaged("a message id of the wrong length".into()))?;
            Ok((id, (unsigned(row.try_get(1)?)?, decode(row.try_get(2)?)?)))
        })
        .collect()
}

async fn resume(connection: &mut PgConnection, size: TreeSize) -> Result<Growth, StoreError> {
    let mut edges = Vec::new();
    let mut hashes = size.get();
    for (level, width) in Growth::edge_widths(size).into_iter().enumerate() {
        let range = hashes - width..hashes;
        let edge: Vec<NodeHash> = match level {
            0 => entries(connection, range).await?.iter().map(|entry| entry.leaf_hash().into()).collect(),
            _ => nodes(connection, level as u8, range).await?,
        };
        if edge.len() as u64 != width {
            return Err(StoreError::Damaged(format!("{} of {width} hashes at level {level}", edge.len())));
        }
        edges.push(edge);
        hashes /= TILE_WIDTH;
    }
    Ok(Growth::resume(size, edges))
}

async fn entries(connection: &mut PgConnection, range: Range<u64>) -> Result<Vec<Commitment>, StoreError> {
    let rows = sqlx::query("SELECT commitment FROM weir_ledger_entry WHERE index >= $1 AND index < $2 ORDER BY index")
        .bind(signed(range.start)?)
        .bind(signed(range.end)?)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| hash(row.try_get(0)?).map(Commitment)).collect()
}

async fn nodes(connection: &mut PgConnection, level: u8, range: Range<u64>) -> Result<Vec<NodeHash>, StoreError> {
    let rows =
        sqlx::query("SELECT hash FROM weir_ledger_node WHERE level = $1 AND index >= $2 AND index < $3 ORDER BY index")
            .bind(i16::from(level))
            .bind(signed(range.start)?)
            .bind(signed(range.end)?)
            .fetch_all(connection)
            .await?;
    rows.iter().map(|row| hash(row.try_get(0)?).map(NodeHash::from_bytes)).collect()
}

fn hash(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Damaged("a hash of the wrong length".into()))
}

fn decode(bytes: &[u8]) -> Result<Opening, StoreError> {
    Opening::decode(bytes).map_err(|error| StoreError::Damaged(format!("an opening: {error}")))
}

fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Damaged("a number beyond 2^63".into()))
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Damaged("a negative number".into()))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            // Class 53 of PostgreSQL's error codes: disk full, out of memory, too many connections.
            sqlx::Error::Database(database) => match database.code().as_deref() {
                Some("53100") => Self::Full(database.message().to_owned()),
                Some("XX001" | "XX002") => Self::Damaged(database.message().to_owned()),
                _ => Self::Unavailable(database.message().to_owned()),
            },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::RowNotFound => Self::Damaged(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
