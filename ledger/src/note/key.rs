//! Keys of logs and witnesses, in the text forms of Go's `note` package, which other transparency tools read too.
//!
//! Invariant: a key id is computed from name, type and key, never taken from the text alone.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// Longest key name, in bytes.
const MAX_NAME: usize = 256;
/// Begins the text form of a secret key.
const SECRET_PREFIX: &str = "PRIVATE+KEY+";

/// Why a text is no note key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteKeyError {
    /// Empty, too long, or with a space or a plus.
    #[error("a key name is 1 to 256 bytes without spaces, plus signs and control characters")]
    Name,
    /// Not `NAME+ID+KEY`.
    #[error("a note key has the form NAME+ID+KEY (secret ones PRIVATE+KEY+NAME+ID+KEY)")]
    Form,
    /// A signature type that is not supported.
    #[error("signature type {0} is not supported: 1 (Ed25519) and 4 (cosignature/v1) are")]
    Kind(u8),
    /// The id does not belong to the key.
    #[error("the key's id does not belong to the key")]
    Id,
    /// Not an Ed25519 key, or one of small order.
    #[error("not a usable Ed25519 key")]
    Key,
}

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyKind {
    /// A log's checkpoints: signature type 0x01.
    Log = 0x01,
    /// A witness's cosignatures: signature type 0x04.
    Witness = 0x04,
}

impl KeyKind {
    fn from_number(number: u8) -> Result<Self, NoteKeyError> {
        match number {
            0x01 => Ok(Self::Log),
            0x04 => Ok(Self::Witness),
            other => Err(NoteKeyError::Kind(other)),
        }
    }
}

fn check_name(name: &str) -> Result<(), NoteKeyError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(bad) { Err(NoteKeyError::Name) } else { Ok(()) }
}

fn key_id(name: &str, kind: KeyKind, public: &[u8; 32]) -> [u8; 4] {
    let hash = Sha256::new().chain_update(name).chain_update(b"\n").chain_update([kind as u8]).chain_update(public);
    let mut id = [0; 4];
    id.copy_from_slice(&hash.finalize()[..4]);
    id
}

/// The public half of a note key.
#[derive(Clone, PartialEq, Eq)]
pub struct NoteVerifier {
    name: String,
    kind: KeyKind,
    id: [u8; 4],
    key: VerifyingKey,
}

impl NoteVerifier {
    /// The key with this name.
    ///
    /// # Errors
    /// [`NoteKeyError`].
    pub fn new(name: &str, kind: KeyKind, public: &[u8; 32]) -> Result<Self, NoteKeyError> {
        check_name(name)?;
        let key = VerifyingKey::from_bytes(public).map_err(|_| NoteKeyError::Key)?;
        if key.is_weak() {
            return Err(NoteKeyError::Key);
        }
        Ok(Self { name: name.to_owned(), kind, id: key_id(name, kind, public), key })
    }

    /// The key's name: a log's origin, a witness's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it verifies.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The four bytes that stand before a signature.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for NoteVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind as u8], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, HEXLOWER.encode(&self.id), BASE64.encode(&key))
    }
}

impl fmt::Debug for NoteVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for NoteVerifier {
    type Err = NoteKeyError;

    fn from_str(text: &str) -> Result<Self, NoteKeyError> {
        let (name, id, kind, key) = parts(text)?;
        let verifier = Self::new(name, kind, &key)?;
        if verifier.id != id { Err(NoteKeyError::Id) } else { Ok(verifier) }
    }
}

/// NAME, id, type and 32 key bytes.
type Parts<'a> = (&'a str, [u8; 4], KeyKind, [u8; 32]);

/// Splits a key's text. A base64 key may itself contain plus signs, so the text splits at its first two.
fn parts(text: &str) -> Result<Parts<'_>, NoteKeyError> {
    let (name, rest) = text.split_once('+').ok_or(NoteKeyError::Form)?;
    let (id, key) = rest.split_once('+').ok_or(NoteKeyError::Form)?;
    let id = HEXLOWER.decode(id.as_bytes()).map_err(|_| NoteKeyError::Form)?;
    let id = id.try_into().map_err(|_| NoteKeyError::Form)?;
    let key = BASE64.decode(key.as_bytes()).map_err(|_| NoteKeyError::Form)?;
    let (kind, key) = key.split_first().ok_or(NoteKeyError::Form)?;
    let kind = KeyKind::from_number(*kind)?;
    Ok((name, id, kind, key.try_into().map_err(|_| NoteKeyError::Key)?))
}

/// A secret note key. Wiped when dropped (ed25519-dalek does it) and never printed but by [`secret_text`](Self::secret_text).
pub struct NoteKey {
    verifier: NoteVerifier,
    key: SigningKey,
}

impl NoteKey {
    /// A key from its 32 secret bytes.
    ///
    /// # Errors
    /// [`NoteKeyError::Name`].
    pub fn new(name: &str, kind: KeyKind, secret: &[u8; 32]) -> Result<Self, NoteKeyError> {
        let key = SigningKey::from_bytes(secret);
        Ok(Self { verifier: NoteVerifier::new(name, kind, key.verifying_key().as_bytes())?, key })
    }

    /// Reads the text form that [`secret_text`](Self::secret_text) writes.
    ///
    /// # Errors
    /// [`NoteKeyError`].
    pub fn from_secret_text(text: &str) -> Result<Self, NoteKeyError> {
        let (name, id, kind, secret) = parts(text.strip_prefix(SECRET_PREFIX).ok_or(NoteKeyError::Form)?)?;
        let key = Self::new(name, kind, &secret)?;
        if key.verifier.id != id { Err(NoteKeyError::Id) } else { Ok(key) }
    }

    /// The secret in text form, for a file that nobody else can read.
    #[must_use]
    pub fn secret_text(&self) -> String {
        let secret = [&[self.verifier.kind as u8], self.key.as_bytes().as_slice()].concat();
        let id = HEXLOWER.encode(&self.verifier.id);
        format!("{SECRET_PREFIX}{}+{id}+{}", self.verifier.name, BASE64.encode(&secret))
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteKey({}, secret redacted)", self.verifier.name)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{KeyKind, NoteKey, NoteKeyError, NoteVerifier};

    #[test]
    fn keys_of_gos_note_package_are_read() {
        // The example keys in the documentation of golang.org/x/mod/sumdb/note.
        let secret = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let public = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let key = NoteKey::from_secret_text(secret).unwrap();
        assert_eq!(key.verifier().to_string(), public);
        assert_eq!(key.secret_text(), secret);
        assert_eq!(public.parse::<NoteVerifier>().unwrap(), *key.verifier());
        assert!(!format!("{key:?}").contains("AYEK"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let public = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let refused = |text: &str| text.parse::<NoteVerifier>().unwrap_err();
        assert_eq!(refused(&public.replace("c74f", "c74e")), NoteKeyError::Id);
        assert_eq!(refused(&public.replace("Peter", "Pete")), NoteKeyError::Id);
        assert_eq!(refused("name+00000000+AQ=="), NoteKeyError::Key);
        assert_eq!(refused("name"), NoteKeyError::Form);
        assert_eq!(refused("name+00000000+Bg=="), NoteKeyError::Kind(6));
        assert_eq!(NoteKey::new("a b", KeyKind::Log, &[1; 32]).unwrap_err(), NoteKeyError::Name);
        assert_eq!(NoteKey::new("", KeyKind::Log, &[1; 32]).unwrap_err(), NoteKeyError::Name);
    }
}
