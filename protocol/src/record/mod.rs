//! Signed records: what a resource is, as an RFC 9421 response signature of the publisher.
//!
//! Invariant: a [`SignedRecord`] exists only where the signature was made or verified here; its body, headers and
//! field values therefore always agree. Field values are kept exactly as signed, since viewers get them as they are.

mod body;
mod error;
mod field;
mod headers;
mod signature;
mod signed;

pub use body::{MAX_CONTENT_TYPE, RecordBody};
pub use error::RecordError;
pub use headers::{HeaderBlock, HeaderError, MAX_HEADER_BYTES, MAX_HEADER_FIELDS};
pub use signature::{RECORD_LABEL, RECORD_TAG};
pub use signed::{MAX_RECORD, RecordFields, SignedRecord, UnverifiedRecord};

pub(crate) use body::unfit_type;
