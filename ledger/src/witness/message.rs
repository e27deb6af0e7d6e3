//! The request `add-checkpoint` and its answers as text.

use std::fmt;

use crate::merkle::{NodeHash, TreeSize};
use crate::note::{MAX_NOTE, Note, NoteSignature};

/// Longest request, in bytes.
pub const MAX_REQUEST: usize = MAX_NOTE + 4096;
/// Most hashes in a consistency proof, as the specification bounds it.
const MAX_PROOF: usize = 63;

/// A log asks a witness to cosign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness cosigned last, as the log knows.
    pub old: TreeSize,
    /// Consistency proof from there.
    pub proof: Vec<NodeHash>,
    /// The checkpoint.
    pub note: Note,
}

impl AddCheckpoint {
    /// Reads a request body.
    ///
    /// # Errors
    /// What is wrong with it, for a 400.
    pub fn parse(body: &str) -> Result<Self, &'static str> {
        if body.len() > MAX_REQUEST {
            return Err("the request is too long");
        }
        let (head, note) = body.split_once("\n\n").ok_or("no empty line before the checkpoint")?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).ok_or("the first line is `old SIZE`")?;
        let old = old.parse().map_err(|_| "the old size is no number")?;
        let proof: Vec<NodeHash> = lines
            .by_ref()
            .take(MAX_PROOF + 1)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| "a line is no hash")?;
        if proof.len() > MAX_PROOF {
            return Err("more than 63 hashes");
        }
        let note = Note::parse(note).map_err(|_| "the checkpoint is no signed note")?;
        Ok(Self { old, proof, note })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.note)
    }
}

/// What a witness answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It signed.
    Cosigned(Vec<NoteSignature>),
    /// It has cosigned another size.
    Conflict(TreeSize),
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// What the witness refused, for a log line.
    pub fn read(status: u16, body: &str) -> Result<Self, String> {
        match status {
            200 => {
                let lines = body.lines().map(NoteSignature::parse).collect::<Result<_, _>>();
                lines.map(Self::Cosigned).map_err(|error| error.to_string())
            }
            409 => {
                let size = body.strip_suffix('\n').unwrap_or(body).parse();
                size.map(Self::Conflict).map_err(|_| "it holds another history of the same size".into())
            }
            _ => Err(format!("status {status}")),
        }
    }
}
