//! The note format: a text, an empty line, signature lines (C2SP `signed-note`).
//!
//! Invariant: `Display` of a parsed note is the note, byte by byte.

use std::fmt;

use data_encoding::BASE64;

use crate::note::key::{KeyKind, NoteKey, NoteVerifier};

/// Longest note, in bytes.
pub const MAX_NOTE: usize = 64 * 1024;
/// Most signatures on a note; the specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 64;
/// Begins a signature line: em dash and space.
const MARK: &str = "— ";

/// Why bytes are no note, or a note is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a note: too long, no signatures, control characters, or a malformed signature line.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// The known key's signature is wrong.
    #[error("the signature of {0} does not verify")]
    BadSignature(String),
    /// There is no signature of the key.
    #[error("there is no signature of {0}")]
    Unsigned(String),
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub id: [u8; 4],
    /// What the key's type of signature consists of.
    pub signature: Vec<u8>,
}

impl NoteSignature {
    /// Reads a line `— NAME BASE64`, without its line feed.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed("a signature line is `— NAME BASE64`");
        let rest = line.strip_prefix(MARK).ok_or_else(|| malformed.clone())?;
        let (name, signature) = rest.split_once(' ').ok_or_else(|| malformed.clone())?;
        if name.is_empty() || name.contains('+') || name.chars().any(char::is_whitespace) {
            return Err(malformed);
        }
        let bytes = BASE64.decode(signature.as_bytes()).map_err(|_| malformed.clone())?;
        let (id, signature) = bytes.split_first_chunk::<4>().ok_or_else(|| malformed.clone())?;
        if signature.is_empty() {
            return Err(malformed);
        }
        Ok(Self { name: name.to_owned(), id: *id, signature: signature.to_vec() })
    }

    /// Whether this is a signature of the key, going by name and id.
    #[must_use]
    pub fn is_of(&self, key: &NoteVerifier) -> bool {
        self.name == key.name() && self.id == key.id()
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{} {}", self.name, BASE64.encode(&[&self.id, self.signature.as_slice()].concat()))
    }
}

/// A text and its signatures, of which none has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Signs a text, which must end in a line feed, with a key of type 0x01.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn sign(text: String, key: &NoteKey) -> Result<Self, NoteError> {
        check_text(&text)?;
        if key.verifier().kind() != KeyKind::Log {
            return Err(NoteError::Malformed("a witness's key signs cosignatures only"));
        }
        let signature = key.sign(text.as_bytes()).to_vec();
        let signature = NoteSignature { name: key.verifier().name().to_owned(), id: key.verifier().id(), signature };
        Ok(Self { text, signatures: vec![signature] })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE {
            return Err(NoteError::Malformed("longer than 64 KiB"));
        }
        let at = note.rfind("\n\n").ok_or(NoteError::Malformed("no empty line before the signatures"))?;
        let (text, signatures) = (&note[..=at], &note[at + 2..]);
        check_text(text)?;
        let lines = signatures.strip_suffix('\n').ok_or(NoteError::Malformed("no line feed at the end"))?;
        let signatures: Vec<_> = lines.split('\n').map(NoteSignature::parse).collect::<Result<_, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::Malformed("more than 64 signatures"));
        }
        let note_again = Self { text: text.to_owned(), signatures };
        if note_again.to_string() != note {
            return Err(NoteError::Malformed("a signature in a second spelling"));
        }
        Ok(note_again)
    }

    /// The signed text with its last line feed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature, unless the same key has one already: the later one counts.
    pub fn add(&mut self, signature: NoteSignature) {
        self.signatures.retain(|other| (&other.name, other.id) != (&signature.name, signature.id));
        if self.signatures.len() < MAX_SIGNATURES {
            self.signatures.push(signature);
        }
    }

    /// Verifies the signature of a log's key.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`], [`NoteError::BadSignature`].
    pub fn verify(&self, key: &NoteVerifier) -> Result<(), NoteError> {
        let unsigned = || NoteError::Unsigned(key.name().to_owned());
        if key.kind() != KeyKind::Log {
            return Err(unsigned());
        }
        let signature = self.signatures.iter().find(|signature| signature.is_of(key)).ok_or_else(unsigned)?;
        let verified = <&[u8; 64]>::try_from(signature.signature.as_slice())
            .is_ok_and(|bytes| key.verify(self.text.as_bytes(), bytes));
        if verified { Ok(()) } else { Err(NoteError::BadSignature(key.name().to_owned())) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if !text.ends_with('\n') || text.len() < 2 {
        return Err(NoteError::Malformed("the text must end in a line feed"));
    }
    if text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(NoteError::Malformed("a control character"));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Note, NoteError};
    use crate::note::key::{KeyKind, NoteKey, NoteVerifier};

    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_note_of_gos_package_verifies() {
        // The example note in the documentation of golang.org/x/mod/sumdb/note.
        let key: NoteVerifier = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        let note = Note::parse(GO_NOTE).unwrap();
        note.verify(&key).unwrap();
        assert_eq!(note.to_string(), GO_NOTE);
        let secret = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let again = Note::sign(note.text().to_owned(), &NoteKey::from_secret_text(secret).unwrap()).unwrap();
        assert_eq!(again.to_string(), GO_NOTE, "Ed25519 signatures are deterministic");
        let changed = Note::parse(&GO_NOTE.replace("answer", "Answer")).unwrap();
        assert_eq!(changed.verify(&key), Err(NoteError::BadSignature("PeterNeumann".into())));
    }

    #[test]
    fn an_unknown_signature_is_none() {
        let key = NoteKey::new("other", KeyKind::Log, &[1; 32]).unwrap();
        let note = Note::parse(GO_NOTE).unwrap();
        assert_eq!(note.verify(key.verifier()), Err(NoteError::Unsigned("other".into())));
    }

    #[test]
    fn malformed_notes_are_refused() {
        for bad in ["", "text\n", "text\n\n", "text\n\nno mark\n", "\u{1}\n\n— a AAAAAAA=\n", &format!("{GO_NOTE}x")]
        {
            assert!(matches!(Note::parse(bad), Err(NoteError::Malformed(_))), "{bad:?}");
        }
        assert!(Note::parse(&GO_NOTE[..GO_NOTE.len() - 1]).is_err(), "no line feed at the end");
    }
}
