//! What has been declared outdated, and what that means for fills under way. Invariant: a response that was asked for
//! before a purge that covers it is not stored after it.

use http::{HeaderMap, HeaderName};
use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use weir_protocol::{
    resource::ResourceKey,
    wire::{Purge, PurgeScope},
};

/// Purges remembered for fills that were under way; a fill that outlives more of them is not stored.
const MAX_RECENT: usize = 1024;

/// Fields in which an origin tags its responses: a list separated by commas, and one separated by spaces.
const TAG_FIELDS: [(HeaderName, char); 2] =
    [(HeaderName::from_static("cache-tag"), ','), (HeaderName::from_static("surrogate-key"), ' ')];

/// True when the purge means this response.
pub fn covers(purge: &Purge, key: &ResourceKey, headers: &HeaderMap) -> bool {
    if purge.publisher != key.publisher {
        return false;
    }
    match purge.scope {
        PurgeScope::All => true,
        PurgeScope::Resource => key.path_and_query() == purge.target,
        PurgeScope::Path => key.path.as_str() == purge.target,
        PurgeScope::Prefix => key.path.as_str().starts_with(&purge.target),
        PurgeScope::Tag => TAG_FIELDS.iter().any(|(name, separator)| {
            headers
                .get_all(name)
                .iter()
                .filter_map(|line| line.to_str().ok())
                .any(|line| line.split(*separator).any(|tag| tag.trim() == purge.target))
        }),
    }
}

/// Purges in their order.
#[derive(Default)]
pub(super) struct Purges {
    count: AtomicU64,
    recent: Mutex<VecDeque<Purge>>,
}

impl Purges {
    /// How many there have been: to be asked when a fill starts.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn note(&self, purge: Purge) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == MAX_RECENT {
            recent.pop_front();
        }
        recent.push_back(purge);
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// True when one since then covers this response, or when so many came that nobody knows.
    pub(super) fn covered_since(&self, then: u64, key: &ResourceKey, headers: &HeaderMap) -> bool {
        let missed = self.count().saturating_sub(then);
        if missed == 0 {
            return false;
        }
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = usize::try_from(missed).unwrap_or(usize::MAX);
        missed > recent.len() || recent.iter().rev().take(missed).any(|purge| covers(purge, key, headers))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use http::HeaderValue;
    use weir_protocol::ids::PublisherId;

    fn key(target: &str) -> ResourceKey {
        ResourceKey::parse(PublisherId([1; 32]), target).unwrap()
    }

    fn purge(scope: PurgeScope, target: &str) -> Purge {
        Purge { publisher: PublisherId([1; 32]), number: 0, scope, target: target.into(), soft: false }
    }

    #[test]
    fn a_purge_covers_what_it_names_and_nothing_else() {
        let tagged: HeaderMap = [
            (TAG_FIELDS[0].0.clone(), HeaderValue::from_static("film-7, news")),
            (TAG_FIELDS[1].0.clone(), HeaderValue::from_static("a b")),
        ]
        .into_iter()
        .collect();
        for (scope, target, yes, no) in [
            (PurgeScope::All, "", "/a", None),
            (PurgeScope::Resource, "/a?q=1", "/a?q=1", Some("/a")),
            (PurgeScope::Path, "/a", "/a?q=1", Some("/a/b")),
            (PurgeScope::Prefix, "/a/", "/a/b", Some("/ab")),
            (PurgeScope::Tag, "film-7", "/x", None),
            (PurgeScope::Tag, "b", "/x", None),
        ] {
            assert!(covers(&purge(scope, target), &key(yes), &tagged), "{scope:?} {target}");
            if let Some(no) = no {
                assert!(!covers(&purge(scope, target), &key(no), &tagged), "{scope:?} {target}");
            }
        }
        assert!(!covers(&purge(PurgeScope::Tag, "film"), &key("/x"), &tagged));
        let other = ResourceKey::parse(PublisherId([2; 32]), "/a").unwrap();
        assert!(!covers(&purge(PurgeScope::All, ""), &other, &tagged));
    }

    #[test]
    fn a_fill_under_way_learns_of_purges_and_too_many_count_as_all() {
        let (purges, none) = (Purges::default(), HeaderMap::new());
        let then = purges.count();
        purges.note(purge(PurgeScope::Path, "/a"));
        assert!(purges.covered_since(then, &key("/a"), &none) && !purges.covered_since(then, &key("/b"), &none));
        assert!(!purges.covered_since(purges.count(), &key("/a"), &none));
        for _ in 0..MAX_RECENT {
            purges.note(purge(PurgeScope::Path, "/c"));
        }
        assert!(purges.covered_since(then, &key("/b"), &none));
    }
}
