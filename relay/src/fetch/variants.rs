//! By what each resource is known to vary (RFC 9111 section 4.1), so that a look-up finds the representation a request
//! selects. Invariant: bounded; what is forgotten costs a request to a source, never a wrong answer, because a
//! representation is stored under the variant that its own `Vary` gives.

use crate::{object::Entry, source::Asked};
use http::header;
use quick_cache::sync::Cache;
use std::sync::Arc;
use weir_protocol::{
    ids::ResourceHash,
    part::Part,
    resource::{ResourceKey, VariantKey},
    vary::{Vary, languages},
};

/// Resources remembered; of those used least recently, nothing is known.
const MAX_RESOURCES: usize = 65_536;
/// Variants of one resource remembered, for invalidation: the oldest is dropped from the cache when one more comes.
const MAX_VARIANTS: usize = 64;

/// What is known of a resource.
#[derive(Clone)]
struct Known {
    vary: Vary,
    variants: Vec<Kept>,
}

/// One representation.
#[derive(Clone)]
struct Kept {
    key: VariantKey,
    /// Its `Content-Language`, when it is in one language and was selected by `Accept-Language`, and the variant that
    /// the other selecting fields make.
    language: Option<(String, Option<VariantKey>)>,
}

pub(super) struct Variants {
    known: Cache<ResourceHash, Arc<Known>>,
}

const ACCEPT_LANGUAGE: &str = "accept-language";

impl Variants {
    pub(super) fn new() -> Self {
        Self { known: Cache::new(MAX_RESOURCES) }
    }

    /// The resource that this request selects, as far as is known.
    pub(super) fn resolve(&self, key: &ResourceKey, asked: &Asked) -> ResourceKey {
        if key.variant.is_some() {
            return key.clone();
        }
        match self.known.get(&key.hash()) {
            None => key.clone(),
            Some(known) => key.clone().with_variant(asked.variant(&known.vary)),
        }
    }

    /// A representation in the one language that the request likes best, though it was made for a request with other
    /// languages beside it: the origin had it, so it would give it again.
    pub(super) fn in_best_language(&self, key: &ResourceKey, asked: &Asked) -> Option<ResourceKey> {
        let known = self.known.get(&key.hash())?;
        if key.variant.is_some() || !known.vary.lists(ACCEPT_LANGUAGE) {
            return None;
        }
        let lines = asked.headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|line| line.to_str().ok());
        let ranked = languages(lines.flat_map(|line| line.split(',')));
        let (best, weight) = ranked.first()?;
        if ranked.get(1).is_some_and(|(_, next)| next == weight) {
            return None;
        }
        let others = asked.variant(&without_language(&known.vary));
        let kept =
            known.variants.iter().find(|kept| kept.language.as_ref() == Some(&(best.clone(), others.clone())))?;
        Some(key.clone().with_variant(Some(kept.key.clone())))
    }

    /// A shareable response has come. Returns a representation that must be dropped because there are too many.
    pub(super) fn learn(&self, entry: &Entry, asked: &Asked) -> Option<ResourceKey> {
        if entry.head.key.variant.as_ref().is_some_and(|variant| Part::of(variant).is_some()) {
            return None;
        }
        let base = entry.head.key.clone().with_variant(None);
        let hash = base.hash();
        let vary = entry.head.vary();
        let before = self.known.get(&hash);
        let Some(key) = entry.head.key.variant.clone() else {
            // The resource has one representation now.
            if before.is_some() {
                self.known.remove(&hash);
            }
            return None;
        };
        let mut known = match before {
            Some(known) if known.vary == vary => Known::clone(&known),
            _ => Known { vary, variants: Vec::new() },
        };
        let language = language(entry, &known.vary).map(|tag| (tag, asked.variant(&without_language(&known.vary))));
        known.variants.retain(|kept| kept.key != key);
        known.variants.push(Kept { key, language });
        let surplus = (known.variants.len() > MAX_VARIANTS).then(|| known.variants.remove(0));
        self.known.insert(hash, Arc::new(known));
        surplus.map(|kept| base.with_variant(Some(kept.key)))
    }

    /// All representations of a resource that are remembered, itself included; they are forgotten.
    pub(super) fn take(&self, base: &ResourceKey) -> Vec<ResourceKey> {
        let mut all = vec![base.clone()];
        if let Some((_, known)) = self.known.remove(&base.hash()) {
            all.extend(known.variants.iter().map(|kept| base.clone().with_variant(Some(kept.key.clone()))));
        }
        all
    }
}

/// The same without `Accept-Language`.
fn without_language(vary: &Vary) -> Vary {
    match vary {
        Vary::Anything => Vary::Anything,
        Vary::Fields(names) => Vary::Fields(names.iter().filter(|name| *name != ACCEPT_LANGUAGE).cloned().collect()),
    }
}

fn language(entry: &Entry, vary: &Vary) -> Option<String> {
    let tag = entry.head.headers.get(header::CONTENT_LANGUAGE)?.to_str().ok()?.trim();
    (vary.lists(ACCEPT_LANGUAGE) && !tag.contains(',')).then(|| tag.to_ascii_lowercase())
}
