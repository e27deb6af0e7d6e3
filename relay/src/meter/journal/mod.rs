//! The durable journal: everything this relay has signed or received that the ledger has not acknowledged, where each
//! series of sums stands, and what shows that the rest is in the ledger.
//!
//! Invariants: what [`Journal::write`] has returned for survives a crash and a power cut; nothing signed leaves the relay
//! before. Rows are bounded: a newer receipt takes the place of the one it outdates, claims are not signed while too many
//! wait, and of what is in the ledger the latest [`MAX_KEPT`] are held.

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod power;
mod row;

pub use row::Kept;
pub(crate) use row::{Name, Waiting};

use bytes::Bytes;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use row::OutRow;
use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use weir_protocol::{
    EdgeClaim, PublisherId, TokenHash, UnixMillis,
    statement::{Kind, Unverified},
};

/// The last message of each series: expiry (8 big-endian bytes, ms), then the message.
const LATEST: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("latest/1");
/// What waits, by number.
const OUTBOX: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("outbox/1");
/// What is in the ledger, by number.
const KEPT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("kept/1");
/// The promises for it, by the number of the first that each is for.
const PROMISES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("promises/1");

/// Pages redb keeps in memory.
const CACHE_BYTES: usize = 4 << 20;
/// Messages that may wait. Beyond, no claims are signed: what they would say stays in the sums.
pub const MAX_WAITING: usize = 200_000;
/// Messages in the ledger whose proof is kept here.
pub const MAX_KEPT: u64 = 50_000;
/// Rows that one commit prunes.
const PRUNED: usize = 4096;

/// Why the journal does not keep something.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("the journal {0} is in use by another process")]
    InUse(PathBuf),
    /// The disk is full. It goes on by itself when there is room.
    #[error("no room for the journal {0}: nothing is signed until there is")]
    Full(PathBuf),
    /// It cannot be read. Beginning anew within the same epoch would contradict what this relay has signed.
    #[error(
        "the journal {0} is damaged ({1}): move it away, and start this relay after the publisher's epoch has ended \
         (an hour), so that its sums do not fall within one"
    )]
    Damaged(PathBuf, String),
    /// Any other failure of the disk.
    #[error("the journal {0}: {1}")]
    Disk(PathBuf, String),
}

/// Opens the database: again after each failure.
pub type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// A message to be kept until it is acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    pub(crate) publisher: PublisherId,
    pub(crate) kind: Kind,
    pub(crate) name: Name,
    pub(crate) message: Bytes,
    /// Takes the place of an earlier one of the same name.
    pub(crate) replaces: bool,
    /// From when on nobody asks for it any more.
    pub(crate) expires: UnixMillis,
}

/// Where a series stands, of which nothing is to be submitted from here.
#[derive(Debug, Clone)]
pub(crate) struct Stand {
    pub(crate) name: Name,
    pub(crate) message: Bytes,
    pub(crate) expires: UnixMillis,
}

/// What one submission has led to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acknowledged {
    /// Numbers that wait no more, kept and refused ones.
    pub(crate) numbers: Vec<u64>,
    pub(crate) kept: Vec<Kept>,
    pub(crate) promise: Option<Bytes>,
}

/// What one commit writes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    pub(crate) out: Vec<Out>,
    pub(crate) stands: Vec<Stand>,
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// Prunes what expired before this.
    pub(crate) prune: Option<UnixMillis>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.stands.is_empty() && self.acknowledged.is_empty() && self.prune.is_none()
    }
}

#[derive(Default)]
struct Index {
    next: u64,
    next_kept: u64,
    waiting: HashMap<PublisherId, BTreeSet<u64>>,
    replaceable: HashMap<Name, u64>,
}

struct State {
    /// `None` after a failure, until the next call opens it again.
    database: Option<Arc<Database>>,
    index: Index,
}

/// The journal. All calls but [`Journal::waiting_count`] read or write the disk.
pub struct Journal {
    path: PathBuf,
    opener: Opener,
    state: Mutex<State>,
}

enum Failed {
    Redb(redb::Error),
    Row(&'static str),
}

impl<E: Into<redb::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

impl Journal {
    /// Opens or creates the file, whose folder must exist.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let file = path.to_owned();
        Self::open_with(path, Box::new(move || Self::builder().create(&file)))
    }

