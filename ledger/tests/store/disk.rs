//! Disks that lose what was not synced, and disks that are full: redb on storage of our own.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use redb::StorageBackend;
use weir_ledger::store::Embedded;
use weir_ledger::{Store, StoreError};

use crate::support::{ORIGIN, audit, opening};

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
    /// Cuts the power: of every unsynced write a random part reached the plate.
    fn cut(&mut self, random: &mut StdRng) {
        for (offset, bytes) in std::mem::take(&mut self.unsynced) {
            let kept = match random.random_range(0..3) {
                0 => 0,
                1 => bytes.len(),
                _ => random.random_range(0..=bytes.len()),
            };
            if self.durable.len() < offset + kept {
                self.durable.resize(offset + kept, 0);
            }
            self.durable[offset..offset + kept].copy_from_slice(&bytes[..kept]);
        }
        // The file's length is journalled by the file system and survives.
        self.durable.resize(self.cached.len().max(self.durable.len()), 0);
        self.cached = self.durable.clone();
    }
}

#[derive(Debug, Clone)]
struct Plugged {
    disk: Arc<Mutex<Disk>>,
    /// A plug that was pulled: writes of the process that died reach nothing any more.
    pulled: Arc<Mutex<bool>>,
}

impl Plugged {
    fn new(disk: &Arc<Mutex<Disk>>) -> Self {
        Self { disk: Arc::clone(disk), pulled: Arc::default() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        if *self.pulled.lock().unwrap() {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        work(&mut self.disk.lock().unwrap())
    }
}

impl StorageBackend for Plugged {
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
        self.with(|disk| {
            if disk.room.is_some_and(|room| len as usize > room) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.cached.resize(len as usize, 0);
            Ok(())
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
            if disk.cached.len() < offset + data.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            disk.cached[offset..offset + data.len()].copy_from_slice(data);
            disk.unsynced.push((offset, data.to_vec()));
            Ok(())
        })
    }
}

fn plug(disk: &Arc<Mutex<Disk>>) -> Result<(Store, Plugged), StoreError> {
    let plugged = Plugged::new(disk);
    let backend = plugged.clone();
    let opener = Box::new(move || Embedded::builder().create_with_backend(backend.clone()));
    let embedded = Embedded::open_with(Path::new("disk in memory"), opener, ORIGIN)?;
    Ok((Store::Embedded(Arc::new(embedded)), plugged))
}

/// Submits and cuts the power some times. Returns how many acknowledged messages were lost, or the store was.
async fn cuts(disk: &Arc<Mutex<Disk>>, rounds: u64) -> usize {
    let mut random = StdRng::seed_from_u64(11);
    let mut acknowledged = BTreeMap::new();
    let mut lost = 0;
    for round in 0..rounds {
        let Ok((store, plugged)) = plug(disk) else { return lost + acknowledged.len() };
        for _ in 0..random.random_range(1..8) {
            let first = round * 1000 + random.random_range(0..900);
            let numbers = first..first + random.random_range(1..80);
            let Ok(placed) = store.append(numbers.clone().map(opening).collect()).await else { continue };
            acknowledged.extend(numbers.zip(placed.into_iter().map(|placed| placed.index)));
        }
        // Half of the time in the middle of a commit: its task goes on while the plug is pulled.
        let under_way = (round % 2 == 0).then(|| {
            let store = store.clone();
            tokio::spawn(async move {
                store.append((0..200).map(|n| opening(10_000_000 + round * 1000 + n)).collect()).await
            })
        });
        if under_way.is_some() {
            tokio::task::yield_now().await;
        }
        *plugged.pulled.lock().unwrap() = true;
        if let Some(under_way) = under_way {
            let _ = under_way.await.unwrap();
        }
        disk.lock().unwrap().cut(&mut random);
        drop(store);
        let Ok((store, _plugged)) = plug(disk) else { return lost + acknowledged.len() };
        let places = audit(&store).await;
        lost += acknowledged.iter().filter(|(message, leaf)| places.get(message) != Some(leaf)).count();
    }
    lost
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    assert_eq!(cuts(&Arc::default(), 12).await, 0);
}

/// The same test must notice a sync that never happens, or it would prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_is_left_out_is_noticed() {
    let disk = Arc::new(Mutex::new(Disk { lies: true, ..Disk::default() }));
    let task = tokio::spawn(async move { cuts(&disk, 3).await });
    // What such a disk holds may not even be readable: that is noticed too.
    assert!(task.await.map_or(true, |lost| lost > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_acknowledges_nothing_and_recovers() {
    let disk: Arc<Mutex<Disk>> = Arc::default();
    let (store, _plugged) = plug(&disk).unwrap();
    let room = |bytes: Option<usize>| disk.lock().unwrap().room = bytes;
    store.append((0..100).map(opening).collect()).await.unwrap();
    let used = disk.lock().unwrap().cached.len();
    room(Some(used));
    let mut acknowledged = 100;
    let mut refused = 0;
    for batch in 1..60_u64 {
        let first = batch * 1000;
        match store.append((first..first + 500).map(opening).collect()).await {
            Ok(_) => acknowledged += 500,
            Err(StoreError::Full(why)) => {
                refused += 1;
                assert!(StoreError::Full(why).to_string().contains("until there is room"));
            }
            // redb gives up until it is opened again, which the store does by itself.
            Err(StoreError::Unavailable(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0, "the disk never filled");
    assert_eq!(audit(&store).await.len(), acknowledged, "reading goes on");
    room(None);
    let mut tries = 0;
    while store.append((1_000_000..1_000_300).map(opening).collect()).await.is_err() {
        tries += 1;
        assert!(tries < 3, "it does not recover");
    }
    assert_eq!(audit(&store).await.len(), acknowledged + 300);
}
