//! The settlement's lines as CSV (RFC 4180), for spreadsheets. Sorted as in the JSON; every line ends in CR LF.

use std::fmt::Write as _;

use crate::settle::line::Line;

/// The first line.
const HEADER: &str = "epoch,relay,kind,path,grade,claimed,accepted,rejected,inflation_ppm,amount,creator,creator_amount,\
    platform_amount,to_peers,relay_amount,held,paid,release_epoch\r\n";

/// The lines as CSV, each with whether it is released.
pub(super) fn csv<'a>(lines: impl Iterator<Item = (&'a Line, bool)>) -> String {
    let mut text = HEADER.to_owned();
    for (line, released) in lines {
        let rejected: Vec<String> =
            line.rejected.iter().map(|(reason, bytes)| format!("{}={bytes}", reason.code())).collect();
        let (held, paid) = if released { (0, line.relay_amount) } else { (line.relay_amount, 0) };
        let grade = format!("{:?}", line.grade);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{},{},{},{},{grade},{},{},{},{},{},{},{},{},{},{},{held},{paid},{}\r\n",
            line.epoch,
            line.relay,
            line.kind.name(),
            field(&line.path),
            line.claimed,
            line.accepted,
            rejected.join(" "),
            line.inflation_ppm,
            line.amount,
            field(line.creator.as_deref().unwrap_or_default()),
            line.creator_amount,
            line.platform_amount,
            line.to_peers,
            line.relay_amount,
            line.release_epoch,
        );
    }
    text
}

/// Quotes what needs it.
pub(crate) fn field(text: &str) -> String {
    if text.contains(['"', ',', '\r', '\n', ';']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_are_quoted_when_they_must_be() {
        assert_eq!(field("plain text"), "plain text");
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
