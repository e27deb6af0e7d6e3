//! Reads attribute lists, `NAME=value,NAME="quoted, value"` (section 4.2).
//!
//! Invariant: a name or value is a slice of the one line it was found in. A broken list therefore never swallows the
//! lines after it, and reading costs time linear in the line.

/// One attribute of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attribute<'a> {
    pub(crate) name: &'a str,
    /// Without the quotation marks.
    pub(crate) value: &'a str,
    pub(crate) quoted: bool,
    /// Offset of `value` in the list, in bytes.
    pub(crate) at: usize,
}

/// A piece of the list that is not an attribute. What follows it is still read, as players do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Junk;

/// Reads a list from left to right.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a> {
    list: &'a str,
    at: usize,
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(list: &'a str) -> Self {
        Self { list, at: 0 }
    }

    fn skip_blanks(&mut self) {
        let rest = &self.list[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    /// Goes past the next comma; true if nothing but blanks lay before it.
    fn skip_past_comma(&mut self) -> bool {
        let rest = &self.list[self.at..];
        let end = rest.find(',').unwrap_or(rest.len());
        self.at = (self.at + end + 1).min(self.list.len());
        rest[..end].trim_matches([' ', '\t']).is_empty()
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Junk>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_blanks();
        let rest = &self.list[self.at..];
        if rest.is_empty() {
            return None;
        }
        let name_end = rest.find(['=', ',', '"']).unwrap_or(rest.len());
        let name = rest[..name_end].trim_end_matches([' ', '\t']);
        if name.is_empty() || !rest[name_end..].starts_with('=') {
            // A lone comma, as at the end of some lists, is no more than an empty piece.
            if name.is_empty() && rest.starts_with(',') {
                self.at += 1;
                return self.next_after_comma();
            }
            self.skip_past_comma();
            return Some(Err(Junk));
        }
        self.at += name_end + 1;
        self.skip_blanks();
        let rest = &self.list[self.at..];
        if let Some(inner) = rest.strip_prefix('"') {
            let Some(length) = inner.find('"') else {
                self.at = self.list.len();
                return Some(Err(Junk));
            };
            let at = self.at + 1;
            self.at = at + length + 1;
            let clean = self.skip_past_comma();
            let attribute = Attribute { name, value: &inner[..length], quoted: true, at };
            return Some(if clean { Ok(attribute) } else { Err(Junk) });
        }
        let at = self.at;
        let end = rest.find(',').unwrap_or(rest.len());
        let value = rest[..end].trim_end_matches([' ', '\t']);
        self.at = (at + end + 1).min(self.list.len());
        Some(if value.contains('"') { Err(Junk) } else { Ok(Attribute { name, value, quoted: false, at }) })
    }
}

impl<'a> Attributes<'a> {
    /// Skips the further commas of a row in a loop: recursion would be as deep as a stranger likes.
    fn next_after_comma(&mut self) -> Option<Result<Attribute<'a>, Junk>> {
        loop {
            self.skip_blanks();
            if !self.list[self.at..].starts_with(',') {
                return self.next();
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &str) -> Vec<Result<(&str, &str), Junk>> {
        Attributes::new(list)
            .map(|item| {
                item.map(|attribute| {
                    assert_eq!(&list[attribute.at..attribute.at + attribute.value.len()], attribute.value);
                    (attribute.name, attribute.value)
                })
            })
            .collect()
    }

    #[test]
    fn quoted_values_keep_commas_and_equal_signs() {
        assert_eq!(
            pairs(r#"BANDWIDTH=1280000,CODECS="avc1.4d401f,mp4a.40.2",URI="a.m3u8?x=1,2" , DEFAULT=YES"#),
            [
                Ok(("BANDWIDTH", "1280000")),
                Ok(("CODECS", "avc1.4d401f,mp4a.40.2")),
                Ok(("URI", "a.m3u8?x=1,2")),
                Ok(("DEFAULT", "YES")),
            ]
        );
    }

    #[test]
    fn junk_is_reported_and_passed_over() {
        assert_eq!(pairs("A=1,junk,B=2"), [Ok(("A", "1")), Err(Junk), Ok(("B", "2"))]);
        assert_eq!(pairs(r#"A="x"y,B=2"#), [Err(Junk), Ok(("B", "2"))]);
        assert_eq!(pairs(r#"A="never closed,B=2"#), [Err(Junk)]);
        assert_eq!(pairs(r#"A=x"y",B=2"#), [Err(Junk), Ok(("B", "2"))]);
        assert_eq!(pairs("=1"), [Err(Junk)]);
    }

    #[test]
    fn empty_pieces_are_nothing() {
        assert_eq!(pairs(""), []);
        assert_eq!(pairs(&",".repeat(100_000)), []);
        assert_eq!(pairs("A=1, ,,B=,"), [Ok(("A", "1")), Ok(("B", ""))]);
        assert_eq!(pairs(r#"A="""#), [Ok(("A", ""))]);
    }
}