    /// Opens the database that `opener` gives; `path` is for messages.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open_with(path: &Path, opener: Opener) -> Result<Self, JournalError> {
        let journal = Self {
            path: path.to_owned(),
            opener,
            state: Mutex::new(State { database: None, index: Index::default() }),
        };
        let mut state = journal.lock();
        journal.revive(&mut state)?;
        drop(state);
        Ok(journal)
    }

    /// A builder with the journal's settings.
    #[must_use]
    pub fn builder() -> Builder {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        builder
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database, opened again after a failure, with the index that fits it.
    fn revive(&self, state: &mut State) -> Result<Arc<Database>, JournalError> {
        if let Some(database) = &state.database {
            return Ok(database.clone());
        }
        let damaged = |why: String| JournalError::Damaged(self.path.clone(), why);
        // A damaged file may make redb panic instead of reporting it; nothing outlives the unwinding but the file.
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.opener)()));
        let database = match opened {
            Err(_) => return Err(damaged("it cannot be read".into())),
            Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => return Err(JournalError::InUse(self.path.clone())),
            Ok(Err(error)) => return Err(self.error(Failed::Redb(error.into()))),
            Ok(Ok(database)) => Arc::new(database),
        };
        let index = load(&database).map_err(|error| self.error(error))?;
        (state.index, state.database) = (index, Some(database.clone()));
        Ok(database)
    }

    fn error(&self, failed: Failed) -> JournalError {
        let path = self.path.clone();
        match failed {
            Failed::Row(what) => JournalError::Damaged(path, format!("{what} in it is none")),
            Failed::Redb(redb::Error::Io(error)) if is_full(&error) => JournalError::Full(path),
            Failed::Redb(redb::Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                JournalError::Damaged(path, error.to_string())
            }
            Failed::Redb(error @ redb::Error::Corrupted(_)) => JournalError::Damaged(path, error.to_string()),
            Failed::Redb(error) => JournalError::Disk(path, error.to_string()),
        }
    }

    /// Writes all of it or nothing, and returns when it is durable. After an error it may be there or not: write the same
    /// again.
    pub(crate) fn write(&self, batch: &Batch) -> Result<(), JournalError> {
        let mut state = self.lock();
        let database = self.revive(&mut state)?;
        let State { index, .. } = &mut *state;
        match commit(&database, index, batch) {
            Ok(()) => Ok(()),
            Err(error) => {
                // After an I/O error redb refuses all work until it is opened again, and the index is rebuilt then.
                state.database = None;
                Err(self.error(error))
            }
        }
    }

    fn read<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failed>) -> Result<T, JournalError> {
        let database = self.revive(&mut self.lock())?;
        work(&database).map_err(|error| self.error(error))
    }

    /// The last message of a series.
    pub(crate) fn latest(&self, name: &Name) -> Result<Option<Bytes>, JournalError> {
        self.read(|database| {
            let table = database.begin_read()?.open_table(LATEST)?;
            Ok(table.get(&name.0[..])?.map(|row| Bytes::copy_from_slice(row.value().get(8..).unwrap_or_default())))
        })
    }

    /// The last claims of each series with a token.
    pub(crate) fn claims_with(
        &self,
        publisher: &PublisherId,
        token: &TokenHash,
    ) -> Result<Vec<EdgeClaim>, JournalError> {
        let (first, last) = Name::claims_with(publisher, token);
        self.read(|database| {
            let table = database.begin_read()?.open_table(LATEST)?;
            let mut claims = Vec::new();
            for row in table.range(&first.0[..]..=&last.0[..])? {
                let (_, row) = row?;
                let message = Bytes::copy_from_slice(row.value().get(8..).unwrap_or_default());
                let claim = Unverified::<EdgeClaim>::new(message).claimed();
                claims.push(claim.map_err(|_| Failed::Row("a claim"))?);
            }
            Ok(claims)
        })
    }

    /// What waits for a publisher's ledger behind `after`, oldest first: at most `count`, and at most `bytes` together.
    pub(crate) fn waiting(
        &self,
        publisher: &PublisherId,
        after: u64,
        count: usize,
        bytes: usize,
    ) -> Result<Vec<Waiting>, JournalError> {
        let (database, numbers) = {
            let mut state = self.lock();
            let database = self.revive(&mut state)?;
            let waiting = state.index.waiting.get(publisher);
            let numbers = waiting.into_iter().flat_map(|waiting| waiting.range(after + 1..)).take(count);
            (database, numbers.copied().collect::<Vec<u64>>())
        };
        let read = || {
            let table = database.begin_read()?.open_table(OUTBOX)?;
            let (mut found, mut left) = (Vec::with_capacity(numbers.len()), bytes);
            for number in numbers {
                // Whatever was acknowledged or replaced meanwhile waits no more.
                let Some(row) = table.get(number)? else { continue };
                let row = OutRow::decode(row.value()).ok_or(Failed::Row("a message"))?;
                let message = Bytes::copy_from_slice(row.message);
                if !found.is_empty() && message.len() > left {
                    break;
                }
                left = left.saturating_sub(message.len());
                found.push(Waiting { number, kind: row.kind, message });
            }
            Ok(found)
        };
        read().map_err(|error| self.error(error))
    }

    /// How many messages wait, for all publishers.
    pub fn waiting_count(&self) -> usize {
        self.lock().index.waiting.values().map(BTreeSet::len).sum()
    }

    /// The latest messages that are in a publisher's ledger, the newest first.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn kept(&self, publisher: &PublisherId, most: usize) -> Result<Vec<Kept>, JournalError> {
        self.read(|database| {
            let table = database.begin_read()?.open_table(KEPT)?;
            let mut found = Vec::new();
            for row in table.iter()?.rev() {
                let kept = Kept::decode(row?.1.value()).ok_or(Failed::Row("a kept message"))?;
                if kept.publisher == *publisher {
                    found.push(kept);
                    if found.len() >= most {
                        break;
                    }
                }
            }
            Ok(found)
        })
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn begin(database: &Database) -> Result<WriteTransaction, Failed> {
    let mut write = database.begin_write()?;
    // Two phases: what strangers send here cannot make a torn commit look whole, and a crash costs no repair.
    write.set_quick_repair(true);
    Ok(write)
}

