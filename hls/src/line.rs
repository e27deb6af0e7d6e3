//! Splits a playlist into lines without losing a byte, and says what each line is (section 4.1).
//!
//! Invariant: a line's `text` is a slice of the input at `start`; concatenating what lies between the texts with the
//! texts gives the input back. Both the reader and the rewriter see lines only through here, so they never disagree
//! about where a line ends or which tag it carries.

/// The UTF-8 byte order mark. Section 4.1 forbids it; some origins send it all the same.
pub(crate) const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One line, without its ending and without blanks around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Counted from 1.
    pub(crate) number: usize,
    /// Offset of `text` in the input, in bytes.
    pub(crate) start: usize,
    pub(crate) text: &'a [u8],
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    Blank,
    /// Starts with `#` but not with `#EXT`.
    Comment,
    /// `#NAME` or `#NAME:VALUE`; the name is without `#`.
    Tag {
        name: &'a str,
        value: &'a str,
        /// Offset of `value` in the input, in bytes.
        value_at: usize,
    },
    Uri(&'a str),
    /// Neither blank nor a comment, and not text: wrong UTF-8 or control characters other than a tab.
    Opaque,
}

/// Splits at LF; a CR before it belongs to the ending.
pub(crate) fn lines(input: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut at = 0;
    input.split_inclusive(|&byte| byte == b'\n').enumerate().map(move |(index, whole)| {
        let mut start = at;
        at += whole.len();
        let mut text = whole;
        if index == 0
            && let Some(rest) = text.strip_prefix(BOM)
        {
            text = rest;
            start += BOM.len();
        }
        while let [b' ' | b'\t', rest @ ..] = text {
            text = rest;
            start += 1;
        }
        while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = text {
            text = rest;
        }
        Line { number: index + 1, start, text }
    })
}

impl<'a> Line<'a> {
    pub(crate) fn kind(&self) -> Kind<'a> {
        if self.text.is_empty() {
            return Kind::Blank;
        }
        if self.text[0] == b'#' && !self.text.starts_with(b"#EXT") {
            return Kind::Comment;
        }
        let Ok(text) = std::str::from_utf8(self.text) else {
            return Kind::Opaque;
        };
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Kind::Opaque;
        }
        let Some(tag) = text.strip_prefix('#') else {
            return Kind::Uri(text);
        };
        match tag.split_once(':') {
            Some((name, value)) => Kind::Tag { name, value, value_at: self.start + 1 + name.len() + 1 },
            None => Kind::Tag { name: tag, value: "", value_at: self.start + self.text.len() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(input: &str) -> Vec<Kind<'_>> {
        lines(input.as_bytes()).map(|line| line.kind()).collect()
    }

    #[test]
    fn endings_blanks_and_the_byte_order_mark_stay_outside() {
        let input = "\u{feff}#EXTM3U\r\n\r\n  a.ts \t\r\n# note\n#EXT-X-KEY:METHOD=NONE\nlast";
        let found: Vec<_> = lines(input.as_bytes()).collect();
        assert_eq!(found.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        for line in &found {
            assert_eq!(&input.as_bytes()[line.start..line.start + line.text.len()], line.text);
        }
        assert_eq!(found[2].text, b"a.ts");
        assert_eq!(
            kinds(input),
            [
                Kind::Tag { name: "EXTM3U", value: "", value_at: 10 },
                Kind::Blank,
                Kind::Uri("a.ts"),
                Kind::Comment,
                Kind::Tag { name: "EXT-X-KEY", value: "METHOD=NONE", value_at: input.find("METHOD").unwrap_or(0) },
                Kind::Uri("last"),
            ]
        );
    }

    #[test]
    fn what_is_not_text_is_opaque() {
        let kind = |input: &'static [u8]| lines(input).next().map(|line| line.kind());
        assert_eq!(kind(b"a\xFFb\n"), Some(Kind::Opaque));
        assert_eq!(kind(b"a\rb\n"), Some(Kind::Opaque));
        assert_eq!(kind(b"#EXTINF:1,\x00\n"), Some(Kind::Opaque));
        assert_eq!(kind(b"#\xFF\n"), Some(Kind::Comment));
        assert_eq!(kind(b""), None);
    }
}
