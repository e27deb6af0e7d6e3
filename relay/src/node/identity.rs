//! A node's key, kept in its data directory. Invariant: the secret is never printed, and its file is readable by its
//! owner alone.

use libp2p::identity::{Keypair, ed25519};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use weir_protocol::{EvidenceKey, ids::RelayId};

const FILE: &str = "identity.key";
const MODE: u32 = 0o600;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("cannot use {0}: {1}")]
    Io(PathBuf, io::Error),
    /// The file is not 32 bytes of secret key. It is left as it is.
    #[error("{0} is not an identity: expected 32 bytes, found {1}")]
    NotAKey(PathBuf, usize),
}

/// A node's identity.
#[derive(Clone)]
pub struct Identity {
    /// The key pair; its PeerId is the relay's id.
    pub keypair: Keypair,
    /// True when it was made just now.
    pub created: bool,
}

impl Identity {
    /// Reads the identity from `data`, or makes one there.
    pub fn load_or_create(data: &Path) -> Result<Self, IdentityError> {
        let path = data.join(FILE);
        let (secret, created) = load_or_create_secret(&path)?;
        let keypair = Keypair::ed25519_from_bytes(secret).map_err(|_| IdentityError::NotAKey(path, 0))?;
        Ok(Self { keypair, created })
    }

    /// The key that signs receipts and claims: the same one.
    pub fn evidence_key(&self) -> Result<EvidenceKey, IdentityError> {
        let unfit = || IdentityError::NotAKey(FILE.into(), 0);
        let pair = self.keypair.clone().try_into_ed25519().map_err(|_| unfit())?;
        let secret = pair.secret();
        let secret: [u8; 32] = secret.as_ref().try_into().map_err(|_| unfit())?;
        Ok(EvidenceKey::from_bytes(&secret))
    }

    /// The relay's id.
    pub fn relay(&self) -> RelayId {
        RelayId::from_public_key(&self.keypair.public())
    }
}

/// Reads 32 secret bytes from `path`, or draws them and keeps them there; true when they are new. Also used for the
/// publisher's keys.
pub fn load_or_create_secret(path: &Path) -> Result<([u8; 32], bool), IdentityError> {
    let failed = |error| IdentityError::Io(path.to_owned(), error);
    match fs::read(path) {
        Ok(bytes) => {
            let secret = bytes.as_slice().try_into();
            let secret = secret.map_err(|_| IdentityError::NotAKey(path.to_owned(), bytes.len()))?;
            let permissions = fs::metadata(path).map_err(failed)?.permissions();
            if permissions.mode() & 0o077 != 0 {
                tracing::warn!(path = %path.display(), "secret key was readable by others; narrowing its mode to 0600");
                fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed)?;
            }
            Ok((secret, false))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut secret = [0; 32];
            secret.copy_from_slice(ed25519::Keypair::generate().secret().as_ref());
            write_secret(path, &secret).map_err(failed)?;
            Ok((secret, true))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whole or not at all: written beside, flushed to the disk, then renamed.
fn write_secret(path: &Path, secret: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(directory)?;
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside)?;
    file.write_all(secret)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_kept_secret() {
        let data = tempfile::tempdir().unwrap();
        let first = Identity::load_or_create(data.path()).unwrap();
        let again = Identity::load_or_create(data.path()).unwrap();
        assert!(first.created && !again.created);
        assert_eq!(first.relay(), again.relay());
        let mode = fs::metadata(data.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
    }

    #[test]
    fn a_damaged_identity_is_refused_and_left_alone() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(FILE), b"short").unwrap();
        assert!(matches!(Identity::load_or_create(data.path()), Err(IdentityError::NotAKey(_, 5))));
        assert_eq!(fs::read(data.path().join(FILE)).unwrap(), b"short");
    }
}
