//! The whole computation again, from what a publisher published.
//!
//! A folder holds the log's files, the openings, the policy and the settlement. Invariant: whatever byte of a tile, a
//! bundle or a line was changed, checking fails and names the place.

use std::collections::BTreeMap;

use weir_protocol::PublisherId;

use crate::merkle::{Frontier, TreeSize};
use crate::note::{CheckpointError, NoteVerifier, SignedCheckpoint};
use crate::settle::policy::{HashedPolicy, Policy, PolicyError};
use crate::settle::run::{SettleError, SettleInput, Settlement, settle};
use crate::tile::{CHECKPOINT_FILE, Folder, FolderError, TileKind, TilePlace};

/// The policy's name in the folder.
pub const POLICY_FILE: &str = "policy.toml";
/// The settlement's name in the folder.
pub const SETTLEMENT_JSON: &str = "settlement.json";
/// The name of its lines as CSV.
pub const SETTLEMENT_CSV: &str = "settlement.csv";

/// Why a folder does not hold what it says.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A file cannot be read, or is no such file.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file is missing.
    #[error("{0} is missing")]
    Missing(String),
    /// The checkpoint is not the log's.
    #[error("{CHECKPOINT_FILE}: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A hash in a tile is not what the tiles below it come to.
    #[error("{place}: hash {at} is not the one that the log's entries come to")]
    Tile {
        /// Which tile.
        place: TilePlace,
        /// Which of its hashes, from 0.
        at: usize,
    },
    /// A narrower state of a tile, published before, holds something else than the tile does now.
    #[error("{place}: item {at} is another than in the tile as it is now")]
    Earlier {
        /// Which state.
        place: TilePlace,
        /// Which of its items, from 0.
        at: usize,
    },
    /// An entry and its hash in level 0 disagree: one of the two was changed.
    #[error("{entries} and {tile} disagree about entry {at}")]
    Entry {
        /// The bundle.
        entries: TilePlace,
        /// The tile.
        tile: TilePlace,
        /// Which entry of the bundle, from 0.
        at: usize,
    },
    /// The entries do not come to the signed root, though the tiles agree with them.
    #[error("the entries do not come to the root that {CHECKPOINT_FILE} signs")]
    Root,
    /// An opening opens another leaf, or none.
    #[error("{place}: the opening of leaf {leaf} does not open it")]
    Opening {
        /// Which bundle.
        place: TilePlace,
        /// Which leaf.
        leaf: u64,
    },
    /// The policy.
    #[error("{POLICY_FILE}: {0}")]
    Policy(#[from] PolicyError),
    /// The settlement cannot be computed.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// Evidence is missing.
    #[error("leaf {first} has no opening, nor have {more} more, and no totals stand for them: evidence is withheld")]
    Withheld {
        /// The first of them.
        first: u64,
        /// How many others.
        more: usize,
    },
    /// A published file says something else than the log comes to.
    #[error("{file}: {place} is {published}, the log comes to {computed}")]
    Differs {
        /// Which file.
        file: &'static str,
        /// Where in it.
        place: String,
        /// What it says.
        published: String,
        /// What it should say.
        computed: String,
    },
}

/// What was checked.
#[derive(Debug)]
pub struct Checked {
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
    /// The settlement, computed anew.
    pub settlement: Settlement,
}

/// Checks a folder's log: checkpoint, every tile, every entry, every opening.
///
/// # Errors
/// [`CheckError`] names the place.
pub fn check_tree(folder: &Folder, log: &NoteVerifier, openings: bool) -> Result<SignedCheckpoint, CheckError> {
    let note = read(folder, CHECKPOINT_FILE)?;
    let checkpoint = SignedCheckpoint::verify(&String::from_utf8_lossy(&note), log)?;
    let size = checkpoint.checkpoint().size;
    check_entries(folder, size, openings)?;
    let root = check_upper(folder, size)?;
    if root.root() != checkpoint.checkpoint().root {
        return Err(CheckError::Root);
    }
    Ok(checkpoint)
}

/// Every entry against its hash in level 0, and against its opening.
fn check_entries(folder: &Folder, size: TreeSize, openings: bool) -> Result<(), CheckError> {
    for place in TilePlace::added(TileKind::Entries, TreeSize::EMPTY, size) {
        let entries = folder.entries(&place)?;
        let tile = TilePlace { kind: TileKind::Hashes(0), ..place };
        for (at, (entry, hash)) in entries.iter().zip(folder.hashes(&tile)?).enumerate() {
            if hash != entry.leaf_hash().into() {
                return Err(CheckError::Entry { entries: place, tile, at });
            }
        }
        for state in folder.earlier(&place)? {
            begins_alike(&folder.entries(&state)?, &entries, state)?;
        }
        let bundle = TilePlace { kind: TileKind::Openings, ..place };
        let bundles = match openings {
            true => folder.earlier(&bundle)?.into_iter().chain([bundle]).collect(),
            false => Vec::new(),
        };
        for bundle in bundles {
            for (leaf, (entry, opening)) in bundle.range().zip(entries.iter().zip(folder.openings(&bundle)?)) {
                if opening.is_some_and(|opening| opening.commitment() != *entry) {
                    return Err(CheckError::Opening { place: bundle, leaf });
                }
            }
        }
    }
    Ok(())
}

/// A tile only grows: each state of it is how the next one begins.
fn begins_alike<T: PartialEq>(earlier: &[T], now: &[T], place: TilePlace) -> Result<(), CheckError> {
    match earlier.iter().zip(now).position(|(one, other)| one != other) {
        Some(at) => Err(CheckError::Earlier { place, at }),
        None => Ok(()),
    }
}

