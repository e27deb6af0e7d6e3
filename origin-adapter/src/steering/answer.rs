//! From a question to a list.

use super::{
    FIRST, SECOND,
    choose::{Candidate, Viewer, choose, fnv},
    place::Place,
    proof::Proofs,
    variants::Variants,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use weir_hls::steering::{PathwayClone, StableUri, SteeringList, UriReplacement, is_pathway_id};
use weir_protocol::{ids::RelayId, resource::CanonicalPath};
use weir_relay::{
    peer::{Directory, Door},
    source::RawSource,
};

/// Relays that one list names.
const MAX_STEERED: usize = 3;
/// Seconds until a player asks again: what changes reaches it soon.
const TTL: u32 = 10;
/// Characters of a relay's name in its pathway.
const NAME: usize = 8;
/// Longest value of a parameter, in bytes.
const MAX_VALUE: usize = 1024;

/// What a player, or a relay for it, asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// Path of the multivariant playlist.
    pub path: Option<String>,
    /// Where the player has it from: scheme, authority, and what stands before the path.
    pub base: Option<String>,
    /// The viewer's region.
    pub region: String,
    /// The number that draws its relay.
    pub spread: u64,
    /// The pathway it plays from.
    pub at: Option<String>,
}

impl Asked {
    /// Reads the query of `/weir/steer`. What cannot be read is as if it were not there.
    pub fn parse(query: &str) -> Self {
        let mut asked = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if value.len() > MAX_VALUE {
                continue;
            }
            match &*name {
                "for" => asked.path = CanonicalPath::parse(&value).ok().map(|path| path.as_str().to_owned()),
                "base" => asked.base = Some(value.trim_end_matches('/').to_owned()),
                "region" => asked.region = value.into_owned(),
                "spread" => asked.spread = value.parse().unwrap_or_default(),
                "at" | "_HLS_pathway" if is_pathway_id(&value) => asked.at = Some(value.into_owned()),
                _ => {}
            }
        }
        asked
    }
}

/// A list, and how many relays it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The list.
    pub list: SteeringList,
    /// Relays in it.
    pub relays: usize,
}

/// How long the way to a relay and back is, where that is known.
type RoundTrip = Box<dyn Fn(&RelayId) -> Option<Duration> + Send + Sync>;

/// Answers questions from what relays report.
pub struct Desk {
    directory: Arc<Directory>,
    proofs: Arc<Proofs>,
    round_trip: RoundTrip,
    variants: Variants,
}

impl Desk {
    /// Chooses among the relays of `directory` whose doors are proven.
    pub fn new(
        directory: Arc<Directory>,
        proofs: Arc<Proofs>,
        round_trip: impl Fn(&RelayId) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        Self { directory, proofs, round_trip: Box::new(round_trip), variants: Variants::default() }
    }

    /// The list for `asked`; `source` is the origin, for the playlist that is asked about.
    pub async fn answer(&self, asked: &Asked, source: &dyn RawSource) -> Answered {
        let path = asked.path.as_deref().and_then(|path| CanonicalPath::parse(path).ok());
        let covers = |door: &Door| path.as_ref().is_none_or(|path| door.scopes.iter().any(|scope| scope.covers(path)));
        let mut doors = self.directory.doors();
        doors.retain(|door| self.proofs.holds(&door.relay, &door.report.url) && covers(door));
        let base = asked.base.as_deref().and_then(Place::parse);
        let own = doors.iter().position(|door| base.is_some() && Place::parse(&door.report.url) == base);
        let candidates: Vec<Candidate> = doors
            .iter()
            .enumerate()
            .map(|(at, door)| self.candidate(door, if own == Some(at) { FIRST.to_owned() } else { pathway(door) }))
            .collect();
        let viewer = Viewer { region: &asked.region, spread: asked.spread, at: asked.at.as_deref() };
        let ranked = choose(&candidates, viewer);
        let (mut priority, mut clones) = (Vec::new(), Vec::new());
        for at in ranked {
            if clones.len() == MAX_STEERED {
                break;
            }
            if own == Some(at) {
                priority.push(FIRST.to_owned());
                continue;
            }
            let id = &candidates[at].id;
            // Two relays of one name would be one pathway.
            if priority.contains(id) {
                continue;
            }
            if let Some(uri_replacement) = self.replacement(&doors[at], base.as_ref(), asked, source).await {
                priority.push(id.clone());
                clones.push(PathwayClone { base_id: FIRST.into(), id: id.clone(), uri_replacement });
            }
        }
        let relays = priority.len();
        // Where the playlist came from was a relay's door and is none any more: then it is the last that is tried.
        let gone = own.is_none() && base.as_ref().is_some_and(|base| self.proofs.was_door(&base.url()));
        let rest = if gone { [SECOND, FIRST] } else { [FIRST, SECOND] };
        priority.extend(
            rest.iter()
                .filter(|id| !priority.iter().any(|known| known == *id))
                .map(|id| (*id).to_owned())
                .collect::<Vec<_>>(),
        );
        let list =
            SteeringList::new(TTL, priority, clones).expect("two constant pathways and at most three unlike ones");
        Answered { list, relays }
    }

    fn candidate(&self, door: &Door, id: String) -> Candidate {
        Candidate {
            id,
            name: door.relay.to_string(),
            region: door.region.clone(),
            weight: door.weight,
            load: door.report.load,
            draining: door.report.draining,
            round_trip: (self.round_trip)(&door.relay),
        }
    }

    /// A clone's URIs: another host at the same port and prefix, or each URI spelt out; `None` when neither can be said.
    async fn replacement(
        &self,
        door: &Door,
        base: Option<&Place>,
        asked: &Asked,
        source: &dyn RawSource,
    ) -> Option<UriReplacement> {
        let place = Place::parse(&door.report.url)?;
        if base.is_some_and(|base| base.differs_in_host_only(&place)) {
            return Some(UriReplacement { host: Some(place.host), ..UriReplacement::default() });
        }
        let uris = self.variants.of(source, asked.path.as_deref()?).await;
        let urls = |rendition: bool| -> BTreeMap<String, String> {
            let some = uris.iter().filter(|uri| uri.rendition == rendition);
            some.map(|StableUri { id, uri, .. }| (id.clone(), format!("{}{uri}", door.report.url))).collect()
        };
        let (per_variant_uris, per_rendition_uris) = (urls(false), urls(true));
        (!per_variant_uris.is_empty()).then_some(UriReplacement {
            per_variant_uris,
            per_rendition_uris,
            ..UriReplacement::default()
        })
    }
}

/// The name of a relay's pathway: another one when it starts again or moves, since players never look at a clone twice.
fn pathway(door: &Door) -> String {
    let relay = door.relay.to_string();
    let epoch = fnv(door.report.url.as_bytes(), fnv(&door.report.since.to_be_bytes(), 0xcbf2_9ce4_8422_2325));
    format!("R{}-e{:08x}", &relay[relay.len().saturating_sub(NAME)..], epoch as u32)
}

/// The end of the relay's name in a pathway that [`pathway`] named.
pub(crate) fn relay_of_pathway(id: &str) -> Option<&str> {
    let (name, epoch) = id.strip_prefix('R')?.split_once("-e")?;
    (name.len() == NAME && epoch.len() == 8).then_some(name)
}