fn load(database: &Database) -> Result<Index, Failed> {
    let write = begin(database)?;
    write.open_table(LATEST)?;
    write.open_table(PROMISES)?;
    let mut index = Index::default();
    {
        let kept = write.open_table(KEPT)?;
        index.next_kept = kept.last()?.map_or(1, |(number, _)| number.value() + 1);
        let outbox = write.open_table(OUTBOX)?;
        for row in outbox.iter()? {
            let (number, row) = row?;
            let row = OutRow::decode(row.value()).ok_or(Failed::Row("a message"))?;
            index.next = number.value();
            index.waiting.entry(row.publisher).or_default().insert(number.value());
            if replaces(row.kind) {
                index.replaceable.insert(row.name, number.value());
            }
        }
    }
    // Numbers begin anew when nothing waits: they name nothing outside this process.
    index.next += 1;
    write.commit()?;
    Ok(index)
}

/// Kinds of which only the latest counts.
fn replaces(kind: Kind) -> bool {
    matches!(kind, Kind::PeerReceipt | Kind::ViewerReceipt | Kind::PayeeChange)
}

fn commit(database: &Database, index: &mut Index, batch: &Batch) -> Result<(), Failed> {
    let write = begin(database)?;
    let (mut next, mut next_kept) = (index.next, index.next_kept);
    let (mut added, mut gone) = (Vec::new(), BTreeSet::new());
    let mut replaced: HashMap<Name, u64> = HashMap::new();
    {
        let (mut latest, mut outbox) = (write.open_table(LATEST)?, write.open_table(OUTBOX)?);
        let stand = |expires: UnixMillis, message: &[u8]| [&expires.0.to_be_bytes()[..], message].concat();
        for out in &batch.out {
            let row = OutRow { publisher: out.publisher, kind: out.kind, name: out.name, message: &out.message };
            outbox.insert(next, row.encode().as_slice())?;
            latest.insert(&out.name.0[..], stand(out.expires, &out.message).as_slice())?;
            if out.replaces {
                let former = replaced.insert(out.name, next).or_else(|| index.replaceable.get(&out.name).copied());
                if let Some(former) = former {
                    outbox.remove(former)?;
                    gone.insert(former);
                }
            }
            added.push((out.publisher, next));
            next += 1;
        }
        for one in &batch.stands {
            latest.insert(&one.name.0[..], stand(one.expires, &one.message).as_slice())?;
        }
        let (mut kept, mut promises) = (write.open_table(KEPT)?, write.open_table(PROMISES)?);
        for one in &batch.acknowledged {
            for number in &one.numbers {
                outbox.remove(*number)?;
                gone.insert(*number);
            }
            if let Some(promise) = one.promise.as_ref().filter(|_| !one.kept.is_empty()) {
                promises.insert(next_kept, promise.as_ref())?;
            }
            for message in &one.kept {
                kept.insert(next_kept, message.encode().as_slice())?;
                next_kept += 1;
            }
        }
        let least = next_kept.saturating_sub(MAX_KEPT);
        kept.retain_in(..least, |_, _| false)?;
        promises.retain_in(..least, |_, _| false)?;
        if let Some(before) = batch.prune {
            prune(&mut latest, before)?;
        }
    }
    write.commit()?;
    (index.next, index.next_kept) = (next, next_kept);
    for (publisher, number) in added {
        index.waiting.entry(publisher).or_default().insert(number);
    }
    index.replaceable.extend(replaced);
    if !gone.is_empty() {
        for waiting in index.waiting.values_mut() {
            for number in &gone {
                waiting.remove(number);
            }
        }
        index.replaceable.retain(|_, number| !gone.contains(number));
    }
    Ok(())
}