/// Every tile above level 0 against the tile below, and the frontier of the whole tree.
fn check_upper(folder: &Folder, size: TreeSize) -> Result<Frontier, CheckError> {
    let mut whole = Frontier::new();
    for level in TilePlace::levels(size) {
        for place in TilePlace::added(TileKind::Hashes(level), TreeSize::EMPTY, size) {
            let hashes = folder.hashes(&place)?;
            for state in folder.earlier(&place)? {
                begins_alike(&folder.hashes(&state)?, &hashes, state)?;
            }
            if level == 0 {
                hashes.iter().for_each(|hash| append(&mut whole, *hash));
            }
            if !place.is_full() {
                continue;
            }
            let mut tile = Frontier::new();
            hashes.iter().for_each(|hash| append(&mut tile, *hash));
            let above = TilePlace::in_tree(TileKind::Hashes(level + 1), place.index / 256, size);
            let Some(above) = above else { continue };
            let at = (place.index % 256) as usize;
            if folder.hashes(&above)?.get(at) != Some(&tile.root().into()) {
                return Err(CheckError::Tile { place: above, at });
            }
        }
    }
    Ok(whole)
}

fn append(frontier: &mut Frontier, hash: crate::merkle::NodeHash) {
    let leaf = crate::merkle::LeafHash::from_bytes(*hash.as_bytes());
    frontier.append(leaf).expect("a folder holds fewer than 2^64 leaves");
}

/// Checks a folder's log and its settlement.
///
/// # Errors
/// [`CheckError`] names the place.
pub fn check_folder(folder: &Folder, log: &NoteVerifier, publisher: PublisherId) -> Result<Checked, CheckError> {
    let checkpoint = check_tree(folder, log, true)?;
    let HashedPolicy { policy, hash } = Policy::read(&read(folder, POLICY_FILE)?)?;
    let policy = HashedPolicy { policy, hash };
    let size = checkpoint.checkpoint().size;
    let source = (folder, size);
    let root = checkpoint.checkpoint().root;
    let settlement = settle(SettleInput { source: &source, root, publisher, policy: &policy })?;
    if let Some((first, more)) = settlement.withheld.split_first() {
        return Err(CheckError::Withheld { first: *first, more: more.len() });
    }
    compare_json(&String::from_utf8_lossy(&read(folder, SETTLEMENT_JSON)?), &settlement.json()?)?;
    compare_csv(&String::from_utf8_lossy(&read(folder, SETTLEMENT_CSV)?), &settlement.csv())?;
    Ok(Checked { checkpoint, settlement })
}

fn read(folder: &Folder, name: &str) -> Result<Vec<u8>, CheckError> {
    folder.read(name)?.ok_or_else(|| CheckError::Missing(folder.path().join(name).display().to_string()))
}

fn compare_json(published: &str, computed: &str) -> Result<(), CheckError> {
    if published == computed {
        return Ok(());
    }
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).map(|value| flatten(&value));
    let differs = |place: &str, published: String, computed: String| CheckError::Differs {
        file: SETTLEMENT_JSON,
        place: place.to_owned(),
        published,
        computed,
    };
    let Ok(published_values) = parse(published) else {
        return Err(differs("the file", "no JSON".into(), "a settlement".into()));
    };
    let computed_values = parse(computed).unwrap_or_default();
    let missing = || "missing".to_owned();
    let places: std::collections::BTreeSet<&String> = published_values.keys().chain(computed_values.keys()).collect();
    for place in places {
        let (found, expected) = (published_values.get(place), computed_values.get(place));
        if found != expected {
            let or_missing = |value: Option<&String>| value.cloned().unwrap_or_else(missing);
            return Err(differs(place, or_missing(found), or_missing(expected)));
        }
    }
    // The same values in another spelling: not the canonical text.
    let at = published.bytes().zip(computed.bytes()).take_while(|(a, b)| a == b).count();
    Err(differs(&format!("byte {at}"), "not canonical JSON".into(), "the canonical text".into()))
}

/// Every value of a document by its place. A line of a settlement is named by what identifies it instead of its number.
fn flatten(value: &serde_json::Value) -> BTreeMap<String, String> {
    fn walk(place: String, value: &serde_json::Value, values: &mut BTreeMap<String, String>) {
        match value {
            serde_json::Value::Object(members) => {
                values.insert(format!("{place}{{}}"), members.len().to_string());
                members.iter().for_each(|(name, member)| walk(format!("{place}.{name}"), member, values));
            }
            serde_json::Value::Array(items) => {
                values.insert(format!("{place}[]"), items.len().to_string());
                items.iter().enumerate().for_each(|(at, item)| walk(format!("{place}[{at}]"), item, values));
            }
            other => {
                values.insert(place, other.to_string());
            }
        }
    }
    let mut values = BTreeMap::new();
    walk(String::new(), value, &mut values);
    values
}

fn compare_csv(published: &str, computed: &str) -> Result<(), CheckError> {
    if published == computed {
        return Ok(());
    }
    let (mut found, mut expected) = (published.split('\n'), computed.split('\n'));
    for number in 1.. {
        let (found, expected) = (found.next(), expected.next());
        if found != expected || found.is_none() {
            let text = |line: Option<&str>| line.map_or_else(|| "missing".to_owned(), |line| format!("{line:?}"));
            let (published, computed) = (text(found), text(expected));
            return Err(CheckError::Differs {
                file: SETTLEMENT_CSV,
                place: format!("line {number}"),
                published,
                computed,
            });
        }
    }
    Ok(())
}
