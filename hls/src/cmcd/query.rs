//! The `CMCD` parameter of a query. Invariant: nothing longer than [`MAX_TEXT`] leaves, decoded.

use super::MAX_TEXT;

/// The parameter's name: case matters (CTA-5004, section 2.1).
pub const QUERY_PARAMETER: &str = "CMCD";

/// The decoded value of the parameter; of several, the first.
pub(super) fn find(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name == QUERY_PARAMETER).then_some(value)
    })?;
    // Each byte takes at most three.
    if value.len() > 3 * MAX_TEXT {
        return None;
    }
    decode(value).filter(|text| text.len() <= MAX_TEXT)
}

/// Removes percent-encoding; `None` where the octets are not UTF-8 or an encoding is broken.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            out.push(digit()? << 4 | digit()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}
