//! Withdraws content: signs takedowns, tells the directory, and keeps them. Invariant: serial numbers only grow, over
//! restarts and over clocks that were set back.

use crate::keys::Signer;
use std::sync::{Arc, Mutex, PoisonError};
use weir_protocol::{
    ids::PublisherId,
    takedown::{SignedTakedown, Takedown, Target},
    time::UnixMillis,
};
use weir_relay::{
    access::{KeepError, Kept, MAX_HELD_TAKEDOWNS, Verdict},
    clock::Clock,
    peer::Directory,
};

/// Why something is not withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    /// There is no room for another takedown.
    #[error(
        "{MAX_HELD_TAKEDOWNS} takedowns are in force, and relays hold no more: lift some, or take down a path above them"
    )]
    Full,
    /// It is in force at every relay, but would be forgotten by the adapter.
    #[error("it is in force, but it is not kept over a restart: {0}")]
    NotKept(#[from] KeepError),
}

/// Withdraws a publisher's content.
pub struct Takedowns {
    publisher: PublisherId,
    signer: Arc<Signer>,
    directory: Arc<Directory>,
    kept: Kept,
    clock: Clock,
    /// Serial numbers are given one at a time.
    issuing: Mutex<()>,
}

impl Takedowns {
    /// Takes up what was in force before a restart, from `kept`.
    pub fn open(signer: Arc<Signer>, directory: Arc<Directory>, kept: Kept, clock: Clock) -> Result<Self, KeepError> {
        let publisher = directory.publisher();
        directory.restore(kept.takedowns(publisher)?);
        Ok(Self { publisher, signer, directory, kept, clock, issuing: Mutex::new(()) })
    }

    /// Withdraws a target at every relay, for so many milliseconds or until it is lifted. Writes a file.
    pub fn take_down(&self, target: Target, for_ms: Option<u64>) -> Result<Takedown, WithdrawError> {
        self.issue(target, |serial| for_ms.map(|ms| serial.plus_ms(ms.max(1))))
    }

    /// Lets a target be served again.
    pub fn lift(&self, target: Target) -> Result<Takedown, WithdrawError> {
        self.issue(target, Some)
    }

    /// What is withdrawn now, oldest first.
    pub fn in_force(&self) -> Vec<Takedown> {
        self.directory.withdrawn().book().in_force(self.clock.now())
    }

    fn issue(
        &self,
        target: Target,
        until: impl FnOnce(UnixMillis) -> Option<UnixMillis>,
    ) -> Result<Takedown, WithdrawError> {
        let _alone = self.issuing.lock().unwrap_or_else(PoisonError::into_inner);
        let serial = self.clock.now().max(self.directory.withdrawn().book().newest().plus_ms(1));
        let takedown = Takedown { publisher: self.publisher, serial, until: until(serial), target };
        let signed = SignedTakedown::sign(takedown.clone(), self.signer.key());
        if self.directory.take_down(&signed) == Verdict::Full {
            return Err(WithdrawError::Full);
        }
        let encoded = self.directory.withdrawn().book().encode();
        self.kept.keep_takedowns(&encoded)?;
        Ok(takedown)
    }
}
