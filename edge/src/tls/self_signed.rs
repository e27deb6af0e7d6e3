//! A certificate the edge makes for itself on its first run and keeps. Key and certificate lie in one file, so that
//! they can never be halves of different pairs. Invariant: the file is only ever replaced whole, and readable by its
//! owner alone.

use super::{TlsError, TlsMaterial, material::read};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const FILE: &str = "self-signed.pem";
const DAY: Duration = Duration::from_secs(86_400);
/// Browsers refuse more than 398 days.
const VALIDITY: Duration = Duration::from_secs(397 * 86_400);
/// A new one is made when less than this is left.
const RENEW_BEFORE: Duration = Duration::from_secs(7 * 86_400);
const ALWAYS_NAMED: [&str; 5] = ["localhost", "127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"];

/// Where a self-signed certificate is kept, and whom it names.
#[derive(Debug, Clone)]
pub struct SelfSigned {
    directory: PathBuf,
    names: Vec<String>,
}

impl SelfSigned {
    /// Kept in `directory`, for the loopback names and `names` (host names or addresses).
    pub fn new(directory: impl Into<PathBuf>, names: impl IntoIterator<Item = String>) -> Self {
        let mut all: Vec<String> = ALWAYS_NAMED.iter().map(|name| (*name).to_owned()).collect();
        for name in names {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        Self { directory: directory.into(), names: all }
    }

    /// The certificate's file.
    pub fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Loads the kept certificate, or makes and keeps a new one when there is none, it is damaged, has other names, or
    /// ends within a week of `now`. Creates the directory.
    ///
    /// # Errors
    /// [`TlsError::Read`] or [`TlsError::Write`] when the file or directory is not accessible,
    /// [`TlsError::Unusable`] when a name cannot stand in a certificate.
    pub fn load_or_create(&self, now: SystemTime) -> Result<TlsMaterial, TlsError> {
        let path = self.path();
        match read(&path) {
            Ok(pem) if pem.starts_with(self.header().as_bytes()) => {
                match TlsMaterial::from_pem(&pem, &path, &pem, &path) {
                    Ok(material) if material.not_after() > now + RENEW_BEFORE => {
                        restrict(&path).map_err(|source| TlsError::Write { path, source })?;
                        return Ok(material);
                    }
                    Ok(_) => {
                        tracing::info!(path = %path.display(), "self-signed certificate ends soon, making a new one")
                    }
                    Err(error) => tracing::warn!(%error, "self-signed certificate damaged, making a new one"),
                }
            }
            Ok(_) => {
                tracing::info!(path = %path.display(), "self-signed certificate has other names, making a new one")
            }
            Err(TlsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(TlsError::Unusable { reason, .. }) => tracing::warn!(%reason, "self-signed certificate damaged"),
            Err(error) => return Err(error),
        }
        let pem = self.generate(now)?;
        replace(&self.directory, &path, pem.as_bytes())
            .map_err(|source| TlsError::Write { path: path.clone(), source })?;
        TlsMaterial::from_pem(pem.as_bytes(), &path, pem.as_bytes(), &path)
    }

    /// The file's first line: its format's version and whom the certificate names.
    fn header(&self) -> String {
        format!("# weir self-signed certificate 1: {}\n", self.names.join(" "))
    }

    fn generate(&self, now: SystemTime) -> Result<String, TlsError> {
        let unusable = |error: rcgen::Error| TlsError::Unusable { path: self.path(), reason: error.to_string() };
        if let Some(name) = self.names.iter().find(|name| name.is_empty() || name.contains(char::is_whitespace)) {
            let reason = format!("{name:?} is not a host name");
            return Err(TlsError::Unusable { path: self.path(), reason });
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unusable)?;
        let mut params = CertificateParams::new(self.names.clone()).map_err(unusable)?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, "weir edge");
        params.distinguished_name = subject;
        let epoch = date_time_ymd(1970, 1, 1);
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // A client's clock may run behind.
        params.not_before = epoch + since.saturating_sub(DAY);
        params.not_after = epoch + since.saturating_sub(DAY) + VALIDITY;
        let certificate = params.self_signed(&key).map_err(unusable)?;
        Ok(format!("{}{}{}", self.header(), certificate.pem(), key.serialize_pem()))
    }
}

/// Write, fsync, rename, fsync the directory.
fn replace(directory: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let draft = path.with_extension("pem.new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(directory)?.sync_all()
}

/// A new file that only its owner may read, from its first moment.
#[cfg(unix)]
fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(unix)]
fn restrict(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn restrict(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    #[test]
    #[cfg(unix)]
    fn is_kept_private_and_renewed_in_time() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let keeper = SelfSigned::new(dir.path().join("tls"), ["relay.example".to_owned()]);
        let now = UNIX_EPOCH + NOW;
        let first = keeper.load_or_create(now).unwrap();
        assert_eq!(first.not_after(), now - DAY + VALIDITY);
        let mode = || fs::metadata(keeper.path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);

        fs::set_permissions(keeper.path(), fs::Permissions::from_mode(0o644)).unwrap();
        let again = keeper.load_or_create(now + DAY * 300).unwrap();
        assert_eq!(again.spki_sha256_base64(), first.spki_sha256_base64());
        assert_eq!(mode(), 0o600);

        let renewed = keeper.load_or_create(now + DAY * 392).unwrap();
        assert_ne!(renewed.spki_sha256_base64(), first.spki_sha256_base64());

        fs::write(keeper.path(), "damaged").unwrap();
        let repaired = keeper.load_or_create(now).unwrap();
        assert_ne!(repaired.spki_sha256_base64(), renewed.spki_sha256_base64());

        let renamed = SelfSigned::new(dir.path().join("tls"), ["other.example".to_owned()]);
        assert_ne!(renamed.load_or_create(now).unwrap().spki_sha256_base64(), repaired.spki_sha256_base64());
        assert_eq!(fs::read_dir(dir.path().join("tls")).unwrap().count(), 1);
    }

    #[test]
    fn faults_name_the_file_and_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let now = UNIX_EPOCH + NOW;
        let make = |name: &str| {
            let keeper = SelfSigned::new(dir.path().join(name), []);
            keeper.load_or_create(now).unwrap();
            keeper.path()
        };
        let (one, other) = (make("one"), make("other"));
        let empty = dir.path().join("empty.pem");
        fs::write(&empty, "nothing").unwrap();
        let missing = dir.path().join("missing.pem");

        assert!(TlsMaterial::load(&one, &one, now + DAY * 1000).is_ok(), "expired is a warning");
        assert!(matches!(TlsMaterial::load(&missing, &one, now), Err(TlsError::Read { path, .. }) if path == missing));
        assert!(matches!(TlsMaterial::load(&empty, &one, now), Err(TlsError::NoCertificate { path }) if path == empty));
        assert!(matches!(TlsMaterial::load(&one, &empty, now), Err(TlsError::NoKey { path }) if path == empty));
        assert!(matches!(TlsMaterial::load(&one, &other, now), Err(TlsError::Mismatch { key, .. }) if key == other));
        let bad = SelfSigned::new(dir.path().join("bad"), ["two words".to_owned()]);
        assert!(matches!(bad.load_or_create(now), Err(TlsError::Unusable { .. })));
    }
}
