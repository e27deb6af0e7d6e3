//! The certificate in use, swappable while doors run: each new connection takes what is held then.

use super::{TlsError, TlsMaterial};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use std::{path::PathBuf, sync::Arc};

struct Held {
    tcp: Arc<ServerConfig>,
    quic: Arc<ServerConfig>,
}

/// Holds the rustls configurations of one certificate.
pub struct TlsHolder {
    held: ArcSwap<Held>,
}

impl TlsHolder {
    /// Holds `material`.
    ///
    /// # Errors
    /// [`TlsError::Unusable`] when rustls refuses it.
    pub fn new(material: &TlsMaterial) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self { held: ArcSwap::from_pointee(hold(material)?) }))
    }

    /// Replaces the certificate for connections from now on; on an error the old one stays.
    ///
    /// # Errors
    /// As [`TlsHolder::new`].
    pub fn swap(&self, material: &TlsMaterial) -> Result<(), TlsError> {
        self.held.store(Arc::new(hold(material)?));
        Ok(())
    }

    /// Configuration for TCP doors.
    pub fn tcp(&self) -> Arc<ServerConfig> {
        self.held.load().tcp.clone()
    }

    /// Configuration for HTTP/3 doors.
    pub fn quic(&self) -> Arc<ServerConfig> {
        self.held.load().quic.clone()
    }
}

fn hold(material: &TlsMaterial) -> Result<Held, TlsError> {
    let unusable =
        |error: rustls::Error| TlsError::Unusable { path: PathBuf::from("certificate"), reason: error.to_string() };
    Ok(Held { tcp: Arc::new(material.tcp().map_err(unusable)?), quic: Arc::new(material.quic().map_err(unusable)?) })
}
