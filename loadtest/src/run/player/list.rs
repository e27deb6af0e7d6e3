//! The steering list that a steering server answers (draft-pantos-content-steering section 4), as a player reads it: bounded,
//! and forgiving about what it does not know.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

/// Longest list, in bytes.
pub(crate) const MAX_LIST: u64 = 64 << 10;
/// Most pathways and clones that are looked at.
const MAX_PATHWAYS: usize = 64;
/// Time to live where the list says nothing (section 4.1).
const USUAL_TTL: u64 = 300;
/// Longest time to live, in seconds.
const LONGEST_TTL: u64 = 86_400;

/// Why a list is not followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// Not JSON of this form.
    #[error("not a steering list: {0}")]
    Form(#[from] serde_json::Error),
    /// A version that players do not know.
    #[error("version {0}")]
    Version(u64),
    /// Nothing to choose from.
    #[error("no pathway")]
    Empty,
}

/// A pathway made of another.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub(crate) struct PathwayClone {
    /// The pathway it is made of.
    pub(crate) base_id: String,
    /// Its own name.
    pub(crate) id: String,
    /// What is different.
    #[serde(default)]
    pub(crate) uri_replacement: Replacement,
}

/// How a clone's URIs differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE", default)]
pub(crate) struct Replacement {
    /// Host name, without a port.
    pub(crate) host: Option<String>,
    /// Query parameters to set.
    pub(crate) params: BTreeMap<String, String>,
    /// Whole URIs by `STABLE-VARIANT-ID`.
    pub(crate) per_variant_uris: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct Text {
    version: u64,
    ttl: Option<f64>,
    reload_uri: Option<String>,
    pathway_priority: Vec<String>,
    #[serde(default)]
    pathway_clones: Vec<PathwayClone>,
}

/// A list that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List {
    /// When to ask again.
    pub(crate) ttl: Duration,
    /// Whom to ask then, if it is another.
    pub(crate) reload_uri: Option<String>,
    /// Pathways, best first.
    pub(crate) priority: Vec<String>,
    /// Pathways to add.
    pub(crate) clones: Vec<PathwayClone>,
}

/// Reads a list.
pub(crate) fn read(bytes: &[u8]) -> Result<List, ListError> {
    let text: Text = serde_json::from_slice(bytes)?;
    if text.version != 1 {
        return Err(ListError::Version(text.version));
    }
    if text.pathway_priority.is_empty() {
        return Err(ListError::Empty);
    }
    let (mut priority, mut clones) = (text.pathway_priority, text.pathway_clones);
    priority.truncate(MAX_PATHWAYS);
    clones.truncate(MAX_PATHWAYS);
    let ttl = text.ttl.filter(|ttl| *ttl >= 1.0).map_or(USUAL_TTL, |ttl| ttl as u64).min(LONGEST_TTL);
    Ok(List { ttl: Duration::from_secs(ttl), reload_uri: text.reload_uri, priority, clones })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_a_clone_is_read() {
        let list = read(
            br#"{"VERSION":1,"TTL":20,"RELOAD-URI":"/next","PATHWAY-PRIORITY":["R","A"],"NEW":1,
            "PATHWAY-CLONES":[{"BASE-ID":"A","ID":"R","URI-REPLACEMENT":{"HOST":"r.example","PARAMS":{"t":"1"},
            "PER-VARIANT-URIS":{"hi":"https://r.example:8443/hi.m3u8"}}}]}"#,
        )
        .unwrap();
        assert_eq!((list.ttl, list.reload_uri.as_deref()), (Duration::from_secs(20), Some("/next")));
        assert_eq!(list.priority, ["R", "A"]);
        let Replacement { host, params, per_variant_uris } = &list.clones[0].uri_replacement;
        assert_eq!((host.as_deref(), params["t"].as_str()), (Some("r.example"), "1"));
        assert_eq!(per_variant_uris["hi"], "https://r.example:8443/hi.m3u8");
    }

    #[test]
    fn what_players_do_not_follow_is_refused() {
        assert!(matches!(read(br#"{"VERSION":2,"PATHWAY-PRIORITY":["A"]}"#), Err(ListError::Version(2))));
        assert!(matches!(read(br#"{"VERSION":1,"PATHWAY-PRIORITY":[]}"#), Err(ListError::Empty)));
        assert!(matches!(read(b"<html>"), Err(ListError::Form(_))));
        assert_eq!(read(br#"{"VERSION":1,"PATHWAY-PRIORITY":["A"]}"#).unwrap().ttl, Duration::from_secs(300));
    }
}
