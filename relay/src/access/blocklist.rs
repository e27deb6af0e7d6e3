//! What a relay's operator refuses to serve: one line each in a text file.
//!
//! `pub-…` is a publisher, `/path` a path of any publisher with everything below it, `pub-… /path` a path of that
//! publisher, and 64 hexadecimal digits are the hash of one resource. `#` starts a comment.

use super::Rules;
use std::collections::{HashMap, HashSet};
use weir_protocol::{
    ids::{PublisherId, ResourceHash},
    resource::{CanonicalPath, ResourceKey},
    takedown::Target,
    time::UnixMillis,
};

/// Lines that a blocklist may have.
const MAX_LINES: usize = 200_000;

/// Why a text is no blocklist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlocklistError {
    /// A line that says nothing.
    #[error("line {line}: {why}; write pub-…, /path, pub-… /path, or the 64 digits of a resource hash")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// More lines than a blocklist may have.
    #[error("more than {MAX_LINES} lines")]
    TooLong,
}

/// What an operator refuses.
#[derive(Debug, Clone, Default)]
pub struct Blocklist {
    publishers: HashSet<PublisherId>,
    any: Rules,
    of: HashMap<PublisherId, Rules>,
}

impl Blocklist {
    /// Reads the text of a blocklist.
    ///
    /// # Errors
    /// [`BlocklistError`] names the line.
    pub fn parse(text: &str) -> Result<Self, BlocklistError> {
        let mut list = Self::default();
        for (at, line) in text.lines().enumerate() {
            if at >= MAX_LINES {
                return Err(BlocklistError::TooLong);
            }
            let line = line.split('#').next().unwrap_or_default();
            list.add(line).map_err(|why| BlocklistError::Line { line: at + 1, why })?;
        }
        Ok(list)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [publisher, path] => {
                let publisher = publisher.parse::<PublisherId>().map_err(|error| error.to_string())?;
                self.of.entry(publisher).or_default().insert(&target(path)?, None);
            }
            [path] if path.starts_with('/') => self.any.insert(&target(path)?, None),
            [publisher] if publisher.starts_with("pub-") => {
                self.publishers
                    .insert(publisher.parse().map_err(|error: weir_protocol::ids::IdError| error.to_string())?);
            }
            [resource] => {
                let hash: ResourceHash =
                    resource.parse().map_err(|error: weir_protocol::ids::IdError| error.to_string())?;
                self.any.insert(&Target::Resource(hash), None);
            }
            _ => return Err("too many words".into()),
        }
        Ok(())
    }

    /// Whether the operator refuses a resource.
    pub fn covers(&self, key: &ResourceKey) -> bool {
        let now = UnixMillis(0);
        self.publishers.contains(&key.publisher)
            || self.any.cover(key, now)
            || self.of.get(&key.publisher).is_some_and(|rules| rules.cover(key, now))
    }
}

fn target(path: &str) -> Result<Target, String> {
    CanonicalPath::parse(path).map(Target::path).map_err(|error| error.to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const A: PublisherId = PublisherId::from_bytes([1; 32]);
    const B: PublisherId = PublisherId::from_bytes([2; 32]);
    const C: PublisherId = PublisherId::from_bytes([3; 32]);

    fn key(publisher: PublisherId, path: &str) -> ResourceKey {
        ResourceKey::parse(publisher, path).unwrap()
    }

    #[test]
    fn each_kind_of_line_refuses_what_it_names() {
        let hash = key(B, "/one.ts?x=1").hash();
        let text = format!("# by court order\n{A}\n\n/bad  # everywhere\n{B} /film/\n{hash}\n");
        let list = Blocklist::parse(&text).unwrap();
        for (publisher, path, refused) in [
            (A, "/any.ts", true),
            (B, "/bad", true),
            (B, "/bad/x.ts?q", true),
            (B, "/badly.ts", false),
            (B, "/film/x.ts", true),
            (C, "/film/x.ts", false),
            (B, "/one.ts?x=1", true),
            (B, "/one.ts", false),
        ] {
            assert_eq!(list.covers(&key(publisher, path)), refused, "{path}");
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, line) in [("/a\nnonsense\n", 2), ("pub-x", 1), ("\n/../x", 2), ("/a b c", 1), ("pub-x /a", 1)] {
            match Blocklist::parse(text) {
                Err(BlocklistError::Line { line: named, .. }) => assert_eq!(named, line, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
