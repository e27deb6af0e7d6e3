//! Over which pathway a player loads: penalties, fail-over, and what a steering list changes. A host of a target without
//! steering is a pathway too, so there is one way to fail over.
//!
//! Invariant: there is always a current pathway, and while another is not under penalty a failed one is left at once.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::list::{List, PathwayClone};

/// Most pathways, clones included.
const MAX_PATHWAYS: usize = 256;

/// A rendition as one pathway has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rung {
    /// Its playlist.
    pub(crate) url: Url,
    /// `BANDWIDTH`, in bit/s.
    pub(crate) bandwidth: u64,
    /// `STABLE-VARIANT-ID`.
    pub(crate) stable_id: Option<String>,
    /// Playlist of the audio that belongs to it, where that is apart.
    pub(crate) audio: Option<Url>,
}

/// A pathway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pathway {
    /// `PATHWAY-ID`.
    pub(crate) id: String,
    /// Renditions by rising bandwidth; not empty.
    pub(crate) ladder: Vec<Rung>,
}

/// What a failure leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failed {
    /// Another pathway is current now.
    Moved {
        /// The one that was left.
        from: String,
        /// The one that was chosen.
        to: String,
    },
    /// There is no other: the same is to be asked again, after a wait.
    Wait,
}

/// The pathways of one player.
#[derive(Debug, Clone)]
pub(crate) struct Pathways {
    list: Vec<Pathway>,
    /// Ids, best first.
    priority: Vec<String>,
    /// Until when a pathway is left alone.
    penalties: BTreeMap<String, Duration>,
    current: usize,
    penalty: Duration,
    steered: bool,
}

impl Pathways {
    /// Pathways in the order of preference, the first of them current, or `first` if it is among them. `None` when there is
    /// none.
    pub(crate) fn new(list: Vec<Pathway>, first: Option<&str>, penalty: Duration, steered: bool) -> Option<Self> {
        let mut list: Vec<Pathway> = list.into_iter().filter(|pathway| !pathway.ladder.is_empty()).collect();
        list.truncate(MAX_PATHWAYS);
        let current = first.and_then(|first| list.iter().position(|pathway| pathway.id == first)).unwrap_or(0);
        let priority = list.iter().map(|pathway| pathway.id.clone()).collect();
        (!list.is_empty()).then_some(Self { list, priority, penalties: BTreeMap::new(), current, penalty, steered })
    }

    /// The pathway to load from.
    pub(crate) fn current(&self) -> &Pathway {
        &self.list[self.current]
    }

    /// The current pathway failed.
    pub(crate) fn failed(&mut self, now: Duration) -> Failed {
        let from = self.current().id.clone();
        self.penalties.insert(from.clone(), now + self.penalty);
        match self.best(now) {
            Some(best) if best != self.current => {
                self.current = best;
                Failed::Moved { from, to: self.current().id.clone() }
            }
            _ => {
                // All are under penalty: the one that failed longest ago comes first.
                let until = |index: &usize| self.penalties.get(&self.list[*index].id).copied().unwrap_or_default();
                let oldest = (0..self.list.len()).min_by_key(until).unwrap_or(self.current);
                if oldest == self.current {
                    return Failed::Wait;
                }
                self.current = oldest;
                Failed::Wait
            }
        }
    }

    /// Goes to the best pathway that is not under penalty, as steered players do when a penalty ends or a list came. Says
    /// whether the pathway changed.
    pub(crate) fn settle(&mut self, now: Duration) -> bool {
        if !self.steered {
            return false;
        }
        match self.best(now) {
            Some(best) if best != self.current => {
                self.current = best;
                true
            }
            _ => false,
        }
    }

    fn best(&self, now: Duration) -> Option<usize> {
        let is_free = |index: &usize| self.penalties.get(&self.list[*index].id).is_none_or(|until| *until <= now);
        if self.steered {
            let index = |id: &String| self.list.iter().position(|pathway| pathway.id == *id);
            return self.priority.iter().filter_map(index).find(is_free);
        }
        // Hosts take turns: the next after the current one.
        let count = self.list.len();
        (0..count).map(|step| (self.current + step) % count).find(is_free)
    }

    /// Takes over a steering list.
    pub(crate) fn apply(&mut self, list: &List) {
        for clone in &list.clones {
            // A clone that is known is not changed any more (as hls.js has it): a server uses a new name.
            if self.list.len() < MAX_PATHWAYS && !self.list.iter().any(|pathway| pathway.id == clone.id) {
                let base = self.list.iter().find(|pathway| pathway.id == clone.base_id);
                self.list.extend(base.and_then(|base| make(base, clone)));
            }
        }
        self.priority.clone_from(&list.priority);
    }
}

