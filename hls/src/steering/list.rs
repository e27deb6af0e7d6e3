//! The steering list (draft-pantos-content-steering, section 5), in JSON.
//!
//! Measured with players: a list with one pathway disables fail-over in hls.js, a wrong version ends steering, and
//! video.js reads a clone only when `HOST` and `PARAMS` are both members of it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Media type of a list.
pub const MEDIA_TYPE: &str = "application/vnd.apple.steering-list";
/// Longest list, in bytes.
pub const MAX_LIST_BYTES: usize = 256 * 1024;
/// Pathways in a list.
pub const MAX_PRIORITY: usize = 32;
/// Clones in a list.
pub const MAX_CLONES: usize = 16;
/// Least and greatest time to live, in seconds: sooner is a load, later leaves viewers with what has changed.
pub const TTL_SECONDS: std::ops::RangeInclusive<u32> = 10..=30;

const VERSION: u32 = 1;
const MAX_ID: usize = 64;

/// Why a list is none that may be answered.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Longer than [`MAX_LIST_BYTES`].
    #[error("a steering list is at most 262144 bytes")]
    TooLong,
    /// Not the JSON that the draft prescribes.
    #[error("not a steering list: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Players stop at another version.
    #[error("VERSION is {0}, not 1")]
    Version(u32),
    /// Outside [`TTL_SECONDS`].
    #[error("TTL is {0} seconds, not 10 to 30")]
    Ttl(u32),
    /// Fewer than two, which switches fail-over off, or too many.
    #[error("PATHWAY-PRIORITY names {0} pathways, not 2 to 32")]
    Priority(usize),
    /// More than [`MAX_CLONES`].
    #[error("PATHWAY-CLONES holds {0} clones, not at most 16")]
    Clones(usize),
    /// Not 1 to 64 of `A-Z a-z 0-9 . _ -`, or named twice.
    #[error("{0:?} is no pathway ID here: 1 to 64 of A-Z a-z 0-9 . _ - and each once")]
    Id(String),
}

/// A list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub struct SteeringList {
    version: u32,
    ttl: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reload_uri: Option<String>,
    pathway_priority: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pathway_clones: Vec<PathwayClone>,
}

/// A pathway made of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub struct PathwayClone {
    /// The pathway whose URIs are replaced.
    pub base_id: String,
    /// Its own name. Players never update a clone that they have seen: what has changed needs a new one.
    pub id: String,
    /// What is replaced.
    pub uri_replacement: UriReplacement,
}

/// What a clone replaces in its base's URIs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub struct UriReplacement {
    /// Host name, without a port: hls.js cannot change the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Query parameters to set.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Absolute URLs by `STABLE-VARIANT-ID`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub per_variant_uris: BTreeMap<String, String>,
    /// Absolute URLs by `STABLE-RENDITION-ID`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub per_rendition_uris: BTreeMap<String, String>,
}

impl SteeringList {
    /// A list that sends players to the first pathway of `priority` that works for them.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn new(ttl: u32, priority: Vec<String>, clones: Vec<PathwayClone>) -> Result<Self, ListError> {
        let list = Self { version: VERSION, ttl, reload_uri: None, pathway_priority: priority, pathway_clones: clones };
        list.check()?;
        Ok(list)
    }

    /// Where players ask the next time.
    #[must_use]
    pub fn reloaded_from(mut self, uri: Option<String>) -> Self {
        self.reload_uri = uri;
        self
    }

    /// The same with a query parameter that players shall add to every URI of a clone.
    #[must_use]
    pub fn with_parameter(mut self, name: &str, value: &str) -> Self {
        for clone in &mut self.pathway_clones {
            clone.uri_replacement.params.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`ListError`]: it must be one that could be written here.
    pub fn parse(json: &[u8]) -> Result<Self, ListError> {
        if json.len() > MAX_LIST_BYTES {
            return Err(ListError::TooLong);
        }
        let list: Self = serde_json::from_slice(json)?;
        list.check()?;
        Ok(list)
    }

    /// Its text.
    ///
    /// # Errors
    /// [`ListError::TooLong`].
    pub fn to_json(&self) -> Result<Vec<u8>, ListError> {
        let json = serde_json::to_vec(self)?;
        if json.len() > MAX_LIST_BYTES { Err(ListError::TooLong) } else { Ok(json) }
    }

    /// Seconds until a player asks again.
    #[must_use]
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// Pathways, best first.
    #[must_use]
    pub fn priority(&self) -> &[String] {
        &self.pathway_priority
    }

    /// Pathways that the playlist does not name.
    #[must_use]
    pub fn clones(&self) -> &[PathwayClone] {
        &self.pathway_clones
    }

    fn check(&self) -> Result<(), ListError> {
        if self.version != VERSION {
            return Err(ListError::Version(self.version));
        }
        if !TTL_SECONDS.contains(&self.ttl) {
            return Err(ListError::Ttl(self.ttl));
        }
        if !(2..=MAX_PRIORITY).contains(&self.pathway_priority.len()) {
            return Err(ListError::Priority(self.pathway_priority.len()));
        }
        if self.pathway_clones.len() > MAX_CLONES {
            return Err(ListError::Clones(self.pathway_clones.len()));
        }
        check_ids(self.pathway_priority.iter())?;
        check_ids(self.pathway_clones.iter().map(|clone| &clone.id))
    }
}

