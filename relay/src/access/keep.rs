//! What a node keeps of a network over a restart: its own grant, and what was taken down. Invariant: a file is whole or
//! not there: written beside, synced, renamed, and the directory synced.

use super::TakedownBook;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use weir_protocol::{grant::MAX_GRANT, ids::PublisherId};

/// Longest kept file, in bytes; far more than a full book takes.
const MAX_FILE: u64 = 4 << 20;

/// Why something is not kept or read again.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The file cannot be read or written.
    #[error("cannot use {0}: {1}")]
    Io(PathBuf, io::Error),
    /// Taken-down content must not come back because a file is damaged, so this is not passed over.
    #[error("{0} is damaged ({1}); restore it from a copy, or remove it to forget what was taken down")]
    Damaged(PathBuf, String),
}

/// Where a network's state lies.
#[derive(Debug, Clone)]
pub struct Kept {
    grant: PathBuf,
    takedowns: PathBuf,
}

impl Kept {
    /// The files of a publisher's network in a directory.
    pub fn of(directory: &Path, publisher: PublisherId) -> Self {
        let file = |ending: &str| directory.join(format!("{publisher}.{ending}"));
        Self { grant: file("grant"), takedowns: file("takedowns") }
    }

    /// The grant that was kept, unverified. A damaged one is no loss: the adapter grants anew.
    pub fn grant(&self) -> Option<Vec<u8>> {
        fs::read(&self.grant).ok().filter(|bytes| bytes.len() <= MAX_GRANT)
    }

    /// Keeps the grant, or forgets it.
    pub fn keep_grant(&self, grant: Option<&[u8]>) -> Result<(), KeepError> {
        match grant {
            Some(bytes) => write(&self.grant, bytes),
            None => match fs::remove_file(&self.grant) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(KeepError::Io(self.grant.clone(), error)),
                _ => Ok(()),
            },
        }
    }

    /// What was taken down.
    pub fn takedowns(&self, publisher: PublisherId) -> Result<TakedownBook, KeepError> {
        let failed = |error| KeepError::Io(self.takedowns.clone(), error);
        match fs::metadata(&self.takedowns) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(TakedownBook::new(publisher)),
            Err(error) => return Err(failed(error)),
            Ok(found) if found.len() > MAX_FILE => {
                return Err(KeepError::Damaged(self.takedowns.clone(), "it is too long".into()));
            }
            Ok(_) => {}
        }
        let bytes = fs::read(&self.takedowns).map_err(failed)?;
        TakedownBook::decode(publisher, &bytes).map_err(|why| KeepError::Damaged(self.takedowns.clone(), why))
    }

    /// Keeps what was taken down.
    pub fn keep_takedowns(&self, encoded: &[u8]) -> Result<(), KeepError> {
        write(&self.takedowns, encoded)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), KeepError> {
    let whole = || -> io::Result<()> {
        let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::create_dir_all(directory)?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        fs::write(&beside, bytes)?;
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, path)?;
        fs::File::open(directory)?.sync_all()
    };
    whole().map_err(|error| KeepError::Io(path.to_owned(), error))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_list_of_takedowns_is_no_empty_one() {
        let data = tempfile::tempdir().unwrap();
        let publisher = PublisherId::from_bytes([7; 32]);
        let kept = Kept::of(data.path(), publisher);
        assert_eq!(kept.takedowns(publisher).unwrap().digest(), 0);
        kept.keep_takedowns(&TakedownBook::new(publisher).encode()).unwrap();
        assert!(kept.takedowns(publisher).is_ok());
        kept.keep_takedowns(b"\x83\x01\x00\x81\x41\x00").unwrap();
        assert!(matches!(kept.takedowns(publisher), Err(KeepError::Damaged(..))));
    }

    #[test]
    fn a_grant_is_kept_and_forgotten() {
        let data = tempfile::tempdir().unwrap();
        let kept = Kept::of(&data.path().join("networks"), PublisherId::from_bytes([7; 32]));
        kept.keep_grant(None).unwrap();
        kept.keep_grant(Some(b"grant")).unwrap();
        assert_eq!(kept.grant(), Some(b"grant".to_vec()));
        kept.keep_grant(None).unwrap();
        assert_eq!(kept.grant(), None);
    }
}