/// The clone of a pathway (draft-pantos-content-steering section 4.2); `None` when an URI cannot be made.
fn make(base: &Pathway, clone: &PathwayClone) -> Option<Pathway> {
    let replacement = &clone.uri_replacement;
    let rung = |rung: &Rung| {
        let own = rung.stable_id.as_ref().and_then(|id| replacement.per_variant_uris.get(id));
        let mut url = match own {
            Some(uri) => rung.url.join(uri).ok()?,
            None => rung.url.clone(),
        };
        if own.is_none()
            && let Some(host) = &replacement.host
        {
            url.set_host(Some(host)).ok()?;
        }
        let mut audio = rung.audio.clone();
        if let (Some(audio), Some(host)) = (&mut audio, &replacement.host) {
            audio.set_host(Some(host)).ok()?;
        }
        for (name, value) in &replacement.params {
            [Some(&mut url), audio.as_mut()].into_iter().flatten().for_each(|url| set_parameter(url, name, value));
        }
        Some(Rung { url, audio, ..rung.clone() })
    };
    Some(Pathway { id: clone.id.clone(), ladder: base.ladder.iter().map(rung).collect::<Option<_>>()? })
}

/// Sets a query parameter, in place of one of the same name. Otherwise the query stays as it is, byte for byte: it may be signed.
pub(crate) fn set_parameter(url: &mut Url, name: &str, value: &str) {
    if url.query_pairs().any(|(known, _)| known == name) {
        let others: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(known, _)| known != name)
            .map(|(known, value)| (known.into_owned(), value.into_owned()))
            .collect();
        url.query_pairs_mut().clear().extend_pairs(others);
    }
    url.query_pairs_mut().append_pair(name, value);
    if let Some(rest) = url.query().and_then(|query| query.strip_prefix('&')).map(str::to_owned) {
        url.set_query(Some(&rest));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::list;
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn pathway(id: &str) -> Pathway {
        let url = Url::parse(&format!("https://{id}.example:8443/hi/p.m3u8?a=1")).unwrap();
        Pathway {
            id: id.to_owned(),
            ladder: vec![Rung { url, bandwidth: 1, stable_id: Some("hi".to_owned()), audio: None }],
        }
    }

    fn three(steered: bool) -> Pathways {
        Pathways::new(vec![pathway("a"), pathway("b"), pathway("c")], Some("b"), s(60), steered).unwrap()
    }

    #[test]
    fn hosts_take_turns_and_wait_when_all_have_failed() {
        let mut hosts = three(false);
        let moved = |from: &str, to: &str| Failed::Moved { from: from.to_owned(), to: to.to_owned() };
        assert_eq!(hosts.failed(s(0)), moved("b", "c"));
        assert_eq!(hosts.failed(s(1)), moved("c", "a"));
        assert_eq!(hosts.failed(s(2)), Failed::Wait);
        assert_eq!(hosts.current().id, "b", "it failed longest ago");
        assert!(!hosts.settle(s(100)), "without steering nobody goes back");
        assert_eq!(hosts.failed(s(100)), moved("b", "c"), "c's penalty is over");
    }

    #[test]
    fn steered_players_return_when_a_penalty_ends() {
        let mut pathways = three(true);
        assert!(pathways.settle(s(0)));
        assert_eq!(pathways.current().id, "a");
        pathways.failed(s(0));
        assert_eq!(pathways.current().id, "b");
        assert!(!pathways.settle(s(59)));
        assert!(pathways.settle(s(60)));
        assert_eq!(pathways.current().id, "a");
    }

    #[test]
    fn a_list_reorders_and_adds_clones_that_never_change() {
        let mut pathways = three(true);
        let read = |host: &str| {
            let text = format!(
                r#"{{"VERSION":1,"PATHWAY-PRIORITY":["R","gone","c"],"PATHWAY-CLONES":[
                {{"BASE-ID":"a","ID":"R","URI-REPLACEMENT":{{"HOST":"{host}","PARAMS":{{"a":"2"}}}}}},
                {{"BASE-ID":"nobody","ID":"S"}}]}}"#
            );
            list::read(text.as_bytes()).unwrap()
        };
        pathways.apply(&read("r.example"));
        assert!(pathways.settle(s(0)));
        assert_eq!(pathways.current().ladder[0].url.as_str(), "https://r.example:8443/hi/p.m3u8?a=2");
        pathways.apply(&read("other.example"));
        assert_eq!(pathways.current().ladder[0].url.host_str(), Some("r.example"));
        let moved = pathways.failed(s(0));
        assert_eq!(moved, Failed::Moved { from: "R".to_owned(), to: "c".to_owned() });
    }

    #[test]
    fn whole_uris_of_a_clone_may_have_another_port() {
        let mut pathways = three(true);
        let text = br#"{"VERSION":1,"PATHWAY-PRIORITY":["R"],"PATHWAY-CLONES":[{"BASE-ID":"a","ID":"R",
            "URI-REPLACEMENT":{"HOST":"x","PER-VARIANT-URIS":{"hi":"https://h:1/q.m3u8"}}}]}"#;
        pathways.apply(&list::read(text).unwrap());
        pathways.settle(s(0));
        assert_eq!(pathways.current().ladder[0].url.as_str(), "https://h:1/q.m3u8");
    }
}
