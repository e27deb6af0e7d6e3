//! Why a relay does not serve what it could.

/// Why a resource is not served here, whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// Its publisher has taken it down: no relay of the network has it.
    #[error("its publisher has taken it down")]
    TakenDown,
    /// This relay's operator refuses it; other relays may have it.
    #[error("this relay's operator does not serve it")]
    Blocked,
    /// The publisher has granted other paths only, or has refused this relay.
    #[error("its publisher has not granted it to this relay")]
    NotGranted,
}
