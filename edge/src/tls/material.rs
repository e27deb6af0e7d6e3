//! A certificate chain with its key, checked, and the rustls configurations made of it.

use super::der::Certificate;
use data_encoding::BASE64;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::ResolvesServerCert,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

/// PEM files of certificates are a few KiB; more is a wrong file.
const MAX_PEM_BYTES: u64 = 1024 * 1024;

/// Why certificate material cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no certificate.
    #[error("{path} holds no PEM certificate (-----BEGIN CERTIFICATE-----)")]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// The file holds no private key.
    #[error("{path} holds no PEM private key (-----BEGIN PRIVATE KEY-----)")]
    NoKey {
        /// Which.
        path: PathBuf,
    },
    /// Both are readable and do not belong together.
    #[error(
        "the key in {key} does not belong to the first certificate in {certificate}; put the server's own certificate first"
    )]
    Mismatch {
        /// Certificate file.
        certificate: PathBuf,
        /// Key file.
        key: PathBuf,
    },
    /// The certificate or key is damaged or of an unknown kind.
    #[error("{path}: {reason}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A checked certificate chain with its key.
#[derive(Clone)]
pub struct TlsMaterial {
    key: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
    not_before: SystemTime,
    not_after: SystemTime,
    spki_sha256: String,
}

impl std::fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsMaterial").field("spki_sha256", &self.spki_sha256).finish_non_exhaustive()
    }
}

impl TlsMaterial {
    /// Loads a PEM chain (own certificate first) and its PEM key, which may be the same file. Warns when `now` is
    /// outside the certificate's validity: an operator may be about to replace it, and a clock may be wrong.
    ///
    /// # Errors
    /// [`TlsError`] names the file and the fault.
    pub fn load(certificate: &Path, key: &Path, now: SystemTime) -> Result<Self, TlsError> {
        let material = Self::from_pem(&read(certificate)?, certificate, &read(key)?, key)?;
        if now > material.not_after {
            tracing::warn!(path = %certificate.display(), "certificate has expired: browsers will refuse it");
        } else if now < material.not_before {
            tracing::warn!(path = %certificate.display(), "certificate is not valid yet: check the clock");
        }
        Ok(material)
    }

    /// Like [`TlsMaterial::load`], from memory; the paths only name the texts in errors.
    pub(super) fn from_pem(
        chain_pem: &[u8],
        chain_path: &Path,
        key_pem: &[u8],
        key_path: &Path,
    ) -> Result<Self, TlsError> {
        let unusable = |path: &Path, reason: String| TlsError::Unusable { path: path.into(), reason };
        let chain = CertificateDer::pem_slice_iter(chain_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(chain_path, error.to_string()))?;
        let first = chain.first().ok_or_else(|| TlsError::NoCertificate { path: chain_path.into() })?;
        let key = match PrivateKeyDer::from_pem_slice(key_pem) {
            Ok(key) => key,
            Err(rustls::pki_types::pem::Error::NoItemsFound) => return Err(TlsError::NoKey { path: key_path.into() }),
            Err(error) => return Err(unusable(key_path, error.to_string())),
        };
        let seen =
            Certificate::read(first).ok_or_else(|| unusable(chain_path, "the first certificate is damaged".into()))?;
        let (not_before, not_after) = (seen.not_before, seen.not_after);
        let spki_sha256 = BASE64.encode(&Sha256::digest(seen.public_key));
        let provider = Arc::new(provider());
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { certificate: chain_path.into(), key: key_path.into() }
            }
            error => unusable(key_path, error.to_string()),
        })?;
        Ok(Self { key: Arc::new(key), provider, not_before, not_after, spki_sha256 })
    }

    /// Last moment of validity.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Base64 of the SHA-256 of the public key (SubjectPublicKeyInfo), as Chromium's
    /// `--ignore-certificate-errors-spki-list` takes it.
    pub fn spki_sha256_base64(&self) -> &str {
        &self.spki_sha256
    }

    /// The leaf certificate in DER.
    pub fn certificate_der(&self) -> &[u8] {
        self.key.cert.first().map_or(&[], |leaf| leaf.as_ref())
    }

    /// For TCP doors: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1.
    pub(super) fn tcp(&self) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth();
        self.common(builder.with_cert_resolver(self.resolver()), &[b"h2", b"http/1.1"])
    }

    /// For HTTP/3 doors: TLS 1.3 only (RFC 9001 section 4.2).
    pub(super) fn quic(&self) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth();
        self.common(builder.with_cert_resolver(self.resolver()), &[b"h3"])
    }

    fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(SingleCertAndKey::from(self.key.clone()))
    }

    fn common(&self, mut config: ServerConfig, alpn: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // AES-128-GCM costs least per byte here; clients list it and prefer longer keys out of habit.
        config.ignore_client_order = true;
        // Sessions resume without a cache here; a swapped certificate brings a new ticket key.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(config)
    }
}

fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ];
    provider
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let fault = |source| TlsError::Read { path: path.into(), source };
    let size = fs::metadata(path).map_err(fault)?.len();
    if size > MAX_PEM_BYTES {
        return Err(TlsError::Unusable { path: path.into(), reason: format!("{size} bytes are too many for PEM") });
    }
    fs::read(path).map_err(fault)
}
