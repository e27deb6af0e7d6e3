//! Targets compiled for look-up. Invariant: a look-up costs one comparison for each length that a path in the rules
//! has, however many slashes a hostile path has.

use std::collections::{BTreeMap, HashMap};
use weir_protocol::{
    ids::ResourceHash,
    resource::ResourceKey,
    takedown::{Target, ends_at_segment, path_hash},
    time::UnixMillis,
};

/// Until when a rule holds; `None`: as long as it is there.
type Until = Option<UnixMillis>;

/// Resources and paths that are refused.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    resources: HashMap<ResourceHash, Until>,
    paths: BTreeMap<usize, HashMap<String, Until>>,
    long_paths: BTreeMap<usize, HashMap<[u8; 32], Until>>,
}

impl Rules {
    /// Adds a target, until then.
    pub fn insert(&mut self, target: &Target, until: Until) {
        match target {
            Target::Resource(hash) => {
                self.resources.insert(*hash, until);
            }
            Target::Path(path) => {
                let path = path.as_str();
                self.paths.entry(path.len()).or_default().insert(path.to_owned(), until);
            }
            Target::LongPath { length, hash } => {
                self.long_paths.entry(usize::from(*length)).or_default().insert(*hash, until);
            }
        }
    }

    /// Whether a resource is refused now.
    pub fn cover(&self, key: &ResourceKey, now: UnixMillis) -> bool {
        let holds = |until: &Until| until.is_none_or(|until| now < until);
        let path = key.path.as_str();
        let starts = |length: usize| path.get(..length).filter(|_| ends_at_segment(path, length));
        let plain = || {
            let mut lengths = self.paths.range(..=path.len());
            lengths.any(|(length, paths)| starts(*length).and_then(|start| paths.get(start)).is_some_and(holds))
        };
        let long = || {
            let mut lengths = self.long_paths.range(..=path.len());
            lengths.any(|(length, paths)| {
                starts(*length).and_then(|start| paths.get(&path_hash(start))).is_some_and(holds)
            })
        };
        plain() || long() || !self.resources.is_empty() && self.resources.get(&key.hash()).is_some_and(holds)
    }

    /// True when nothing is refused.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.paths.is_empty() && self.long_paths.is_empty()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weir_protocol::{ids::PublisherId, resource::CanonicalPath};

    const NOW: UnixMillis = UnixMillis(1000);

    fn key(path: &str) -> ResourceKey {
        ResourceKey::parse(PublisherId::from_bytes([1; 32]), path).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// The compiled rules say what the targets say one by one.
        #[test]
        fn compiled_rules_are_the_targets(
            targets in prop::collection::vec("(/[ab]{1,2}){1,3}/?", 0..6),
            long in prop::option::of("(/[ab]{40}){3}"),
            path in "(/[ab]{1,2}){1,4}/?",
        ) {
            let targets: Vec<Target> =
                targets.iter().chain(&long).map(|path| Target::path(CanonicalPath::parse(path).unwrap())).collect();
            let mut rules = Rules::default();
            targets.iter().for_each(|target| rules.insert(target, None));
            let paths = [path.clone(), format!("{}{path}", long.unwrap_or_default())];
            for key in paths.iter().map(|path| key(path)) {
                prop_assert_eq!(rules.cover(&key, NOW), targets.iter().any(|target| target.covers(&key)), "{}", key);
            }
        }
    }

    #[test]
    fn a_rule_ends_and_one_resource_is_only_itself() {
        let mut rules = Rules::default();
        rules.insert(&Target::Resource(key("/a.ts?x").hash()), Some(UnixMillis(2000)));
        assert!(rules.cover(&key("/a.ts?x"), NOW) && !rules.cover(&key("/a.ts"), NOW));
        assert!(!rules.cover(&key("/a.ts?x"), UnixMillis(2000)));
    }
}
