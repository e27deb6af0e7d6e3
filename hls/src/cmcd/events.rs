//! Reports that a version 2 player sends by themselves: a body of lines, each one report (`application/cmcd`).
//!
//! Invariant: bounds are held against the body before a line is read; a line that cannot be read is counted, and the
//! others are taken.

use super::Cmcd;

/// Longest body, in bytes.
pub const MAX_EVENTS_BYTES: usize = 64 * 1024;
/// Reports in one body.
pub const MAX_EVENTS: usize = 256;

/// Why a body is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Longer than [`MAX_EVENTS_BYTES`].
    #[error("a body of reports is at most 65536 bytes")]
    TooLong,
    /// More than [`MAX_EVENTS`] lines.
    #[error("a body holds at most 256 reports")]
    TooMany,
    /// Not UTF-8.
    #[error("reports are text")]
    NotText,
    /// Not one line in it is a report with `e` and `ts`.
    #[error("there is no report in the body: each line is key=value,… with at least e and ts")]
    Nothing,
}

/// The reports of a body, and how many lines were none.
///
/// # Errors
/// [`EventError`].
pub fn events(body: &[u8]) -> Result<(Vec<Cmcd>, usize), EventError> {
    if body.len() > MAX_EVENTS_BYTES {
        return Err(EventError::TooLong);
    }
    let text = std::str::from_utf8(body).map_err(|_| EventError::NotText)?;
    let lines: Vec<&str> =
        text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).take(MAX_EVENTS + 1).collect();
    if lines.len() > MAX_EVENTS {
        return Err(EventError::TooMany);
    }
    // What has no event or no time is a request's report that has lost its request.
    let read = |line: &&str| Cmcd::parse(line).filter(|report| report.event.is_some() && report.at_ms.is_some());
    let reports: Vec<Cmcd> = lines.iter().filter_map(read).collect();
    if reports.is_empty() {
        return Err(EventError::Nothing);
    }
    let unread = lines.len() - reports.len();
    Ok((reports, unread))
}
