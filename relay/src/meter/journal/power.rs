//! Power cuts and full disks: the journal on a disk of our own, which loses what was not synced.

use super::*;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use redb::StorageBackend;
use std::collections::BTreeMap;
use weir_protocol::{Epoch, EvidenceKey, RelayId};

const PUBLISHER: PublisherId = PublisherId([1; 32]);
/// Series that are written to.
const SERIES: u64 = 12;

/// A disk with a write cache: what was written since the last sync may be lost at a power cut, each write by itself.
#[derive(Debug, Default)]
struct Disk {
    durable: Vec<u8>,
    cached: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    /// Room, in bytes.
    room: Option<usize>,
    /// A disk that says it synced and did not.
    lies: bool,
}

impl Disk {
    /// Of every unsynced write a random part reached the plate; the file's length survives.
    fn cut(&mut self, random: &mut StdRng) {
        for (offset, bytes) in std::mem::take(&mut self.unsynced) {
            let kept = [0, bytes.len(), random.random_range(0..=bytes.len())][random.random_range(0..3)];
            if self.durable.len() < offset + kept {
                self.durable.resize(offset + kept, 0);
            }
            self.durable[offset..offset + kept].copy_from_slice(&bytes[..kept]);
        }
        self.durable.resize(self.cached.len().max(self.durable.len()), 0);
        self.cached = self.durable.clone();
    }
}

/// A process's end of the disk; writes of one that died reach nothing any more.
#[derive(Debug, Clone, Default)]
struct Plug {
    disk: Arc<Mutex<Disk>>,
    pulled: Arc<Mutex<bool>>,
}

