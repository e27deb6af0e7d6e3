//! What a witness does about a request.
//!
//! Invariant: for each log the signed sizes never shrink, and every signed tree begins with the one signed before.

use weir_protocol::time::UnixMillis;

use crate::merkle::{TreeSize, verify_consistency};
use crate::note::{Checkpoint, NoteKey, NoteSignature, NoteVerifier, SignedCheckpoint, cosign};
use crate::witness::message::AddCheckpoint;

/// Why a witness does not sign; each has its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 404: no log of this origin is known.
    #[error("this witness does not know the log {0}")]
    UnknownLog(String),
    /// 403: no signature of the log's key.
    #[error("the checkpoint is not signed by the log")]
    Unsigned,
    /// 400: the old size is larger than the new one, or there is no checkpoint in the request.
    #[error("{0}")]
    Malformed(&'static str),
    /// 409: the witness has cosigned this size.
    #[error("this witness cosigned {0} leaves last")]
    Conflict(TreeSize),
    /// 409: the same size with another root: a fork, of which both notes are the proof.
    #[error("the log signed another root of the same size before")]
    Forked,
    /// 422: the proof does not hold.
    #[error("the consistency proof does not hold")]
    Inconsistent,
}

impl Refusal {
    /// The status that `tlog-witness` asks for.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::UnknownLog(_) => 404,
            Self::Unsigned => 403,
            Self::Malformed(_) => 400,
            Self::Conflict(_) | Self::Forked => 409,
            Self::Inconsistent => 422,
        }
    }
}

/// A witness of some logs.
#[derive(Debug)]
pub struct Witness {
    key: NoteKey,
    logs: Vec<NoteVerifier>,
}

impl Witness {
    /// A witness with its key and the logs it watches.
    #[must_use]
    pub fn new(key: NoteKey, logs: Vec<NoteVerifier>) -> Self {
        Self { key, logs }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &NoteVerifier {
        self.key.verifier()
    }

    /// The log that a request is about.
    ///
    /// # Errors
    /// [`Refusal::UnknownLog`], [`Refusal::Malformed`].
    pub fn log(&self, request: &AddCheckpoint) -> Result<&NoteVerifier, Refusal> {
        let checkpoint =
            Checkpoint::parse(request.note.text()).map_err(|_| Refusal::Malformed("the note is no checkpoint"))?;
        let known = self.logs.iter().find(|log| log.name() == checkpoint.origin);
        known.ok_or(Refusal::UnknownLog(checkpoint.origin))
    }

    /// Decides about a request. `latest` is what the witness signed last for this log. The caller stores the returned
    /// checkpoint as the latest, in one step with this decision, before it lets the signature out.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn decide(
        &self,
        request: &AddCheckpoint,
        latest: Option<&SignedCheckpoint>,
        now: UnixMillis,
    ) -> Result<(SignedCheckpoint, NoteSignature), Refusal> {
        let log = self.log(request)?;
        let checkpoint = SignedCheckpoint::verify(&request.note.to_string(), log).map_err(|_| Refusal::Unsigned)?;
        let Checkpoint { size, root, .. } = *checkpoint.checkpoint();
        if request.old > size {
            return Err(Refusal::Malformed("the old size is larger than the checkpoint's"));
        }
        let signed = latest.map_or(TreeSize::EMPTY, |latest| latest.checkpoint().size);
        if request.old != signed {
            return Err(Refusal::Conflict(signed));
        }
        match latest.map(SignedCheckpoint::checkpoint) {
            Some(latest) if latest.size == size && latest.root != root => return Err(Refusal::Forked),
            Some(latest) => verify_consistency(latest.size, latest.root, size, root, &request.proof)
                .map_err(|_| Refusal::Inconsistent)?,
            None if !request.proof.is_empty() => return Err(Refusal::Inconsistent),
            None => {}
        }
        let signature = cosign(checkpoint.note().text(), &self.key, now).map_err(|_| Refusal::Unsigned)?;
        Ok((checkpoint, signature))
    }
}
