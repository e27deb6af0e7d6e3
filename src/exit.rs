//! Exit codes: 0 · 1 runtime · 2 usage · 3 a check failed · 69 port busy · 73 data directory · 77 permission ·
//! 78 configuration (after sysexits.h). Every failure is one line that names what, where, and what to do.

use std::{fmt, io, process::ExitCode};
use weir_edge::{doors::DoorError, routes::SiteError, tls::TlsError};
use weir_origin::{folder::FolderError, keys::PublisherKeysError};
use weir_relay::{
    access::KeepError,
    meter::JournalError,
    node::{IdentityError, JoinError, PeerSideError},
    quic::BindError,
    source::UpstreamError,
    store::StoreError,
};

/// A failure with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

pub(crate) const RUNTIME: u8 = 1;
pub(crate) const CHECK_FAILED: u8 = 3;
pub(crate) const PORT_BUSY: u8 = 69;
pub(crate) const DATA_DIRECTORY: u8 = 73;
pub(crate) const PERMISSION: u8 = 77;
pub(crate) const CONFIGURATION: u8 = 78;

impl Failure {
    pub(crate) fn new(code: u8, text: impl fmt::Display) -> Self {
        Self { code, text: text.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

macro_rules! failure {
    ($error:ty, |$name:ident| $code:expr) => {
        impl From<$error> for Failure {
            fn from($name: $error) -> Self {
                Self::new($code, &$name)
            }
        }
    };
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let busy = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| cause.kind() == io::ErrorKind::AddrInUse);
        Self::new(if busy { PORT_BUSY } else { RUNTIME }, format!("{error:#}"))
    }
}

failure!(prometheus::Error, |_error| RUNTIME);
failure!(UpstreamError, |_error| CONFIGURATION);
failure!(SiteError, |_error| CONFIGURATION);
failure!(PublisherKeysError, |error| match error {
    PublisherKeysError::File(_) => DATA_DIRECTORY,
    PublisherKeysError::List(_) => RUNTIME,
});
failure!(IdentityError, |_error| DATA_DIRECTORY);
failure!(JournalError, |_error| DATA_DIRECTORY);
failure!(FolderError, |_error| CONFIGURATION);
failure!(StoreError, |_error| DATA_DIRECTORY);
failure!(DoorError, |error| match error {
    DoorError::Busy { .. } => PORT_BUSY,
    DoorError::Denied { .. } => PERMISSION,
    DoorError::Certificate(_) => CONFIGURATION,
    _ => RUNTIME,
});
failure!(TlsError, |error| match error {
    TlsError::Write { .. } => DATA_DIRECTORY,
    _ => CONFIGURATION,
});
failure!(KeepError, |_error| DATA_DIRECTORY);
failure!(JoinError, |error| match error {
    JoinError::Url(_) | JoinError::Changed(_) | JoinError::Document(..) | JoinError::NotAllowed(..) => CONFIGURATION,
    JoinError::Keep(..) | JoinError::State(_) => DATA_DIRECTORY,
    JoinError::Fetch(..) => RUNTIME,
});

impl From<PeerSideError> for Failure {
    fn from(error: PeerSideError) -> Self {
        match &error {
            PeerSideError::Bind(BindError::PortBusy(address)) => Self::new(
                PORT_BUSY,
                format!("UDP {address} is in use by another program; stop it or choose another peer address (--peer)"),
            ),
            PeerSideError::Bind(BindError::Io { address, source })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Self::new(PERMISSION, format!("no permission to listen on UDP {address}; choose a port above 1023"))
            }
            PeerSideError::Bind(BindError::Io { address, source }) => {
                Self::new(RUNTIME, format!("cannot listen on UDP {address}: {source}"))
            }
            _ => Self::new(RUNTIME, &error),
        }
    }
}

/// Tells the operator, and ends with the failure's code.
pub(crate) fn fail(failure: &Failure) -> ExitCode {
    eprintln!("weir: {failure}");
    ExitCode::from(failure.code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn a_busy_port_is_told_with_its_whole_chain() {
        let failed =
            |kind: io::ErrorKind| Err::<(), _>(io::Error::from(kind)).context("while listening on 127.0.0.1:1");
        for (kind, code) in [(io::ErrorKind::AddrInUse, PORT_BUSY), (io::ErrorKind::NotFound, RUNTIME)] {
            let failure = Failure::from(failed(kind).expect_err("it failed"));
            assert_eq!(failure.code, code);
            assert_eq!(failure.text, format!("while listening on 127.0.0.1:1: {}", io::Error::from(kind)));
        }
    }
}