impl Plug {
    fn into(disk: &Arc<Mutex<Disk>>) -> Self {
        Self { disk: disk.clone(), pulled: Arc::default() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        if *self.pulled.lock().unwrap() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        work(&mut self.disk.lock().unwrap())
    }

    fn open(&self) -> Result<Journal, JournalError> {
        let backend = self.clone();
        let opener = Box::new(move || Journal::builder().create_with_backend(backend.clone()));
        Journal::open_with(Path::new("a disk in memory"), opener)
    }
}

impl StorageBackend for Plug {
    fn len(&self) -> io::Result<u64> {
        self.with(|disk| Ok(disk.cached.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|disk| {
            let offset = offset as usize;
            let bytes = disk.cached.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|disk| match disk.room.is_some_and(|room| len as usize > room) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => {
                disk.cached.resize(len as usize, 0);
                Ok(())
            }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|disk| {
            if !disk.lies {
                disk.durable = disk.cached.clone();
                disk.unsynced.clear();
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|disk| {
            let offset = offset as usize;
            let there = disk.cached.get_mut(offset..offset + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            there.copy_from_slice(data);
            disk.unsynced.push((offset, data.to_vec()));
            Ok(())
        })
    }
}

fn relay(seed: u8) -> RelayId {
    EvidenceKey::from_bytes(&[seed; 32]).relay_id()
}

fn series(n: u64) -> Name {
    Name::receipts(&PUBLISHER, &relay(1), &relay(2), Epoch(n))
}

/// A message of a series: its counter as text, and some weight.
fn batch(messages: &[(u64, u64)]) -> Batch {
    let out = messages.iter().map(|(of, counter)| Out {
        publisher: PUBLISHER,
        kind: Kind::PeerReceipt,
        name: series(*of),
        message: format!("{of} {counter:0300}").into(),
        replaces: true,
        expires: UnixMillis(u64::MAX),
    });
    let stands = messages.iter().map(|(of, counter)| Stand {
        name: Name::of_chain(&PublisherId([*of as u8; 32])),
        message: format!("{counter}").into(),
        expires: UnixMillis(u64::MAX),
    });
    Batch { out: out.collect(), stands: stands.collect(), ..Batch::default() }
}

fn counter(message: &[u8]) -> u64 {
    std::str::from_utf8(message).unwrap().split(' ').next_back().unwrap().parse().unwrap()
}

/// Writes and cuts the power some times. Returns how many series went back behind what was written.
fn cuts(disk: &Arc<Mutex<Disk>>, rounds: u64) -> usize {
    let mut random = StdRng::seed_from_u64(7);
    let (mut written, mut next, mut lost) = (BTreeMap::new(), 0, 0);
    for _ in 0..rounds {
        let plug = Plug::into(disk);
        let Ok(journal) = plug.open() else { return lost + written.len() };
        for _ in 0..random.random_range(1..10) {
            let messages: Vec<(u64, u64)> = (0..random.random_range(1..6))
                .map(|_| {
                    next += 1;
                    (random.random_range(0..SERIES), next)
                })
                .collect();
            if journal.write(&batch(&messages)).is_ok() {
                written.extend(messages);
            }
        }
        // Half of the time in the middle of a commit.
        let journal = Arc::new(journal);
        let torn = journal.clone();
        let under_way = random.random_bool(0.5).then(|| {
            next += 1;
            let messages = [(random.random_range(0..SERIES), next)];
            std::thread::spawn(move || drop(torn.write(&batch(&messages))))
        });
        if under_way.is_some() {
            std::thread::yield_now();
        }
        *plug.pulled.lock().unwrap() = true;
        if let Some(under_way) = under_way {
            under_way.join().unwrap();
        }
        disk.lock().unwrap().cut(&mut random);
        let Ok(journal) = Plug::into(disk).open() else { return lost + written.len() };
        let waiting = journal.waiting(&PUBLISHER, 0, 999, 1 << 20).unwrap();
        assert!(waiting.len() <= SERIES as usize, "one of each series waits");
        for (of, last) in &written {
            let latest = journal.latest(&series(*of)).unwrap().map_or(0, |message| counter(&message));
            let submitted = waiting.iter().any(|one| one.message.starts_with(format!("{of} ").as_bytes()));
            let end = journal.latest(&Name::of_chain(&PublisherId([*of as u8; 32]))).unwrap();
            let end = end.map_or(0, |message| counter(&message));
            lost += usize::from(latest < *last || end < *last || !submitted);
        }
    }
    lost
}

#[test]
fn a_power_cut_takes_no_sum_back() {
    assert_eq!(cuts(&Arc::default(), 20), 0);
}

/// The same test must notice a sync that never happens, or it would prove nothing.
#[test]
fn a_sync_that_is_left_out_is_noticed() {
    let disk = Arc::new(Mutex::new(Disk { lies: true, ..Disk::default() }));
    let noticed = std::panic::catch_unwind(|| cuts(&disk, 3));
    assert!(noticed.map_or(true, |lost| lost > 0));
}

#[test]
fn a_full_disk_takes_nothing_and_goes_on_when_there_is_room() {
    let disk: Arc<Mutex<Disk>> = Arc::default();
    let journal = Plug::into(&disk).open().unwrap();
    journal.write(&batch(&[(1, 1)])).unwrap();
    let used = disk.lock().unwrap().cached.len();
    disk.lock().unwrap().room = Some(used);
    let many = |n: u64| {
        let mut batch = batch(&[(1, n)]);
        batch.out.iter_mut().for_each(|out| out.replaces = false);
        let out = batch.out[0].clone();
        batch.out.extend(std::iter::repeat_n(out, 800));
        batch
    };
    let (mut kept, mut refused) = (1, 0);
    for n in 2..40 {
        match journal.write(&many(n)) {
            Ok(()) => kept = n,
            Err(error @ JournalError::Full(_)) => {
                assert!(error.to_string().contains("nothing is signed until there is"), "{error}");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(counter(&journal.latest(&series(1)).unwrap().unwrap()), kept, "reading goes on");
    }
    assert!(refused > 0, "the disk never filled");
    disk.lock().unwrap().room = None;
    journal.write(&many(99)).unwrap();
    assert_eq!(counter(&journal.latest(&series(1)).unwrap().unwrap()), 99);
}
