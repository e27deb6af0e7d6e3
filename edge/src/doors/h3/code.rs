//! HTTP/3 error codes (RFC 9114 section 8.1) as quinn takes them.

use h3::error::Code;
use quinn::VarInt;

/// An HTTP/3 error code for quinn.
pub(super) fn code(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).expect("HTTP/3 error codes are below 2^62")
}