fn check_ids<'a>(ids: impl Iterator<Item = &'a String>) -> Result<(), ListError> {
    let mut seen: Vec<&str> = Vec::new();
    for id in ids {
        if !is_pathway_id(id) || seen.contains(&id.as_str()) {
            return Err(ListError::Id(id.clone()));
        }
        seen.push(id);
    }
    Ok(())
}

/// Whether a text can be a `PATHWAY-ID`: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[must_use]
pub fn is_pathway_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn clone(id: &str) -> PathwayClone {
        let uri_replacement = UriReplacement { host: Some("r17.example".into()), ..UriReplacement::default() };
        PathwayClone { base_id: "A".into(), id: id.into(), uri_replacement }
    }

    #[test]
    fn a_list_has_the_drafts_form() {
        let ids = ["R17-e3", "A", "B"].map(str::to_owned).to_vec();
        let list = SteeringList::new(20, ids, vec![clone("R17-e3")]).unwrap();
        let json = list.to_json().unwrap();
        assert_eq!(
            String::from_utf8(json.clone()).unwrap(),
            concat!(
                r#"{"VERSION":1,"TTL":20,"PATHWAY-PRIORITY":["R17-e3","A","B"],"PATHWAY-CLONES":[{"BASE-ID":"A","#,
                r#""ID":"R17-e3","URI-REPLACEMENT":{"HOST":"r17.example","PARAMS":{}}}]}"#
            )
        );
        assert_eq!(SteeringList::parse(&json).unwrap(), list);
        let told = list.clone().with_parameter("weir_token", "a.b.c").to_json().unwrap();
        assert!(String::from_utf8(told).unwrap().contains(r#""PARAMS":{"weir_token":"a.b.c"}"#));
        let with_reload = list.reloaded_from(Some("/weir/steer?x".into()));
        assert!(String::from_utf8(with_reload.to_json().unwrap()).unwrap().contains(r#""RELOAD-URI":"/weir/steer?x""#));
    }

    #[test]
    fn what_would_end_steering_is_no_list() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        for (ttl, priority, clones) in [
            (9, ids(&["A", "B"]), 0),
            (31, ids(&["A", "B"]), 0),
            (10, ids(&["A"]), 0),
            (10, ids(&["A", "A"]), 0),
            (10, ids(&["A", "b c"]), 0),
            (10, (0..33).map(|n| n.to_string()).collect(), 0),
            (10, ids(&["A", "B"]), 17),
        ] {
            let clones = (0..clones).map(|n| clone(&n.to_string())).collect();
            assert!(SteeringList::new(ttl, priority.clone(), clones).is_err(), "{ttl} {priority:?}");
        }
        for json in [
            r#"{"VERSION":2,"TTL":20,"PATHWAY-PRIORITY":["A","B"]}"#,
            r#"{"VERSION":1,"PATHWAY-PRIORITY":["A","B"]}"#,
            "null",
        ] {
            assert!(SteeringList::parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}