fn prune(latest: &mut redb::Table<'_, &'static [u8], &'static [u8]>, before: UnixMillis) -> Result<(), Failed> {
    let mut old = Vec::new();
    for row in latest.iter()? {
        let (name, row) = row?;
        let expires = row.value().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        if expires < before.0 {
            old.push(name.value().to_vec());
            if old.len() >= PRUNED {
                break;
            }
        }
    }
    for name in old {
        latest.remove(name.as_slice())?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::{Epoch, EvidenceKey};

    const PUBLISHER: PublisherId = PublisherId([1; 32]);

    fn name(seed: u8) -> Name {
        let relay = |seed| EvidenceKey::from_bytes(&[seed; 32]).relay_id();
        Name::receipts(&PUBLISHER, &relay(seed), &relay(99), Epoch(5))
    }

    fn out(seed: u8, text: &str) -> Out {
        Out {
            publisher: PUBLISHER,
            kind: Kind::PeerReceipt,
            name: name(seed),
            message: Bytes::copy_from_slice(text.as_bytes()),
            replaces: true,
            expires: UnixMillis(1000),
        }
    }

    fn texts(journal: &Journal) -> Vec<String> {
        let waiting = journal.waiting(&PUBLISHER, 0, 99, 9999).unwrap();
        waiting.iter().map(|one| String::from_utf8(one.message.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_newer_receipt_takes_the_place_of_the_older_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        let journal = Journal::open(&path).unwrap();
        let write = |journal: &Journal, out: Vec<Out>| journal.write(&Batch { out, ..Batch::default() }).unwrap();
        write(&journal, vec![out(1, "one"), out(2, "two"), out(1, "one again")]);
        assert_eq!(texts(&journal), ["two", "one again"]);
        drop(journal);
        let journal = Journal::open(&path).unwrap();
        write(&journal, vec![out(2, "two again")]);
        assert_eq!(texts(&journal), ["one again", "two again"]);
        assert_eq!(journal.latest(&name(2)).unwrap().unwrap(), "two again");
        assert_eq!(journal.waiting_count(), 2);
        assert!(matches!(Journal::open(&path), Err(JournalError::InUse(_))));
    }

    #[test]
    fn what_is_acknowledged_waits_no_more_and_can_be_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        let journal = Journal::open(&path).unwrap();
        journal.write(&Batch { out: vec![out(1, "one"), out(2, "two")], ..Batch::default() }).unwrap();
        let first = journal.waiting(&PUBLISHER, 0, 1, 9999).unwrap().pop().unwrap();
        let kept = Kept {
            publisher: PUBLISHER,
            kind: Kind::PeerReceipt,
            index: 7,
            received: UnixMillis(9),
            salt: [3; 16],
            message: first.message,
        };
        let acknowledged = vec![Acknowledged {
            numbers: vec![first.number],
            kept: vec![kept.clone()],
            promise: Some(Bytes::from_static(b"promise")),
        }];
        journal.write(&Batch { acknowledged, ..Batch::default() }).unwrap();
        assert_eq!(texts(&journal), ["two"]);
        drop(journal);
        let journal = Journal::open(&path).unwrap();
        assert_eq!(texts(&journal), ["two"]);
        assert_eq!(journal.kept(&PUBLISHER, 9).unwrap(), [kept]);
        assert_eq!(journal.latest(&name(1)).unwrap().unwrap(), "one", "sums go on from it");
        journal.write(&Batch { prune: Some(UnixMillis(1001)), ..Batch::default() }).unwrap();
        assert_eq!(journal.latest(&name(1)).unwrap(), None);
        assert_eq!(texts(&journal), ["two"], "what waits is never pruned");
    }

    #[test]
    fn a_file_that_is_no_journal_is_refused_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        std::fs::write(&path, vec![7; 8192]).unwrap();
        let error = Journal::open(&path).err().unwrap();
        assert!(error.to_string().contains("journal.redb"), "{error}");
    }
}
