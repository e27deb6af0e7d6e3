//! A witness's timestamped signature under a checkpoint (C2SP `tlog-cosignature`, `cosignature/v1`).

use weir_protocol::time::UnixMillis;

use crate::note::key::{KeyKind, NoteKey, NoteVerifier};
use crate::note::text::{Note, NoteError, NoteSignature};

/// What a cosignature states besides the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cosigned {
    /// When the witness signed, in seconds since 1970.
    pub seconds: u64,
}

/// Signs a checkpoint's text as a witness that saw no larger tree of this log.
///
/// # Errors
/// [`NoteError::Unsigned`] if the key is not a witness's.
pub fn cosign(text: &str, key: &NoteKey, now: UnixMillis) -> Result<NoteSignature, NoteError> {
    let verifier = key.verifier();
    if verifier.kind() != KeyKind::Witness {
        return Err(NoteError::Unsigned(verifier.name().to_owned()));
    }
    let seconds = now.as_secs();
    let mut signature = seconds.to_be_bytes().to_vec();
    signature.extend_from_slice(&key.sign(message(text, seconds).as_bytes()));
    Ok(NoteSignature { name: verifier.name().to_owned(), id: verifier.id(), signature })
}

/// Verifies a witness's signature under a note.
///
/// # Errors
/// [`NoteError::Unsigned`], [`NoteError::BadSignature`].
pub fn verify_cosignature(note: &Note, witness: &NoteVerifier) -> Result<Cosigned, NoteError> {
    let unsigned = || NoteError::Unsigned(witness.name().to_owned());
    if witness.kind() != KeyKind::Witness {
        return Err(unsigned());
    }
    let line = note.signatures().iter().find(|line| line.is_of(witness)).ok_or_else(unsigned)?;
    let bad = || NoteError::BadSignature(witness.name().to_owned());
    let (seconds, signature) = line.signature.split_first_chunk::<8>().ok_or_else(bad)?;
    let seconds = u64::from_be_bytes(*seconds);
    let signature = <&[u8; 64]>::try_from(signature).map_err(|_| bad())?;
    if seconds > i64::MAX as u64 || !witness.verify(message(note.text(), seconds).as_bytes(), signature) {
        return Err(bad());
    }
    Ok(Cosigned { seconds })
}

fn message(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Cosigned, cosign, verify_cosignature};
    use crate::note::key::{KeyKind, NoteKey};
    use crate::note::text::{Note, NoteError};
    use weir_protocol::time::UnixMillis;

    #[test]
    fn a_cosignature_binds_text_and_time() {
        let log = NoteKey::new("log.example", KeyKind::Log, &[1; 32]).unwrap();
        let witness = NoteKey::new("witness.example", KeyKind::Witness, &[2; 32]).unwrap();
        let mut note =
            Note::sign("log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".into(), &log).unwrap();
        assert!(matches!(verify_cosignature(&note, witness.verifier()), Err(NoteError::Unsigned(_))));
        note.add(cosign(note.text(), &witness, UnixMillis(1_679_315_147_999)).unwrap());
        let note = Note::parse(&note.to_string()).unwrap();
        note.verify(log.verifier()).unwrap();
        assert_eq!(verify_cosignature(&note, witness.verifier()), Ok(Cosigned { seconds: 1_679_315_147 }));
        let mut later = note.clone();
        let mut line = note.signatures()[1].clone();
        line.signature[7] ^= 1;
        later.add(line);
        assert!(matches!(verify_cosignature(&later, witness.verifier()), Err(NoteError::BadSignature(_))));
        assert!(cosign(note.text(), &log, UnixMillis(0)).is_err(), "a log's key is no witness's");
        assert!(verify_cosignature(&note, log.verifier()).is_err());
    }
}
